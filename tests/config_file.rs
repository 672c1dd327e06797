//! `deploy/vethwatch.toml` is what the code says: every key of the defaults, with the doc comment
//! of its field. After a change of either, `VETHWATCH_UPDATE=1 cargo test --test config_file`
//! writes it anew.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use toml::{Table, Value};
use vethwatch::config::Config;
use vethwatch::detect::DETECTORS;

const HEADER: &str = "\
# Configuration of vethwatch: every key, with its meaning and its default. A key that is left out
# keeps its default. Times are in packet time. `vethwatch config --config FILE` checks a file and
# prints what is in force with it.
";

/// What the examples of lists say.
const EXAMPLES: &[(&str, &str)] = &[
    ("addresses", "[\"10.244.1.7\", \"fd00::7\"]"),
    ("buffer_bytes", "1048576"),
    ("container", "\"shop/web-*\""),
    ("containers.named.owner", "\"StatefulSet/web\""),
    ("destination", "\"*.backup.example.com\""),
    ("detector", "\"exfiltration\""),
    ("expires", "2027-01-01"),
    ("image", "\"shop/web:1.4\""),
    ("name", "\"web\""),
    ("namespace", "\"shop\""),
    ("network", "\"203.0.113.0/24\""),
    ("owner", "\"platform team\""),
    ("pod", "\"web-0\""),
    ("pod_uid", "\"11111111-2222-3333-4444-555555555555\""),
    ("port", "443"),
    ("reason", "\"nightly backup\""),
    ("rule", "\"exfil.volume\""),
    ("snaplen_bytes", "1024"),
];

#[test]
fn the_file_is_what_the_code_says() {
    let path = root().join("deploy/vethwatch.toml");
    let made = document();
    if std::env::var_os("VETHWATCH_UPDATE").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap();
    let differs = made.lines().zip(kept.lines()).find(|(made, kept)| made != kept);
    assert!(
        made == kept,
        "deploy/vethwatch.toml is stale, first here: {differs:?}; write it anew with \
         VETHWATCH_UPDATE=1 cargo test --test config_file"
    );
}

#[test]
fn the_file_holds_the_defaults() {
    let text = fs::read_to_string(root().join("deploy/vethwatch.toml")).unwrap();
    let config = Config::parse(&text).unwrap();
    assert_eq!(config.to_table(), Config::default().to_table());
    assert_eq!(Config::default().to_documented_toml(), text);
}

#[test]
fn printing_keeps_what_a_file_sets() {
    let text = "[flow]\nflows_max = 7\n\
                [containers]\npod_networks = [\"10.244.0.0/16\"]\n\
                [[containers.named]]\nname = \"web\"\naddresses = [\"10.0.0.1\"]\n\
                [[allow]]\nreason = \"a\\nb\"\nowner = \"ops\"\nport = 443\n";
    let config = Config::parse(text).unwrap();
    let printed = config.to_documented_toml();
    assert!(printed.contains("\nflows_max = 7\n"), "{printed}");
    assert_eq!(Config::parse(&printed).unwrap().to_table(), config.to_table());
}

#[test]
fn the_examples_can_be_read() {
    let text = fs::read_to_string(root().join("deploy/vethwatch.toml")).unwrap();
    let mut lines = text.lines().peekable();
    let mut found = 0;
    while let Some(line) = lines.next() {
        if !line.starts_with("# [[") {
            continue;
        }
        let mut example = line.trim_start_matches("# ").to_owned();
        while let Some(line) = lines.next_if(|line| line.starts_with('#')) {
            example += "\n";
            example += line.strip_prefix("# ").unwrap();
        }
        found += 1;
        let config: Result<Config, _> = toml::from_str(&example);
        assert!(config.is_ok(), "{example}\n{config:?}");
    }
    assert!(found >= 2, "lists of tables with an example");
}

/// The whole file.
fn document() -> String {
    let mut out = HEADER.to_owned();
    let defaults = Config::default().to_table();
    let mut lists = String::new();
    for field in fields(&read("src/config.rs"), "Config").unwrap() {
        if field.name == "detect" {
            for detector in DETECTORS {
                let source = source_of(&format!("detect/{}", detector.id), "Settings");
                let path = format!("detect.{}", detector.id);
                section(&mut out, &path, &source, &(detector.defaults)());
            }
            continue;
        }
        let (module, name) = item(&field.kind).rsplit_once("::").unwrap();
        let source = source_of(&module.replace("::", "/"), name);
        match defaults.get(&field.name).unwrap() {
            Value::Table(settings) => section(&mut out, &field.name, &source, settings),
            Value::Array(_) => {
                let fields = fields(&source, name).unwrap();
                list(&mut lists, &field.name, &module_doc(&source), &fields);
            }
            other => panic!("`{}` is {other}: neither a table nor a list", field.name),
        }
    }
    out + &lists
}

/// What a comment says of least and most: `(0 to 1)`, `, 96 to 262144.`, `; at least 0.5,`. Not what is
/// moved into its range, of which it says that it is "taken".
fn documented_range(comment: &str) -> [Option<f64>; 2] {
    let number = |word: &str| word.trim_end_matches([',', '.', ')', ';', ':']).parse::<f64>().ok();
    let words: Vec<&str> = comment.split_whitespace().collect();
    let mut range = [None; 2];
    if comment.contains("are taken") {
        return range;
    }
    for (place, word) in words.iter().enumerate() {
        let before = place.checked_sub(1).map_or("", |before| words[before]);
        let next = |more: usize| words.get(place + more).copied().unwrap_or_default();
        let opens = word.starts_with('(') || before.ends_with([',', ';']);
        let own = word.trim_start_matches('(').parse::<f64>().ok();
        match (own, next(1)) {
            (Some(least), "to") if opens && number(next(2)).is_some() => {
                range = [Some(least), number(next(2))];
            }
            (Some(least), "at") if opens && next(2).starts_with("least") => range[0] = Some(least),
            (None, "least") if opens && *word == "at" => range[0] = number(next(2)).or(range[0]),
            (None, "most") if opens && *word == "at" => range[1] = number(next(2)).or(range[1]),
            _ => {}
        }
    }
    range
}

