//! What is wrong with a configuration file, said so that it can be put right: line, key, what
//! stands there, what should.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A name is taken for a slip of another that is this similar (Jaro–Winkler, 0 to 1).
const SIMILARITY_MIN: f64 = 0.75;

/// Why a configuration is refused. Displays as `:LINE: KEY …`, to stand behind the file's name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Line, from 1; 0 where there is no line to name.
    pub line: usize,
    /// Path of the key, `flow.flows_max`; empty where the text is no TOML.
    pub key: String,
    /// What is wrong, to be read after the key.
    pub complaint: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, ":{}", self.line)?;
        }
        match self.key.as_str() {
            "" => write!(f, ": {}", self.complaint),
            key => write!(f, ": `{key}` {}", self.complaint),
        }
    }
}

impl std::error::Error for Problem {}

impl Problem {
    /// What the TOML crate found in the whole document.
    pub(super) fn of_document(text: &str, error: &toml::de::Error) -> Self {
        let span = error.span().unwrap_or(0..0);
        let line = line_of(text, span.start);
        if error.message() == "duplicate key" {
            let key = text.get(span).unwrap_or_default().to_owned();
            return Self { line, key, complaint: "is given twice; leave one out".to_owned() };
        }
        let path = path_at(text, &span);
        match (Slip::of(error.message()), path) {
            (Some(slip), Some(path)) => {
                let key = slip.key(&path).join(".");
                let complaint = match slip {
                    Slip::Mistyped { found: "map", expected: "a sequence" } => {
                        format!(
                            "is one table, and there may be several; write [[{key}]] above each"
                        )
                    }
                    slip => slip.complaint(),
                };
                Self { line, key, complaint }
            }
            (None, Some(path)) => Self {
                line,
                key: path.join("."),
                complaint: format!("is refused: {}", error.message()),
            },
            (_, None) => match without_value(text, line) {
                Some(key) => {
                    Self { line, key: key.to_owned(), complaint: "has no value".to_owned() }
                }
                None => Self { line, key: String::new(), complaint: error.message().to_owned() },
            },
        }
    }

    /// What a detector found in its table, which stands at `table` in the document.
    pub(super) fn of_table(text: &str, table: &[String], error: &toml::de::Error) -> Self {
        let mut path = table.to_vec();
        // The crate names the key in the last line of its message: "in `a.b`".
        let shown = error.to_string();
        let keys = shown
            .trim_end()
            .lines()
            .last()
            .and_then(|last| last.strip_prefix("in `")?.strip_suffix('`'));
        path.extend(keys.into_iter().flat_map(|keys| keys.split('.')).map(str::to_owned));
        match Slip::of(error.message()) {
            Some(slip) => {
                let path = slip.key(&path);
                Self::at_key(text, &path, slip.complaint())
            }
            // A detector names the key itself: "`a` is 7; it must be …".
            None => {
                match error.message().strip_prefix('`').and_then(|rest| rest.split_once("` ")) {
                    Some((key, complaint)) => {
                        path.push(key.to_owned());
                        Self::at_key(text, &path, complaint.to_owned())
                    }
                    None => Self::at_key(text, &path, format!("is refused: {}", error.message())),
                }
            }
        }
    }

    /// A complaint about the value of a key.
    pub(super) fn at_key(text: &str, path: &[String], complaint: String) -> Self {
        let line = span_of(text, path).map_or(0, |span| line_of(text, span.start));
        Self { line, key: path.join("."), complaint }
    }

    /// A key that does not exist, where these do.
    pub(super) fn unknown_key(text: &str, path: &[String], known: &[&str]) -> Self {
        let name = path.last().map(String::as_str).unwrap_or_default();
        Self::at_key(text, path, unknown(name, known))
    }
}

/// The name among `known` that `name` is most likely a slip of.
pub fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    known
        .iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), *candidate))
        .filter(|(similarity, _)| *similarity >= SIMILARITY_MIN)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

fn unknown(name: &str, known: &[&str]) -> String {
    match (nearest(name, known), known) {
        (Some(near), _) => format!("is unknown; did you mean `{near}`?"),
        (None, []) => "is unknown; no keys belong here".to_owned(),
        (None, known) => format!("is unknown; there are: {}", known.join(", ")),
    }
}

/// A mistake that serde's message describes.
#[derive(Debug, Eq, PartialEq)]
enum Slip<'a> {
    UnknownKey { name: &'a str, known: Vec<&'a str> },
    MissingKey { name: &'a str },
    Mistyped { found: &'a str, expected: &'a str },
}

