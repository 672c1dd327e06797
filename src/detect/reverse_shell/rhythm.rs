//! Who drives a conversation, from its turns alone: for every silence who breaks it, how small the
//! questions are, whether the container answers, and with how much.
//!
//! The idea is older than encryption's spread: Zhang & Paxson, "Detecting Backdoors" and "Detecting
//! Stepping Stones" (USENIX Security 2000) tell interactive traffic and its direction from sizes
//! and pauses. No size model of any cipher is used: the container answers faster than its peer
//! thinks, and says more than it is asked.

use super::Settings;
use crate::event::{Side, Turn};

/// Exchanges kept: what an operator does lately, whatever came before.
const KEPT: usize = 16;

/// A sign of life is no bigger (bytes), nor is its answer.
const KEEPALIVE_BYTES: u16 = 128;

/// From one keystroke to the next within a word: 30 ms to half a second (Zhang & Paxson take 10 ms to
/// 2 s; below 30 ms come machines, and after half a second any protocol's next question).
const KEYSTROKE_GAP_NS: std::ops::RangeInclusive<u64> = 30_000_000..=500_000_000;

/// Keys are typed in words: of all questions with their answers, keystrokes are one in so many or more.
const PAIRS_PER_ECHO_MAX: u16 = 4;

/// A terminal echoes at once, seen at the container's own interface (250 ms leaves room for a busy
/// one), and echoes no more than the key and a little control around it.
const ECHO_NS: u64 = 250_000_000;
const ECHO_EXTRA_BYTES: u64 = 24;

/// A question of the peer after a silence, and all until the next one.
#[derive(Clone, Copy, Debug, Default)]
struct Exchange {
    /// The turn that broke the silence (bytes without record overhead).
    question: u16,
    /// All that the peer sent in it.
    peer: u16,
    /// All that the container sent in it.
    own: u32,
    /// The silence before it, in units of 10 ms: at most 11 minutes.
    silence: u16,
    /// The container answered in time.
    answered: bool,
}

/// The exchange under way.
#[derive(Clone, Copy, Debug)]
struct Open {
    question: u64,
    silence_ns: u64,
    ended_ns: u64,
    number: u32,
    answered: bool,
    /// Payload of the peer and of the container when it began, the question included.
    peer_mark: u64,
    own_mark: u64,
}

/// How a channel wraps what is typed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Framing {
    /// What a record adds to its plaintext (bytes). A turn has at least one; how many is not told
    /// by its segments.
    pub(super) overhead_bytes: u64,
    /// A keystroke with its wrapping, less the overhead, is at most this big (bytes).
    pub(super) keystroke_bytes: u64,
}

/// Turn statistics of one flow, from the container's side.
#[derive(Clone, Debug)]
pub(super) struct Rhythm {
    ring: [Exchange; KEPT],
    /// Exchanges ever put into the ring (count).
    put: u32,
    /// Who broke the latest silences: a bit each, 1 for the peer, the latest lowest.
    breakers: u32,
    /// Of those, a bit for each that the peer broke after its own last word.
    unprompted: u32,
    /// Silences ever (count).
    pub(super) silences: u32,
    open: Option<Open>,
    /// The container's bytes so far, as far as turns tell.
    own_bytes: u64,
    own_total: u64,
    /// The container has broken a silence since the peer last spoke: more of it is one stream.
    own_streams: bool,
    /// Sizes of the last small exchange in which the answer was no bigger than the question.
    keepalive: (u16, u16),
    keepalives: u32,
    /// The silence that the container broke last, while nothing has followed: its bytes.
    own_question: Option<u16>,
    /// Sizes of the last small exchange that the container began.
    own_keepalive: (u16, u16),
    /// The peer's last turn: bytes, end, silence before it.
    last_peer: Option<(u64, u64, u64)>,
    echoes: u16,
    /// Turns of the peer with an answer of the container (count).
    pairs: u16,
    quick: Quick,
}

