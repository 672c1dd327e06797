//! Who speaks, and who breaks the silence: the rhythm of a conversation, kept in a few bytes.
//!
//! A shell, a request and a push look alike in bytes and differ in turns. The tracker runs inline
//! for every payload segment; only turns that can matter leave it as events.

use crate::event::{Side, Turn};
use crate::time::Timestamp;

/// A shorter pause is part of a machine's answer; turns after it are not reported one by one.
const PAUSE_NS: u64 = 200_000_000;

/// The turn under way.
#[derive(Clone, Copy, Debug)]
pub struct Turns {
    current: Option<Turn>,
    /// The last finished turn was reported: then its answer is too.
    reported: bool,
}

impl Turns {
    /// A conversation in which nobody spoke yet.
    pub const fn new() -> Self {
        Self { current: None, reported: false }
    }

    /// Takes new payload. Returns the turn that it ended, if that one is to be reported, and
    /// where in its own turn it stands, if that one will be (bytes from the turn's first).
    pub fn speak(&mut self, at: Timestamp, from: Side, bytes: u64) -> (Option<Turn>, Option<u64>) {
        let Some(turn) = &mut self.current else {
            self.current = Some(Turn {
                from,
                bytes,
                packets: 1,
                started: at,
                ended: at,
                silence_ns: None,
                before: None,
                number: 0,
            });
            return (None, Some(0));
        };
        let silence_ns = at.nanos().saturating_sub(turn.ended.nanos());
        if turn.from == from && silence_ns < Turn::SILENCE_NS {
            let before = turn.bytes;
            turn.bytes += bytes;
            turn.packets = turn.packets.saturating_add(1);
            turn.ended = at;
            // Far into a turn it matters to nobody whether it will be reported.
            let told = before < Turn::HEAD_BYTES && (self.reported || matters(turn));
            return (None, told.then_some(before));
        }
        let next = Turn {
            from,
            bytes,
            packets: 1,
            started: at,
            ended: at,
            silence_ns: Some(silence_ns),
            before: Some(turn.from),
            number: turn.number.saturating_add(1),
        };
        let own = matters(turn);
        let told = own || matters(&next);
        let reported = own || self.reported;
        self.reported = own;
        // Most turns are not reported: they are not copied either.
        let ended = reported.then_some(*turn);
        *turn = next;
        (ended, told.then_some(0))
    }

    /// The flow is over: the last turn.
    pub fn close(&mut self) -> Option<Turn> {
        let ended = self.current.take()?;
        (self.reported || matters(&ended)).then_some(ended)
    }

    /// When payload was last seen.
    pub fn last_payload(&self) -> Option<Timestamp> {
        self.current.map(|turn| turn.ended)
    }

    /// The originator and the responder were taken for one another.
    pub const fn turn_around(&mut self) {
        if let Some(turn) = &mut self.current {
            turn.from = turn.from.other();
            if let Some(before) = turn.before {
                turn.before = Some(before.other());
            }
        }
    }
}

/// A turn that is reported for its own sake: early, or it breaks a pause.
fn matters(turn: &Turn) -> bool {
    turn.number < Turn::REPORTED_MAX || turn.silence_ns.is_some_and(|silence| silence >= PAUSE_NS)
}

impl Default for Turns {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_turn_ends_when_the_other_side_answers_or_after_a_silence() {
        let mut turns = Turns::new();
        assert_eq!(turns.speak(at(0), Side::Responder, 3), (None, Some(0)));
        assert_eq!(turns.speak(at(100), Side::Responder, 4), (None, Some(3)));
        let (question, head) = turns.speak(at(120), Side::Originator, 900);
        let question = question.unwrap();
        assert_eq!(head, Some(0));
        assert_eq!((question.bytes, question.packets, question.silence_ns), (7, 2, None));
        let (answer, _) = turns.speak(at(5_120), Side::Originator, 1);
        assert_eq!(answer.unwrap().silence_ns, Some(20_000_000));
        let last = turns.close().unwrap();
        assert_eq!(
            (last.silence_ns, last.before, last.number),
            (Some(5_000_000_000), Some(Side::Originator), 2)
        );
    }

    #[test]
    fn a_busy_exchange_is_not_reported_turn_by_turn_but_its_pauses_are() {
        let mut turns = Turns::new();
        let mut reported = 0;
        for number in 0..1_000 {
            let from = if number % 2 == 0 { Side::Originator } else { Side::Responder };
            reported += u32::from(turns.speak(at(number), from, 10).0.is_some());
        }
        assert_eq!(reported, Turn::REPORTED_MAX + 1, "the answer to the last one too");
        turns.speak(at(3_000), Side::Originator, 1);
        let (pause, _) = turns.speak(at(3_001), Side::Responder, 1);
        assert_eq!(pause.unwrap().silence_ns, Some(2_001_000_000));
        let (answer, _) = turns.speak(at(3_002), Side::Originator, 1);
        assert!(answer.is_some(), "the answer to a reported turn");
        assert!(turns.speak(at(3_003), Side::Responder, 1).0.is_none());
    }
}
