//! Values that remember where in the file they stand, and lists that may be written as one value.

use std::{
    borrow::Cow,
    fmt,
    ops::{Deref, Range},
    str::FromStr,
};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};
use toml::de::{DeValue, ValueDeserializer};

/// A value and the bytes of the file that it was read from, for diagnostics.
///
/// Two are equal when their values are: moving a line in the file changes nothing that runs.
#[derive(Clone)]
pub struct At<T> {
    value: T,
    span: Option<Range<usize>>,
}

/// One value or a list of them; `"a"` and `["a"]` mean the same.
#[derive(Clone, Debug, PartialEq)]
pub struct OneOrMany<T>(pub Vec<T>);

// === impl At ===

impl<T> At<T> {
    /// Bytes of the file, when the value came from one.
    pub fn span(&self) -> Option<Range<usize>> {
        self.span.clone()
    }

    pub fn into_inner(self) -> T {
        self.value
    }

    /// To finish a value that has been read, such as a path that is relative to the file's folder.
    pub(super) fn value_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T> From<T> for At<T> {
    fn from(value: T) -> Self {
        Self { value, span: None }
    }
}

impl<T> Deref for At<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for At<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: fmt::Debug> fmt::Debug for At<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for At<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = toml::Spanned::<T>::deserialize(deserializer)?;
        let span = Some(spanned.span());
        Ok(Self { value: spanned.into_inner(), span })
    }
}

impl<T: JsonSchema> JsonSchema for At<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

// === impl OneOrMany ===

impl<T> Default for OneOrMany<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<T> Deref for OneOrMany<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for OneOrMany<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = toml::Spanned::<Written<T>>::deserialize(deserializer)?;
        let span = written.span();
        match written.into_inner() {
            Written::Many(list) => Ok(Self(list)),
            // Read once more as a value of the file, so that an `At` inside still learns where it stands.
            Written::One(text) => {
                let text = toml::Spanned::new(span, DeValue::String(text.into()));
                T::deserialize(ValueDeserializer::from(text))
                    .map(|one| Self(vec![one]))
                    .map_err(|error| de::Error::custom(error.message()))
            }
        }
    }
}

/// The two forms of a `OneOrMany`.
enum Written<T> {
    Many(Vec<T>),
    One(String),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Written<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> de::Visitor<'de> for Visitor<T> {
            type Value = Written<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Written::One(text.into()))
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(list)).map(Written::Many)
            }
        }

        deserializer.deserialize_any(Visitor(std::marker::PhantomData))
    }
}

/// Reads a string into what it parses to, and lets an error point at that string alone.
///
/// A reader names the place of an error that arises within it; of one that comes after it, only the list around it.
pub(super) fn from_text<'de, D: Deserializer<'de>, T>(
    deserializer: D,
    expecting: &'static str,
) -> Result<T, D::Error>
where
    T: FromStr<Err: fmt::Display>,
{
    struct Visitor<T>(&'static str, std::marker::PhantomData<T>);

    impl<T: FromStr<Err: fmt::Display>> de::Visitor<'_> for Visitor<T> {
        type Value = T;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
            text.parse().map_err(E::custom)
        }
    }

    deserializer.deserialize_any(Visitor(expecting, std::marker::PhantomData))
}

impl<T: JsonSchema> JsonSchema for OneOrMany<T> {
    fn schema_name() -> Cow<'static, str> {
        format!("OneOrMany_{}", T::schema_name()).into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let one = generator.subschema_for::<T>();
        json_schema!({ "anyOf": [one, { "type": "array", "items": one }] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_knows_its_place_like_a_list_does() {
        #[derive(Deserialize)]
        struct Table {
            one: OneOrMany<At<String>>,
            many: OneOrMany<At<String>>,
        }
        let table: Table = toml::from_str("one = \"a\"\nmany = [\"b\", \"c\"]\n").unwrap();
        assert_eq!(table.one.first().and_then(At::span), Some(6..9));
        assert_eq!(table.many.last().and_then(At::span), Some(23..26));
    }
}
