//! Interfaces and addresses that come and go while a pod lives.

use std::fs;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::bail;

use super::live::Watch;
use super::warn;
use crate::capture::live::{Found, Present, present};
use crate::output::Sink;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// Longest time without asking libpcap, whatever the kernel's tables say.
const ASK: Duration = Duration::from_secs(10);
/// Interfaces that are gone for so long do not come back.
const GONE: Duration = Duration::from_secs(5);
const LOOPBACK: &str = "lo";
/// What the kernel says of names, addresses and whether an interface is up: routes go with it. Where
/// one cannot be read, [`ASK`] must do.
const TABLES: [&str; 3] = ["/proc/self/net/dev", "/proc/self/net/if_inet6", "/proc/self/net/route"];

/// What became of the pod.
pub(super) enum Seen {
    /// Nothing is new.
    Same,
    /// These are its addresses now.
    Addresses(Vec<IpAddr>),
    /// It has no interface any more: it has ended.
    End,
}

/// Looks for the interfaces that are to be watched.
pub(super) struct Lookout<'a> {
    names: &'a [String],
    loopback: bool,
    tables: Vec<String>,
    looked: Instant,
    asked: Instant,
    /// Since when nothing that is to be watched is there.
    gone: Option<Instant>,
    /// The last complaint: said once.
    complaint: String,
    addresses: Vec<IpAddr>,
}

impl<'a> Lookout<'a> {
    /// With what was found at the start.
    pub(super) fn new(now: Instant, names: &'a [String], loopback: bool, found: &[Found]) -> Self {
        Self {
            names,
            loopback,
            tables: tables(),
            looked: now,
            asked: now,
            gone: None,
            complaint: String::new(),
            addresses: addresses(found),
        }
    }

    /// Looks again if it is time to, and starts to watch what has come.
    ///
    /// # Errors
    /// The interfaces that were named are gone while the pod has others.
    pub(super) fn look(
        &mut self,
        now: Instant,
        watch: &mut Watch,
        output: &mut dyn Sink,
    ) -> anyhow::Result<Seen> {
        if now - self.looked < LOOK {
            return Ok(Seen::Same);
        }
        self.looked = now;
        let tables = tables();
        let missing = watch.is_missing_any() || self.gone.is_some();
        if tables == self.tables && !missing && now - self.asked < ASK {
            return Ok(Seen::Same);
        }
        self.tables = tables;
        self.asked = now;
        let there = match present(self.names, self.loopback) {
            Ok(there) => there,
            Err(error) => {
                self.complain(&error.to_string());
                return Ok(Seen::Same);
            }
        };
        for found in &there.up {
            let before = watch.count();
            match watch.add(found, output) {
                Ok(()) if watch.count() > before => {
                    warn(&format!("watching {} too", found.name));
                }
                Ok(()) => {}
                Err(error) => self.complain(&error.to_string()),
            }
        }
        let is_up = |name: &str| there.up.iter().any(|found| found.name == name);
        let down = watch
            .names()
            .into_iter()
            .find(|name| there.names.iter().any(|there| there == name) && !is_up(name));
        if let Some(name) = down {
            self.complain(&format!("{name}: is down; nothing is captured until it is up again"));
        }
        if self.is_over(now, watch, &there)? {
            return Ok(Seen::End);
        }
        let now_there = addresses(&there.up);
        if now_there.iter().all(|ip| self.addresses.contains(ip)) {
            return Ok(Seen::Same);
        }
        self.addresses.clone_from(&now_there);
        Ok(Seen::Addresses(now_there))
    }

    /// Whether all is gone for good. What is down may come up again. What nobody watched and is down
    /// does not count: some kernels put tunnels into every namespace.
    fn is_over(&mut self, now: Instant, watch: &Watch, there: &Present) -> anyhow::Result<bool> {
        let is_there = |name: &str| there.names.iter().any(|there| there == name);
        let here = if self.names.is_empty() {
            there.any_up || watch.known().any(|name| name != LOOPBACK && is_there(name))
        } else {
            self.names.iter().any(|name| is_there(name))
        };
        if here {
            self.gone = None;
            return Ok(false);
        }
        let since = *self.gone.get_or_insert(now);
        if now - since < GONE {
            return Ok(false);
        }
        if there.any_up {
            bail!(
                "{}: gone, while the pod has other interfaces; name those with --interface, or none",
                self.names.join(", ")
            );
        }
        Ok(true)
    }

    fn complain(&mut self, complaint: &str) {
        if self.complaint != complaint {
            warn(complaint);
            complaint.clone_into(&mut self.complaint);
        }
    }
}

/// Addresses by which a pod is known to others.
pub(super) fn addresses(found: &[Found]) -> Vec<IpAddr> {
    let all = found.iter().flat_map(|found| &found.addresses);
    all.filter(|address| !address.is_loopback()).copied().collect()
}

fn tables() -> Vec<String> {
    // Of the counters of `dev`, the names alone.
    let name = |line: &str| line.split_once(':').map_or(String::new(), |(name, _)| name.into());
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let [dev, others @ ..] = TABLES.map(read);
    let mut tables: Vec<String> = dev.lines().map(name).collect();
    tables.extend(others);
    tables
}