/// Question and answer without a silence between: scripts do not pause.
#[derive(Clone, Copy, Debug, Default)]
struct Quick {
    pairs: u16,
    /// A bit per question size modulo 64.
    sizes: u64,
    asked: u32,
    answers: u32,
    largest: u32,
    /// Sums of natural logarithms, for geometric means: the peer's gap (ns), the container's (ns).
    gap_ln: f32,
    delay_ln: f32,
    /// Mean and squared deviations of ln(answer bytes), after Welford.
    mean: f32,
    squares: f32,
}

/// What the rhythm amounts to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Shape {
    /// Silences (count).
    pub(super) silences: u32,
    /// Share of the latest silences that the peer broke.
    pub(super) driven: f32,
    /// Share of the latest silences that the peer broke after its own last word: no answer to
    /// anything that the container may have asked.
    pub(super) unprompted: f32,
    /// Median size of the questions (bytes, without record overhead).
    pub(super) question_bytes: u32,
    /// Median size of the answers (bytes).
    pub(super) answer_bytes: u32,
    /// Share of the questions that were answered in time.
    pub(super) answered: f32,
    /// Answer bytes over question bytes.
    pub(super) amplification: f32,
    /// The same without the largest answer.
    pub(super) amplification_trimmed: f32,
    /// Standard deviation over mean of the silences.
    pub(super) variation: f32,
    /// Median silence (seconds).
    pub(super) silence_s: f32,
    /// Distinct question sizes over questions.
    pub(super) distinct: f32,
    /// Standard deviation of ln(answer bytes).
    pub(super) spread: f32,
    /// Questions in it (count).
    pub(super) questions: u32,
    /// Share of the exchanges in which the peer spoke again before the next silence: it answered
    /// what the container asked.
    pub(super) followed: f32,
    /// Keystrokes that were echoed (count).
    pub(super) echoes: u32,
}

impl Rhythm {
    /// Nothing heard; the container has sent `own_total` bytes so far.
    pub(super) const fn new(own_total: u64) -> Self {
        Self {
            ring: [Exchange { question: 0, peer: 0, own: 0, silence: 0, answered: false }; KEPT],
            put: 0,
            breakers: 0,
            unprompted: 0,
            silences: 0,
            open: None,
            own_bytes: 0,
            own_total,
            own_streams: false,
            keepalive: (0, 0),
            keepalives: 0,
            own_question: None,
            own_keepalive: (0, 0),
            last_peer: None,
            echoes: 0,
            pairs: 0,
            quick: Quick {
                pairs: 0,
                sizes: 0,
                asked: 0,
                answers: 0,
                largest: 0,
                gap_ln: 0.0,
                delay_ln: 0.0,
                mean: 0.0,
                squares: 0.0,
            },
        }
    }

    /// Takes a finished turn. `totals` are the payload bytes of the container and of the peer up to
    /// its end.
    pub(super) fn turn(
        &mut self,
        turn: &Turn,
        own: Side,
        totals: (u64, u64),
        framing: Framing,
        settings: &Settings,
    ) {
        let net = turn.bytes.saturating_sub(framing.overhead_bytes).max(1);
        if turn.from == own {
            self.own_turn(turn, net, totals, framing, settings);
        } else {
            self.peer_turn(turn, net, totals, settings);
        }
    }

    fn peer_turn(&mut self, turn: &Turn, net: u64, totals: (u64, u64), settings: &Settings) {
        let silence_ns = turn.silence_ns.unwrap_or(0);
        if turn.number >= Turn::REPORTED_MAX {
            // Turns of the container went unreported: the counters know what they held.
            let passed = totals.0.saturating_sub(self.own_total);
            self.own_bytes = self.own_bytes.max(self.own_bytes.saturating_add(passed));
        }
        self.own_total = totals.0;
        self.own_streams = false;
        if let Some(asked) = self.own_question.take()
            && silence_ns < settings.silence_ns()
        {
            self.answer_keepalive(asked, net, turn.bytes);
        }
        self.last_peer = Some((net, turn.ended.nanos(), silence_ns));
        if turn.silence_ns.is_none() || silence_ns >= settings.silence_ns() {
            self.close(turn, totals.1);
            if turn.silence_ns.is_some() {
                self.note_silence(true, turn.before == Some(turn.from));
            }
            self.open = Some(Open {
                question: net,
                silence_ns,
                ended_ns: turn.ended.nanos(),
                number: turn.number,
                answered: false,
                peer_mark: totals.1,
                own_mark: self.own_bytes,
            });
        }
    }

