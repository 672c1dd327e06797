//! A TLS stream through its parser, whatever its first bytes are: mutations that the recognition
//! would turn away reach it too.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vethwatch::proto::{Appetite, Reader, Settings, tls};
use vethwatch_fuzz::{turns, with_sink};

fuzz_target!(|data: &[u8]| {
    let Reader::Parser(make) = tls::REGISTRATION.reader else { return };
    // The same input as for `protocols`: its first bytes choose nothing here.
    let Some((_, rest)) = data.split_first_chunk::<3>() else { return };
    with_sink(&Settings::default(), |sink| {
        let mut parser = make();
        for (from, bytes) in turns(rest) {
            let appetite = if bytes.is_empty() {
                parser.gap(from, 1, sink)
            } else {
                parser.data(from, bytes, sink)
            };
            if !matches!(appetite, Appetite::More | Appetite::All) {
                break;
            }
        }
        parser.close(sink);
    });
});
