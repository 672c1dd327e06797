//! The configuration in force, written into the documented file.

use toml::{Table, Value};

use super::Config;

/// Every key with its meaning, unit and default.
const DOCUMENTED: &str = include_str!("../../deploy/vethwatch.toml");

/// The documented file with the values of `config`. The entries of a list of tables follow its
/// example.
pub(super) fn document(config: &Config) -> String {
    let values = config.to_table();
    let mut table: Vec<String> = Vec::new();
    let mut list = None;
    let mut text = String::new();
    for line in DOCUMENTED.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            table = name.split('.').map(str::to_owned).collect();
        }
        if let Some(name) = line.strip_prefix("# [[").and_then(|line| line.strip_suffix("]]")) {
            list = Some(name);
        } else if !line.starts_with('#') {
            text.extend(list.take().map(|name| entries(&values, name)));
        }
        // `#key =` stands for a key that has no default.
        let key = line.strip_prefix('#').unwrap_or(line);
        let key = key.split_once(" =").map(|(key, _)| key).filter(|key| is_key(key));
        match key.and_then(|key| Some((key, value_of(&values, &table, key)?))) {
            Some((key, value)) => text.push_str(&format!("{key} = {value}\n")),
            None => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    text.extend(list.map(|name| entries(&values, name)));
    text
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte.is_ascii_digit())
}

fn value_of<'a>(values: &'a Table, table: &[String], key: &str) -> Option<&'a Value> {
    let mut values = values;
    for name in table {
        values = values.get(name)?.as_table()?;
    }
    values.get(key)
}

/// The entries of a list of tables.
fn entries(values: &Table, name: &str) -> String {
    let path: Vec<String> = name.split('.').map(str::to_owned).collect();
    let Some((last, tables)) = path.split_last() else { return String::new() };
    let Some(Value::Array(entries)) = value_of(values, tables, last) else { return String::new() };
    entries
        .iter()
        .filter_map(|entry| toml::to_string(entry).ok())
        .map(|entry| format!("\n[[{name}]]\n{entry}"))
        .collect()
}
