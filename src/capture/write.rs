//! Keeps what was captured: pcapng files that `replay` reads, rotated and bounded.
//!
//! Each interface is described with its name, and with [`CONTAINER_LINK`] where it is the host's end
//! of a container's interface, or with whose it is where a pod's own are kept, so that a replay tells containers
//! apart as the live run did. That one is gone is told by its statistics (an Interface Statistics Block,
//! which others write at their end).
//! The format is that of draft-ietf-opsawg-pcapng; blocks are in the machine's own byte order.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::{CONTAINER_LINK, Interface, pod};
use crate::container::Named;
use crate::decode::Frame;
use crate::event::LinkId;
use crate::time::Timestamp;

const SECTION: u32 = 0x0a0d_0d0a;
const INTERFACE: u32 = 1;
const STATISTICS: u32 = 5;
const PACKET: u32 = 6;
/// Options of an interface: a comment, its name, its description, the unit of its time stamps.
const COMMENT: u16 = 1;
const NAME: u16 = 2;
const DESCRIPTION: u16 = 3;
const RESOLUTION: u16 = 9;
/// Time stamps count nanoseconds.
const NANOSECONDS: u8 = 9;
/// Before a file's first interface, and around a packet (bytes).
const PACKET_OVERHEAD: u64 = 32;

/// Files of one capture, the newest written to. Full, a file is closed and the next begun; beyond
/// their number the oldest is deleted.
#[derive(Debug)]
pub struct CaptureFiles {
    path: PathBuf,
    file_bytes_max: u64,
    files_max: usize,
    file: BufWriter<File>,
    file_bytes: u64,
    /// Files begun so far (count).
    number: u64,
    /// Closed files that are still there, the oldest first.
    kept: VecDeque<PathBuf>,
    /// What is known of each interface, in the order of their descriptions in the file.
    links: BTreeMap<LinkId, Interface>,
    /// What each is described with where all are a pod's own.
    pod: Option<String>,
    described: BTreeMap<LinkId, u32>,
    /// The file that each was last described in.
    described_in: BTreeMap<LinkId, u64>,
    /// Interfaces described in this file (count).
    descriptions: u32,
    /// Time of the last frame.
    latest: Timestamp,
}

impl CaptureFiles {
    /// Begins the first file at `path`; later ones are `path` with `.1`, `.2` and so on behind it.
    /// At most `files_max` files of about `file_bytes_max` bytes are kept.
    ///
    /// # Errors
    /// The file cannot be created.
    pub fn create(path: &Path, file_bytes_max: u64, files_max: usize) -> io::Result<Self> {
        let mut files = Self {
            path: path.to_path_buf(),
            file_bytes_max,
            files_max: files_max.max(1),
            file: BufWriter::new(create(path)?),
            file_bytes: 0,
            number: 1,
            kept: VecDeque::new(),
            links: BTreeMap::new(),
            pod: None,
            described: BTreeMap::new(),
            described_in: BTreeMap::new(),
            descriptions: 0,
            latest: Timestamp::default(),
        };
        files.begin()?;
        Ok(files)
    }

    /// Tells of an interface, before its first frame.
    pub fn link(&mut self, link: LinkId, interface: Interface) {
        self.links.insert(link, interface);
        self.described.remove(&link);
    }

    /// Tells whose all interfaces are, or by which further addresses the pod is known from now on.
    pub fn pod(&mut self, pod: &Named) {
        self.pod = pod::comment(pod);
        self.described.clear();
    }

    /// Forgets an interface that is gone, and says so where a file that is kept holds any of it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn gone(&mut self, link: LinkId) -> io::Result<()> {
        let oldest = self.number - self.kept.len() as u64;
        let is_kept = self.described_in.remove(&link).is_some_and(|number| number >= oldest);
        let number = match self.described.remove(&link) {
            None if is_kept && self.links.contains_key(&link) => self.describe(link)?,
            Some(number) => number,
            None => {
                self.links.remove(&link);
                return Ok(());
            }
        };
        self.links.remove(&link);
        self.described.remove(&link);
        self.described_in.remove(&link);
        let at = self.latest.nanos();
        let mut body = [0; 12];
        for (place, word) in body.chunks_exact_mut(4).zip([number, (at >> 32) as u32, at as u32]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.block(STATISTICS, &body, &[])
    }

