//! Keeps the house in order: modules import only from the layers below them, and files stay short.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test reports by panicking"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// From top to bottom, as README.md tells the way of a request. A module may use what stands further down.
const LAYERS: [&str; 16] = [
    "cli",
    "server",
    "admin",
    "gateway",
    "reload",
    "decision",
    "snapshot",
    "forward",
    "answer",
    "route",
    "policy",
    "upstream",
    "registry",
    "config",
    "telemetry",
    "crypto",
];

const LONGEST_FILE: usize = 500;

#[test]
fn modules_import_downwards_only() {
    let faults: Vec<String> = sources()
        .iter()
        .flat_map(|file| upward_uses(file, &fs::read_to_string(file).unwrap()))
        .collect();
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn every_module_has_a_layer() {
    for module in sources().iter().filter_map(|file| module_of(file)) {
        assert!(LAYERS.contains(&module.as_str()), "src/{module} has no place in LAYERS");
    }
}

#[test]
fn files_stay_short() {
    for file in sources() {
        let lines = fs::read_to_string(&file).unwrap().lines().count();
        assert!(
            lines <= LONGEST_FILE,
            "{} has {lines} lines, more than {LONGEST_FILE}",
            file.display()
        );
    }
}

#[test]
fn an_upward_use_is_found_in_every_form() {
    let file = Path::new("src/route/table.rs");
    for bad in [
        "use crate::server::Server;",
        "use crate::{\n    config,\n    server::{self},\n};",
        "let x = crate::gateway::f();",
    ] {
        assert_eq!(upward_uses(file, bad).len(), 1, "{bad}");
    }
    for good in [
        "use crate::config::Route;",
        "use crate::{config, policy::{jwt, cors}};",
        "use super::Table;",
        "// crate::route",
    ] {
        assert!(upward_uses(file, good).is_empty(), "{good}");
    }
}

fn sources() -> Vec<PathBuf> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(Path::new("src"), &mut found);
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The top-level module that a file belongs to; lib.rs and main.rs belong to none.
fn module_of(file: &Path) -> Option<String> {
    let first =
        file.strip_prefix("src").ok()?.components().next()?.as_os_str().to_str()?.to_owned();
    let name = first.trim_end_matches(".rs").to_owned();
    (name != "lib" && name != "main").then_some(name)
}

fn upward_uses(file: &Path, text: &str) -> Vec<String> {
    let Some(module) = module_of(file) else { return Vec::new() };
    let own = LAYERS.iter().position(|layer| *layer == module);
    let above = |used: &String| {
        LAYERS.iter().position(|layer| layer == used).is_some_and(|at| Some(at) < own)
    };
    let fault = |used: String| format!("{}: `{module}` must not use `{used}`", file.display());
    used_modules(text).into_iter().filter(above).map(fault).collect()
}

/// The top-level modules that stand after `crate::`, alone or in a group.
fn used_modules(text: &str) -> Vec<String> {
    let mut used = Vec::new();
    for (at, _) in text.match_indices("crate::") {
        let rest = &text[at + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => used.extend(group_heads(group)),
            None => used.push(word(rest)),
        }
    }
    used.sort();
    used.dedup();
    used
}

/// The first word of each entry of a `{a, b::{c, d}}` group, given what follows its opening brace.
fn group_heads(group: &str) -> Vec<String> {
    let (mut depth, mut heads, mut expects) = (0, Vec::new(), true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => expects = true,
            _ if depth == 0 && expects && !c.is_whitespace() => {
                heads.push(word(&group[at..]));
                expects = false;
            }
            _ => {}
        }
    }
    heads
}

fn word(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}