impl<'a> Slip<'a> {
    /// Serde writes "unknown field `x`, expected one of `a`, `b`", "missing field `x`" and
    /// "invalid type: FOUND, expected WANTED".
    fn of(message: &'a str) -> Option<Self> {
        if let Some(rest) = message.strip_prefix("unknown field `") {
            let (name, rest) = rest.split_once('`')?;
            let known = rest.split('`').skip(1).step_by(2).collect();
            return Some(Self::UnknownKey { name, known });
        }
        if let Some(rest) = message.strip_prefix("missing field `") {
            return Some(Self::MissingKey { name: rest.strip_suffix('`')? });
        }
        let rest = message
            .strip_prefix("invalid type: ")
            .or_else(|| message.strip_prefix("invalid value: "))?;
        let (found, expected) = rest.rsplit_once(", expected ")?;
        Some(Self::Mistyped { found, expected })
    }

    /// The path of the key that is meant, given the path at which the message arose.
    fn key(&self, at: &[String]) -> Vec<String> {
        let mut path = at.to_vec();
        match self {
            Self::UnknownKey { name, .. } if path.last().is_none_or(|last| last != name) => {
                path.push((*name).to_owned());
            }
            Self::MissingKey { name } => path.push((*name).to_owned()),
            Self::UnknownKey { .. } | Self::Mistyped { .. } => {}
        }
        path
    }

    fn complaint(&self) -> String {
        match self {
            Self::UnknownKey { name, known } => unknown(name, known),
            Self::MissingKey { .. } => "is missing".to_owned(),
            // Serde has no larger ones, and calls them by Rust's names.
            Self::Mistyped { found, .. }
                if found.ends_with("` as i128") || found.ends_with("` as u128") =>
            {
                format!("is {}; no number here may be so large", in_words(found))
            }
            Self::Mistyped { found, expected } => {
                format!("is {}; it must be {}", in_words(found), wanted(expected))
            }
        }
    }
}

/// Serde's name for what stands there, in TOML's words.
fn in_words(found: &str) -> String {
    let (kind, value) = found.split_once(' ').unwrap_or((found, ""));
    let value = value.strip_suffix(" as i128").or(value.strip_suffix(" as u128")).unwrap_or(value);
    let value = value.trim_matches('`');
    match (kind, value) {
        ("string", text) => format!("the text {text}"),
        ("integer", number) => format!("the number {number}"),
        ("floating", rest) => {
            format!("the number {}", rest.trim_start_matches("point ").trim_matches('`'))
        }
        ("boolean", truth) => truth.to_owned(),
        ("sequence", _) => "a list".to_owned(),
        ("map", _) => "a table".to_owned(),
        _ => found.to_owned(),
    }
}

/// Serde's name for what is wanted, in TOML's words.
fn wanted(expected: &str) -> String {
    let text = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number of at least 0",
        "i64" | "i32" | "isize" => "a whole number",
        "f64" | "f32" => "a number",
        "a boolean" => "true or false",
        "a string" | "a borrowed string" => "a text in quotes",
        "a sequence" => "a list in brackets",
        _ if expected.starts_with("struct ") || expected == "a map" => "a table",
        _ => expected,
    };
    text.to_owned()
}

/// The key of a line that ends where its value should begin: the crate takes that for a text without
/// quotes.
fn without_value(text: &str, line: usize) -> Option<&str> {
    let (key, rest) = text.lines().nth(line.checked_sub(1)?)?.split_once('=')?;
    let rest = rest.trim();
    (rest.is_empty() || rest.starts_with('#')).then(|| key.trim())
}

fn line_of(text: &str, offset: usize) -> usize {
    text.bytes().take(offset).filter(|byte| *byte == b'\n').count() + 1
}

/// The path of the innermost key whose name or value covers a place in the document.
fn path_at(text: &str, span: &Range<usize>) -> Option<Vec<String>> {
    let document = DeTable::parse(text).ok()?;
    in_table(document.get_ref(), span.start)
}

fn in_table(table: &DeTable<'_>, offset: usize) -> Option<Vec<String>> {
    for (key, value) in table {
        let name = key.get_ref().to_string();
        if let Some(mut path) = in_value(value, offset) {
            path.insert(0, name);
            return Some(path);
        }
        if key.span().contains(&offset) || value.span().contains(&offset) {
            return Some(vec![name]);
        }
    }
    None
}

fn in_value(value: &Spanned<DeValue<'_>>, offset: usize) -> Option<Vec<String>> {
    match value.get_ref() {
        DeValue::Table(table) => in_table(table, offset),
        DeValue::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let mut path = in_value(item, offset)?;
            path.insert(0, index.to_string());
            Some(path)
        }),
        _ => None,
    }
}

