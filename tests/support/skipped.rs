//! Tests that do not find what they need.

#![allow(clippy::unwrap_used, unreachable_pub)]

use std::io::Write;

/// Says why a test does not run; the macros' output is kept back for a test that passes.
pub fn skipped(why: &str) {
    std::io::stderr().write_all(format!("skipped: {why}\n").as_bytes()).unwrap();
}
