//! Command-line inputs to sources: what is there, what it is, and why it cannot be used.

use std::fs::{self, File};
use std::io::{self, IsTerminal, Read, Seek};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::compressed::{Stop, Stoppable, Stream, decompress, feed};
use super::damage::Origin;
use super::format::{Compression, Format, HEAD_BYTES};
use super::merge::Merge;
use super::{FileSource, PcapReader, PcapngReader, libpcap, pcapng};

/// Names standard input on the command line.
const STDIN: &str = "-";
const STDIN_LABEL: &str = "standard input";

/// Why an input cannot be used. Each message names the thing, the reason and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum InputError {
    /// There is no such file.
    #[error("{0}: no such file or directory; check the path")]
    Missing(String),
    /// It may not be read.
    #[error(
        "{0}: permission denied; run as a user who may read it, or pipe it: `sudo cat {0} | vethwatch replay -`"
    )]
    Forbidden(String),
    /// Reading failed.
    #[error("{input}: cannot be read: {source}; check the disk, or copy the file first")]
    Unreadable {
        /// Which.
        input: String,
        /// Why.
        source: io::Error,
    },
    /// Standard input is a terminal.
    #[error(
        "standard input is a terminal; pipe a capture in: `tcpdump -w - … | vethwatch replay -`"
    )]
    Terminal,
    /// Standard input was named twice.
    #[error("standard input is named twice; name `-` once")]
    StdinTwice,
    /// It has no bytes.
    #[error("{0}: is empty; check that the capture was written and closed")]
    Empty(String),
    /// It is something else.
    #[error("{input}: is not a capture but {looks_like}; {remedy}")]
    NotACapture {
        /// Which.
        input: String,
        /// What its first bytes look like.
        looks_like: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Its header is damaged.
    #[error(
        "{input}: its header is damaged: {reason}; capture again, or repair it with `editcap` or `pcapfix`"
    )]
    Header {
        /// Which.
        input: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It cannot be decompressed.
    #[error("{input}: its {compression} data is broken: {reason}; copy or compress it again", compression = .compression.as_str())]
    Compression {
        /// Which.
        input: String,
        /// What it is compressed with.
        compression: Compression,
        /// What is wrong with it.
        reason: String,
    },
    /// Its frames cannot be decoded.
    #[error(
        "{input}: link type {link_type} is not supported; vethwatch reads Ethernet, Linux cooked \
         v1 and v2, raw IP and BSD loopback: capture at the container's veth, or with \
         `tcpdump -i any`"
    )]
    LinkType {
        /// Which.
        input: String,
        /// Name and number.
        link_type: String,
    },
    /// A directory without captures.
    #[error(
        "{directory}: no capture in this directory can be read (subdirectories are not searched); \
         name a capture file{passed_over}"
    )]
    NoCaptures {
        /// Which.
        directory: String,
        /// The first file that was passed over, and why; empty in an empty directory.
        passed_over: String,
    },
}

/// Inputs, ready to be read.
#[derive(Debug)]
pub struct Opened {
    /// Hands out the frames.
    pub source: Opening,
    /// Size of all inputs as stored (bytes), where none is a stream.
    pub total_bytes: Option<u64>,
    /// What was passed over in directories, and why.
    pub notes: Vec<String>,
    /// Inputs that begin with the same frames as one before, in words.
    pub repeats: Vec<String>,
}

/// One input, or several in time order. A match on this outside of the reading loop spares one
/// inside.
#[derive(Debug)]
pub enum Opening {
    /// One classic pcap.
    Pcap(Box<PcapReader>),
    /// One pcapng.
    Pcapng(Box<PcapngReader>),
    /// Several inputs.
    Merged(Box<Merge>),
}

/// An input that was found, and its size in bytes where that is known.
#[derive(Debug)]
pub(super) enum Member {
    /// A file that can be opened again and again.
    File(PathBuf, u64),
    /// A stream, that can be read once.
    Stream(Box<FileSource>),
}

impl Member {
    const fn size(&self) -> Option<u64> {
        match self {
            Self::File(_, size) => Some(*size),
            Self::Stream(_) => None,
        }
    }
}