    fn own_turn(
        &mut self,
        turn: &Turn,
        net: u64,
        totals: (u64, u64),
        framing: Framing,
        settings: &Settings,
    ) {
        self.own_bytes = self.own_bytes.saturating_add(net);
        self.own_total = totals.0;
        let silence_ns = turn.silence_ns.unwrap_or(0);
        self.own_question = None;
        let after_peer = turn.before.is_some_and(|before| before != turn.from);
        let mut late = false;
        if let Some(open) = &mut self.open {
            let delay_ns = turn.started.nanos().saturating_sub(open.ended_ns);
            if !open.answered && delay_ns <= settings.answer_ns() {
                open.answered = true;
                late = true;
            }
        }
        if silence_ns >= settings.silence_ns() && !late && !self.own_streams {
            self.note_silence(false, false);
            self.own_streams = true;
            self.own_question = u16::try_from(net).ok();
        }
        if let (true, Some((asked, _, gap_ns))) = (after_peer, self.last_peer.take()) {
            self.pair((asked, gap_ns), (net, silence_ns), framing, settings);
        }
    }

    /// A turn of the peer and the container's answer to it.
    fn pair(
        &mut self,
        (asked, gap_ns): (u64, u64),
        (answer, delay_ns): (u64, u64),
        framing: Framing,
        settings: &Settings,
    ) {
        let small =
            asked <= framing.keystroke_bytes && answer <= asked.saturating_add(ECHO_EXTRA_BYTES);
        let quick = delay_ns <= ECHO_NS && delay_ns < gap_ns;
        self.pairs = self.pairs.saturating_add(1);
        if small && quick && KEYSTROKE_GAP_NS.contains(&gap_ns) {
            self.echoes = self.echoes.saturating_add(1);
        }
        // What follows a silence is judged by who broke it.
        if asked > settings.upload_bytes || gap_ns == 0 || gap_ns >= settings.silence_ns() {
            return;
        }
        self.quick.note(asked, gap_ns, answer, delay_ns);
    }

    /// The peer answers the silence that the container broke. The same small exchange for the second
    /// time is a sign of life: it tells nothing of who drives, and belongs to no question of the peer.
    fn answer_keepalive(&mut self, asked: u16, answer: u64, answer_bytes: u64) {
        let answer = u16::try_from(answer).unwrap_or(u16::MAX);
        let known = self.own_keepalive == (asked, answer);
        self.own_keepalive = (asked, answer);
        if !known || asked > KEEPALIVE_BYTES || answer > KEEPALIVE_BYTES {
            return;
        }
        if self.silences > 0 && self.breakers & 1 == 0 {
            self.forget_silence();
        }
        if let Some(open) = &mut self.open {
            open.peer_mark = open.peer_mark.saturating_add(answer_bytes);
            open.own_mark = open.own_mark.saturating_add(u64::from(asked));
        }
    }

    const fn forget_silence(&mut self) {
        self.silences -= 1;
        self.breakers >>= 1;
        self.unprompted >>= 1;
    }

    const fn note_silence(&mut self, by_peer: bool, unprompted: bool) {
        self.silences = self.silences.saturating_add(1);
        self.breakers = self.breakers << 1 | by_peer as u32;
        self.unprompted = self.unprompted << 1 | unprompted as u32;
    }

