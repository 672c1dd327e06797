//! What a live mode keeps of the packets (`--write`): a disk that is full costs packets and no
//! finding, and packets are kept again once it has room.
#![expect(clippy::disallowed_methods, reason = "the shell side waits by the clock")]

use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use super::warn;
use crate::capture::Interface;
use crate::capture::write::CaptureFiles;
use crate::cli::KeepArgs;
use crate::container::Named;
use crate::decode::Frame;
use crate::event::LinkId;

/// Between two tries to write after one that failed.
const PAUSE: Duration = Duration::from_secs(5);

/// The files, if any were asked for.
pub(super) struct Kept {
    files: Option<CaptureFiles>,
    /// Since when nothing can be written.
    failed: Option<Instant>,
    /// Frames that are not in the files (count); what was buffered when writing failed comes on top.
    lost_frames: u64,
}

impl Kept {
    /// Begins the first file.
    pub(super) fn create(args: &KeepArgs) -> anyhow::Result<Self> {
        Self::create_share(args, [0, 1])
    }

    /// The same of one of several workers (which from 0 on, of how many): each has its own files, which
    /// together are as large as one worker's. Those behind the first bear their number.
    pub(super) fn create_share(args: &KeepArgs, [worker, of]: [u32; 2]) -> anyhow::Result<Self> {
        let create = |path: &PathBuf| {
            let mut path = path.clone().into_os_string();
            if worker > 0 {
                path.push(format!(".worker-{worker}"));
            }
            let path = PathBuf::from(path);
            let bytes = (args.write_mib << 20) / u64::from(of);
            let files = CaptureFiles::create(&path, bytes, args.write_files);
            files.with_context(|| {
                let path = path.display();
                format!("{path}: cannot be written; check the path given with --write")
            })
        };
        let files = args.write.as_ref().map(create).transpose()?;
        Ok(Self { files, failed: None, lost_frames: 0 })
    }

    /// Tells of an interface, before its first frame.
    pub(super) fn link(&mut self, link: LinkId, interface: Interface) {
        if let Some(files) = &mut self.files {
            files.link(link, interface);
        }
    }

    /// Tells whose the interfaces are.
    pub(super) fn pod(&mut self, pod: &Named) {
        if let Some(files) = &mut self.files {
            files.pod(pod);
        }
    }

    /// An interface is gone.
    pub(super) fn gone(&mut self, link: LinkId) {
        if let Some(files) = &mut self.files
            && let Err(error) = files.gone(link)
        {
            self.fail(&error);
        }
    }

    /// Keeps a frame.
    #[inline]
    pub(super) fn frame(&mut self, link: LinkId, frame: &Frame<'_>) {
        let Some(files) = &mut self.files else { return };
        if self.failed.is_some() {
            self.lost_frames += 1;
            return;
        }
        if let Err(error) = files.frame(link, frame) {
            self.lost_frames += 1;
            self.fail(&error);
        }
    }

    /// Writes out what is buffered; after a failure, tries to begin the next file.
    pub(super) fn flush(&mut self) {
        let Some(files) = &mut self.files else { return };
        let result = match self.failed {
            None => files.flush(),
            Some(since) if since.elapsed() < PAUSE => return,
            Some(_) => files.go_on(),
        };
        match (result, self.failed) {
            (Ok(()), Some(_)) => {
                self.failed = None;
                let lost = self.lost_frames;
                warn(&format!("--write: packets are kept again; not kept so far: {lost}"));
            }
            (Ok(()), None) => {}
            (Err(error), _) => self.fail(&error),
        }
    }

    /// Writes out the last.
    ///
    /// # Errors
    /// Packets were lost.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        let last = match &mut self.files {
            Some(files) if self.failed.is_none() => files.flush(),
            _ => Ok(()),
        };
        if let Err(error) = last {
            bail!("--write: the last packets are not kept: {error}; check its space");
        }
        if self.lost_frames > 0 || self.failed.is_some() {
            let lost = self.lost_frames;
            bail!("--write: {lost} packets or more were not kept; check its space");
        }
        Ok(())
    }

    fn fail(&mut self, error: &io::Error) {
        if self.failed.replace(Instant::now()).is_none() {
            warn(&format!(
                "--write: packets are not kept for now: {error}; check its space, it is tried again"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::LinkType;
    use crate::time::Timestamp;

    #[test]
    fn a_disk_that_is_full_costs_packets_until_it_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept.pcapng");
        let args = KeepArgs { write: Some(path.clone()), write_mib: 1, write_files: 2 };
        let mut kept = Kept::create(&args).unwrap();
        let interface = |link_type| Interface {
            name: Some("veth1".to_owned()),
            link_type,
            snaplen: 0,
            of_container: true,
            pod: None,
        };
        kept.link(LinkId(1), interface(LinkType::Ethernet));
        let frame = Frame {
            at: Timestamp::default(),
            link_type: LinkType::Ethernet,
            wire_bytes: 4,
            bytes: b"abcd",
        };
        kept.frame(LinkId(1), &frame);
        kept.flush();
        kept.fail(&io::ErrorKind::StorageFull.into());
        kept.frame(LinkId(1), &frame);
        kept.flush();
        assert!(kept.failed.is_some(), "it waits a moment");
        kept.failed = Instant::now().checked_sub(PAUSE);
        kept.flush();
        kept.frame(LinkId(1), &frame);
        let error = kept.end().unwrap_err().to_string();
        assert!(error.contains("1 packets or more"), "{error}");
        for file in [path, folder.path().join("kept.pcapng.1")] {
            let bytes = std::fs::read(file).unwrap();
            assert!(bytes.windows(4).any(|four| four == b"abcd"), "one in each");
        }
    }
}
