//! What the host tells of how well containers are seen: its processes, its counters, our own limits.
//! `docs/ads/blind_spot.md` says what is made of it.
#![expect(clippy::disallowed_methods, reason = "the shell side waits by the clock")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::super::control_groups::ControlGroups;
use crate::capture::live::Counts;
use crate::detect::blind_spot::Blindness;
use crate::event::LinkId;

/// Between two looks at the counters.
const INTERVAL: Duration = Duration::from_secs(10);
/// Intervals after one another in which the kernel counts packets and none is captured: between two
/// looks at two counters there is time for a few.
const BYPASSED_INTERVALS: u8 = 2;
/// A share of fewer frames, and of fewer periods, says nothing.
const DROPS_FRAMES: u64 = 1_000;
const THROTTLED_PERIODS: u64 = 20;

/// An interface and what was captured on it so far (frames).
pub(super) struct Captured<'a> {
    pub(super) link: LinkId,
    pub(super) name: &'a str,
    pub(super) frames: u64,
}

/// What was seen at the last look.
pub(super) struct Visibility {
    procfs: PathBuf,
    /// When; nothing before the first look.
    looked: Option<Instant>,
    interfaces: BTreeMap<LinkId, Past>,
    capture: Counts,
    cpu: [u64; 2],
}

#[derive(Default)]
struct Past {
    kernel: u64,
    frames: u64,
    bypassed: u8,
    told: bool,
    /// Frames that the buffer had no room for and that were probably its own (count).
    lost: u64,
}

impl Visibility {
    pub(super) fn new(procfs: &Path) -> Self {
        Self {
            procfs: procfs.to_path_buf(),
            looked: None,
            interfaces: BTreeMap::new(),
            capture: Counts::default(),
            cpu: ControlGroups::own().throttling(),
        }
    }

    /// One of these processes still runs.
    pub(super) fn is_alive(&self, processes: &[u32]) -> bool {
        processes.iter().any(|process| {
            let stat = fs::read_to_string(self.procfs.join(process.to_string()).join("stat"));
            // Its name, in parentheses, may hold anything; the state follows it.
            let state = stat.as_deref().ok().and_then(|stat| stat.rsplit_once(") "));
            state.is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
        })
    }

    /// Frames of a link that were lost for want of room in the buffer, as far as its counters tell.
    pub(super) fn lost_of(&self, link: LinkId) -> u64 {
        self.interfaces.get(&link).map_or(0, |past| past.lost)
    }

