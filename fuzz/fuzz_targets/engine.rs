//! A capture through the whole engine, with default bounds or the tightest, with containers that it
//! has to find or that are given.
#![no_main]

use libfuzzer_sys::fuzz_target;
use vethwatch::engine::{Engine, Input};
use vethwatch::event::LinkId;
use vethwatch_fuzz::{Capture, Nothing, config};

fuzz_target!(|data: &[u8]| {
    let Some(capture) = Capture::new(data) else { return };
    let mut config = config(capture.choice & 1 == 1);
    if capture.choice & 2 == 2 {
        config.containers.pod_networks = vec!["10.0.0.0/8".parse().expect("a network")];
    }
    let mut engine = Engine::new(&config).expect("a legal configuration");
    let mut frames = 0;
    for frame in capture.frames() {
        engine.handle(Input::Frame { link: LinkId(0), frame }, &mut Nothing);
        if capture.choice & 4 == 4 {
            engine.handle(Input::Tick { at: frame.at }, &mut Nothing);
        }
        frames += 1;
    }
    engine.finish(&mut Nothing);
    assert_eq!(engine.stats().frames, frames);
});
