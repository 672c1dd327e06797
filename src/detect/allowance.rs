//! What someone decided not to see, as far as a detector must know it.

use std::net::IpAddr;

use super::Rule;
use crate::container::ContainerIdentity;
use crate::time::Timestamp;

/// Findings are silenced behind the detectors. A sum over several peers must leave out what is allowed
/// itself, and asks here.
pub trait Allowance {
    /// Whether one of these rules of a detector is allowed towards this peer, at this moment of packet
    /// time. What is left out of a sum for that is not counted as silenced.
    fn allows(&self, at: Timestamp, detector: &str, rules: &[&Rule], traffic: &Traffic<'_>)
    -> bool;
}

/// Who talks with whom.
#[derive(Clone, Copy, Debug)]
pub struct Traffic<'a> {
    /// Whose traffic.
    pub container: &'a ContainerIdentity,
    /// The other side.
    pub peer: IpAddr,
    /// Its name, where the container knows one.
    pub peer_name: Option<&'a str>,
    /// The responder's port, whichever side that is.
    pub service_port: u16,
}

/// Nothing is allowed.
impl Allowance for () {
    fn allows(&self, _: Timestamp, _: &str, _: &[&Rule], _: &Traffic<'_>) -> bool {
        false
    }
}
