//! Oracle's TNS: a connect packet with its description.

use super::bytes::be16;
use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol, Side};

/// Oracle's TNS.
pub static PROTOCOL: Protocol = Protocol { name: "tns", manner: Manner::RequestResponse };

/// Oracle on any port.
pub const REGISTRATION: Registration = Registration::stream(&PROTOCOL, |probe: &Probe<'_>| {
    let bytes = probe.opening();
    if probe.first != Side::Originator {
        return Match::No;
    }
    let (Some(length), Some(kind), Some(version), Some(data)) =
        (be16(bytes, 0), bytes.get(4), be16(bytes, 8), be16(bytes, 26))
    else {
        return Match::so_far(bytes.first().is_none_or(|high| *high < 16))
            .and(Match::so_far(bytes.get(4).is_none_or(|kind| *kind == 1)));
    };
    Match::when(*kind == 1 && length >= 58 && (300..400).contains(&version) && data < length)
});
