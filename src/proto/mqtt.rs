//! MQTT 3.1 to 5: a CONNECT packet, and its CONNACK.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// MQTT.
pub static PROTOCOL: Protocol = Protocol { name: "mqtt", manner: Manner::Push };

/// MQTT on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, probe).of_both_sides();

fn probe(probe: &Probe<'_>) -> Match {
    let (bytes, answer) = (probe.opening(), probe.answer());
    if probe.first != Side::Originator {
        return Match::No;
    }
    match connect(bytes) {
        Match::Yes => {}
        other => return other,
    }
    match answer {
        [] => Match::Awaits,
        [0x20, rest @ ..] => Match::when(rest.first().is_none_or(|length| *length >= 2)),
        _ => Match::No,
    }
}

/// Packet type, remaining length in one to four bytes, name and level of the protocol.
fn connect(bytes: &[u8]) -> Match {
    let [0x10, rest @ ..] = bytes else { return Match::No };
    let length_bytes = rest.iter().take(4).take_while(|byte| **byte & 0x80 != 0).count() + 1;
    let Some(body) = rest.get(length_bytes..) else { return Match::so_far(rest.len() < 4) };
    let level = |name: &[u8], levels: std::ops::RangeInclusive<u8>| {
        Match::prefix(body, name).and(match body.get(name.len()) {
            Some(level) => Match::when(levels.contains(&(level & 0x7f))),
            None => Match::Maybe,
        })
    };
    level(b"\0\x04MQTT", 3..=5).or(level(b"\0\x06MQIsdp", 3..=3))
}