    /// Ends the exchange under way, because `turn` begins another.
    fn close(&mut self, turn: &Turn, peer_total: u64) {
        let Some(open) = self.open.take() else { return };
        let peer = peer_total
            .saturating_sub(turn.bytes)
            .saturating_sub(open.peer_mark)
            .saturating_add(open.question);
        let own = self.own_bytes.saturating_sub(open.own_mark);
        let answered = open.answered || own > 0 && turn.number > open.number.saturating_add(1);
        let exchange = Exchange {
            question: u16::try_from(open.question).unwrap_or(u16::MAX),
            peer: u16::try_from(peer).unwrap_or(u16::MAX),
            own: u32::try_from(own).unwrap_or(u32::MAX),
            silence: u16::try_from(open.silence_ns / 10_000_000).unwrap_or(u16::MAX),
            answered: answered && open.answered,
        };
        if self.is_keepalive(&exchange) {
            self.keepalives = self.keepalives.saturating_add(1);
            // The silence that it broke tells nothing either.
            if self.silences > 0 && self.breakers & 1 == 1 {
                self.forget_silence();
            }
            return;
        }
        let place = self.put as usize % KEPT;
        if let Some(slot) = self.ring.get_mut(place) {
            *slot = exchange;
        }
        self.put = self.put.saturating_add(1);
    }

    /// The same small question with the same answer, no bigger than it, for the second time.
    fn is_keepalive(&mut self, exchange: &Exchange) -> bool {
        let own = u16::try_from(exchange.own).unwrap_or(u16::MAX);
        let single = exchange.peer == exchange.question;
        if !single
            || exchange.question > KEEPALIVE_BYTES
            || own > exchange.question.saturating_add(16)
        {
            return false;
        }
        let known = self.keepalive == (exchange.question, own);
        self.keepalive = (exchange.question, own);
        known
    }

    /// Keystrokes that were echoed (count); none, where they are few among what the peer sends.
    fn keystrokes(&self) -> u32 {
        let typed = self.echoes.saturating_mul(PAIRS_PER_ECHO_MAX) >= self.pairs;
        if typed { u32::from(self.echoes) } else { 0 }
    }

    fn exchanges(&self) -> &[Exchange] {
        self.ring.get(..(self.put as usize).min(KEPT)).unwrap_or_default()
    }

    /// The flow is over or a verdict is due: what the rhythm amounts to, the exchange under way
    /// counted as far as it goes.
    pub(super) fn shape(&self, settings: &Settings) -> Shape {
        let under_way = self.open.filter(|open| open.answered).map(|open| Exchange {
            question: u16::try_from(open.question).unwrap_or(u16::MAX),
            peer: u16::try_from(open.question).unwrap_or(u16::MAX),
            own: u32::try_from(self.own_bytes.saturating_sub(open.own_mark)).unwrap_or(u32::MAX),
            silence: u16::try_from(open.silence_ns / 10_000_000).unwrap_or(u16::MAX),
            answered: true,
        });
        let upload = u16::try_from(settings.upload_bytes).unwrap_or(u16::MAX);
        let mut kept = [Exchange::default(); KEPT + 1];
        let mut count = 0;
        for exchange in self.exchanges().iter().copied().chain(under_way) {
            if exchange.peer <= upload
                && let Some(slot) = kept.get_mut(count)
            {
                *slot = exchange;
                count += 1;
            }
        }
        let kept = kept.get(..count).unwrap_or_default();
        let latest = self.silences.min(32);
        let mask = if latest >= 32 { u32::MAX } else { (1 << latest) - 1 };
        let answered = kept.iter().filter(|exchange| exchange.answered).count();
        let followed = kept.iter().filter(|exchange| exchange.peer > exchange.question).count();
        let (amplification, amplification_trimmed) = amplification(kept);
        let silences = || kept.iter().map(|exchange| f32::from(exchange.silence) / 100.0);
        let answers =
            || kept.iter().filter(|e| e.answered && e.own > 0).map(|e| (e.own as f32).ln());
        Shape {
            silences: self.silences,
            driven: share((self.breakers & mask).count_ones(), latest),
            unprompted: share((self.unprompted & mask).count_ones(), latest),
            question_bytes: median(kept.iter().map(|exchange| u32::from(exchange.question))),
            answer_bytes: median(kept.iter().filter(|e| e.answered).map(|e| e.own)),
            answered: share(answered as u32, count as u32),
            amplification,
            amplification_trimmed,
            variation: deviation(silences()) / mean(silences()).max(0.01),
            silence_s: median(kept.iter().map(|e| u32::from(e.silence))) as f32 / 100.0,
            distinct: share(distinct(kept), count as u32),
            spread: deviation(answers()),
            questions: count as u32,
            followed: share(followed as u32, count as u32),
            echoes: self.keystrokes(),
        }
    }