#[test]
fn every_range_that_the_file_states_is_held() {
    let text = fs::read_to_string(root().join("deploy/vethwatch.toml")).unwrap();
    let (mut table, mut comment, mut held) = (String::new(), String::new(), 0);
    for line in text.lines() {
        if line.starts_with('[') {
            table = line.to_owned();
        } else if let Some(more) = line.strip_prefix("# ") {
            comment.push_str(more);
            comment.push(' ');
            continue;
        } else if let Some((key, default)) = line.split_once(" = ") {
            let range = documented_range(&comment);
            let float = default.contains('.');
            let step = if float { 0.01 } else { 1.0 };
            let beyond = [range[0].map(|least| least - step), range[1].map(|most| most + step)];
            for value in beyond.into_iter().flatten() {
                let value = if float { format!("{value:?}") } else { format!("{value}") };
                let parsed = Config::parse(&format!("{table}\n{key} = {value}\n"));
                assert!(parsed.is_err(), "{table} {key} = {value} is taken, against \"{comment}\"");
                held += 1;
            }
        }
        comment.clear();
    }
    assert!(held >= 20, "only {held} limits were found in the comments");
}

/// One table. Its lists of tables come last: TOML wants that.
fn section(out: &mut String, path: &str, source: &str, settings: &Table) {
    write!(out, "\n{}[{path}]\n", comment(&module_doc(source), "# ")).unwrap();
    let mut lists = String::new();
    let mut documented = 0;
    for field in fields(source, "Settings").unwrap() {
        let value = settings.get(&field.name);
        documented += usize::from(value.is_some());
        let list_of = item(&field.kind);
        if list_of != field.kind
            && let Some(fields) = fields(source, list_of)
        {
            list(&mut lists, &format!("{path}.{}", field.name), &field.doc, &fields);
            continue;
        }
        out.push_str(&comment(&field.doc, "# "));
        match value {
            Some(value) => writeln!(out, "{} = {value}", field.name).unwrap(),
            None => writeln!(out, "#{} =", field.name).unwrap(),
        }
    }
    assert_eq!(documented, settings.len(), "[{path}]: keys without a field in the source");
    out.push_str(&lists);
}

/// A list of tables, as an example.
fn list(out: &mut String, path: &str, about: &str, fields: &[Field]) {
    write!(out, "\n{}#\n# [[{path}]]\n", comment(about, "# ")).unwrap();
    for field in fields {
        let of = |key: &str| EXAMPLES.iter().find(|(name, _)| *name == key);
        let own = format!("{path}.{}", field.name);
        let Some((_, value)) = of(&own).or_else(|| of(&field.name)) else {
            panic!("{own} has no example")
        };
        writeln!(out, "{}# {} = {value}", comment(&field.doc, "# # "), field.name).unwrap();
    }
}

struct Field {
    name: String,
    kind: String,
    doc: String,
}

/// What a list holds; the type itself where it is no list.
fn item(kind: &str) -> &str {
    kind.strip_prefix("Vec<").and_then(|kind| kind.strip_suffix('>')).unwrap_or(kind)
}

/// The public fields of a struct, in their order; `None` where the source has no such struct, or
/// it has no public fields.
fn fields(source: &str, name: &str) -> Option<Vec<Field>> {
    let (_, body) = source.split_once(&format!("pub struct {name} {{\n"))?;
    let (body, _) = body.split_once("\n}")?;
    let mut fields = Vec::new();
    let mut doc: Vec<&str> = Vec::new();
    for line in body.lines().map(str::trim) {
        if let Some(text) = line.strip_prefix("///") {
            doc.push(text.trim());
        } else if let Some((name, kind)) =
            line.strip_prefix("pub ").and_then(|line| line.split_once(": "))
        {
            assert!(!doc.is_empty(), "{name} has no doc comment");
            let (name, kind) = (name.to_owned(), kind.trim_end_matches(',').to_owned());
            fields.push(Field { name, kind, doc: std::mem::take(&mut doc).join("\n") });
        }
    }
    (!fields.is_empty()).then_some(fields)
}

/// The first paragraph of a module's doc comment.
fn module_doc(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!")).map(str::trim);
    lines.take_while(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
}

/// Text as a comment, without the brackets and paths of links.
fn comment(text: &str, prefix: &str) -> String {
    let mut plain = String::new();
    for (number, part) in text.replace("[`", "`").replace("`]", "`").split('`').enumerate() {
        let code = number % 2 == 1;
        plain += if number > 0 { "`" } else { "" };
        plain += if code { part.rsplit("::").next().unwrap() } else { part };
    }
    let lines = plain.lines().map(|line| format!("{prefix}{line}").trim_end().to_owned() + "\n");
    lines.collect()
}

/// The source of a module, or of the one below it that defines this struct.
fn source_of(module: &str, name: &str) -> String {
    let definition = format!("pub struct {name} {{");
    let mut paths = vec![root().join(format!("src/{module}.rs"))];
    let below = fs::read_dir(root().join("src").join(module)).into_iter().flatten();
    let mut below: Vec<PathBuf> = below.map(|entry| entry.unwrap().path()).collect();
    below.sort();
    paths.extend(below.into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs")));
    let found = paths
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .find(|source| source.contains(&definition));
    found.unwrap_or_else(|| panic!("src/{module}.rs has no `{definition}`"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
