//! Names under one domain: a channel that goes through the resolver.

use crate::event::DnsQuestion;

use super::series::SIZES_MAX;

/// What is remembered about a domain beside its queries.
#[derive(Debug, Default)]
pub(super) struct Domain {
    /// Its name.
    pub name: Box<str>,
    /// Queries for types that carry data, not addresses (count).
    pub data_queries: u64,
    /// The changing part of the latest name looks random.
    pub random: bool,
    /// Connections to hosts under it (count).
    pub connections: u64,
}

impl Domain {
    /// Adds a query, whose changing part is `part`.
    pub(super) fn learn(&mut self, question: &DnsQuestion, part: &str) {
        self.data_queries += u64::from(carries_data(question.qtype));
        self.random = looks_random(part);
    }
}

/// Answers of this type carry what the asker wants to know, and not where a host or a service is:
/// NULL, MX, TXT, CNAME, and types that have no name. Not A, AAAA, PTR, NS, SOA, SRV, NAPTR, the
/// types of DNSSEC, HTTPS, SVCB, ANY, CAA.
pub(super) const fn carries_data(qtype: u16) -> bool {
    !matches!(qtype, 1 | 2 | 6 | 12 | 28 | 33 | 35 | 43 | 46..=52 | 64 | 65 | 255 | 257)
}

/// Suffixes that are no domain of the Internet: a cluster's own, a site's own, and the names of
/// addresses (RFC 6761, 6762, 8375; ICANN's `internal`; Kubernetes' default).
const INSIDE: &[&str] = &[
    "local",
    "arpa",
    "internal",
    "localdomain",
    "lan",
    "home",
    "corp",
    "localhost",
    "test",
    "invalid",
];

/// What stands before the registrable domain of a name, and that domain. `None` where nothing does,
/// or where the name is none of the Internet's.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let (_, last) = name.rsplit_once('.')?;
    if INSIDE.contains(&last) {
        return None;
    }
    let domain = psl::domain_str(name)?;
    let part = name.strip_suffix(domain)?.strip_suffix('.')?;
    (!part.is_empty()).then_some((part, domain))
}

/// A label of 8 characters or more, a quarter of them digits.
fn looks_random(part: &str) -> bool {
    part.split('.').any(|label| {
        let digits = label.bytes().filter(u8::is_ascii_digit).count();
        label.len() >= 8 && digits * 4 >= label.len()
    })
}

/// Distinct values over all, 0 to 1.
pub(super) fn distinct_share(values: &[u32]) -> f64 {
    let mut room = [0; SIZES_MAX];
    let count = values.len().min(SIZES_MAX);
    let sorted = &mut room[..count];
    sorted.copy_from_slice(&values[..count]);
    sorted.sort_unstable();
    let distinct = sorted.chunk_by(|a, b| a == b).count();
    distinct as f64 / count.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_before_the_registrable_domain() {
        for (name, expected) in [
            ("a1b2.t.example.com", Some(("a1b2.t", "example.com"))),
            ("x.example.co.uk", Some(("x", "example.co.uk"))),
            ("example.com", None),
            ("com", None),
            ("redis.default.svc.cluster.local", None),
            ("9.113.0.203.in-addr.arpa", None),
            ("d123.cloudfront.net", None),
        ] {
            assert_eq!(split(name), expected, "{name}");
        }
    }

    #[test]
    fn tells_random_labels_and_repeated_ones() {
        assert!(looks_random("9f767c450001.t7") && !looks_random("static-assets.eu1"));
        assert_eq!(distinct_share(&[1, 2, 1, 2]), 0.5);
        assert_eq!(distinct_share(&[]), 0.0);
    }
}
