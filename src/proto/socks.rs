//! SOCKS 4, 4a and 5 (RFC 1928): the handshake, and then whatever it relays.

use super::{Appetite, Match, Parser, Probe, Registration, Sink};
use crate::event::{Manner, Protocol, Side};

/// SOCKS.
pub static PROTOCOL: Protocol = Protocol { name: "socks", manner: Manner::Carrier };

/// SOCKS on any port.
pub const REGISTRATION: Registration =
    Registration::stream(&PROTOCOL, probe).read_by(|| Box::new(Socks::default())).of_both_sides();

/// Longest message of the handshake (bytes).
const MESSAGE_BYTES_MAX: usize = 520;

fn probe(probe: &Probe<'_>) -> Match {
    let (bytes, answer) = (probe.opening(), probe.answer());
    if probe.first != Side::Originator {
        return Match::No;
    }
    match bytes {
        [5] => Match::Maybe,
        [5, count @ 1..=16, methods @ ..] => {
            // The client waits for the choice: nothing follows the methods.
            let count = usize::from(*count);
            if methods.len() > count && answer.is_empty() {
                return Match::No;
            }
            let methods = methods.get(..count).unwrap_or(methods);
            if !methods.iter().all(|method| *method <= 9 || *method >= 0x80) {
                return Match::No;
            }
            match answer {
                [] if methods.len() < count => Match::Maybe,
                [] => Match::Awaits,
                [5] => Match::Maybe,
                [5, choice, ..] => Match::when(methods.contains(choice) || *choice == 0xff),
                _ => Match::No,
            }
        }
        [4, 1 | 2, ..] => match request4(bytes) {
            Some(_) => match answer {
                [] => Match::Awaits,
                [0] => Match::Maybe,
                [0, code, ..] => Match::when((90..=93).contains(code)),
                _ => Match::No,
            },
            None => Match::so_far(bytes.len() < MESSAGE_BYTES_MAX),
        },
        [4] => Match::Maybe,
        _ => Match::No,
    }
}

/// Length of a request of version 4: port, address, user, and a name in version 4a.
fn request4(bytes: &[u8]) -> Option<usize> {
    let address = bytes.get(4..8)?;
    let user = bytes.get(8..)?;
    let user_end = user.iter().position(|byte| *byte == 0)? + 9;
    if !matches!(address, [0, 0, 0, last] if *last != 0) {
        return Some(user_end);
    }
    let name = bytes.get(user_end..)?;
    Some(user_end + name.iter().position(|byte| *byte == 0)? + 1)
}

#[derive(Default)]
struct Socks {
    held: [Vec<u8>; 2],
    version: u8,
    expects: Expects,
}

/// The next message of the handshake.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Expects {
    #[default]
    Opening,
    Choice,
    Login,
    LoginAnswer,
    Request,
    Reply,
}

impl Expects {
    const fn from(self) -> Side {
        match self {
            Self::Opening | Self::Login | Self::Request => Side::Originator,
            Self::Choice | Self::LoginAnswer | Self::Reply => Side::Responder,
        }
    }
}

impl Parser for Socks {
    fn data(&mut self, from: Side, bytes: &[u8], _sink: &mut Sink<'_>) -> Appetite {
        self.held[from.index()].extend_from_slice(bytes);
        loop {
            let side = self.expects.from();
            let held = &mut self.held[side.index()];
            let Some(length) = message(self.expects, self.version, held) else {
                return if held.len() > MESSAGE_BYTES_MAX {
                    Appetite::Contradicted
                } else {
                    Appetite::More
                };
            };
            let Some(message) = held.get(..length) else { return Appetite::More };
            let Some(next) = self.expects.after(message) else { return Appetite::Contradicted };
            if self.expects == Expects::Opening {
                self.version = message.first().copied().unwrap_or_default();
            }
            held.drain(..length);
            match next {
                Next::Message(expects) => self.expects = expects,
                Next::Refused => return Appetite::Done,
                Next::Relay => {
                    // What the client sent ahead comes first, and was held.
                    let rest = self.held[from.index()].len().min(bytes.len());
                    return Appetite::Restart { rest };
                }
            }
        }
    }
}

enum Next {
    Message(Expects),
    Refused,
    Relay,
}

impl Expects {
    /// What follows a message; `None` if it is none.
    fn after(self, message: &[u8]) -> Option<Next> {
        Some(match (self, message) {
            (Self::Opening, [4, ..]) => Next::Message(Self::Reply),
            (Self::Opening, [5, ..]) => Next::Message(Self::Choice),
            (Self::Choice, [5, 0]) => Next::Message(Self::Request),
            (Self::Choice, [5, 2]) => Next::Message(Self::Login),
            (Self::Choice, [5, _]) => Next::Refused,
            (Self::Login, [1, ..]) => Next::Message(Self::LoginAnswer),
            (Self::LoginAnswer, [1, 0]) => Next::Message(Self::Request),
            (Self::LoginAnswer, [1, _]) => Next::Refused,
            (Self::Request, [5, 1..=3, 0, 1 | 3 | 4, ..]) => Next::Message(Self::Reply),
            (Self::Reply, [0, 90, ..] | [5, 0, 0, 1 | 3 | 4, ..]) => Next::Relay,
            (Self::Reply, [0, 91..=93, ..] | [5, 1..=8, 0, ..]) => Next::Refused,
            _ => return None,
        })
    }
}

/// Length of the message that begins so, when enough of it is there to tell.
fn message(expects: Expects, version: u8, bytes: &[u8]) -> Option<usize> {
    match expects {
        Expects::Opening => match bytes {
            [4, ..] => request4(bytes),
            [_, count, ..] => Some(2 + usize::from(*count)),
            _ => None,
        },
        Expects::Choice | Expects::LoginAnswer => Some(2),
        Expects::Login => {
            let user = usize::from(*bytes.get(1)?);
            Some(3 + user + usize::from(*bytes.get(2 + user)?))
        }
        Expects::Reply if version == 4 => Some(8),
        Expects::Request | Expects::Reply => match bytes.get(3)? {
            1 => Some(10),
            3 => Some(7 + usize::from(*bytes.get(4)?)),
            4 => Some(22),
            // An unknown kind of address: what is there shows that it is wrong.
            _ => Some(4),
        },
    }
}
