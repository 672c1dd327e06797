//! What a destination's name says about uploads to it: it may raise a limit, it never silences.

use std::sync::OnceLock;

use crate::detect::known_services::{Additions, KnownService, covers, parse};

/// What a service is for, as far as it matters for what is sent to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Anyone may keep anything there: backups go there, and stolen data (ATT&CK T1567).
    Store,
    /// It takes much from many by design, and its operator is known: logs, traces, images, jobs.
    Intake,
}

/// Categories of known services that take uploads by design, of which none leave the operator's hands.
/// Those for databases and office files are left out: what is sent there is kept for whoever pays.
const INTAKE: &[&str] =
    &["configured", "telemetry", "ci", "registry", "packages", "cloud", "security"];

/// The kind of the service that a name belongs to.
pub(super) fn kind(name: &str, configured: &Additions) -> Option<Kind> {
    match configured.find(name) {
        Some(service) if INTAKE.contains(&service.category) => Some(Kind::Intake),
        Some(service) if service.carries_strangers => Some(Kind::Store),
        _ => stores().iter().any(|store| covers(store.entry, name)).then_some(Kind::Store),
    }
}

fn stores() -> &'static [KnownService<'static>] {
    static PARSED: OnceLock<Vec<KnownService<'static>>> = OnceLock::new();
    PARSED.get_or_init(|| parse(include_str!("../../../data/stores.txt")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_what_takes_uploads() {
        let configured = Additions::from(vec!["backup.example".to_owned()]);
        for (name, expected) in [
            ("bucket.s3.eu-central-1.amazonaws.com", Some(Kind::Store)),
            ("logs.eu-central-1.amazonaws.com", Some(Kind::Intake)),
            ("storage.googleapis.com", Some(Kind::Store)),
            ("o4501.ingest.sentry.io", Some(Kind::Intake)),
            ("gist.github.com", Some(Kind::Store)),
            ("sentry.io.attacker.example", None),
            ("notsentry.io", None),
            ("com", None),
            ("store.backup.example", Some(Kind::Intake)),
            ("", None),
        ] {
            assert_eq!(kind(name, &configured), expected, "{name}");
        }
    }

    #[test]
    fn the_list_is_read() {
        assert!(stores().len() > 40);
        assert!(stores().iter().all(|store| !store.entry.contains(' ')));
    }
}