    /// Keeps a frame of an interface that was told.
    ///
    /// # Errors
    /// The file cannot be written, or the next not be created.
    pub fn frame(&mut self, link: LinkId, frame: &Frame<'_>) -> io::Result<()> {
        if self.file_bytes + frame.bytes.len() as u64 + PACKET_OVERHEAD > self.file_bytes_max {
            self.rotate()?;
        }
        let number = match self.described.get(&link) {
            Some(number) => *number,
            None => self.describe(link)?,
        };
        self.latest = frame.at;
        let at = frame.at.nanos();
        let captured = frame.bytes.len() as u32;
        let mut head = [0; 20];
        for (place, word) in head.chunks_exact_mut(4).zip([
            number,
            (at >> 32) as u32,
            at as u32,
            captured,
            frame.wire_bytes.max(captured),
        ]) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        self.block(PACKET, &head, frame.bytes)
    }

    /// Writes out what is buffered.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }

    fn begin(&mut self) -> io::Result<()> {
        // Byte order mark, version 1.0, section length unknown.
        let mut body = [0; 16];
        body[..4].copy_from_slice(&0x1a2b_3c4d_u32.to_ne_bytes());
        body[4..6].copy_from_slice(&1_u16.to_ne_bytes());
        body[8..].copy_from_slice(&u64::MAX.to_ne_bytes());
        self.file_bytes = 0;
        self.described.clear();
        self.descriptions = 0;
        self.block(SECTION, &body, &[])
    }

    /// Begins the next file after one that could not be written to its end. Nothing older is deleted
    /// unless that works.
    ///
    /// # Errors
    /// The next file cannot be created or written.
    pub fn go_on(&mut self) -> io::Result<()> {
        let next = self.path_of(self.number + 1);
        let cut_off = std::mem::replace(&mut self.file, BufWriter::new(create(&next)?));
        // What is buffered belongs to a block that was cut off.
        let (old, _) = cut_off.into_parts();
        if let Err(error) = self.begin().and_then(|()| self.file.flush()) {
            let failed = std::mem::replace(&mut self.file, BufWriter::new(old));
            let _ = failed.into_parts();
            let _ = fs::remove_file(next);
            return Err(error);
        }
        self.begun();
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        self.file.flush()?;
        self.file = BufWriter::new(create(&self.path_of(self.number + 1))?);
        self.begun();
        self.begin()
    }

    /// The next file is begun: the one before is closed, and what is beyond the bound deleted.
    fn begun(&mut self) {
        self.kept.push_back(self.path_of(self.number));
        self.number += 1;
        while self.kept.len() >= self.files_max {
            let Some(oldest) = self.kept.pop_front() else { break };
            // One that somebody took away already is gone, which is all that is wanted.
            let _ = fs::remove_file(oldest);
        }
    }

    fn path_of(&self, number: u64) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 1 {
            name.push(format!(".{}", number - 1));
        }
        name.into()
    }

    fn describe(&mut self, link: LinkId) -> io::Result<u32> {
        let unknown = || io::Error::other(format!("interface {} was never told", link.0));
        let interface = self.links.get(&link).ok_or_else(unknown)?;
        let mut body = Vec::with_capacity(64);
        body.extend_from_slice(&(interface.link_type.number() as u16).to_ne_bytes());
        body.extend_from_slice(&[0; 2]);
        body.extend_from_slice(&interface.snaplen.to_ne_bytes());
        if let Some(name) = &interface.name {
            option(&mut body, NAME, name.as_bytes());
        }
        if interface.of_container {
            option(&mut body, DESCRIPTION, CONTAINER_LINK.as_bytes());
        }
        if let Some(pod) = &self.pod {
            option(&mut body, COMMENT, pod.as_bytes());
        }
        option(&mut body, RESOLUTION, &[NANOSECONDS]);
        option(&mut body, 0, &[]);
        let number = self.descriptions;
        self.block(INTERFACE, &body, &[])?;
        self.descriptions += 1;
        self.described.insert(link, number);
        self.described_in.insert(link, self.number);
        Ok(number)
    }

    fn block(&mut self, kind: u32, head: &[u8], data: &[u8]) -> io::Result<()> {
        let padding = data.len().next_multiple_of(4) - data.len();
        let length = (12 + head.len() + data.len() + padding) as u32;
        self.file_bytes += u64::from(length);
        self.file.write_all(&kind.to_ne_bytes())?;
        self.file.write_all(&length.to_ne_bytes())?;
        self.file.write_all(head)?;
        self.file.write_all(data)?;
        self.file.write_all(&[0; 3][..padding])?;
        self.file.write_all(&length.to_ne_bytes())
    }
}

