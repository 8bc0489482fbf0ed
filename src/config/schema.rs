//! The JSON Schema of `routes.toml`, made from the config types.
//!
//! Editors get it by `tollgate schema`; `conform` checks every file against it, so that no key is listed twice.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};

use super::{Config, Graces, Registry, RegistryKind};

/// The JSON Schema (draft 2020-12) of the whole file.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<Config>().to_value();
    simplify(&mut schema);
    if let Value::Object(root) = &mut schema {
        root.insert("$id".into(), "urn:tollgate:routes.toml".into());
        root.insert("title".into(), "tollgate configuration (routes.toml)".into());
    }
    schema
}

/// Makes a schema say what a TOML file can: no nulls, and `${NAME}` wherever a string is.
fn simplify(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(simplify),
        Value::Object(object) => {
            drop_null(object);
            if let Some(Value::String(pattern)) = object.get_mut("pattern") {
                *pattern = format!(r"(?:{pattern})|\$\{{");
            }
            object.values_mut().for_each(simplify);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// An optional key is one that may be left out; `null` is not written anywhere in TOML.
fn drop_null(object: &mut Map<String, Value>) {
    if object.get("default") == Some(&Value::Null) {
        object.remove("default");
    }
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|word| word != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(options)) = object.get_mut("anyOf") {
        options.retain(|option| option.get("type") != Some(&json!("null")));
        if let [Value::Object(only)] = options.as_slice() {
            let only = only.clone();
            object.remove("anyOf");
            object.extend(only);
        }
    }
}

impl JsonSchema for Registry {
    fn schema_name() -> Cow<'static, str> {
        "Registry".into()
    }

    /// Each kind's own keys, and beside them the graces that every kind has.
    fn json_schema(generator: &mut SchemaGenerator) -> schemars::Schema {
        let graces = Graces::json_schema(generator);
        let graces = graces.get("properties").and_then(Value::as_object).cloned();
        let mut kinds = RegistryKind::json_schema(generator);
        let kinds_list = kinds.get_mut("oneOf").and_then(Value::as_array_mut);
        for kind in kinds_list.into_iter().flatten() {
            if let Some(Value::Object(keys)) = kind.get_mut("properties") {
                keys.extend(graces.clone().unwrap_or_default());
            }
        }
        kinds
    }
}

/// The schema, to be walked along with a file.
pub(super) struct Shapes {
    root: Value,
}

impl Shapes {
    pub(super) fn new() -> Self {
        Self { root: schema() }
    }

    pub(super) fn root(&self) -> &Value {
        &self.root
    }

    /// Follows references to the schema that is meant.
    pub(super) fn resolve<'s>(&'s self, mut shape: &'s Value) -> &'s Value {
        while let Some(name) = definition(shape) {
            let Some(next) = self.root.get("$defs").and_then(|defs| defs.get(name)) else { break };
            shape = next;
        }
        shape
    }

    /// The shape of each value of a table of the top level, or of each element of `route`.
    pub(super) fn section(&self, name: &str) -> &Value {
        let section = self.root.get("properties").and_then(|p| p.get(name)).unwrap_or(&Value::Null);
        let section = self.resolve(section);
        let each = section.get("additionalProperties").filter(|each| each.is_object());
        each.or_else(|| section.get("items")).unwrap_or(section)
    }

    /// The table of the top level in which `key` is a key; for advice.
    pub(super) fn home_of(&self, key: &str) -> Option<&'static str> {
        ["server", "listener", "admin", "access_log", "jwt", "upstream", "route"].into_iter().find(
            |name| {
                let section = self.resolve(self.section(name));
                section.get("properties").is_some_and(|keys| keys.get(key).is_some())
            },
        )
    }
}

/// The name of the definition that a schema refers to.
pub(super) fn definition(shape: &Value) -> Option<&str> {
    shape.get("$ref")?.as_str()?.strip_prefix("#/$defs/")
}
