//! XMPP (RFC 6120): the stream headers of both sides.

use super::text::contains_ignore_case;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// XMPP.
pub static PROTOCOL: Protocol = Protocol { name: "xmpp", manner: Manner::Push };

/// XMPP on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    if probe.first != Side::Originator {
        return Match::No;
    }
    let begins = Match::prefix(bytes, b"<?xml ").or(Match::prefix(bytes, b"<stream:stream "));
    let headed = contains_ignore_case(bytes, b"<stream:stream ");
    let named = contains_ignore_case(bytes, b"jabber:");
    match (begins, headed && named, probe.answer()) {
        (Match::Yes, true, []) => Match::Awaits,
        (Match::Yes, true, [first, ..]) => Match::when(*first == b'<'),
        (Match::Yes, false, []) => Match::Maybe,
        (Match::Maybe, _, []) => Match::Maybe,
        _ => Match::No,
    }
})
.may_start_tls()
.of_both_sides();
