//! A container's own view of DNS: the name by which it asked for an address.

use std::net::IpAddr;
use std::time::Duration;

use crate::bounded::BoundedMap;
use crate::event::Name;
use crate::time::Timestamp;

/// An answer is believed for its time to live and this much longer: clients keep addresses.
const GRACE: Duration = Duration::from_secs(3_600);

/// Address → name, from the DNS answers that the container got. Bounded.
#[derive(Debug)]
pub struct Names {
    entries: BoundedMap<IpAddr, (Name, Timestamp)>,
}

impl Names {
    /// Room for `max` addresses (count).
    pub fn new(max: usize) -> Self {
        Self { entries: BoundedMap::new(max) }
    }

    /// Notes that `name` was answered with `ip`, to be believed for `ttl_s` seconds and a grace.
    pub fn learn(&mut self, at: Timestamp, ip: IpAddr, name: &str, ttl_s: u32) {
        let until = at.after(Duration::from_secs(u64::from(ttl_s))).after(GRACE);
        match self.entries.get_mut(&ip) {
            Some((known, expiry)) if **known == *name => *expiry = until,
            _ => {
                self.entries.insert(ip, (name.into(), until));
            }
        }
    }

    /// The name by which the container last asked for this address.
    pub fn of(&self, at: Timestamp, ip: IpAddr) -> Option<&Name> {
        self.entries.peek(&ip).filter(|(_, until)| *until >= at).map(|(name, _)| name)
    }

    /// All that are believed at `at`, the longest unused first.
    pub fn all(&self, at: Timestamp) -> Vec<(IpAddr, Box<str>, Timestamp)> {
        let believed = self.entries.iter().filter(|(_, (_, until))| *until >= at);
        let mut all: Vec<_> =
            believed.map(|(ip, (name, until))| (*ip, (&**name).into(), *until)).collect();
        all.reverse();
        all
    }

    /// Takes up names from before those that are known.
    pub fn recall(&mut self, past: Vec<(IpAddr, Box<str>, Timestamp)>) {
        for (ip, name, until) in past {
            self.entries.get_or_insert_with(ip, || (name.into(), until));
        }
    }

    /// Addresses with a name (count).
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// No address has a name.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Entries forgotten to make room (count).
    pub const fn evicted(&self) -> u64 {
        self.entries.evicted()
    }
}
