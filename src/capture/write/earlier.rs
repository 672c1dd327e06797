//! What earlier runs kept at the same place: a monitor that is started anew must not write over it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::{Closed, SECTION};

/// A file without a packet: its section's first block alone (bytes).
const EMPTY_BYTES: u64 = 28;

/// The file with this number: `path`, then `path.1` and so on.
pub(super) fn path_of(path: &Path, number: u64) -> PathBuf {
    let mut name = path.to_path_buf().into_os_string();
    if number > 1 {
        name.push(format!(".{}", number - 1));
    }
    name.into()
}

/// Capture files at this place, by number. What is no capture, or an empty one, is nobody's here: one that is in
/// the way is written over as ever, and none is deleted.
///
/// # Errors
/// Another process writes to the newest.
pub(super) fn find(path: &Path) -> io::Result<BTreeMap<u64, Closed>> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let entries = fs::read_dir(folder.unwrap_or(Path::new(".")))?;
    let numbers = entries.flatten().filter_map(|entry| number_of(path, &entry.file_name()));
    let named = numbers.map(|number| (number, path_of(path, number)));
    let captures = named.filter_map(|(number, path)| Some((number, capture(path)?)));
    let found: BTreeMap<u64, Closed> = captures.collect();
    if let Some((_, newest)) = found.last_key_value()
        && let Ok(file) = File::open(&newest.path)
    {
        lock(&file)?;
    }
    Ok(found)
}

/// Until the file is closed. Where a file system knows no locks, there is none.
///
/// # Errors
/// Another process has it.
pub(super) fn lock(file: &File) -> io::Result<()> {
    if flock(file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Err(io::Error::other(
            "another vethwatch writes there; give each a file of its own",
        ));
    }
    Ok(())
}

fn number_of(path: &Path, name: &std::ffi::OsStr) -> Option<u64> {
    let (own, name) = (path.file_name()?.as_encoded_bytes(), name.as_encoded_bytes());
    let rest = name.strip_prefix(own)?;
    if rest.is_empty() {
        return Some(1);
    }
    let digits = str::from_utf8(rest.strip_prefix(b".")?).ok()?;
    let number: u64 = digits.parse().ok()?;
    // Written as we write it: no sign, no zero in front.
    (number > 0 && number.to_string() == digits).then(|| number.checked_add(1))?
}

fn capture(path: PathBuf) -> Option<Closed> {
    let there = fs::symlink_metadata(&path).ok()?;
    if !there.is_file() || there.len() <= EMPTY_BYTES {
        return None;
    }
    let mut magic = [0; 4];
    File::open(&path).and_then(|mut file| file.read_exact(&mut magic)).ok()?;
    (u32::from_ne_bytes(magic) == SECTION).then_some(Closed { path, bytes: there.len() })
}
