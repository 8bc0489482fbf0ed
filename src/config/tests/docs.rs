//! docs/config.md names every key of the schema, and no key that the schema does not have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::*;
use crate::config::schema::Shapes;

type Keys = BTreeMap<String, BTreeSet<String>>;

/// The keys of every table, by the name that its heading has in the document.
fn of_schema() -> Keys {
    let shapes = Shapes::new();
    let mut keys = Keys::new();
    for (section, heading) in [
        ("server", "[server]"),
        ("listener", "[listener.NAME]"),
        ("admin", "[admin]"),
        ("access_log", "[access_log]"),
        ("registry", "[registry.NAME]"),
        ("jwt", "[jwt.NAME]"),
        ("upstream", "[upstream.NAME]"),
        ("route", "[[route]]"),
    ] {
        collect(&shapes, shapes.section(section), heading, section, &mut keys);
    }
    keys
}

fn collect(shapes: &Shapes, shape: &Value, heading: &str, path: &str, keys: &mut Keys) {
    let shape = shapes.resolve(shape);
    for option in
        ["anyOf", "oneOf"].into_iter().filter_map(|word| shape.get(word)?.as_array()).flatten()
    {
        collect(shapes, option, heading, path, keys);
    }
    for inner in ["items", "additionalProperties"].into_iter().filter_map(|word| shape.get(word)) {
        collect(shapes, inner, heading, path, keys);
    }
    let Some(properties) = shape.get("properties").and_then(Value::as_object) else { return };
    // The two forms that are explained once for all keys that take them.
    if properties.len() == 1 && ["file", "regex"].iter().any(|form| properties.contains_key(*form))
    {
        return;
    }
    for (key, value) in properties {
        keys.entry(heading.into()).or_default().insert(key.clone());
        let path = format!("{path}.{key}");
        collect(shapes, value, &path, &path, keys);
    }
}

/// Headings in backticks, and the first cell of each row of the tables below them.
fn of_document(text: &str) -> Keys {
    let mut keys = Keys::new();
    let mut heading = None;
    for line in text.lines() {
        if line.starts_with('#') {
            heading = line.split('`').nth(1).map(String::from);
        }
        let row = line.strip_prefix("| `").and_then(|row| row.split_once('`'));
        if let (Some(heading), Some((key, _))) = (&heading, row) {
            assert!(
                keys.entry(heading.clone()).or_default().insert(key.into()),
                "`{key}` twice in {heading}"
            );
        }
    }
    keys
}

#[test]
fn the_reference_has_every_key_and_no_other() {
    let text = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    let (schema, document) = (of_schema(), of_document(&text));
    for (heading, keys) in &schema {
        assert_eq!(document.get(heading), Some(keys), "docs/config.md, `{heading}`");
    }
    let more: Vec<_> = document.keys().filter(|heading| !schema.contains_key(*heading)).collect();
    assert!(more.is_empty(), "docs/config.md has {more:?}");
}

#[test]
fn the_examples_of_the_reference_are_good() {
    let text = std::fs::read_to_string(root().join("docs/config.md")).unwrap();
    let examples: Vec<_> =
        text.split("```toml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(examples.len() >= 8, "only {} examples", examples.len());
    let env = |_: &str| Some("0123456789".repeat(4));
    for example in examples {
        if let Err(all) = parse("docs/config.md", example, root(), &env) {
            // A table by itself may point at what stands elsewhere, and at files of another machine.
            let elsewhere = [
                "unknown-upstream",
                "unknown-registry",
                "unknown-issuer",
                "unreadable-file",
                "no-instances",
            ];
            let wrong: Vec<_> = all.iter().filter(|item| !elsewhere.contains(&item.code)).collect();
            assert!(wrong.is_empty(), "{wrong:?} in\n{example}");
        }
    }
}