/// Where a key stands in the document; where only its table does, that.
fn span_of(text: &str, path: &[String]) -> Option<Range<usize>> {
    let document = DeTable::parse(text).ok()?;
    let (first, rest) = path.split_first()?;
    let (key, value) =
        document.get_ref().iter().find(|(key, _)| key.get_ref().as_ref() == first)?;
    let mut span = key.span();
    let mut value = value;
    for name in rest {
        let (place, next) = match value.get_ref() {
            DeValue::Table(table) => {
                let entry = table.iter().find(|(key, _)| key.get_ref().as_ref() == name);
                let Some((key, next)) = entry else { break };
                (key.span(), next)
            }
            DeValue::Array(items) => {
                let item = name.parse().ok().and_then(|index: usize| items.get(index));
                let Some(next) = item else { break };
                (next.span(), next)
            }
            _ => break,
        };
        span = place;
        value = next;
    }
    Some(span)
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    #[test]
    fn says_what_is_wrong_and_where() {
        for (text, expected) in [
            ("[flow]\nflow_max = 3", ":2: `flow.flow_max` is unknown; did you mean `flows_max`?"),
            ("[flows]\n", ":1: `flows` is unknown; did you mean `flow`?"),
            (
                "[proto]\nzzz = 1",
                ":2: `proto.zzz` is unknown; there are: probe_bytes, tls_handshake_bytes_max, \
                 dns_tcp_bytes_max",
            ),
            (
                "\n[flow]\nflows_max = \"many\"",
                ":3: `flow.flows_max` is the text \"many\"; it must be a whole number of at least 0",
            ),
            (
                "[flow]\nflows_max = -3",
                ":2: `flow.flows_max` is the number -3; it must be a whole number of at least 0",
            ),
            (
                "[flow]\nflows_max = 1.5",
                ":2: `flow.flows_max` is the number 1.5; it must be a whole number of at least 0",
            ),
            (
                "[flow]\nflows_max = 0",
                ":2: `flow.flows_max` is 0; it must be more than 0 and at most 17179869184",
            ),
            (
                "[decode]\nvxlan_ports = [4789, 70000]",
                ":2: `decode.vxlan_ports` is the number 70000; it must be a whole number from 0 to \
                 65535",
            ),
            ("flow = 3", ":1: `flow` is the number 3; it must be a table"),
            (
                "[containers]\npod_networks = [\"10.0.0.0/33\"]",
                ":2: `containers.pod_networks` is refused: `10.0.0.0/33` is not an address range; \
                 write it as 10.244.0.0/16, fd00::/8 or 192.0.2.7",
            ),
            ("[[containers.named]]\naddresses = []", ":1: `containers.named.name` is missing"),
            (
                "[[allow]]\nreason = \"x\"",
                ":1: `allow.0` has no `owner`: say who decided, so that they can be asked",
            ),
            ("[flow]\nflows_max = # many\n", ":2: `flows_max` has no value"),
            ("bogus =", ":1: `bogus` has no value"),
            (
                "[flow]\nflows_max = many\n",
                ":2: string values must be quoted, expected literal string",
            ),
            (
                "[flow]\nflows_max = 7\nflows_max = 8\n",
                ":3: `flows_max` is given twice; leave one out",
            ),
            (
                "[[containers.named]]\nname = \"web\"\naddresses = []",
                ":3: `containers.named.0.addresses` is empty: nothing would be found to be it",
            ),
            (
                "[allow]\nreason = \"x\"",
                ":1: `allow` is one table, and there may be several; write [[allow]] above each",
            ),
            (
                "[flow]\nflows_max = 99999999999999999999",
                ":2: `flow.flows_max` is the number 99999999999999999999; no number here may be so large",
            ),
            (
                "[detect.beacon]\nperiod_min_s = 1.0\njitter_cv_max = 1e15",
                ":3: `detect.beacon.jitter_cv_max` is 1000000000000000; it must be from 0.01 to 1",
            ),
            (
                "[detect.beacon]\nscore_low_min = 61",
                ":2: `detect.beacon.score_low_min` is 61; it must be at most `score_medium_min`, 60",
            ),
            (
                "[[capture.interfaces]]\nname = \"eth0\"\nsnaplen_bytes = 10",
                ":3: `capture.interfaces.0.snaplen_bytes` is 10; it must be from 96 to 262144",
            ),
            (
                "[containers]\npod_networks = [\"10.244.1.1/16\"]",
                ":2: `containers.pod_networks` is refused: `10.244.1.1/16` has bits behind its prefix; \
                 write 10.244.0.0/16 for the range, or 10.244.1.1 for the address",
            ),
            ("[flow\n", ":1: unclosed table, expected `]`"),
        ] {
            let problem = Config::parse(text).unwrap_err().to_string();
            assert_eq!(problem, expected, "{text}");
        }
    }

    #[test]
    fn says_which_detectors_there_are() {
        let problem = Config::parse("[detect.zzzzzz]\n").unwrap_err().to_string();
        assert!(problem.starts_with(":1: `detect.zzzzzz` is unknown; there are: "), "{problem}");
        assert!(problem.contains("reverse_shell"), "{problem}");
    }

    #[test]
    fn takes_what_is_right() {
        let config = Config::parse("[flow]\nflows_max = 7").unwrap();
        assert_eq!((config.flow.flows_max, config.flow.icmp_timeout_s), (7, 30));
        assert!(Config::parse("").is_ok());
    }
}
