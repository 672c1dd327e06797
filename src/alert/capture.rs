//! What a capture says of itself, in every alert.

use serde::Serialize;

/// What a capture says of itself: part of every alert, since a finding is worth what was seen.
#[derive(Clone, Copy, Debug, Default)]
pub struct CaptureState {
    /// Smallest snap length of its interfaces (bytes); 0 where none is known.
    pub snaplen: u32,
    /// Frames that passed its interfaces, with those lost (count).
    pub passed_frames: u64,
    /// Frames that kernel or interface dropped (count).
    pub dropped_frames: u64,
    /// Frames of bulk that were cut to their headers under load (count),
    pub bulk_cut_frames: u64,
    /// and those that were not analysed (count).
    pub bulk_dropped_frames: u64,
    /// What became of its inputs, where it is read from some.
    pub inputs: Inputs,
}

/// What became of the inputs of a replay.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub struct Inputs {
    /// Inputs that were cut off or damaged, and read up to there (count).
    pub cut_off: u64,
    /// Frames left out for the link type of their interface (count).
    pub skipped_frames: u64,
    /// Files in directories that could not be read as captures (count).
    pub passed_over: u64,
    /// Inputs that begin with the same frames as another: what both hold counts once (count).
    pub repeated: u64,
    /// A signal ended the reading.
    pub interrupted: bool,
}

impl CaptureState {
    /// An interface more, with its snap length (bytes; 0 for none).
    pub const fn add_interface(&mut self, snaplen: u32) {
        if snaplen > 0 && (self.snaplen == 0 || snaplen < self.snaplen) {
            self.snaplen = snaplen;
        }
    }

    /// Share of frames that were lost, or not analysed under load (0 to 1).
    pub fn drop_ratio(&self) -> f64 {
        let (passed, dropped) =
            (self.passed_frames, self.dropped_frames.saturating_add(self.bulk_dropped_frames));
        if passed == 0 { 0.0 } else { (dropped as f64 / passed as f64).min(1.0) }
    }
}
