//! Several inputs as one, in time order.
//!
//! Each input is taken in its own order; of all inputs' next frames the oldest comes first, and at
//! equal times the input that was named first. A file is opened when its turn comes and closed at
//! its end, so that a directory of a thousand rotated files needs one descriptor.
//!
//! A file that begins after all before it have ended continues their links: it is the next part of
//! a rotated or split capture. Files that overlap in time are links of their own, but for the named
//! interfaces of containers in files that a live mode has kept.

use std::cmp::Reverse;
use std::collections::hash_map::{DefaultHasher, Entry};
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::path::PathBuf;

use super::damage::{Damage, DamageKind};
use super::input::{InputError, Member, open_file};
use super::{FileSource, Interface, Next, Source};
use crate::decode::{Frame, LinkType};
use crate::event::LinkId;
use crate::time::Timestamp;

/// Frames by which two inputs are told to be the same (count).
const BEGINNING_FRAMES: u32 = 16;

/// Several inputs, merged.
#[derive(Debug, Default)]
pub struct Merge {
    inputs: Vec<Input>,
    /// Time of each input's next frame, and the input's number.
    heads: BinaryHeap<Reverse<(Timestamp, usize)>>,
    /// The input whose frame was handed out last: to be moved on before the next.
    current: Option<usize>,
    /// Links that were met and not yet told,
    announcements: VecDeque<(LinkId, Interface)>,
    /// and those that are gone at the end of an input.
    gone: VecDeque<LinkId>,
    links: u32,
    /// Links of each input that has ended, but for those that another has continued.
    ended_links: Vec<Vec<Known>>,
    ended_bytes: u64,
    damages: Vec<Damage>,
}

/// A link, and what it is; nothing once it is gone.
type Known = (LinkId, Option<Interface>);

#[derive(Debug)]
struct Input {
    state: State,
    head: Head,
    /// Its links, by their number in the input.
    links: Vec<Known>,
    /// All before it had ended when it began.
    alone: bool,
}

#[derive(Debug)]
enum State {
    /// Its first frame is known, and nothing more.
    Waiting(PathBuf),
    Open(Box<FileSource>),
    Ended,
}

/// A copy of an input's next frame.
#[derive(Debug)]
struct Head {
    /// Links that are gone before it.
    gone: Vec<LinkId>,
    link: LinkId,
    at: Timestamp,
    link_type: LinkType,
    wire_bytes: u32,
    bytes: Vec<u8>,
}

impl Merge {
    /// Looks at the first frames of each input. `repeats` takes the files that begin as one before:
    /// time stamps and bytes of a whole run of frames are equal in nothing but copies.
    ///
    /// # Errors
    /// The first input that cannot be used.
    pub(super) fn new(members: Vec<Member>, repeats: &mut Vec<String>) -> Result<Self, InputError> {
        let mut merge = Self::default();
        let mut beginnings: HashMap<u64, PathBuf> = HashMap::new();
        for (number, member) in members.into_iter().enumerate() {
            let (state, mut source) = match member {
                Member::File(path, _) => {
                    let source = open_file(&path)?;
                    (State::Waiting(path), Some(source))
                }
                Member::Stream(source) => (State::Open(source), None),
            };
            merge.inputs.push(Input {
                state,
                head: Head::default(),
                links: Vec::new(),
                alone: false,
            });
            match &mut source {
                Some(source) => {
                    let beginning = merge.wait(number, source);
                    let State::Waiting(path) = &merge.inputs[number].state else { continue };
                    match beginnings.entry(beginning) {
                        Entry::Occupied(first) => repeats.push(format!(
                            "{} begins with the same packets as {}",
                            path.display(),
                            first.get().display()
                        )),
                        Entry::Vacant(place) => _ = place.insert(path.clone()),
                    }
                }
                None => merge.advance(number),
            }
        }
        Ok(merge)
    }

    /// Notes when a file begins. It will be opened again then. Returns a hash of its first frames.
    fn wait(&mut self, number: usize, source: &mut FileSource) -> u64 {
        let mut hash = DefaultHasher::new();
        let mut frames = 0;
        while frames < BEGINNING_FRAMES {
            match source.next() {
                Next::Link(..) | Next::LinkGone(_) => {}
                Next::Frame(_, frame) => {
                    if frames == 0 {
                        self.heads.push(Reverse((frame.at, number)));
                    }
                    (frame.at, frame.wire_bytes, frame.bytes).hash(&mut hash);
                    frames += 1;
                }
                Next::End if frames == 0 => {
                    self.damages.extend(source.damages());
                    self.inputs[number].state = State::Ended;
                    break;
                }
                Next::End => break,
            }
        }
        hash.finish()
    }

