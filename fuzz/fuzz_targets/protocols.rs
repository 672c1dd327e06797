//! One flow's content through the table of protocols: stream or datagrams, from its beginning or
//! midway, with gaps.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vethwatch::proto::Settings;
use vethwatch::proto::session::Session;
use vethwatch_fuzz::{turns, with_sink};

fuzz_target!(|data: &[u8]| {
    let Some(([choice, high, low], rest)) = data.split_first_chunk::<3>() else { return };
    let port = u16::from_be_bytes([*high, *low]);
    let (stream, midway, turn) = (choice & 1 == 0, choice & 2 == 2, choice & 4 == 4);
    with_sink(&Settings::default(), |sink| {
        let mut session = Session::default();
        if midway {
            session.picked_up_midway();
        }
        for (number, (from, bytes)) in turns(rest).enumerate() {
            if turn && number == 2 {
                session.turn_around();
            }
            if bytes.is_empty() && stream {
                session.gap(from, 1, port, sink);
            } else {
                session.data(from, bytes, stream, port, sink);
            }
        }
        session.close(sink);
    });
});