/// Packets hold what was said: for us alone. No link is followed to another's file.
fn create(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.write(true).create(true).truncate(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
    let file = options.open(path)?;
    // It may have been there, for others to read.
    if file.metadata()?.is_file() {
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn option(body: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..usize::from(u16::MAX)).unwrap_or(value);
    body.extend_from_slice(&code.to_ne_bytes());
    body.extend_from_slice(&(value.len() as u16).to_ne_bytes());
    body.extend_from_slice(value);
    body.resize(body.len().next_multiple_of(4), 0);
}

#[cfg(test)]
mod tests {
    use super::super::{Next, Opening, Source, open};
    use super::*;
    use crate::decode::LinkType;

    fn interface(name: &str) -> Interface {
        Interface {
            name: Some(name.to_owned()),
            link_type: LinkType::LinuxSll2,
            snaplen: 1_000,
            of_container: true,
            pod: None,
        }
    }

    fn write(files: &mut CaptureFiles, link: u32, at: u64, bytes: &[u8]) {
        let at = Timestamp::from_nanos(at);
        let wire_bytes = bytes.len() as u32 + 5;
        let frame = Frame { at, link_type: LinkType::LinuxSll2, wire_bytes, bytes };
        files.frame(LinkId(link), &frame).unwrap();
    }

    fn read<S: Source>(source: &mut S) -> Vec<String> {
        let mut seen = Vec::new();
        loop {
            match source.next() {
                Next::Link(link, interface) => seen.push(format!("{} {interface:?}", link.0)),
                Next::Frame(link, frame) => seen.push(format!(
                    "{} {} {} {:?}",
                    link.0,
                    frame.at.nanos(),
                    frame.wire_bytes,
                    frame.bytes
                )),
                Next::LinkGone(link) => seen.push(format!("{} is gone", link.0)),
                Next::End => return seen,
            }
        }
    }

    #[test]
    fn what_is_kept_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.pcapng");
        let mut files = CaptureFiles::create(&path, 1 << 20, 2).unwrap();
        files.link(LinkId(7), interface("veth7"));
        files.link(LinkId(9), interface("veth9"));
        write(&mut files, 9, 1_795_500_000_000_000_001, b"abcde");
        write(&mut files, 7, 1_795_500_000_000_000_002, b"x");
        files.flush().unwrap();
        let Opening::Pcapng(mut source) = open(&[path]).unwrap().source else { panic!() };
        let seen = read(&mut *source);
        assert_eq!(seen[0], format!("0 {:?}", interface("veth9")));
        assert_eq!(seen[1], "0 1795500000000000001 10 [97, 98, 99, 100, 101]");
        assert_eq!(seen[2], format!("1 {:?}", interface("veth7")));
        assert_eq!(seen[3], "1 1795500000000000002 6 [120]");
    }

    /// A name that is used again is another interface, of another container.
    #[test]
    fn an_interface_that_is_gone_is_read_back_as_gone() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("a"), folder.path().join("b"));
        let mut files = CaptureFiles::create(&one, 1 << 20, 2).unwrap();
        let mut others = CaptureFiles::create(&other, 1 << 20, 2).unwrap();
        others.link(LinkId(3), interface("veth3"));
        for (at, bytes) in [(10, b"a"), (20, b"b")] {
            files.link(LinkId(7), interface("veth7"));
            write(&mut files, 7, at, bytes);
            files.gone(LinkId(7)).unwrap();
            files.gone(LinkId(7)).unwrap();
        }
        for at in [15, 25] {
            write(&mut others, 3, at, b"c");
        }
        files.flush().unwrap();
        others.flush().unwrap();
        let Opening::Pcapng(mut source) = open(std::slice::from_ref(&one)).unwrap().source else {
            panic!()
        };
        let veth = format!("{:?}", interface("veth7"));
        assert_eq!(
            read(&mut *source),
            [
                &format!("0 {veth}"),
                "0 10 6 [97]",
                "0 is gone",
                &format!("1 {veth}"),
                "1 20 6 [98]",
                "1 is gone"
            ]
        );
        let Opening::Merged(mut source) = open(&[one, other]).unwrap().source else { panic!() };
        let merged = read(&mut *source);
        let place = |text: &str| merged.iter().position(|line| line == text);
        assert!(place("2 15 6 [99]") < place("0 is gone"), "{merged:?}");
        assert!(place("0 is gone") < place("1 20 6 [98]"), "{merged:?}");
    }

    /// Also where the file that says so holds nothing else of it, or nothing after it.
    #[test]
    fn an_interface_is_gone_in_a_later_file_than_its_last_frame() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let mut files = CaptureFiles::create(&path, 1_000, 9).unwrap();
        for link in [1, 2] {
            files.link(LinkId(link), interface(&format!("veth{link}")));
        }
        write(&mut files, 1, 0, &[1; 100]);
        for at in 1..=10 {
            write(&mut files, 2, at, &[2; 100]);
        }
        for link in [1, 2, 3] {
            files.gone(LinkId(link)).unwrap();
        }
        files.flush().unwrap();
        let kept = open(&[folder.path().to_path_buf()]).unwrap().source;
        let Opening::Merged(mut source) = kept else { panic!() };
        let read = read(&mut *source);
        assert_eq!(read.iter().filter(|line| line.contains("Interface")).count(), 2, "{read:?}");
        for link in [0, 1] {
            let gone = format!("{link} is gone");
            assert_eq!(read.iter().filter(|line| **line == gone).count(), 1, "{read:?}");
        }
    }

    #[test]
    fn whose_interfaces_a_sidecar_keeps_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.pcapng");
        let mut pod: Named =
            toml::from_str("name = 'web'\naddresses = ['10.9.1.2']\nnamespace = 'shop'").unwrap();
        let mut files = CaptureFiles::create(&path, 1 << 20, 2).unwrap();
        files.pod(&pod);
        let own = Interface { of_container: false, ..interface("eth0") };
        files.link(LinkId(0), own.clone());
        write(&mut files, 0, 1, b"a");
        let before = Interface { pod: Some(Box::new(pod.clone())), ..own.clone() };
        pod.addresses.push("10.9.9.2".parse().unwrap());
        files.pod(&pod);
        write(&mut files, 0, 2, b"b");
        files.gone(LinkId(0)).unwrap();
        files.flush().unwrap();
        let after = Interface { pod: Some(Box::new(pod)), ..own };
        let Opening::Pcapng(mut source) = open(&[path]).unwrap().source else { panic!() };
        assert_eq!(
            read(&mut *source),
            [
                &format!("0 {before:?}"),
                "0 1 6 [97]",
                &format!("1 {after:?}"),
                "1 2 6 [98]",
                "1 is gone"
            ]
        );
    }

    /// In each file the interfaces stand in the order of their first frames, and some in none.
    #[test]
    fn an_interface_goes_on_in_the_next_file() {
        let folder = tempfile::tempdir().unwrap();
        let paths = ["one", "other"].map(|name| folder.path().join(name));
        let [mut one, mut other] =
            paths.each_ref().map(|path| CaptureFiles::create(path, 600, 9).unwrap());
        for link in [1, 2, 3] {
            one.link(LinkId(link), interface(&format!("veth{link}")));
        }
        other.link(LinkId(4), interface("veth4"));
        let order = [1, 2, 3, 3, 2, 2, 2, 2, 1, 3, 1];
        for (at, link) in (0..).zip(order) {
            write(&mut one, link, 10 * at, &[link as u8; 100]);
            write(&mut other, 4, 10 * at + 5, &[4; 100]);
        }
        one.flush().unwrap();
        other.flush().unwrap();
        let kept = open(&[folder.path().to_path_buf()]).unwrap().source;
        let Opening::Merged(mut source) = kept else { panic!() };
        let mut links = BTreeMap::new();
        let mut read = 0;
        loop {
            match source.next() {
                Next::Frame(link, frame) => {
                    let first = *links.entry(frame.bytes[0]).or_insert(link);
                    assert_eq!(link, first, "of veth{}", frame.bytes[0]);
                    read += 1;
                }
                Next::End => break,
                _ => {}
            }
        }
        assert_eq!((read, links.len()), (22, 4));
        assert!(fs::read_dir(folder.path()).unwrap().count() >= 6);
    }

    #[test]
    fn packets_are_for_their_owner_and_go_to_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (new, old) = (folder.path().join("new"), folder.path().join("old"));
        fs::write(&old, "").unwrap();
        fs::set_permissions(&old, fs::Permissions::from_mode(0o644)).unwrap();
        for path in [&new, &old] {
            CaptureFiles::create(path, 1_000, 2).unwrap();
            assert_eq!(mode(path), 0o600);
        }
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&old, &link).unwrap();
        assert!(CaptureFiles::create(&link, 1_000, 2).is_err());
    }

    #[test]
    fn files_are_rotated_and_the_oldest_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.pcapng");
        let mut files = CaptureFiles::create(&path, 1_000, 3).unwrap();
        files.link(LinkId(1), interface("veth1"));
        for at in 0..50 {
            write(&mut files, 1, at, &[0; 100]);
        }
        files.flush().unwrap();
        let mut sizes: Vec<u64> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().metadata().unwrap().len())
            .collect();
        sizes.sort_unstable();
        assert_eq!(sizes.len(), 3);
        assert!(*sizes.last().unwrap() <= 1_100, "{sizes:?}");
        assert!(!path.exists(), "the oldest went");
        let kept = open(&[folder.path().to_path_buf()]).unwrap().source;
        let Opening::Merged(mut source) = kept else { panic!() };
        let frames = read(&mut *source).len();
        assert!((10..25).contains(&frames), "{frames}");
    }
}
