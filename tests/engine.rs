//! The straight line over the project's own captures.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use std::path::Path;

use vethwatch::config::Config;

#[test]
fn dump() {
    let path = std::env::var("DUMP").unwrap_or_default();
    for line in common::run(&Config::default(), &common::frames(Path::new(&path)).unwrap()) {
        println!("{line}");
    }
}