    /// Looks at the counters, if it is time. Returns what changed of links; what is the monitor's own is of the
    /// one that it concerns most, or of none.
    pub(super) fn look<'a>(
        &mut self,
        capture: Counts,
        captured: impl Iterator<Item = Captured<'a>>,
    ) -> Vec<(Option<LinkId>, Option<Blindness>)> {
        let elapsed = self.looked.map(|looked| looked.elapsed());
        if elapsed.is_some_and(|elapsed| elapsed < INTERVAL) {
            return Vec::new();
        }
        let news = self.look_now(elapsed.unwrap_or_default().as_secs(), capture, captured);
        // The first look is what the next is compared with.
        if elapsed.is_none() { Vec::new() } else { news }
    }

    /// The last look, however soon after the one before. Returns what there is to say of the monitor.
    pub(super) fn look_at_end<'a>(
        &mut self,
        capture: Counts,
        captured: impl Iterator<Item = Captured<'a>>,
    ) -> Vec<(Option<LinkId>, Blindness)> {
        let seconds = self.looked.map_or(0, |looked| looked.elapsed().as_secs()).max(1);
        let news = self.look_now(seconds, capture, captured).into_iter();
        let own =
            |why: &Blindness| matches!(why, Blindness::Drops { .. } | Blindness::Throttled { .. });
        news.filter_map(|(link, why)| Some((link, why.filter(own)?))).collect()
    }

    fn look_now<'a>(
        &mut self,
        seconds: u64,
        capture: Counts,
        captured: impl Iterator<Item = Captured<'a>>,
    ) -> Vec<(Option<LinkId>, Option<Blindness>)> {
        // What is there at the first look has a past that is not ours; what comes later began here.
        let first = self.looked.replace(Instant::now()).is_none();
        let dropped =
            capture.kernel_dropped_frames.saturating_sub(self.capture.kernel_dropped_frames);
        let (mut missing, mut busiest) = (Vec::new(), None);
        let mut news = Vec::new();
        let kernel = fs::read_to_string("/proc/self/net/dev").unwrap_or_default();
        let kernel = packets(&kernel);
        let past = std::mem::take(&mut self.interfaces);
        for Captured { link, name, frames } in captured {
            let Some(&counted) = kernel.get(name) else { continue };
            let mut now = Past { kernel: counted, frames, ..Past::default() };
            let new = Past::default();
            if let Some(before) = past.get(&link).or_else(|| (!first).then_some(&new)) {
                let passed = counted.saturating_sub(before.kernel);
                let unseen = frames == before.frames && passed > 0;
                now.bypassed = if unseen { before.bypassed.saturating_add(1) } else { 0 };
                now.told = before.told;
                now.lost = before.lost;
                // What was captured of it may lie in the buffer yet, or be of before.
                let captured = frames.saturating_sub(before.frames);
                missing.push((link, passed.saturating_sub(captured)));
                busiest = busiest.max(Some((passed, std::cmp::Reverse(link.0))));
                if now.bypassed >= BYPASSED_INTERVALS {
                    now.told = true;
                    let why = Blindness::Bypassed { kernel_packets: passed, seconds };
                    news.push((Some(link), Some(why)));
                } else if now.told && frames > before.frames {
                    now.told = false;
                    news.push((Some(link), None));
                }
            }
            self.interfaces.insert(link, now);
        }
        let busiest = busiest.map(|(_, link)| LinkId(link.0));
        let mut most = None;
        for (link, frames) in shares(dropped, &missing) {
            if let Some(past) = self.interfaces.get_mut(&link) {
                past.lost += frames;
            }
            if frames > most.map_or(0, |(_, most)| most) {
                most = Some((link, frames));
            }
        }
        let of_container = most.map_or(0, |(_, frames)| frames);
        let lost = self.lost(capture, of_container, seconds);
        news.extend(lost.map(|why| (most.map(|(link, _)| link).or(busiest), Some(why))));
        news.extend(self.throttled(seconds).map(|why| (busiest, Some(why))));
        news
    }

    fn lost(&mut self, now: Counts, of_container: u64, seconds: u64) -> Option<Blindness> {
        let before = std::mem::replace(&mut self.capture, now);
        let lost = |counts: Counts| counts.kernel_dropped_frames + counts.interface_dropped_frames;
        let dropped_frames = lost(now).saturating_sub(lost(before));
        let passed_frames = now.passed_frames.saturating_sub(before.passed_frames);
        (passed_frames >= DROPS_FRAMES && dropped_frames > 0).then_some(Blindness::Drops {
            of_container,
            dropped_frames,
            passed_frames,
            seconds,
        })
    }

    fn throttled(&mut self, seconds: u64) -> Option<Blindness> {
        let now = ControlGroups::own().throttling();
        let before = std::mem::replace(&mut self.cpu, now);
        let [periods, throttled_periods] =
            [0, 1].map(|of: usize| now[of].saturating_sub(before[of]));
        (periods >= THROTTLED_PERIODS && throttled_periods > 0).then_some(Blindness::Throttled {
            throttled_periods,
            periods,
            seconds,
        })
    }
}

