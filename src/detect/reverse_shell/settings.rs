//! `[detect.reverse_shell]`

use serde::{Deserialize, Serialize};

use crate::detect::known_services::Additions;
use crate::detect::within;

/// `[detect.reverse_shell]`
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Flows watched at a time per container (count; about 1.1 KB each). Full, the longest quiet one
    /// is forgotten: an encrypted shell in it must then pause `silences_min` times anew.
    pub watched_max: usize,
    /// Points of plaintext evidence that make a finding (count). A command that was answered as a
    /// shell answers counts 2, a kind of output that shells and their tools write 3, what
    /// interactive shells say of their own accord 4, a prompt 2. 5 is one command with one tell-tale
    /// output, or three commands whose output says nothing but differs in form, or two and two more
    /// lines of theirs.
    pub text_points_min: u32,
    /// Output this long after a command still answers it (seconds).
    pub output_within_s: f64,
    /// A pause that counts as a silence (seconds; at least 0.5, below which turns are not told
    /// apart: the OFF time of Zhang & Paxson, USENIX Security 2000).
    pub silence_s: f64,
    /// Silences before rhythm alone is judged (count). In 674 public captures 4 found 12 malicious
    /// control channels and no benign flow.
    pub silences_min: u32,
    /// The same where keystrokes are echoed, which hardly anything else does (count).
    pub silences_typed_min: u32,
    /// Silences from which rhythm alone is of high severity (count).
    pub silences_high: u32,
    /// Share of the latest 32 silences that the peer must break (0 to 1). An SSH client has 0.2, a
    /// Telnet client 0.
    pub driven_min: f64,
    /// The same, once there were 30 silences (0 to 1).
    pub driven_long_min: f64,
    /// Median question that is still a command (bytes, without record overhead).
    pub question_bytes_max: u32,
    /// A question with all that follows it above this is an upload and not judged (bytes).
    pub upload_bytes: u64,
    /// An answer comes within this long (seconds).
    pub answer_within_s: f64,
    /// Share of the questions that must be answered (0 to 1): `cd` is not.
    pub answered_min: f64,
    /// Answer bytes over question bytes (ratio). Pushed messages are acknowledged with less than
    /// their size, and a client that waits for a slow server asks more than it is told.
    pub amplification_min: f64,
    /// The same without the largest answer (ratio): mail handed to a slow server has one body.
    pub amplification_trimmed_min: f64,
    /// Variation of the silences from which a person types (standard deviation over mean).
    /// Automated operators measure 0 to 0.1, persons 0.5 and more, the calm ones 0.25: twice what
    /// automata have.
    pub variation_min: f64,
    /// Variation of the answers from which they are output and not the same message again
    /// (standard deviation of the natural logarithm of their bytes).
    pub answer_spread_min: f64,
    /// Keystrokes that the container echoed from which it runs a terminal (count).
    pub echoes_min: u32,
    /// The rhythm must last this long (seconds).
    pub duration_min_s: f64,
    /// Questions in direct succession from which a script is judged (count).
    pub quick_questions_min: u32,
    /// A script's pauses are this many times the container's answer time (ratio).
    pub quick_wait_min: f64,
    /// And at least this long (seconds): shorter ones are a network's round trip.
    pub quick_pause_min_s: f64,
    /// Containers that use the same named destination from which it is a service of the node's
    /// (count, at most 64).
    pub siblings_min: u8,
    /// Domains whose agents take orders by design, beside the shipped list of known services; each
    /// stands for all names below it. Rhythm alone is `low` there.
    pub known_services: Additions,
    /// Flows with the same peer this long after one another are one finding (seconds).
    pub joined_s: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            watched_max: 512,
            text_points_min: 5,
            output_within_s: 10.0,
            silence_s: 0.5,
            silences_min: 4,
            silences_typed_min: 3,
            silences_high: 10,
            driven_min: 0.8,
            driven_long_min: 0.75,
            question_bytes_max: 256,
            upload_bytes: 4_096,
            answer_within_s: 2.0,
            answered_min: 0.5,
            amplification_min: 1.5,
            amplification_trimmed_min: 1.0,
            variation_min: 0.2,
            answer_spread_min: 0.5,
            echoes_min: 8,
            duration_min_s: 15.0,
            quick_questions_min: 8,
            quick_wait_min: 4.0,
            quick_pause_min_s: 0.025,
            siblings_min: 3,
            known_services: Additions::default(),
            joined_s: 600.0,
        }
    }
}

impl Settings {
    /// See [`crate::detect::Describe::check`].
    pub(super) fn check(&self) -> Result<(), String> {
        // No more are told apart.
        within("siblings_min", f64::from(self.siblings_min), 1.0..=64.0)?;
        // Shorter pauses end no turn.
        within("silence_s", self.silence_s, 0.5..=3_600.0)?;
        let most = f64::from(u32::MAX);
        for (key, count) in [
            ("text_points_min", self.text_points_min),
            ("silences_min", self.silences_min),
            ("silences_typed_min", self.silences_typed_min),
            ("echoes_min", self.echoes_min),
            ("quick_questions_min", self.quick_questions_min),
        ] {
            within(key, f64::from(count), 1.0..=most)?;
        }
        for (key, share) in [
            ("driven_min", self.driven_min),
            ("driven_long_min", self.driven_long_min),
            ("answered_min", self.answered_min),
        ] {
            within(key, share, 0.0..=1.0)?;
        }
        Ok(())
    }

    pub(super) fn silence_ns(&self) -> u64 {
        nanos(self.silence_s)
    }

    pub(super) fn answer_ns(&self) -> u64 {
        nanos(self.answer_within_s)
    }
}

/// Saturates: a float to integer cast in Rust never overflows.
fn nanos(seconds: f64) -> u64 {
    (seconds.max(0.0) * 1e9) as u64
}