    /// Opens a file whose first frame's turn has come; its head is read. `false` where it has
    /// changed meanwhile and cannot be read any more.
    fn begin(&mut self, number: usize) -> bool {
        let State::Waiting(path) = &self.inputs[number].state else { return true };
        let source = match open_file(path) {
            Ok(source) => source,
            Err(error) => {
                self.damages.push(Damage {
                    input: path.display().to_string(),
                    kind: DamageKind::Corrupt(format!("it changed while reading: {error}")),
                    frames: 0,
                    read_bytes: 0,
                    total_bytes: None,
                });
                self.inputs[number].state = State::Ended;
                return false;
            }
        };
        self.inputs[number].alone =
            !self.inputs.iter().any(|input| matches!(input.state, State::Open(_)));
        self.inputs[number].state = State::Open(Box::new(source));
        self.read_head(number)
    }

    /// Moves an input on to its next frame.
    fn advance(&mut self, number: usize) {
        if self.read_head(number) {
            self.heads.push(Reverse((self.inputs[number].head.at, number)));
        }
    }

    /// Copies an input's next frame into its head. `false` at its end.
    fn read_head(&mut self, number: usize) -> bool {
        let Some(input) = self.inputs.get_mut(number) else { return false };
        let State::Open(source) = &mut input.state else { return false };
        loop {
            match source.next() {
                Next::Link(_, interface) => {
                    let link = match continued(&mut self.ended_links, input.alone, &interface) {
                        Some(link) => link,
                        None => {
                            let link = LinkId(self.links);
                            self.links += 1;
                            self.announcements.push_back((link, interface.clone()));
                            link
                        }
                    };
                    input.links.push((link, Some(interface)));
                }
                Next::LinkGone(link) => {
                    if let Some((link, interface)) = input.links.get_mut(link.0 as usize) {
                        *interface = None;
                        input.head.gone.push(*link);
                    }
                }
                Next::Frame(link, frame) => {
                    let link = input.links.get(link.0 as usize).map_or(link, |(link, _)| *link);
                    input.head.set(link, &frame);
                    return true;
                }
                Next::End => {
                    self.ended_bytes += source.position();
                    self.damages.extend(source.damages());
                    self.ended_links.push(std::mem::take(&mut input.links));
                    self.gone.extend(std::mem::take(&mut input.head).gone);
                    input.state = State::Ended;
                    return false;
                }
            }
        }
    }
}

/// The link of an input that has ended, which this interface continues: of an input that was the last
/// before it, or, whatever else is open, of a container that a live mode has named (each of its
/// workers keeps files of its own). Interfaces are described in another order in each file.
fn continued(ended: &mut Vec<Vec<Known>>, alone: bool, interface: &Interface) -> Option<LinkId> {
    if !alone && (!interface.of_container || interface.name.is_none()) {
        return None;
    }
    let (group, place) = ended.iter().enumerate().rev().find_map(|(group, links)| {
        let same = |(_, before): &Known| before.as_ref() == Some(interface);
        Some((group, links.iter().position(same)?))
    })?;
    let (link, _) = ended[group].remove(place);
    ended.retain(|links| links.iter().any(|(_, interface)| interface.is_some()));
    Some(link)
}

impl Source for Merge {
    fn next(&mut self) -> Next<'_> {
        if let Some(number) = self.current.take() {
            self.advance(number);
        }
        let number = loop {
            if let Some((link, interface)) = self.announcements.pop_front() {
                return Next::Link(link, interface);
            }
            if let Some(link) = self.gone.pop_front() {
                return Next::LinkGone(link);
            }
            let Some(Reverse((at, number))) = self.heads.pop() else { return Next::End };
            if let Some(link) = self.inputs[number].head.gone.pop() {
                self.heads.push(Reverse((at, number)));
                return Next::LinkGone(link);
            }
            if matches!(self.inputs[number].state, State::Open(_)) {
                break number;
            }
            // Once more round: its links are told before its first frame.
            if self.begin(number) {
                self.heads.push(Reverse((at, number)));
            }
        };
        self.current = Some(number);
        let head = &self.inputs[number].head;
        Next::Frame(head.link, head.frame())
    }

    fn position(&self) -> u64 {
        let open = self.inputs.iter().map(|input| match &input.state {
            State::Open(source) => source.position(),
            State::Waiting(_) | State::Ended => 0,
        });
        self.ended_bytes + open.sum::<u64>()
    }

    fn damages(&mut self) -> Vec<Damage> {
        std::mem::take(&mut self.damages)
    }
}

impl Head {
    fn set(&mut self, link: LinkId, frame: &Frame<'_>) {
        self.link = link;
        self.at = frame.at;
        self.link_type = frame.link_type;
        self.wire_bytes = frame.wire_bytes;
        self.bytes.clear();
        self.bytes.extend_from_slice(frame.bytes);
    }

    const fn frame(&self) -> Frame<'_> {
        Frame {
            at: self.at,
            link_type: self.link_type,
            wire_bytes: self.wire_bytes,
            bytes: self.bytes.as_slice(),
        }
    }
}

impl Default for Head {
    fn default() -> Self {
        Self {
            gone: Vec::new(),
            link: LinkId(0),
            at: Timestamp::default(),
            link_type: LinkType::Ethernet,
            wire_bytes: 0,
            bytes: Vec::new(),
        }
    }
}
