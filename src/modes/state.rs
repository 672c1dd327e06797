//! The state file: read at the start, written at intervals and at the end, whole or not at all.
#![expect(clippy::disallowed_methods, reason = "the shell side tells the engine the time")]

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::privilege::Confinement;
use super::warn;
use crate::baseline::DestinationKey;
use crate::capture::live::now;
use crate::engine::Engine;
use crate::state::{Memories, Settings, State};

/// Of the file. Grows when an older vethwatch could not read it.
const VERSION: u32 = 1;
/// At a tick, containers are noted until this much time has passed: frames wait meanwhile.
const STEP: Duration = Duration::from_millis(2);
/// Longest wait for the last writing.
const WRITTEN: Duration = Duration::from_secs(1);
/// One that ends holds the file for so long at most; then it is another one's.
const LOCKED: Duration = Duration::from_secs(4);
/// The file may be so many times `state.bytes_max`: that may have been larger.
const BYTES_FACTOR: u64 = 16;

/// The first line. Below it, one workload a line.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Head {
    format: String,
    version: u32,
    /// A name's key: another vethwatch may make them in another way.
    key: DestinationKey,
    /// Of all that follows.
    sha256: String,
}

impl Head {
    fn of(sha256: String) -> Self {
        let key = DestinationKey::of_name("vethwatch");
        Self { format: "vethwatch state".to_owned(), version: VERSION, key, sha256 }
    }
}

/// An engine's containers being noted, a little at a time.
#[derive(Default)]
pub(super) struct Noting(bool);

impl Noting {
    /// It is time.
    pub(super) const fn begin(&mut self) {
        self.0 = true;
    }

    /// Notes the next few, if it is time. Returns all that is kept when each has had its turn.
    pub(super) fn step(&mut self, engine: &mut Engine) -> Option<Memories> {
        if !self.0 {
            return None;
        }
        let began = Instant::now();
        while engine.remember_next() {
            if began.elapsed() >= STEP {
                return None;
            }
        }
        self.0 = false;
        engine.export_memories()
    }
}

/// Keeps the state of one engine, or of several that share a node, in a file.
pub(super) struct Keeper {
    settings: Settings,
    engines: usize,
    /// Since when nothing was asked for.
    since: Instant,
    /// What was asked for and has come so far.
    noted: Vec<Memories>,
    waiting: bool,
    noting: Noting,
    to_writer: SyncSender<State>,
    /// Ends with the thread; before that, why its last write failed, if it did.
    ended: Receiver<String>,
    /// What was said to be lost (count).
    evicted: u64,
    path: PathBuf,
    /// Says to others that the file is taken.
    _lock: File,
}

impl Keeper {
    /// Reads what is there into the engines, and starts the thread that writes; nothing without a
    /// path.
    ///
    /// # Errors
    /// The file cannot be read, or is another's, or its folder cannot be written.
    pub(super) fn open<'a>(
        settings: &Settings,
        engines: impl ExactSizeIterator<Item = &'a mut Engine>,
        confinement: &Confinement,
    ) -> anyhow::Result<Option<Self>> {
        let Some(path) = settings.path.clone() else { return Ok(None) };
        let lock = lock(&path, LOCKED)?;
        let state = load(&path, settings.bytes_max.saturating_mul(BYTES_FACTOR))?;
        let number = engines.len();
        engines.for_each(|engine| engine.import_state(&state));
        let place = beside(&path, "new");
        create(&place).and_then(|_| fs::remove_file(&place)).with_context(|| unwritable(&path))?;
        // One that is written and one that waits.
        let (to_writer, states) = sync_channel::<State>(1);
        let (alive, ended) = sync_channel::<String>(1);
        let (file, settle) = (path.clone(), confinement.thread(&[]));
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || {
                settle();
                if let Some(error) = write_all(&file, &states) {
                    // Nobody waits for it after an end that was no orderly one.
                    let _ = alive.send(error);
                }
            })
            .context("no thread can be started for the state")?;
        Ok(Some(Self {
            settings: settings.clone(),
            engines: number,
            since: Instant::now(),
            noted: Vec::new(),
            waiting: false,
            noting: Noting::default(),
            to_writer,
            ended,
            evicted: state.evicted,
            path,
            _lock: lock,
        }))
    }

    /// It is time for the engines to note what they know, for [`take`](Self::take). Says so once.
    pub(super) fn is_due(&mut self) -> bool {
        let interval = Duration::from_secs(self.settings.interval_s.max(1));
        let due = !self.waiting && self.since.elapsed() >= interval;
        self.waiting |= due;
        due
    }

    /// Takes what one of the engines has noted. What all have is handed to the writer.
    pub(super) fn take(&mut self, noted: Memories) {
        self.noted.push(noted);
        if self.noted.len() < self.engines {
            return;
        }
        let noted = std::mem::take(&mut self.noted);
        let state = match &noted[..] {
            [alone] => alone.state(),
            several => Memories::merge(&self.settings, several).state(),
        };
        (self.waiting, self.since) = (false, Instant::now());
        self.hand_on(state);
    }

    /// Does all this with the only engine, a little at a time.
    pub(super) fn tick(&mut self, engine: &mut Engine) {
        if self.is_due() {
            self.noting.begin();
        }
        if let Some(noted) = self.noting.step(engine) {
            self.take(noted);
        }
    }

    /// Writes all that is known by now, after the engines' end.
    ///
    /// # Errors
    /// It could not be written: the one before stays.
    pub(super) fn end<'a>(
        mut self,
        engines: impl Iterator<Item = &'a mut Engine>,
    ) -> anyhow::Result<()> {
        self.noted.clear();
        for engine in engines {
            // What was begun is ended, and then all is noted.
            for _ in 0..2 {
                while engine.remember_next() {}
            }
            if let Some(noted) = engine.export_memories() {
                self.take(noted);
            }
        }
        let Self { to_writer, ended, path, .. } = self;
        drop(to_writer);
        let path = path.display();
        match ended.recv_timeout(WRITTEN) {
            Ok(error) => bail!("{path}: the last state could not be written: {error}"),
            Err(RecvTimeoutError::Timeout) => {
                bail!("{path}: the last state could not be written in time")
            }
            Err(RecvTimeoutError::Disconnected) => Ok(()),
        }
    }

    fn hand_on(&mut self, state: State) {
        if state.evicted > self.evicted {
            warn(&format!(
                "{} workloads had to be forgotten: state.workloads_max, state.bytes_max",
                state.evicted - self.evicted
            ));
            self.evicted = state.evicted;
        }
        if self.to_writer.try_send(state).is_err() {
            let path = self.path.display();
            warn(&format!("{path}: the state is not written: the disk is slower than it comes"));
        }
    }
}

