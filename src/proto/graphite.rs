//! Graphite's plaintext protocol: lines of `path value timestamp`, where the receiver never speaks.

use super::syslog::OneWay;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// Graphite.
pub static PROTOCOL: Protocol = Protocol { name: "graphite", manner: Manner::Push };

/// Graphite over TCP, on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).read_by(|| Box::new(OneWay));

/// A first line longer than this is none (bytes).
const LINE_BYTES: usize = 512;

fn probe(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Originator || !probe.answer().is_empty() {
        return Match::No;
    }
    let bytes = probe.opening();
    match bytes.iter().position(|byte| *byte == b'\n') {
        Some(end) => Match::when(is_metric(bytes.get(..end).unwrap_or_default())),
        None => Match::so_far(
            bytes.len() < LINE_BYTES
                && bytes.iter().all(|byte| byte.is_ascii_graphic() || b" \r".contains(byte)),
        ),
    }
}

/// `path value timestamp`: a word, a number, and seconds since the epoch (or -1 for now).
fn is_metric(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let mut fields = line.split(|byte| *byte == b' ');
    let (Some(path), Some(value), Some(time), None) =
        (fields.next(), fields.next(), fields.next(), fields.next())
    else {
        return false;
    };
    let number = std::str::from_utf8(value).is_ok_and(|value| value.parse::<f64>().is_ok());
    let whole = time.split(|byte| *byte == b'.').next().unwrap_or_default();
    let seconds = whole.len() == 10 && whole.iter().all(u8::is_ascii_digit);
    !path.is_empty()
        && path.iter().all(u8::is_ascii_graphic)
        && number
        && (seconds || time == b"-1")
}