/// Shares dropped frames out among interfaces, by what each one's counters say passed unseen; never
/// more than that.
fn shares(dropped: u64, unseen: &[(LinkId, u64)]) -> impl Iterator<Item = (LinkId, u64)> {
    let all: u64 = unseen.iter().map(|(_, frames)| frames).sum();
    let part = move |frames: u64| {
        if all <= dropped {
            return frames;
        }
        (u128::from(frames) * u128::from(dropped) / u128::from(all.max(1))) as u64
    };
    unseen.iter().map(move |(link, frames)| (*link, part(*frames)))
}

/// Packets that passed each interface, received and sent, by its name (`proc_pid_net(5)`).
fn packets(text: &str) -> BTreeMap<&str, u64> {
    let read = |line| -> Option<(&str, u64)> {
        let (name, numbers): (&str, &str) = str::split_once(line, ':')?;
        let mut numbers = numbers.split_whitespace().map(|number| number.parse::<u64>().ok());
        let (received, sent) = (numbers.nth(1)??, numbers.nth(7)??);
        Some((name.trim(), received.saturating_add(sent)))
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counters_are_read() {
        let text = "Inter-|   Receive                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    lo:  100       2    0    0    0     0          0         0      100       2    0    0    0     0       0          0\nveth12:  9000      70    0    0    0     0          0         0     8000      30    0    0    0     0       0          0\n";
        let read = packets(text);
        assert_eq!((read["lo"], read["veth12"], read.len()), (4, 100, 2));
    }

    #[test]
    fn drops_are_shared_out_by_what_passed_unseen() {
        let shared = |dropped, unseen: [u64; 3]| {
            let unseen: Vec<_> =
                (0..).map(LinkId).zip(unseen).filter(|(_, frames)| *frames > 0).collect();
            shares(dropped, &unseen).map(|(link, frames)| (link.0, frames)).collect::<Vec<_>>()
        };
        assert_eq!(shared(0, [3, 0, 5]), [(0, 0), (2, 0)], "counters are read one after the other");
        assert_eq!(shared(100, [30, 0, 90]), [(0, 25), (2, 75)]);
        assert_eq!(shared(1_000, [30, 0, 90]), [(0, 30), (2, 90)], "the rest was no container's");
    }

    #[test]
    fn a_process_is_alive_until_it_is_reaped() {
        let visibility = Visibility::new(Path::new("/proc"));
        assert!(visibility.is_alive(&[std::process::id()]));
        assert!(!visibility.is_alive(&[u32::MAX]));
        assert!(!visibility.is_alive(&[]));
    }

    #[test]
    fn a_run_that_ends_before_its_first_look_tells_of_its_losses() {
        let mut visibility = Visibility::new(Path::new("/proc"));
        let capture =
            Counts { passed_frames: 10_000, kernel_dropped_frames: 6_000, ..Counts::default() };
        let found = visibility.look_at_end(capture, std::iter::empty());
        let (dropped_frames, passed_frames) = (6_000, 10_000);
        let lost = Blindness::Drops { of_container: 0, dropped_frames, passed_frames, seconds: 1 };
        assert!(found.contains(&(None, lost)), "{found:?}");
        let again = visibility.look_at_end(capture, std::iter::empty());
        assert!(!again.contains(&(None, lost)), "told once");
    }

    #[test]
    fn losses_are_told_for_what_passed_meanwhile() {
        let mut visibility = Visibility::new(Path::new("/proc"));
        let counts = |passed_frames, kernel_dropped_frames| Counts {
            passed_frames,
            kernel_dropped_frames,
            interface_dropped_frames: 0,
        };
        assert_eq!(visibility.lost(counts(100_000, 0), 0, 10), None);
        assert_eq!(visibility.lost(counts(100_500, 900), 0, 10), None, "too few to tell");
        let found = visibility.lost(counts(110_000, 1_100), 70, 10);
        let (dropped_frames, passed_frames) = (200, 9_500);
        let of_container = 70;
        let expected =
            Blindness::Drops { of_container, dropped_frames, passed_frames, seconds: 10 };
        assert_eq!(found, Some(expected));
    }
}
