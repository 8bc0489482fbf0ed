//! `max_body` of a route: a size, or a table with a mode.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

use super::{Mode, units::Size};

/// The largest request body of a route.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxBody {
    pub size: Size,
    pub mode: Mode,
}

/// The table form.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct MaxBodyTable {
    /// The largest body; more is answered with 413.
    size: Size,
    #[serde(default)]
    mode: Mode,
}

impl<'de> Deserialize<'de> for MaxBody {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MaxBodyVisitor)
    }
}

struct MaxBodyVisitor;

impl<'de> de::Visitor<'de> for MaxBodyVisitor {
    type Value = MaxBody;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a size such as \"1MiB\", or a table with `size`")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<MaxBody, E> {
        Ok(MaxBody { size: text.parse().map_err(E::custom)?, mode: Mode::Enforce })
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<MaxBody, A::Error> {
        let table = MaxBodyTable::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(MaxBody { size: table.size, mode: table.mode })
    }
}

impl JsonSchema for MaxBody {
    fn schema_name() -> Cow<'static, str> {
        "MaxBody".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let (size, table) =
            (generator.subschema_for::<Size>(), generator.subschema_for::<MaxBodyTable>());
        json_schema!({ "anyOf": [size, table] })
    }
}
