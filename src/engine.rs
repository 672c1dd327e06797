//! The straight line: frame, packet, flow, protocol, event, detector, alert, record.

mod copies;
mod forgotten;
mod judge;
mod remember;
mod share;
mod survey;
mod work;

use serde::{Deserialize, Serialize};

use crate::alert::CaptureState;
use crate::allow::AllowList;
use crate::config::Config;
use crate::container::{LinkOwner, Named};
use crate::decode::{DecodeError, Decoder, Frame, Packet, Transport};
use crate::detect::blind_spot::Sight;
use crate::event::{DnsMessage, Event, FlowEnd, LinkId, Side};
use crate::flow::entry::Entry;
use crate::flow::table::{Ended, FlowTable};
use crate::proto::{Scratch, Session};
use crate::record::{Output, Record, RecordKind, Stats};
use crate::time::Timestamp;
use crate::{flow, proto, state};

use copies::Copies;
use judge::Judge;
pub use share::News;
use survey::HeldBack;
use work::Work;

/// Seconds in a minute, for the grid of [`crate::detect::Detector::end_minute`].
const MINUTE_S: u64 = 60;

/// `[engine]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Without configured containers: frames held back until it is clear whether the capture was
    /// taken at one veth or on a node (count).
    pub survey_frames: usize,
    /// The same in bytes of frames.
    pub survey_bytes: usize,
    /// The same in seconds of packet time, once there are 256 frames.
    pub survey_s: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { survey_frames: 4_096, survey_bytes: 4 << 20, survey_s: 600 }
    }
}

