//! A capture through the decoder: what must hold for any packet from any bytes.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vethwatch::decode::Decoder;
use vethwatch_fuzz::{Capture, Nothing, config};

fuzz_target!(|data: &[u8]| {
    let Some(capture) = Capture::new(data) else { return };
    let mut decoder = Decoder::new(config(capture.choice & 1 == 1).decode);
    for frame in capture.frames() {
        if let Ok(packet) = decoder.decode(&frame) {
            assert!(packet.payload.len() <= packet.payload_bytes as usize);
            assert!(packet.payload_bytes <= packet.ip_bytes);
            assert!(packet.vlan < 0x1000);
            Nothing.print(&packet);
        }
    }
    let counts = decoder.fragments();
    assert!(counts.dropped <= counts.fragments && counts.completed <= counts.fragments);
});
