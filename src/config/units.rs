//! Values with units, as an operator writes them: `"10s"`, `"100/s"`, `"50%"`, `"1MiB"`.
//!
//! Each parses from its text form only, so that a bare number can never be read in the wrong unit.

use std::{fmt, num::NonZeroU32, str::FromStr, time::Duration};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, de};

/// A length of time: `"250ms"`, `"10s"`, `"5m"`, `"1h"`; `"0"` is zero.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Interval(pub Duration);

/// Events for each unit of time: `"100/s"`, `"30/m"`, `"5/h"`; `"10/5s"` is ten every five seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Rate {
    pub events: NonZeroU32,
    pub per: Duration,
}

/// A share of a whole, 0 to 1 inside and `"50%"` outside.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Percent(pub f64);

/// A number of bytes: `"512B"`, `"64KiB"`, `"1MiB"`, `"2GiB"`; `kB`, `MB` and `GB` are powers of ten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Size(pub u64);

/// Why a text is not a value of its kind; the message says what would be one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct UnitError(String);

/// Seconds of the longest interval that may be written.
const YEAR: f64 = 366.0 * 86_400.0;

// === impl Interval ===

impl Interval {
    pub const fn secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    pub const fn millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl FromStr for Interval {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || {
            UnitError(format!(
                "`{text}` is not a duration: write \"250ms\", \"10s\", \"5m\" or \"1h\""
            ))
        };
        if text == "0" {
            return Ok(Self(Duration::ZERO));
        }
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let unit = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return Err(wrong()),
        };
        // Bounded, so that adding it to a moment never overflows.
        if number * unit > YEAR {
            return Err(UnitError(format!("`{text}` is longer than a year")));
        }
        Duration::try_from_secs_f64(number * unit).map(Self).map_err(|_| wrong())
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

// === impl Rate ===

impl FromStr for Rate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong =
            || UnitError(format!("`{text}` is not a rate: write \"100/s\", \"30/m\" or \"10/5s\""));
        let (events, per) = text.split_once('/').ok_or_else(wrong)?;
        let events = events.trim().parse().map_err(|_| wrong())?;
        let per = per.trim();
        let per = if per.starts_with(|c: char| c.is_ascii_digit()) {
            per.into()
        } else {
            format!("1{per}")
        };
        let per = per.parse::<Interval>().map_err(|_| wrong())?.0;
        if per.is_zero() { Err(wrong()) } else { Ok(Self { events, per }) }
    }
}

// === impl Percent ===

impl FromStr for Percent {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong = || UnitError(format!("`{text}` is not a share: write \"0%\" to \"100%\""));
        let number: f64 =
            text.strip_suffix('%').ok_or_else(wrong)?.trim().parse().map_err(|_| wrong())?;
        if (0.0..=100.0).contains(&number) { Ok(Self(number / 100.0)) } else { Err(wrong()) }
    }
}

// === impl Size ===

impl Size {
    pub const fn kib(kib: u64) -> Self {
        Self(kib * 1024)
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let wrong =
            || UnitError(format!("`{text}` is not a size: write \"512B\", \"64KiB\" or \"1MiB\""));
        if text == "0" {
            return Ok(Self(0));
        }
        let (number, unit) = split_unit(text).ok_or_else(wrong)?;
        let unit = match unit {
            "B" => 1.0,
            "kB" | "KB" => 1e3,
            "MB" => 1e6,
            "GB" => 1e9,
            "KiB" => 1024.0,
            "MiB" => 1_048_576.0,
            "GiB" => 1_073_741_824.0,
            _ => return Err(wrong()),
        };
        let bytes = number * unit;
        // Above 2^53 a float no longer holds every whole number; no sane limit is there.
        if bytes.fract() == 0.0 && bytes < 9e15 { Ok(Self(bytes as u64)) } else { Err(wrong()) }
    }
}

/// Parts `10.5ms` into 10.5 and `ms`; the number has to be finite and not negative.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(at);
    Some((number.parse().ok()?, unit.trim_start()))
}

/// Gives a unit type its serde and schema forms, both of them its text.
macro_rules! as_text {
    ($($name:ident: $pattern:literal, $example:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl de::Visitor<'_> for Text {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("a string with its unit, such as \"", $example, "\""))
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }
        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern, "examples": [$example] })
            }
        }
    )*};
}

as_text! {
    Interval: r"^(0|[0-9.]+ *(ms|s|m|h|d))$", "10s";
    Rate: r"^[0-9]+ */ *([0-9.]+ *)?(ms|s|m|h|d)$", "100/s";
    Percent: r"^[0-9.]+ *%$", "50%";
    Size: r"^(0|[0-9.]+ *(B|kB|KB|MB|GB|KiB|MiB|GiB))$", "1MiB";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_read() {
        assert_eq!("250ms".parse(), Ok(Interval::millis(250)));
        assert_eq!("1.5s".parse(), Ok(Interval::millis(1500)));
        assert_eq!("0".parse(), Ok(Interval::secs(0)));
        let hundred = NonZeroU32::new(100).unwrap();
        assert_eq!("100/s".parse(), Ok(Rate { events: hundred, per: Duration::from_secs(1) }));
        assert_eq!("100/5m".parse(), Ok(Rate { events: hundred, per: Duration::from_secs(300) }));
        assert_eq!("50%".parse(), Ok(Percent(0.5)));
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
    }

    #[test]
    fn what_has_no_unit_or_no_sense_is_refused() {
        for text in
            ["10", "s", "-1s", "10 years", "1e400s", "367d", "99999999999999999999d", "..s", ""]
        {
            assert!(text.parse::<Interval>().is_err(), "{text}");
        }
        for text in ["100", "0/s", "/s", "5/0s", "-1/s"] {
            assert!(text.parse::<Rate>().is_err(), "{text}");
        }
        for text in ["50", "101%", "-1%", "NaN%", "%"] {
            assert!(text.parse::<Percent>().is_err(), "{text}");
        }
        for text in ["10", "1.5B", "1PiB", "99999999999GiB"] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
