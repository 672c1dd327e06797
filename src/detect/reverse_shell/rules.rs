//! What this detector can find.

use crate::detect::Rule;

const RESPONSE: &[&str] = &[
    "Isolate the container: deny its egress and ingress, keep it running for evidence.",
    "Read the logs of the container and its runtime around first_seen: what started the shell.",
    "Read the flow's capture for what was taken, and look for other flows to the same peer.",
    "Check whether the host or its monitoring was touched, and replace every secret in reach.",
];

pub(super) static PLAINTEXT: Rule = Rule {
    id: "shell.reverse.plaintext",
    signature_id: 9_100_001,
    revision: 1,
    techniques: &["T1059.004", "T1095"],
    tactics: &["TA0002", "TA0011"],
    response: RESPONSE,
};

pub(super) static ENCRYPTED: Rule = Rule {
    id: "shell.reverse.encrypted",
    signature_id: 9_100_002,
    revision: 1,
    techniques: &["T1573", "T1059.004"],
    tactics: &["TA0002", "TA0011"],
    response: RESPONSE,
};

pub(super) static BIND: Rule = Rule {
    id: "shell.bind",
    signature_id: 9_100_003,
    revision: 1,
    techniques: &["T1059.004", "T1095"],
    tactics: &["TA0002", "TA0011"],
    response: RESPONSE,
};

pub(super) static SSH_TUNNEL: Rule = Rule {
    id: "shell.reverse.ssh_tunnel",
    signature_id: 9_100_004,
    revision: 1,
    techniques: &["T1572", "T1021.004", "T1059.004"],
    tactics: &["TA0011", "TA0008"],
    response: RESPONSE,
};

pub(super) static TASKING: Rule = Rule {
    id: "shell.reverse.tasking",
    signature_id: 9_100_005,
    revision: 1,
    techniques: &["T1573", "T1071"],
    tactics: &["TA0011"],
    response: RESPONSE,
};

pub(super) const ALL: &[&Rule] = &[&PLAINTEXT, &ENCRYPTED, &BIND, &SSH_TUNNEL, &TASKING];
