//! Known services: names that software calls on a timer for a living.
//!
//! A name proves little: whoever owns a name may lie behind it, and a client may write any name
//! into its greeting. So this list lowers a finding, it never removes one, and a domain under which
//! strangers rent names has no place in it (`data/known_services.txt` states the rules).

use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

const SHIPPED: &str = include_str!("../../data/known_services.txt");

/// Who stands behind a known name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct KnownService<'a> {
    /// The entry that matched.
    pub entry: &'a str,
    /// Its category: `telemetry`, `chat`; `configured` for the configuration's own.
    pub category: &'a str,
    /// The operator is known, the author of the content is not: chat, code hosting.
    pub carries_strangers: bool,
}

/// Names from the configuration, beside those that are shipped. Cheap to clone.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct Additions(std::sync::Arc<[Box<str>]>);

impl Additions {
    /// The service that a name belongs to. Lower case, without a final dot.
    pub fn find<'a>(&'a self, name: &str) -> Option<KnownService<'a>> {
        let own = self.0.iter().find(|entry| covers(entry, name));
        let own = own.map(|entry| KnownService {
            entry,
            category: "configured",
            carries_strangers: false,
        });
        own.or_else(|| shipped().iter().find(|known| covers(known.entry, name)).copied())
    }
}

impl From<Vec<String>> for Additions {
    fn from(entries: Vec<String>) -> Self {
        Self(
            entries
                .iter()
                .map(|entry| entry.trim_matches('.').to_ascii_lowercase().into())
                .collect(),
        )
    }
}

impl From<Additions> for Vec<String> {
    fn from(additions: Additions) -> Self {
        additions.0.iter().map(ToString::to_string).collect()
    }
}

fn shipped() -> &'static [KnownService<'static>] {
    static PARSED: OnceLock<Vec<KnownService<'static>>> = OnceLock::new();
    PARSED.get_or_init(|| parse(SHIPPED))
}

pub(crate) fn parse(text: &str) -> Vec<KnownService<'_>> {
    let (mut category, mut carries_strangers) = ("", false);
    let mut services = Vec::new();
    for line in text.lines() {
        let (entry, comment) = line.split_once('#').unwrap_or((line, ""));
        let entry = entry.trim();
        if let Some(name) = entry.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            category = name;
            carries_strangers = comment.contains("carries strangers' content");
        } else if !entry.is_empty() {
            services.push(KnownService { entry, category, carries_strangers });
        }
    }
    services
}

/// The name is the entry, or lies below it. `*` stands for one label, `x-*` for its rest.
pub(crate) fn covers(entry: &str, name: &str) -> bool {
    let mut labels = name.rsplit('.');
    entry.rsplit('.').all(|wanted| {
        labels.next().is_some_and(|label| match wanted.strip_suffix('*') {
            Some(start) => label.starts_with(start) && !label.is_empty(),
            None => label == wanted,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn covers_names_by_whole_labels() {
        for (entry, name, expected) in [
            ("example.com", "example.com", true),
            ("example.com", "a.b.example.com", true),
            ("example.com", "badexample.com", false),
            ("example.com", "example.com.evil.test", false),
            ("example.com", "com", false),
            ("sts.*.example.com", "sts.eu-west-1.example.com", true),
            ("sts.*.example.com", "sts.example.com", false),
            ("sts.*.example.com", "x.sts.eu-west-1.example.com", true),
            ("ecs-a-*.*.example.com", "ecs-a-3.eu-west-1.example.com", true),
            ("ecs-a-*.*.example.com", "evil.eu-west-1.example.com", false),
        ] {
            assert_eq!(covers(entry, name), expected, "{entry} {name}");
        }
    }

    #[test]
    fn the_shipped_list_keeps_its_rules() {
        let services = shipped();
        assert!(services.len() > 300);
        for KnownService { entry, category, .. } in services {
            assert!(!category.is_empty(), "{entry} stands in no category");
            let plain = entry.split('.').all(|label| {
                !label.is_empty()
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-*".contains(&b))
            });
            assert!(plain && entry.contains('.'), "{entry} is no lower-case domain");
            // An entry at or above a public suffix would cover names of strangers. Wildcards are
            // looked at with a word in their place.
            let example = entry.replace('*', "x");
            let shared = psl::suffix(example.as_bytes())
                .is_some_and(|suffix| suffix.as_bytes().len() >= example.len());
            assert!(!shared, "{entry} is a public suffix: strangers rent names below it");
            let zones = ["amazonaws.com", "googleapis.com", "azure.com", "windows.net"];
            assert!(!zones.contains(entry), "{entry} is a whole cloud");
        }
    }

    #[test]
    fn finds_services_and_says_which() {
        let own = Additions::from(vec!["Hooks.example.org".to_owned()]);
        let found = own.find("o1.ingest.sentry.io").unwrap();
        assert_eq!((found.category, found.carries_strangers), ("telemetry", false));
        assert!(own.find("hooks.slack.com").unwrap().carries_strangers);
        assert_eq!(own.find("a.hooks.example.org").unwrap().category, "configured");
        assert_eq!(own.find("sentry.io.example.net"), None);
        assert_eq!(own.find("evil.cloudfront.net"), None);
    }
}
