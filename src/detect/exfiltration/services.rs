//! Names of widely used services, as data: a name here changes a limit, it never silences.

/// What a service is for, as far as it matters for what is sent to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    /// Anyone may keep anything there: backups go there, and stolen data (ATT&CK T1567.002).
    Storage,
    /// It takes much from many by design: logs, traces, images, code, meetings.
    Intake,
}

/// The shipped list: a suffix and a kind per line; `*` stands for one label, the first match counts.
const SHIPPED: &str = include_str!("services.txt");

/// The kind of the service that a name belongs to. Names from the configuration come first, and are
/// [`Kind::Intake`].
pub(super) fn kind(name: &str, configured: &[String]) -> Option<Kind> {
    if configured.iter().any(|suffix| is_under(name, suffix)) {
        return Some(Kind::Intake);
    }
    shipped().find(|(suffix, _)| is_under(name, suffix)).map(|(_, kind)| kind)
}

fn shipped() -> impl Iterator<Item = (&'static str, Kind)> {
    SHIPPED.lines().filter_map(|line| match line.split_once(' ') {
        Some((suffix, "storage")) => Some((suffix, Kind::Storage)),
        Some((suffix, "intake")) => Some((suffix, Kind::Intake)),
        _ => None,
    })
}

/// `name` is `suffix` or lies below it.
fn is_under(name: &str, suffix: &str) -> bool {
    let mut labels = name.rsplit('.');
    !suffix.is_empty()
        && suffix.rsplit('.').all(|wanted| match labels.next() {
            Some(label) => wanted == "*" || label.eq_ignore_ascii_case(wanted),
            None => false,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_belongs_to_the_first_suffix_it_lies_below() {
        let configured = ["backup.example".to_owned()];
        for (name, expected) in [
            ("bucket.s3.eu-central-1.amazonaws.com", Some(Kind::Storage)),
            ("logs.eu-central-1.amazonaws.com", Some(Kind::Intake)),
            ("storage.googleapis.com", Some(Kind::Storage)),
            ("o4501.ingest.sentry.io", Some(Kind::Intake)),
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
    fn every_line_of_the_list_is_read() {
        let lines = SHIPPED.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        assert_eq!(lines.count(), shipped().count());
    }
}
