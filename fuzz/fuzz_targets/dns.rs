//! A DNS message, twice into the same buffers: what the first leaves there changes nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vethwatch::event::DnsMessage;
use vethwatch::proto::Scratch;
use vethwatch::proto::dns;
use vethwatch_fuzz::Nothing;

fuzz_target!(|data: &[u8]| {
    let (mut message, mut scratch) = (DnsMessage::default(), Scratch::default());
    let first = dns::decode(data, true, &mut message, &mut scratch);
    let printed = format!("{message:?}");
    let second = dns::decode(data, true, &mut message, &mut scratch);
    assert_eq!(first.is_ok(), second.is_ok());
    if first.is_ok() {
        assert_eq!(printed, format!("{message:?}"));
    }
    Nothing.print(&message);
});
