//! The layers may only look down. A new `use` that points up fails here, with the rule it breaks.
#![allow(clippy::unwrap_used, missing_docs)]

use std::fs;
use std::path::{Path, PathBuf};

/// Each layer of the engine, and what it may name from this crate besides itself.
const MAY_USE: &[(&str, &[&str])] = &[
    ("time", &[]),
    ("event", &["time", "flow"]), // `flow` in documentation links only
    ("bounded", &[]),
    ("decode", &["time", "event", "bounded", "record"]),
    ("flow", &["time", "event", "bounded", "decode"]),
    ("proto", &["time", "event", "bounded", "decode", "flow"]),
    ("baseline", &["time", "event", "bounded", "flow"]),
    ("container", &["time", "event", "bounded", "decode", "baseline"]),
    ("state", &["time", "bounded", "container", "baseline"]),
    ("detect", &["time", "event", "bounded", "flow", "proto", "baseline", "container"]),
    ("allow", &["time", "event", "container", "detect", "alert"]),
    ("alert", &["time", "event", "bounded", "container", "detect", "allow"]),
    ("record", &["time", "event", "flow", "container", "alert", "allow"]),
];

/// Modules that may wait or fail; the engine never names them.
const SHELL: &[&str] = &["capture", "attribution", "output", "cli", "modes"];

#[test]
fn layers_look_down_only() {
    for (layer, allowed) in MAY_USE {
        for file in files_of(layer) {
            for (line, module) in crate_paths(&file) {
                assert!(
                    module == *layer || allowed.contains(&module.as_str()),
                    "{}:{line}: layer `{layer}` may not use crate::{module}",
                    file.display()
                );
            }
        }
    }
}

#[test]
fn the_engine_names_no_shell_module() {
    for file in ["engine", "config"].iter().flat_map(|layer| files_of(layer)) {
        for (line, module) in crate_paths(&file) {
            assert!(
                !SHELL.contains(&module.as_str()),
                "{}:{line}: the engine side may not use crate::{module}",
                file.display()
            );
        }
    }
}

#[test]
fn every_file_says_what_it_is() {
    for file in all_files(Path::new("src")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not open with `//!`", file.display());
    }
}

/// `src/LAYER.rs` and all of `src/LAYER/`.
fn files_of(layer: &str) -> Vec<PathBuf> {
    let mut files = all_files(&Path::new("src").join(layer));
    files.push(Path::new("src").join(layer).with_extension("rs"));
    files
}

fn all_files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .map(|entry| entry.unwrap().path())
        .flat_map(|path| if path.is_dir() { all_files(&path) } else { vec![path] })
        .filter(|path| path.extension().is_some_and(|extension| extension == "rs"))
        .filter(|path| !path.ends_with("tests.rs"))
        .collect()
}

/// Every `crate::<module>` named outside comments and test modules.
fn crate_paths(file: &Path) -> Vec<(usize, String)> {
    let source = fs::read_to_string(file).unwrap();
    let production = source.split("#[cfg(test)]").next().unwrap_or_default();
    production
        .lines()
        .enumerate()
        .flat_map(|(number, line)| {
            let code = line.split("//").next().unwrap_or_default();
            code.split("crate::")
                .skip(1)
                .map(|rest| {
                    let module: String =
                        rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    (number + 1, module)
                })
                .collect::<Vec<_>>()
        })
        .collect()
}
