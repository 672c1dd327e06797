//! A file that records are added to for as long as a live mode runs, and that others rotate.
//!
//! It is open for appending: a restart adds to what is there, and a tool that copies and truncates it
//! leaves no hole. Before each batch its name is looked up: where it leads elsewhere (it was moved, removed,
//! or another was put in its place) it is opened anew, so that rotation needs no signal.

use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, fcntl_setfl};

use super::queue::{Destination, Place};

/// See the module.
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    file: File,
    /// Why it could not be opened anew, said once.
    failure: Option<io::ErrorKind>,
}

/// Findings name containers and what they did: for the owner and its group.
pub const MODE: u32 = 0o640;

impl LogFile {
    /// Opens it, making it if it is not there. Of a pipe it waits for whoever reads, and says so by `waits`.
    ///
    /// # Errors
    /// It cannot be made or written.
    pub fn open(path: &Path, waits: impl FnOnce()) -> io::Result<Self> {
        let is_pipe = path.metadata().is_ok_and(|there| there.file_type().is_fifo());
        let file = if is_pipe { open_pipe(path, waits)? } else { append(path)? };
        Ok(Self { path: path.to_owned(), file, failure: None })
    }
}

impl Destination for LogFile {
    fn place(&mut self) -> Place {
        let Some(ours) = self.file.metadata().ok().filter(Metadata::is_file) else {
            return Place::Same;
        };
        let there = self.path.metadata();
        let is_ours = |there: &Metadata| (there.dev(), there.ino()) == (ours.dev(), ours.ino());
        let opened = match there {
            Ok(there) if is_ours(&there) => return Place::Same,
            // To open a pipe would wait for whoever reads it.
            Ok(there) if !there.is_file() => Err(io::ErrorKind::AlreadyExists.into()),
            _ => append(&self.path),
        };
        match opened {
            Ok(file) => {
                (self.file, self.failure) = (file, None);
                Place::Anew
            }
            Err(error) if self.failure == Some(error.kind()) => Place::Same,
            Err(error) => {
                self.failure = Some(error.kind());
                Place::Lost(format!(
                    "it was moved or removed and cannot be made anew: {error}; records go on into the \
                     file that it was; check its folder and permissions"
                ))
            }
        }
    }
}

impl Write for LogFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open_pipe(path: &Path, waits: impl FnOnce()) -> io::Result<File> {
    let mut options = File::options();
    match options.write(true).custom_flags(libc::O_NONBLOCK).open(path) {
        Ok(file) => {
            fcntl_setfl(&file, OFlags::empty())?;
            Ok(file)
        }
        Err(error) if error.raw_os_error() == Some(libc::ENXIO) => {
            waits();
            File::options().write(true).open(path)
        }
        Err(error) => Err(error),
    }
}

fn append(path: &Path) -> io::Result<File> {
    let mut file = File::options().append(true).create(true).mode(MODE).open(path)?;
    // A run that was killed, or ended on a full disk, may have left half a record.
    if file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() > 0)
        && ends_within_a_line(path)
    {
        file.write_all(b"\n")?;
    }
    Ok(file)
}

/// Where it may not be read, that is not known.
fn ends_within_a_line(path: &Path) -> bool {
    let mut last = [b'\n'];
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)
    });
    read.is_ok() && last != [b'\n']
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn every_way_of_rotating_leaves_whole_lines() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("logs");
        fs::create_dir(&place).unwrap();
        let (path, moved) = (place.join("eve.json"), place.join("eve.json.1"));
        fs::write(&path, "old\nhalf").unwrap();
        let mut log = LogFile::open(&path, || ()).unwrap();
        let mut add = |line: &str| {
            let place = log.place();
            log.write_all(line.as_bytes()).unwrap();
            place
        };
        let text = |path: &Path| fs::read_to_string(path).unwrap();
        assert_eq!(add("a\n"), Place::Same);
        assert_eq!(text(&path), "old\nhalf\na\n", "a restart adds, on a line of its own");

        fs::rename(&path, &moved).unwrap();
        add("b\n");
        assert_eq!([text(&moved), text(&path)], ["old\nhalf\na\n", "b\n"], "moved away");

        fs::remove_file(&path).unwrap();
        add("c\n");
        assert_eq!(text(&path), "c\n", "removed");

        fs::copy(&path, &moved).unwrap();
        File::options().write(true).open(&path).unwrap().set_len(0).unwrap();
        add("d\n");
        assert_eq!([text(&moved), text(&path)], ["c\n", "d\n"], "copied and truncated");

        fs::rename(&place, folder.path().join("gone")).unwrap();
        let lost = add("e\n");
        assert!(
            matches!(&lost, Place::Lost(why) if why.contains("cannot be made anew")),
            "{lost:?}"
        );
        assert_eq!(add("f\n"), Place::Same, "said once");
        assert_eq!(text(&folder.path().join("gone/eve.json")), "d\ne\nf\n");
        fs::create_dir(&place).unwrap();
        assert_eq!(add("g\n"), Place::Anew);
        assert_eq!(text(&path), "g\n", "its folder is back");

        fs::remove_file(&path).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        assert!(matches!(add("h\n"), Place::Lost(_)), "a pipe that nobody reads");
        fs::remove_file(&path).unwrap();
        assert_eq!(add("i\n"), Place::Anew);
    }

    #[test]
    fn a_pipe_is_waited_for_only_where_nobody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pipe");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let (said, waits) = std::sync::mpsc::channel();
        let of_thread = path.clone();
        let writer = std::thread::spawn(move || {
            LogFile::open(&of_thread, || said.send(()).unwrap())
                .unwrap()
                .write_all(b"a\n")
                .unwrap();
        });
        waits.recv().unwrap();
        let mut reader = File::open(&path).unwrap();
        writer.join().unwrap();
        let mut again = LogFile::open(&path, || panic!("there is a reader")).unwrap();
        again.write_all(b"b\n").unwrap();
        drop(again);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        assert_eq!(text, "a\nb\n");
    }
}