/// Opens inputs: files, directories (their captures, by name; subdirectories are left out), and
/// `-` for standard input. Several are merged in time order.
///
/// # Errors
/// The first input that cannot be used. Files that a directory happens to hold are passed over,
/// and noted, as long as one remains.
pub fn open(inputs: &[PathBuf]) -> Result<Opened, InputError> {
    open_until(inputs, &Stop::default())
}

/// As [`open`]; streams end when `stop` asks for it, even while they wait for their writer.
///
/// # Errors
/// See [`open`].
pub fn open_until(inputs: &[PathBuf], stop: &Stop) -> Result<Opened, InputError> {
    let mut notes = Vec::new();
    let mut members = Vec::new();
    if inputs.iter().filter(|input| input.as_os_str() == STDIN).count() > 1 {
        return Err(InputError::StdinTwice);
    }
    for input in inputs {
        if input.as_os_str() == STDIN {
            members.push(Member::Stream(Box::new(open_stdin(stop)?)));
            continue;
        }
        let metadata = fs::metadata(input).map_err(|error| io_error(&label(input), error))?;
        if metadata.is_dir() {
            members.extend(directory(input, &mut notes)?);
        } else if metadata.is_file() {
            members.push(Member::File(input.clone(), metadata.len()));
        } else {
            members.push(Member::Stream(Box::new(open_pipe(input, stop)?)));
        }
    }
    let total_bytes = members.iter().map(Member::size).sum();
    let mut repeats = Vec::new();
    let source = if members.len() > 1 {
        Opening::Merged(Box::new(Merge::new(members, &mut repeats)?))
    } else {
        let only = match members.pop() {
            Some(Member::File(path, _)) => open_file(&path)?,
            Some(Member::Stream(source)) => *source,
            None => {
                let source = Opening::Merged(Box::default());
                return Ok(Opened { source, total_bytes, notes, repeats });
            }
        };
        match only {
            FileSource::Pcap(reader) => Opening::Pcap(Box::new(reader)),
            FileSource::Pcapng(reader) => Opening::Pcapng(Box::new(reader)),
        }
    };
    Ok(Opened { source, total_bytes, notes, repeats })
}

/// The captures of a directory, by name.
fn directory(path: &Path, notes: &mut Vec<String>) -> Result<Vec<Member>, InputError> {
    let unreadable = |error| io_error(&label(path), error);
    let mut files = Vec::new();
    for entry in fs::read_dir(path).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => files.push((path, metadata.len())),
            _ => {}
        }
    }
    files.sort();
    let mut members = Vec::new();
    for (path, size) in files {
        match open_file(&path) {
            Ok(_) => members.push(Member::File(path, size)),
            Err(error) => notes.push(format!("passed over {error}")),
        }
    }
    if members.is_empty() {
        let passed_over = notes.first().map(|note| format!(" ({note})")).unwrap_or_default();
        return Err(InputError::NoCaptures { directory: label(path), passed_over });
    }
    Ok(members)
}

fn open_stdin(stop: &Stop) -> Result<FileSource, InputError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(InputError::Terminal);
    }
    // A descriptor of our own, unbuffered, that a thread can take along.
    let file = stdin.as_fd().try_clone_to_owned().map(File::from);
    let file = file.map_err(|error| io_error(STDIN_LABEL, error))?;
    if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
        return open_stream(STDIN_LABEL.to_owned(), Box::new(file));
    }
    stoppable(STDIN_LABEL.to_owned(), file, stop)
}

/// Opens a named pipe or the like.
fn open_pipe(path: &Path, stop: &Stop) -> Result<FileSource, InputError> {
    let label = label(path);
    let file = File::open(path).map_err(|error| io_error(&label, error))?;
    stoppable(label, file, stop)
}

fn stoppable(label: String, file: File, stop: &Stop) -> Result<FileSource, InputError> {
    let stream = Stoppable::new(file, stop.clone()).map_err(|error| io_error(&label, error))?;
    open_stream(label, Box::new(stream))
}

