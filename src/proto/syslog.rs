//! Syslog (RFC 3164, 5424) in datagrams, and over TCP (RFC 6587), where the receiver never speaks.

use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Manner, Protocol, Side};

/// Syslog.
pub static PROTOCOL: Protocol = Protocol { name: "syslog", manner: Manner::Push };

/// Syslog in datagrams.
pub const OVER_UDP: Registration = Registration::datagram(&PROTOCOL, |probe| {
    let bytes = probe.opening();
    Match::when(priority(bytes) == Match::Yes && is_text(bytes))
});

/// Syslog over TCP.
pub const OVER_TCP: Registration =
    Registration::stream(&PROTOCOL, probe_stream).read_by(|| Box::new(OneWay));

/// Greatest priority: facility 23, severity 7.
const PRIORITY_MAX: u16 = 191;

/// Bytes of a message that are looked at.
const TEXT_BYTES: usize = 64;

fn probe_stream(probe: &Probe<'_>) -> Match {
    if probe.first != Side::Originator || !probe.answer().is_empty() {
        return Match::No;
    }
    // Octet counting: a length and a space come first.
    let bytes = probe.opening();
    let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let message = match bytes.get(digits) {
        Some(b' ') if (1..=5).contains(&digits) => bytes.get(digits + 1..).unwrap_or_default(),
        None if digits <= 5 => return Match::Maybe,
        Some(_) if digits > 0 => return Match::No,
        _ => bytes,
    };
    let text = Match::so_far(is_text(message));
    match priority(message) {
        // Enough of it that it is text.
        Match::Yes if message.len() >= TEXT_BYTES / 2 => text.and(Match::Yes).or(text_yes(text)),
        Match::Yes => text,
        other => other,
    }
}

const fn text_yes(text: Match) -> Match {
    match text {
        Match::No => Match::No,
        _ => Match::Yes,
    }
}

/// `<PRI>` and what comes behind it: a version, or a month's name.
fn priority(bytes: &[u8]) -> Match {
    let [b'<', rest @ ..] = bytes else { return Match::so_far(bytes.is_empty()) };
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let number = rest.iter().take(digits.min(4)).fold(0u16, |number, digit| {
        number.saturating_mul(10).saturating_add(u16::from(digit - b'0'))
    });
    match rest.get(digits..) {
        Some([]) if digits <= 3 => Match::Maybe,
        Some([b'>', ..]) if (1..=3).contains(&digits) => Match::when(number <= PRIORITY_MAX),
        _ => Match::No,
    }
}

fn is_text(bytes: &[u8]) -> bool {
    bytes.iter().take(TEXT_BYTES).all(|byte| *byte >= b' ' || b"\t\r\n".contains(byte))
}

/// The receiver has nothing to say: what it says is something else.
pub(super) struct OneWay;

impl Parser for OneWay {
    fn data(&mut self, from: Side, _bytes: &[u8], _sink: &mut Sink<'_>) -> Appetite {
        match from {
            Side::Originator => Appetite::More,
            Side::Responder => Appetite::Contradicted,
        }
    }

    fn gap(&mut self, _from: Side, _bytes: u64, _sink: &mut Sink<'_>) -> Appetite {
        Appetite::More
    }
}