/// Returns why the last one could not be written, if it could not.
fn write_all(path: &Path, states: &Receiver<State>) -> Option<String> {
    let mut said = String::new();
    for state in states {
        let error = save(path, &state).err().map(|error| error.to_string()).unwrap_or_default();
        if error != said && !error.is_empty() {
            let path = path.display();
            warn(&format!("{path}: the state cannot be written: {error}; the one before stays"));
        }
        said = error;
    }
    Some(said).filter(|error| !error.is_empty())
}

/// What is in the file; nothing where there is none. A file that is damaged, or of another version,
/// is set aside.
fn load(path: &Path, bytes_max: u64) -> anyhow::Result<State> {
    let unreadable = || format!("{}: cannot be read; check --state and state.path", path.display());
    match path.metadata() {
        Ok(there) if there.is_file() => {}
        // To open a pipe would wait for whoever writes to it.
        Ok(_) => bail!("{}: it is no plain file; check --state and state.path", path.display()),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(State::default()),
        Err(error) => return Err(error).with_context(unreadable),
    }
    let file = File::open(path).with_context(unreadable)?;
    let mut bytes = Vec::new();
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).with_context(unreadable)?;
    let read = if bytes.len() as u64 > bytes_max {
        Err("it is much larger than state.bytes_max".to_owned())
    } else {
        parse(&bytes)
    };
    read.or_else(|why| {
        let aside = beside(path, &format!("damaged-{}", now().nanos() / 1_000_000_000));
        fs::rename(path, &aside).with_context(unreadable)?;
        warn(&format!(
            "{}: the state is not taken up: {why}; it was set aside as {}",
            path.display(),
            aside.display()
        ));
        Ok(State::default())
    })
}

fn parse(bytes: &[u8]) -> Result<State, String> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or("it has no first line")?;
    let (head, body) = (&bytes[..end], &bytes[end + 1..]);
    let head: Head = serde_json::from_slice(head).map_err(|_| "its first line is damaged")?;
    let expected = Head::of(sum(&[body]));
    if (&head.format, head.version, head.key) != (&expected.format, expected.version, expected.key)
    {
        return Err(format!("it is of another version ({})", head.version));
    }
    if head != expected {
        return Err("its checksum is wrong".to_owned());
    }
    let body = std::str::from_utf8(body).map_err(|_| "it is no text")?;
    Ok(State { lines: body.lines().map(Into::into).collect(), evicted: 0 })
}

/// Writes a file beside it, and puts that in its place. One that could not be written is not left.
fn save(path: &Path, state: &State) -> io::Result<()> {
    let new = beside(path, "new");
    write_new(&new, state).and_then(|()| fs::rename(&new, path)).inspect_err(|_| {
        let _ = fs::remove_file(&new);
    })?;
    File::open(folder(path))?.sync_all()
}