/// All that the engine can learn from the outside. What moves time brings its own.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// One captured frame.
    Frame {
        /// Where it was captured.
        link: LinkId,
        /// The frame.
        frame: Frame<'a>,
    },
    /// No frame older than `at` will follow: lets windows end on a quiet link.
    Tick {
        /// Capture time, less the capture's lag.
        at: Timestamp,
    },
    /// What the host says of a link's container: from now on, all that the link carries is its.
    Owner(&'a LinkOwner),
    /// A link is gone, and its container with it.
    LinkGone(LinkId),
    /// A container that was named has ended: nothing of it will come.
    Ended(&'a Named),
    /// What the host says of how well a link's container is seen.
    Visibility {
        /// The host's time.
        at: Timestamp,
        /// Whose; of a link without a container, and of the monitor itself, the first container's.
        link: LinkId,
        /// What passes unseen, or does no more.
        sight: Sight,
    },
    /// What another engine that shares the node has learned of it.
    Node(&'a News),
    /// What the capture says of itself so far. Changes what alerts and statistics say of it, and no
    /// finding.
    Capture(CaptureState),
}

/// Why the engine refuses a configuration. Each message names the key and what would be right.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A detector's own table.
    #[error("[detect.{id}]: {source}")]
    Detector {
        /// Which.
        id: &'static str,
        /// Why.
        source: toml::de::Error,
    },
    /// No such detector.
    #[error("[detect.{0}]: no such detector")]
    UnknownDetector(String),
}

/// The whole analysis. Owns no socket, thread or clock.
pub struct Engine {
    decoder: Decoder,
    line: Line,
    state_settings: state::Settings,
    held_back: Option<HeldBack>,
}

/// What a packet passes after it was decoded.
struct Line {
    flow_settings: flow::Settings,
    flows: FlowTable<Session>,
    protocols: Protocols,
    judge: Judge,
    ended: Vec<Ended<Session>>,
    copies: Copies,
    now: Timestamp,
    /// Until then no second ends.
    second_ends: Timestamp,
    stats: Stats,
}

/// What protocol parsers share.
struct Protocols {
    settings: proto::Settings,
    dns: DnsMessage,
    scratch: Scratch,
}

impl Engine {
    /// An engine that has seen nothing.
    ///
    /// # Errors
    /// A detector's table has an unknown key or a value of the wrong type, or names no detector.
    pub fn new(config: &Config) -> Result<Self, ConfigError> {
        let judge = Judge::new(config)?;
        let held_back = (!judge.containers.is_configured()).then(|| HeldBack::new(config));
        Ok(Self {
            decoder: Decoder::new(config.decode.clone()),
            line: Line {
                flow_settings: config.flow.clone(),
                flows: FlowTable::new(&config.flow),
                protocols: Protocols {
                    settings: config.proto.clone(),
                    dns: DnsMessage::default(),
                    scratch: Scratch::default(),
                },
                judge,
                ended: Vec::new(),
                copies: Copies::new(),
                now: Timestamp::default(),
                second_ends: Timestamp::default(),
                stats: Stats::default(),
            },
            state_settings: config.state.clone(),
            held_back,
        })
    }

    /// Takes one input and hands on what it proves. Never fails, never blocks, reads no clock.
    #[inline]
    pub fn handle(&mut self, input: Input<'_>, output: &mut dyn Output) {
        match input {
            Input::Frame { link, frame } => self.frame(link, &frame, output),
            other => self.learn(other, output),
        }
    }

    /// Any input but a frame.
    fn learn(&mut self, input: Input<'_>, output: &mut dyn Output) {
        match input {
            Input::Frame { .. } => {}
            Input::Capture(capture) => {
                self.line.judge.alerts.note_capture(capture);
                self.line.stats.dropped_frames = capture.dropped_frames;
                self.line.stats.bulk_cut_frames = capture.bulk_cut_frames;
                self.line.stats.bulk_dropped_frames = capture.bulk_dropped_frames;
                self.line.stats.inputs = capture.inputs;
            }
            Input::Node(news) => self.line.judge.take_in(news),
            Input::Owner(owner) => {
                if self.held_back.is_some() {
                    self.release(output);
                }
                self.line.judge.own(self.line.now, owner, output);
            }
            Input::LinkGone(link) => {
                for flow in self.line.flows.of_link(link) {
                    if let Some(ended) = self.line.flows.end_capture(flow, self.line.now) {
                        self.line.close(ended, output);
                    }
                }
                self.line.judge.disown(self.line.now, link, output);
            }
            Input::Ended(named) => {
                let number = self.line.judge.containers.of_named(named);
                if let Some(number) = number {
                    self.line.end_container(number, output);
                }
            }
            Input::Visibility { at, link, sight } => {
                self.line.judge.note_visibility(at, link, sight, output);
            }
            Input::Tick { at } => {
                if self.held_back.as_ref().is_some_and(|held| held.is_over(at)) {
                    self.release(output);
                }
                match &self.held_back {
                    None => {
                        self.line.advance(at, output);
                        self.line.judge.tell_overdue(at, output);
                    }
                    // Nothing was heard yet: there is a clock, and nothing that it could end.
                    Some(held) if held.is_empty() => self.line.now = self.line.now.max(at),
                    Some(_) => {}
                }
            }
        }
    }

    /// The capture is over: closes flows and findings, and gives the summary.
    pub fn finish(&mut self, output: &mut dyn Output) {
        self.end(output);
        Self::summarize(&[&*self], output);
    }

    /// The same without the summary, which several engines give together:
    /// [`summarize`](Self::summarize).
    pub fn end(&mut self, output: &mut dyn Output) {
        if self.held_back.is_some() {
            self.release(output);
        }
        self.line.end(&self.decoder, output);
    }

    /// Takes another allow-list and other settings of detectors, between two inputs; the rest of a
    /// configuration is for a new engine. Of what is open, what neither list silences goes on; what
    /// the old one silenced is told when it is raised again. Containers keep the bounds they began with.
    ///
    /// # Errors
    /// A table under `[detect]` is no detector's, or has a mistake: all stays as it was.
    pub fn reconfigure(&mut self, config: &Config) -> Result<(), ConfigError> {
        self.line.judge.reconfigure(config)
    }

    /// Names a container, or gives further addresses to one with this name: for flows that open from
    /// now on.
    pub fn know_container(&mut self, named: &Named, output: &mut dyn Output) {
        if self.held_back.is_some() {
            self.release(output);
        }
        self.line.judge.containers.know(named);
    }

    /// The allow-list, with what each entry has silenced so far.
    pub const fn allow_list(&self) -> &AllowList {
        self.line.judge.alerts.allow_list()
    }

    /// Counts so far.
    pub fn stats(&mut self) -> &Stats {
        self.line.update_stats(&self.decoder);
        &self.line.stats
    }

    #[inline]
    fn frame(&mut self, link: LinkId, frame: &Frame<'_>, output: &mut dyn Output) {
        if let Some(held) = &mut self.held_back {
            if !held.is_over(frame.at) && held.hold(link, frame) {
                return;
            }
            self.release(output);
        }
        self.line.frame(&mut self.decoder, link, frame, output);
    }

    /// Ends the survey and lets the frames go that were held back for it.
    fn release(&mut self, output: &mut dyn Output) {
        let Some(held) = self.held_back.take() else { return };
        self.line.judge.settle(held.first(), &held.decide());
        for (link, frame) in held.frames() {
            self.line.frame(&mut self.decoder, link, &frame, output);
        }
    }
}

/// The container whose other end a frame's link is.
#[derive(Clone, Copy)]
struct Owned {
    number: u32,
    /// The host sent the frame to it; else it sent the frame.
    host_sent: bool,
}

impl Owned {
    /// The container and its side, in a flow in which `from` sent the frame.
    const fn on(self, from: Side) -> (u32, Side) {
        (self.number, if self.host_sent { from.other() } else { from })
    }
}

impl Line {
    fn frame(
        &mut self,
        decoder: &mut Decoder,
        link: LinkId,
        frame: &Frame<'_>,
        output: &mut dyn Output,
    ) {
        let stats = &mut self.stats;
        if stats.frames == 0 {
            stats.first_ns = frame.at.nanos();
        }
        stats.frames += 1;
        stats.frame_bytes += u64::from(frame.wire_bytes);
        stats.cut_frames += u64::from(frame.bytes.len() < frame.wire_bytes as usize);
        stats.out_of_order_frames += u64::from(frame.at < self.now);
        self.advance(frame.at, output);
        // By reference: the packet is not copied out of its result.
        match &decoder.decode(frame) {
            Ok(packet) => {
                // Interfaces of containers see the same traffic, each its own container's side.
                let owned = self.judge.containers.on_link(link).map(|number| {
                    let host_sent = frame.is_outgoing().unwrap_or(false);
                    Owned { number, host_sent }
                });
                if owned.is_none() && self.copies.is_copy(frame.at, link, frame, packet) {
                    self.stats.copied_frames += 1;
                    return;
                }
                self.packet(link, owned, packet, output);
            }
            Err(reason) => self.stats.count_undecoded(*reason),
        }
    }

    /// Ends every second and minute before `to`, then moves there; a clock that steps back moves
    /// nothing.
    #[inline(always)]
    fn advance(&mut self, to: Timestamp, output: &mut dyn Output) {
        if to > self.now {
            self.now = to;
            if to >= self.second_ends {
                self.end_seconds(to.nanos() / 1_000_000_000, output);
            }
        }
    }

    fn end_seconds(&mut self, to_second: u64, output: &mut dyn Output) {
        self.second_ends = seconds(to_second + 1);
        let Some(mut second) = self.flows.second() else {
            self.flows.start_at(to_second);
            return;
        };
        while second < to_second {
            if self.flows.is_empty() {
                // Nothing ends before the next minute does.
                let minute = (second / MINUTE_S + 1) * MINUTE_S;
                if minute > to_second || !self.judge.needs_minutes(seconds(minute)) {
                    self.flows.start_at(to_second);
                    return;
                }
                second = minute;
                self.flows.start_at(second);
            } else {
                second += 1;
                self.flows.end_second(&mut self.ended);
                self.close_ended(output);
            }
            if second.is_multiple_of(MINUTE_S) {
                self.judge.end_minute(seconds(second), output);
            }
        }
    }

    fn packet(
        &mut self,
        link: LinkId,
        owned: Option<Owned>,
        packet: &Packet<'_>,
        output: &mut dyn Output,
    ) {
        let at = self.now;
        let scope = owned.map_or(0, |_| link.0.wrapping_add(1));
        let tracked = self.flows.track(at, (link, scope), packet, &mut self.ended);
        if !self.ended.is_empty() {
            self.close_ended(output);
        }
        let Some(entry) = self.flows.get_mut(tracked.flow) else { return };
        let mut work = Work {
            at,
            settings: &self.flow_settings,
            protocols: &mut self.protocols,
            judge: &mut self.judge,
            stats: &mut self.stats,
            output,
        };
        if tracked.new {
            match owned {
                Some(owned) => {
                    work.judge.attribute_owned(at, owned.on(tracked.from), &mut entry.flow)
                }
                None => work.judge.attribute(at, &mut entry.flow),
            }
            work.deliver(entry, &Event::FlowOpened);
        }
        if tracked.established {
            if owned.is_none() {
                work.judge.attribute_late(at, &mut entry.flow, work.output);
            }
            work.deliver(entry, &Event::FlowEstablished);
        }
        let from = tracked.from;
        if tracked.segment.new_bytes > 0 {
            let payload = packet.payload.get(tracked.segment.skip_bytes as usize..);
            let stream = matches!(packet.transport, Transport::Tcp(_));
            if let Transport::Icmp { kind, code, .. } = packet.transport {
                let bytes = packet.payload;
                work.deliver(entry, &Event::Icmp { from, kind, code, bytes });
            }
            let offset = entry.flow.payload_bytes(from) - u64::from(tracked.segment.new_bytes);
            work.payload(entry, from, stream, offset, tracked.segment, payload.unwrap_or_default());
        }
        if entry.has_waiting(from) || entry.has_waiting(from.other()) {
            let before = entry.waiting_bytes();
            let give_up = tracked.segment.dropped_bytes > 0;
            for side in [from, from.other()] {
                work.waited(entry, side, give_up && side == from);
            }
            let after = entry.waiting_bytes();
            self.flows.settle_waiting(before, after);
        } else if tracked.complete {
            // Now, while it is in the cache. (A reset may be forged; behind it the flow goes on.)
            work.close(entry, FlowEnd::Closed);
            self.flows.remove(tracked.flow, at);
        }
    }

    fn close_ended(&mut self, output: &mut dyn Output) {
        let mut ended = std::mem::take(&mut self.ended);
        for gone in ended.drain(..) {
            self.close(gone, output);
        }
        self.ended = ended;
    }

    /// Nothing of a container will come: its flows and findings are over.
    fn end_container(&mut self, number: u32, output: &mut dyn Output) {
        for flow in self.flows.in_order() {
            let its = |entry: &Entry<Session>| entry.flow.containers.contains(&Some(number));
            if self.flows.get_mut(flow).is_some_and(|entry| its(entry))
                && let Some(ended) = self.flows.end_capture(flow, self.now)
            {
                self.close(ended, output);
            }
        }
        self.judge.end_container(self.now, number, output);
    }

    /// A flow has left the table.
    fn close(&mut self, ended: Ended<Session>, output: &mut dyn Output) {
        let Ended { at, end, mut entry } = ended;
        let mut work = Work {
            at,
            settings: &self.flow_settings,
            protocols: &mut self.protocols,
            judge: &mut self.judge,
            stats: &mut self.stats,
            output,
        };
        work.close(&mut entry, end);
    }

    fn end(&mut self, decoder: &Decoder, output: &mut dyn Output) {
        for flow in self.flows.in_order() {
            if let Some(ended) = self.flows.end_capture(flow, self.now) {
                self.close(ended, output);
            }
        }
        self.judge.end_capture(self.now, output);
        if output.wants(RecordKind::Alert) {
            for alert in self.judge.alerts.unreported(self.now) {
                output.record(&Record::Alert(&alert));
            }
        }
        self.update_stats(decoder);
    }

    fn update_stats(&mut self, decoder: &Decoder) {
        let stats = &mut self.stats;
        stats.last_ns = self.now.nanos();
        stats.flows = self.flows.opened();
        stats.flows_open = self.flows.len() as u64;
        stats.flows_evicted = self.flows.evicted();
        stats.straggler_frames = self.flows.stragglers();
        stats.stream_bytes_dropped = self.flows.stream_bytes_dropped();
        stats.containers = self.judge.containers.len() as u64;
        stats.containers_refused = self.judge.containers.refused();
        stats.containers_unmatched = self.judge.containers.unmatched().len() as u64;
        self.judge.count_forgotten(stats);
        stats.alerts = self.judge.alerts.emitted();
        stats.alerts_allowed = self.judge.alerts.silenced();
        stats.alerts_evicted = self.judge.alerts.evicted();
        stats.undecoded.too_deep += decoder.take_too_deep();
        stats.undecoded.fragments_dropped = decoder.fragments().dropped;
    }
}

/// Memory that one open flow takes in the table, without what its protocol parser or a finding adds
/// (bytes).
pub const fn flow_bytes() -> usize {
    FlowTable::<Session>::FLOW_BYTES
}

const fn seconds(second: u64) -> Timestamp {
    Timestamp::from_nanos(second.saturating_mul(1_000_000_000))
}

impl Stats {
    const fn count_undecoded(&mut self, reason: DecodeError) {
        let undecoded = &mut self.undecoded;
        match reason {
            DecodeError::NoLink => undecoded.no_link += 1,
            DecodeError::NotIp => undecoded.not_ip += 1,
            DecodeError::NoIp | DecodeError::BadIp => undecoded.bad_ip += 1,
            DecodeError::TooDeep => undecoded.too_deep += 1,
            DecodeError::Fragment => undecoded.fragments += 1,
        }
    }
}
