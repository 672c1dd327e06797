//! Frames held back until it is clear where the capture was taken.

use std::time::Duration;

use crate::config::Config;
use crate::container::survey::{Survey, VantagePoint};
use crate::decode::{Decoder, Frame, LinkType};
use crate::event::LinkId;
use crate::time::Timestamp;

/// A quiet container's first minutes can hold one conversation alone: its peer would look like a
/// container too. So the survey goes on until it has this many frames.
const FRAMES_MIN: usize = 256;

/// Frames of the survey, in one buffer.
pub(super) struct HeldBack {
    survey: Survey,
    /// Apart from the engine's: it must not keep fragments of frames that will come again.
    decoder: Decoder,
    frames_max: usize,
    bytes_max: usize,
    until: Option<Timestamp>,
    length: Duration,
    bytes: Vec<u8>,
    frames: Vec<Held>,
}

struct Held {
    link: LinkId,
    at: Timestamp,
    link_type: LinkType,
    wire_bytes: u32,
    end: usize,
}

impl HeldBack {
    pub(super) fn new(config: &Config) -> Self {
        let settings = &config.engine;
        Self {
            survey: Survey::new(&config.containers),
            decoder: Decoder::new(config.decode.clone()),
            frames_max: settings.survey_frames,
            bytes_max: settings.survey_bytes,
            until: None,
            length: Duration::from_secs(settings.survey_s),
            bytes: Vec::new(),
            frames: Vec::new(),
        }
    }

    /// The survey's time is over, and it has seen enough.
    pub(super) fn is_over(&self, at: Timestamp) -> bool {
        self.frames.len() >= FRAMES_MIN && self.until.is_some_and(|until| at > until)
    }

    /// No frame was heard.
    pub(super) const fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Counts and keeps a frame; returns false where a bound does not allow it.
    pub(super) fn hold(&mut self, link: LinkId, frame: &Frame<'_>) -> bool {
        let full = self.frames.len() >= self.frames_max
            || self.bytes.len() + frame.bytes.len() > self.bytes_max;
        if full {
            return false;
        }
        self.until.get_or_insert(frame.at.after(self.length));
        if let Ok(packet) = self.decoder.decode(frame) {
            self.survey.count(frame, &packet);
        }
        self.bytes.extend_from_slice(frame.bytes);
        let Frame { at, link_type, wire_bytes, .. } = *frame;
        self.frames.push(Held { link, at, link_type, wire_bytes, end: self.bytes.len() });
        true
    }

    /// What the frames show.
    pub(super) fn decide(&self) -> VantagePoint {
        self.survey.decide()
    }

    /// When the capture begins.
    pub(super) fn first(&self) -> Timestamp {
        self.frames.first().map_or(Timestamp::default(), |held| held.at)
    }

    /// The frames, in the order in which they came.
    pub(super) fn frames(&self) -> impl Iterator<Item = (LinkId, Frame<'_>)> {
        let mut start = 0;
        self.frames.iter().map(move |held| {
            let bytes = self.bytes.get(start..held.end).unwrap_or_default();
            start = held.end;
            let Held { link, at, link_type, wire_bytes, .. } = *held;
            (link, Frame { at, link_type, wire_bytes, bytes })
        })
    }
}