/// Opens a path, whatever it leads to.
pub(super) fn open_file(path: &Path) -> Result<FileSource, InputError> {
    let label = label(path);
    let unreadable = |error| io_error(&label, error);
    let mut file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return open_stream(label, Box::new(file));
    }
    let head = read_head(&mut file).map_err(unreadable)?;
    let origin = Origin::new(label.clone(), Some(metadata.len()), None);
    match format(&label, &head)? {
        Format::Pcap { snaplen } => {
            let reader = PcapReader::from_file(path, &file, snaplen, origin);
            reader.map(FileSource::Pcap).map_err(|error| pcap_error(label, error))
        }
        Format::Pcapng => {
            file.rewind().map_err(unreadable)?;
            let reader = PcapngReader::new(Box::new(file), origin);
            reader.map(FileSource::Pcapng).map_err(|error| pcapng_error(label, error))
        }
        Format::Compressed(_) | Format::Other { .. } => {
            file.rewind().map_err(unreadable)?;
            open_stream(label, Box::new(file))
        }
    }
}

/// Opens what can be read only once, or must be decompressed.
fn open_stream(label: String, mut input: Stream) -> Result<FileSource, InputError> {
    let head = read_head(&mut input).map_err(|error| io_error(&label, error))?;
    let (format, compression) = match format(&label, &head)? {
        Format::Compressed(compression) => (None, Some(compression)),
        format => (Some(format), None),
    };
    let whole: Stream = Box::new(io::Cursor::new(head).chain(input));
    let (mut stream, taken) = decompress(whole, compression);
    let format = match (format, compression) {
        (Some(format), _) => format,
        (None, Some(compression)) => {
            let inner = read_head(&mut stream).map_err(|error| InputError::Compression {
                input: label.clone(),
                compression,
                reason: match error.kind() {
                    io::ErrorKind::UnexpectedEof => "it ends early".to_owned(),
                    _ => error.to_string(),
                },
            })?;
            let format = self::format(&label, &inner)?;
            stream = Box::new(io::Cursor::new(inner).chain(stream));
            format
        }
        (None, None) => return Err(InputError::Empty(label)),
    };
    let (pipe, feed) = feed(stream, compression, taken).map_err(|error| io_error(&label, error))?;
    let origin = Origin::new(label.clone(), None, Some(feed));
    match format {
        Format::Pcap { snaplen } => {
            let reader = PcapReader::from_pipe(&pipe, snaplen, origin);
            reader.map(FileSource::Pcap).map_err(|error| pcap_error(label, error))
        }
        Format::Pcapng => {
            let reader = PcapngReader::new(Box::new(pipe), origin);
            reader.map(FileSource::Pcapng).map_err(|error| pcapng_error(label, error))
        }
        Format::Compressed(inner) => Err(InputError::NotACapture {
            input: label,
            looks_like: format!("{} inside another compression", inner.as_str()),
            remedy: "decompress it first",
        }),
        Format::Other { looks_like, remedy } => {
            Err(InputError::NotACapture { input: label, looks_like: looks_like.to_owned(), remedy })
        }
    }
}

/// The format by these first bytes, if it is one that can be read.
fn format(label: &str, head: &[u8]) -> Result<Format, InputError> {
    if head.is_empty() {
        return Err(InputError::Empty(label.to_owned()));
    }
    match Format::of(head) {
        Format::Other { looks_like, remedy } => Err(InputError::NotACapture {
            input: label.to_owned(),
            looks_like: looks_like.to_owned(),
            remedy,
        }),
        Format::Pcap { .. } if head.len() < HEAD_BYTES => Err(InputError::Header {
            input: label.to_owned(),
            reason: "it ends inside its header".to_owned(),
        }),
        format => Ok(format),
    }
}

/// The first bytes; fewer only where there are no more.
fn read_head(input: &mut impl Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    input.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

fn label(path: &Path) -> String {
    path.display().to_string()
}

fn io_error(input: &str, error: io::Error) -> InputError {
    let input = input.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => InputError::Missing(input),
        io::ErrorKind::PermissionDenied => InputError::Forbidden(input),
        _ => InputError::Unreadable { input, source: error },
    }
}

fn pcap_error(input: String, error: libpcap::OpenError) -> InputError {
    match error {
        libpcap::OpenError::Refused(reason) => InputError::Header { input, reason },
        libpcap::OpenError::LinkType(link_type) => InputError::LinkType { input, link_type },
    }
}

fn pcapng_error(input: String, error: pcapng::OpenError) -> InputError {
    match error {
        pcapng::OpenError::Damaged(reason) => InputError::Header { input, reason },
        pcapng::OpenError::LinkType(link_type) => InputError::LinkType { input, link_type },
    }
}
