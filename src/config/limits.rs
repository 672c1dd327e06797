//! Which numbers make sense. The unit that ends a key's name decides, so that a new key is checked
//! without being listed.

use toml::{Table, Value};

/// A year, in seconds: the longest time that anything waits or remembers.
const TIME_MAX_S: f64 = 31_536_000.0;
/// The most of anything that is counted or held: 16 GiB, or as many things.
const AMOUNT_MAX: f64 = 17_179_869_184.0;

/// The first number that makes no sense: the path of its key, and what is wrong.
pub(super) fn violation(table: &Table) -> Option<(Vec<String>, String)> {
    table.iter().find_map(|(key, value)| {
        let (mut path, complaint) = violation_in(key, value)?;
        path.insert(0, key.clone());
        Some((path, complaint))
    })
}

fn violation_in(key: &str, value: &Value) -> Option<(Vec<String>, String)> {
    let (number, shown) = match value {
        Value::Integer(number) => (*number as f64, number.to_string()),
        Value::Float(number) => (*number, number.to_string()),
        Value::Table(table) => return violation(table),
        Value::Array(items) => {
            return items.iter().enumerate().find_map(|(index, item)| {
                let Value::Table(table) = item else { return None };
                let (mut path, complaint) = violation(table)?;
                path.insert(0, index.to_string());
                Some((path, complaint))
            });
        }
        _ => return None,
    };
    let (least, most, range) = range(key);
    let above_least = if least == 0.0 { number >= 0.0 } else { number > 0.0 };
    let within = number.is_finite() && above_least && number <= most;
    (!within).then(|| (Vec::new(), format!("is {shown}; it must be {range}")))
}

/// Least (0 or above 0), most, and both in words.
fn range(key: &str) -> (f64, f64, &'static str) {
    let unit = |suffixes: &[&str]| suffixes.iter().any(|suffix| key.ends_with(suffix));
    if unit(&["_ratio", "_share", "_probability"]) {
        (0.0, 1.0, "from 0 to 1")
    } else if unit(&["_timeout_s", "_max_s", "_window_s"]) || key == "interval_s" {
        (1.0, TIME_MAX_S, "more than 0 and at most 31536000 (a year)")
    } else if unit(&["_s"]) {
        (0.0, TIME_MAX_S, "from 0 to 31536000 (a year)")
    } else if unit(&["_max", "_bytes"]) {
        (1.0, AMOUNT_MAX, "more than 0 and at most 17179869184")
    } else {
        (0.0, AMOUNT_MAX, "from 0 to 17179869184")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn judges_numbers_by_the_unit_in_their_name() {
        for (text, expected) in [
            ("flows_max = 1", None),
            ("flows_max = 0", Some("is 0; it must be more than 0 and at most 17179869184")),
            (
                "idle_timeout_s = 0",
                Some("is 0; it must be more than 0 and at most 31536000 (a year)"),
            ),
            (
                "idle_timeout_s = 31536001",
                Some("is 31536001; it must be more than 0 and at most 31536000 (a year)"),
            ),
            ("gap_min_s = 0.0", None),
            ("stats_interval_s = 0", None),
            ("interval_s = 0", Some("is 0; it must be more than 0 and at most 31536000 (a year)")),
            ("jitter_ratio = 1.5", Some("is 1.5; it must be from 0 to 1")),
            ("beats = -1", Some("is -1; it must be from 0 to 17179869184")),
            ("beats = nan", Some("is NaN; it must be from 0 to 17179869184")),
            ("list = [1, 2]", None),
        ] {
            let found = violation(&text.parse().unwrap());
            assert_eq!(found.map(|(_, complaint)| complaint).as_deref(), expected, "{text}");
        }
        let nested = "[[a.b]]\nc_max = 1\n[[a.b]]\nc_max = 0".parse().unwrap();
        assert_eq!(violation(&nested).unwrap().0, ["a", "b", "1", "c_max"]);
    }
}