fn write_new(new: &Path, state: &State) -> io::Result<()> {
    let parts: Vec<&[u8]> =
        state.lines.iter().flat_map(|line| [line.as_bytes(), b"\n".as_slice()]).collect();
    let head = serde_json::to_string(&Head::of(sum(&parts)))?;
    let mut file = BufWriter::new(create(new)?);
    writeln!(file, "{head}")?;
    parts.iter().try_for_each(|part| file.write_all(part))?;
    file.into_inner()?.sync_all()
}

/// Takes `FILE.lock`, which stays, until this process ends: two that write one file would each undo what the
/// other wrote.
fn lock(path: &Path, at_most: Duration) -> anyhow::Result<File> {
    let file = create(&beside(path, "lock")).with_context(|| unwritable(path))?;
    let until = Instant::now() + at_most;
    // Where a file system knows no locks, there is none.
    while flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        if Instant::now() >= until {
            let path = path.display();
            bail!(
                "{path}: another vethwatch uses it; give each a file of its own (--state, state.path)"
            );
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(file)
}

fn unwritable(path: &Path) -> String {
    let folder = folder(path).display();
    format!("{folder}: cannot be written; check the path of the state (--state, state.path)")
}

/// For us alone: it says where containers went.
fn create(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK).open(path)
}

fn sum(parts: &[&[u8]]) -> String {
    let mut hash = Sha256::new();
    parts.iter().for_each(|part| hash.update(part));
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// `FILE.suffix`.
fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(suffix);
    name.into()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
        let error = load(&path, 1_000).unwrap_err().to_string();
        assert!(error.contains("no plain file"), "{error}");
        assert!(create(&path).is_err());
    }

    fn state(lines: &[&str]) -> State {
        State { lines: lines.iter().map(|line| (*line).into()).collect(), evicted: 0 }
    }

    fn files(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        assert!(load(&path, 1 << 20).unwrap().lines.is_empty(), "there is none yet");
        for lines in [&[][..], &["{\"a\":1}"], &["one", "two"]] {
            // As a crash may have left it.
            fs::write(beside(&path, "new"), "half").unwrap();
            save(&path, &state(lines)).unwrap();
            let read = load(&path, 1 << 20).unwrap();
            assert_eq!(read.lines.iter().map(|line| &**line).collect::<Vec<_>>(), lines);
        }
        assert_eq!(files(folder.path()), ["state"]);
    }

    #[test]
    fn what_is_damaged_is_set_aside() {
        let good = |path: &Path| save(path, &state(&["one", "two"])).unwrap();
        let change = |path: &Path, from: &str, to: &str| {
            let text = fs::read_to_string(path).unwrap();
            assert!(text.contains(from));
            fs::write(path, text.replace(from, to)).unwrap();
        };
        type Damage<'a> = &'a dyn Fn(&Path);
        let cases: [(&str, Damage<'_>); 7] = [
            ("empty", &|path| fs::write(path, "").unwrap()),
            ("no state", &|path| fs::write(path, "what is this\n").unwrap()),
            ("a byte changed", &|path| change(path, "two", "too")),
            ("cut off", &|path| change(path, "two\n", "t")),
            ("without its last line", &|path| change(path, "two\n", "")),
            ("another version", &|path| change(path, "\"version\":1", "\"version\":2")),
            ("too large", &|path| fs::write(path, vec![b'a'; 2_000]).unwrap()),
        ];
        for (case, damage) in cases {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("state");
            good(&path);
            damage(&path);
            assert!(load(&path, 1_000).unwrap().lines.is_empty(), "{case}");
            let left = files(folder.path());
            assert!(left.len() == 1 && left[0].starts_with("state.damaged-"), "{case}: {left:?}");
            good(&path);
            assert_eq!(load(&path, 1_000).unwrap().lines.len(), 2, "{case}: goes on");
        }
    }

    #[test]
    fn a_writing_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::create_dir(&path).unwrap();
        assert!(save(&path, &state(&["one"])).is_err(), "a folder is in its place");
        assert_eq!(files(folder.path()), ["state"]);
    }

    #[test]
    fn a_file_is_one_s_alone() {
        let folder = tempfile::tempdir().unwrap();
        let [path, other] = ["state", "other"].map(|name| folder.path().join(name));
        let first = lock(&path, Duration::ZERO).unwrap();
        let error = lock(&path, Duration::from_millis(60)).unwrap_err().to_string();
        assert!(error.contains("another vethwatch uses it"), "{error}");
        assert!(lock(&other, Duration::ZERO).is_ok());
        drop(first);
        assert!(lock(&path, Duration::ZERO).is_ok());
    }

    #[test]
    fn where_nothing_can_be_read_is_said() {
        let folder = tempfile::tempdir().unwrap();
        let error = load(folder.path(), 1_000).unwrap_err();
        assert!(format!("{error:#}").contains("--state"), "{error:#}");
    }
}
