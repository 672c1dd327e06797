//! StatsD and its dialects: lines of `name:value|type`, in datagrams.

use super::{Match, Probe, Registration};
use crate::event::{Manner, Protocol};

/// StatsD.
pub static PROTOCOL: Protocol = Protocol { name: "statsd", manner: Manner::Push };

/// StatsD on any port.
pub const REGISTRATION: Registration = Registration::datagram(&PROTOCOL, probe);

fn probe(probe: &Probe<'_>) -> Match {
    let mut lines = probe.opening().split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let first = lines.next();
    Match::when(first.is_some_and(is_metric) && lines.take(8).all(is_metric_or_cut))
}

fn is_metric(line: &[u8]) -> bool {
    // Events and service checks of DogStatsD.
    if line.starts_with(b"_e{") || line.starts_with(b"_sc|") {
        return true;
    }
    let mut fields = line.split(|byte| *byte == b'|');
    let (Some(named), Some(kind)) = (fields.next(), fields.next()) else { return false };
    let Some(colon) = named.iter().position(|byte| *byte == b':') else { return false };
    let (name, value) = named.split_at(colon);
    !name.is_empty()
        && name.iter().all(|byte| byte.is_ascii_graphic())
        && value.len() > 1
        && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b":+-.eE".contains(byte))
        && matches!(kind, b"c" | b"g" | b"ms" | b"s" | b"h" | b"d" | b"m" | b"kv")
}

/// The last line may end with the captured bytes.
fn is_metric_or_cut(line: &[u8]) -> bool {
    is_metric(line) || line.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ')
}