    /// The same for question and answer without silences, as far as there are enough of them.
    pub(super) fn quick_shape(&self) -> Option<Shape> {
        let quick = &self.quick;
        let pairs = f32::from(quick.pairs);
        (quick.pairs > 0).then(|| {
            let gap = (quick.gap_ln / pairs).exp();
            Shape {
                silences: u32::from(quick.pairs),
                // Here: how much longer the peer waits than the container.
                driven: gap / (quick.delay_ln / pairs).exp().max(1.0),
                unprompted: 0.0,
                question_bytes: quick.asked / u32::from(quick.pairs),
                answer_bytes: quick.mean.exp() as u32,
                answered: 1.0,
                amplification: quick.answers as f32 / (quick.asked as f32).max(1.0),
                amplification_trimmed: quick.answers.saturating_sub(quick.largest) as f32
                    / (quick.asked as f32).max(1.0),
                variation: 0.0,
                silence_s: gap / 1e9,
                distinct: share(quick.sizes.count_ones(), u32::from(quick.pairs)),
                spread: (quick.squares / pairs).sqrt(),
                questions: u32::from(quick.pairs),
                followed: 0.0,
                echoes: self.keystrokes(),
            }
        })
    }
}

impl Quick {
    fn note(&mut self, asked: u64, gap_ns: u64, answer: u64, delay_ns: u64) {
        self.pairs = self.pairs.saturating_add(1);
        self.sizes |= 1 << (asked % 64);
        let (asked, answer) = (asked as u32, u32::try_from(answer).unwrap_or(u32::MAX));
        self.asked = self.asked.saturating_add(asked);
        self.answers = self.answers.saturating_add(answer);
        self.largest = self.largest.max(answer);
        self.gap_ln += (gap_ns.max(1) as f32).ln();
        self.delay_ln += (delay_ns.max(1_000) as f32).ln();
        let ln = (answer.max(1) as f32).ln();
        let off = ln - self.mean;
        self.mean += off / f32::from(self.pairs);
        self.squares += off * (ln - self.mean);
    }
}

fn amplification(kept: &[Exchange]) -> (f32, f32) {
    let answered = || kept.iter().filter(|exchange| exchange.answered);
    let asked: f32 = answered().map(|exchange| f32::from(exchange.peer)).sum();
    let own: f32 = answered().map(|exchange| exchange.own as f32).sum();
    let largest = answered().map(|exchange| exchange.own).max().unwrap_or(0) as f32;
    (own / asked.max(1.0), (own - largest) / asked.max(1.0))
}

fn share(part: u32, whole: u32) -> f32 {
    if whole == 0 { 0.0 } else { part as f32 / whole as f32 }
}

fn distinct(kept: &[Exchange]) -> u32 {
    let new = |(index, exchange): (usize, &Exchange)| {
        kept.iter().take(index).all(|earlier| earlier.question != exchange.question)
    };
    kept.iter().enumerate().filter(|pair| new((pair.0, pair.1))).count() as u32
}

/// The middle value, the upper one of two; at most [`KEPT`] + 1 values are looked at.
fn median(values: impl Iterator<Item = u32>) -> u32 {
    let mut sorted = [u32::MAX; KEPT + 1];
    let mut count = 0;
    for (slot, value) in sorted.iter_mut().zip(values) {
        *slot = value;
        count += 1;
    }
    sorted.sort_unstable();
    if count == 0 { 0 } else { sorted.get(count / 2).copied().unwrap_or_default() }
}

fn mean(values: impl Iterator<Item = f32>) -> f32 {
    let (sum, count) =
        values.fold((0.0, 0.0_f32), |(sum, count), value| (sum + value, count + 1.0));
    sum / count.max(1.0)
}

fn deviation(values: impl Iterator<Item = f32> + Clone) -> f32 {
    let mean = mean(values.clone());
    let (sum, count) = values
        .fold((0.0, 0.0_f32), |(sum, count), value| (sum + (value - mean).powi(2), count + 1.0));
    (sum / count.max(1.0)).sqrt()
}
