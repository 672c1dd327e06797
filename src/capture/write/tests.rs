//! What is kept, read back.
#![allow(clippy::unwrap_used)]

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

#[test]
fn a_later_run_goes_on_behind_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.pcapng");
    let run = |byte: u8, frames: u64| {
        let mut files = CaptureFiles::create(&path, 1_000, 4).unwrap();
        files.link(LinkId(1), interface("veth1"));
        for at in 0..frames {
            write(&mut files, 1, u64::from(byte) * 100 + at, &[byte; 100]);
        }
        files.flush().unwrap();
    };
    let names = || {
        let entries = fs::read_dir(folder.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names.into_iter().map(|name| name.into_string().unwrap()).collect::<Vec<_>>().join(" ")
    };
    run(1, 2);
    run(2, 2);
    run(2, 0);
    fs::write(folder.path().join("kept.pcapng.7"), "no capture").unwrap();
    run(3, 8);
    assert_eq!(names(), "kept.pcapng kept.pcapng.1 kept.pcapng.2 kept.pcapng.3 kept.pcapng.7");
    for _ in 0..3 {
        run(4, 6);
    }
    let last = "kept.pcapng.3 kept.pcapng.4 kept.pcapng.5 kept.pcapng.6 kept.pcapng.7";
    assert_eq!(names(), last, "what was no capture was in the way of the last");
    let kept = open(&[folder.path().to_path_buf()]).unwrap().source;
    let Opening::Merged(mut source) = kept else { panic!() };
    let frames = read(&mut *source).iter().filter(|line| line.contains(" 105 ")).count();
    assert_eq!(frames, 2 + 3 * 6, "the second part of the third run, and what followed");
}

#[test]
fn two_do_not_write_to_one_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kept.pcapng");
    let mut first = CaptureFiles::create(&path, 500, 9).unwrap();
    first.flush().unwrap();
    let refused = || CaptureFiles::create(&path, 500, 9).unwrap_err().to_string();
    assert!(refused().contains("another vethwatch"), "{}", refused());
    first.link(LinkId(1), interface("veth1"));
    for at in 0..9 {
        write(&mut first, 1, at, &[0; 100]);
    }
    first.flush().unwrap();
    assert!(refused().contains("another vethwatch"), "rotated: {}", refused());
    drop(first);
    assert!(CaptureFiles::create(&path, 500, 9).is_ok());
}
