//! What the beacon detector can find.

use crate::detect::Rule;

const ID: u32 = 9_100_200;

/// What to do about any of them.
const RESPONSE: &[&str] = &[
    "Look up what the container runs and who owns it: is this a client that somebody knows? If so, \
     allow the destination with a reason, an owner and an expiry.",
    "Compare with its siblings: the same image elsewhere that does not call the destination speaks \
     for an intrusion.",
    "If nobody knows it: cut the container's egress to the destination, keep the container running \
     for evidence, and capture its traffic.",
    "Find the process that owns the connections (`ss -tnp` in its network namespace), its parent \
     and its file; look there for persistence.",
    "Search the other containers and nodes for the destination, its address and its JA4.",
];

pub(super) static CONNECTIONS: Rule = Rule {
    id: "beacon.connections",
    signature_id: ID + 1,
    revision: 1,
    techniques: &["T1071.001", "T1571", "T1573"],
    tactics: &["TA0011"],
    response: RESPONSE,
};

pub(super) static DATAGRAMS: Rule = Rule {
    id: "beacon.datagrams",
    signature_id: ID + 2,
    revision: 1,
    techniques: &["T1095", "T1571"],
    tactics: &["TA0011"],
    response: RESPONSE,
};

pub(super) static STREAM: Rule = Rule {
    id: "beacon.stream",
    signature_id: ID + 3,
    revision: 1,
    techniques: &["T1071", "T1095", "T1571"],
    tactics: &["TA0011"],
    response: RESPONSE,
};

pub(super) static UNANSWERED: Rule = Rule {
    id: "beacon.unanswered",
    signature_id: ID + 4,
    revision: 1,
    techniques: &["T1071", "T1008"],
    tactics: &["TA0011"],
    response: RESPONSE,
};

pub(super) static DNS: Rule = Rule {
    id: "beacon.dns",
    signature_id: ID + 5,
    revision: 1,
    techniques: &["T1071.004", "T1568"],
    tactics: &["TA0011"],
    response: RESPONSE,
};

/// All of them.
pub(super) const ALL: &[&Rule] = &[&CONNECTIONS, &DATAGRAMS, &STREAM, &UNANSWERED, &DNS];
