//! Live capture of interfaces. The flags `--snaplen` and `--buffer` stand above this table.

use serde::{Deserialize, Serialize};

/// `[capture]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Snap length: bytes of each frame that are captured, 96 to 262144. Segments of a veth may take
    /// 64 KiB. Shorter costs findings that rest on content, and no volumes.
    pub snaplen_bytes: u32,
    /// Kernel buffer of each interface (bytes; at least 1 MiB and at most 1023 MiB are taken). It is
    /// memory of the host's, shown as resident, that a container's limit does not count.
    pub buffer_bytes: u32,
    /// `node`: kernel buffer of all interfaces together (bytes; within the same bounds).
    pub node_buffer_bytes: u32,
    /// `node`: threads that capture and analyse, each a share of the interfaces, the kernel's buffer and the
    /// bounds on what traffic fills (count, at most 16; 0 for one per four cores, at most four).
    pub workers: u32,
    /// Overload: a TCP segment or UDP datagram of this size on is bulk, unless it opens or ends a connection
    /// or begins a handshake, or is DNS (bytes from the IP header on; at least 256 are taken).
    pub bulk_bytes: u32,
    /// How full the kernel's buffer was when bulk is cut to its headers: volumes stay exact, and content is
    /// not looked at (share of the buffer; 0 for always, 1 for never).
    pub bulk_cut_share: f64,
    /// How full it was, although bulk is cut, when bulk is counted and not analysed (share of the buffer; 1
    /// for never).
    pub bulk_drop_share: f64,
    /// Interfaces with values of their own: `[[capture.interfaces]]`.
    pub interfaces: Vec<Interface>,
}

/// An interface with values of its own.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Interface {
    /// Its name.
    pub name: Box<str>,
    /// As in `[capture]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snaplen_bytes: Option<u32>,
    /// As in `[capture]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buffer_bytes: Option<u32>,
}

impl Settings {
    /// Snap lengths that are taken (bytes).
    pub const SNAPLEN_BYTES: [u32; 2] = [96, 262_144];
    /// Kernel buffers that are taken (bytes).
    pub const BUFFER_BYTES: [u32; 2] = [1 << 20, 1_023 << 20];

    /// Snap length and kernel buffer of an interface (bytes), within what is taken.
    pub fn of(&self, name: &str) -> [u32; 2] {
        let own = self.interfaces.iter().find(|interface| *interface.name == *name);
        let snaplen = own.and_then(|own| own.snaplen_bytes).unwrap_or(self.snaplen_bytes);
        let buffer = own.and_then(|own| own.buffer_bytes).unwrap_or(self.buffer_bytes);
        let within = |value: u32, [least, most]: [u32; 2]| value.clamp(least, most);
        [within(snaplen, Self::SNAPLEN_BYTES), within(buffer, Self::BUFFER_BYTES)]
    }
}

impl Settings {
    /// Snap length and kernel buffer of a capture of all interfaces (bytes), within what is taken.
    pub fn of_node(&self) -> [u32; 2] {
        let all = Self { buffer_bytes: self.node_buffer_bytes, interfaces: Vec::new(), ..*self };
        all.of("")
    }

    /// # Errors
    /// The key whose value is out of its range, and that range.
    pub(super) fn check(&self) -> Result<(), (Vec<String>, String)> {
        let [least, most] = Self::SNAPLEN_BYTES;
        let place = |number: usize| ["interfaces".to_owned(), number.to_string()].to_vec();
        let own = self.interfaces.iter().enumerate();
        let own = own.filter_map(|(number, own)| Some((place(number), own.snaplen_bytes?)));
        for (mut path, bytes) in own.chain([(Vec::new(), self.snaplen_bytes)]) {
            if !(least..=most).contains(&bytes) {
                path.push("snaplen_bytes".to_owned());
                return Err((path, format!("is {bytes}; it must be from {least} to {most}")));
            }
        }
        let workers = self.workers;
        if workers > Self::WORKERS_MAX {
            let most = Self::WORKERS_MAX;
            let complaint = format!("is {workers}; it must be from 0 to {most}");
            return Err((vec!["workers".to_owned()], complaint));
        }
        Ok(())
    }

    /// Most workers (count).
    const WORKERS_MAX: u32 = 16;

    /// Workers of `node` on a machine with so many cores (count).
    pub fn workers_on(&self, cores: usize) -> u32 {
        match self.workers {
            0 => (cores / 4).clamp(1, 4) as u32,
            some => some.min(Self::WORKERS_MAX),
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            snaplen_bytes: 65_550,
            buffer_bytes: 4 << 20,
            node_buffer_bytes: 32 << 20,
            workers: 0,
            bulk_bytes: 1_000,
            bulk_cut_share: 0.5,
            bulk_drop_share: 0.75,
            interfaces: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_machines_have_one_worker() {
        let automatic = Settings::default();
        let counts = [1, 2, 4, 7, 8, 12, 64].map(|cores| automatic.workers_on(cores));
        assert_eq!(counts, [1, 1, 1, 1, 2, 3, 4]);
        let asked = |workers| Settings { workers, ..Settings::default() }.workers_on(2);
        assert_eq!([1, 2, 99].map(asked), [1, 2, 16]);
    }

    #[test]
    fn an_interface_has_its_own_values() {
        let settings = Settings {
            interfaces: vec![Interface {
                name: "eth1".into(),
                snaplen_bytes: Some(1),
                buffer_bytes: None,
            }],
            ..Settings::default()
        };
        assert_eq!(settings.of("eth0"), [65_550, 4 << 20]);
        assert_eq!(settings.of("eth1"), [96, 4 << 20], "within what is taken");
    }
}
