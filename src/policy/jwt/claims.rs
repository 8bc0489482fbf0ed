//! What a verified token says (RFC 7519).

use std::{fmt, mem::size_of};

use serde_json::{Map, Value};

use super::{Reason, json};

/// The claims of a token whose signature was right.
pub struct Claims {
    values: Map<String, Value>,
    expires: u64,
    not_before: u64,
}

// === impl Claims ===

impl Claims {
    /// Reads a payload whose signature is right. `exp` must be there, and dates must be numbers.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Reason> {
        let values = json::object(payload).ok_or(Reason::Malformed)?;
        let expires = date(&values, "exp")?.ok_or(Reason::MissingClaim)?;
        let not_before = date(&values, "nbf")?.unwrap_or(0);
        date(&values, "iat")?;
        Ok(Self { values, expires, not_before })
    }

    /// A claim of any kind.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A claim that is a string.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?.as_str()
    }

    /// `exp`, in seconds since 1970. Leeway is not in it.
    pub fn expires_at(&self) -> u64 {
        self.expires
    }

    /// Whether `scope` or `scp` holds a scope, in a text between spaces (RFC 8693, 4.2) or in a list.
    pub fn has_scope(&self, scope: &str) -> bool {
        ["scope", "scp"].into_iter().filter_map(|name| self.get(name)).any(|held| match held {
            Value::String(text) => text.split(' ').any(|held| held == scope),
            Value::Array(list) => list.iter().any(|held| held == scope),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
        })
    }

    /// Whether it is valid at a time, all in seconds: from `nbf` up to and without `exp`, and `leeway` beyond both.
    pub(super) fn judge_time(&self, now: u64, leeway: u64) -> Result<(), Reason> {
        if now >= self.expires.saturating_add(leeway) {
            Err(Reason::Expired)
        } else if now.saturating_add(leeway) < self.not_before {
            Err(Reason::NotYetValid)
        } else {
            Ok(())
        }
    }

    /// Bytes that these claims occupy, estimated from above.
    pub(super) fn weight(&self) -> usize {
        size_of::<Self>() + object_weight(&self.values)
    }
}

// Claims say who somebody is, and so their values stay out of logs.
impl fmt::Debug for Claims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claims").field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// A NumericDate in whole seconds. Rounding up is exact for whole `now`: `now < 1.5` means `now < 2`, and
/// `now >= 1.5` means `now >= 2`.
fn date(claims: &Map<String, Value>, name: &str) -> Result<Option<u64>, Reason> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    if let Some(seconds) = value.as_u64() {
        return Ok(Some(seconds));
    }
    let seconds = value.as_f64().ok_or(Reason::Malformed)?;
    // The cast saturates: before 1970 is 0, and absurdly far is the end of time.
    Ok(Some(seconds.ceil() as u64))
}

/// Bytes that a value holds outside itself.
fn heap_weight(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(list) => {
            list.capacity() * size_of::<Value>() + list.iter().map(heap_weight).sum::<usize>()
        }
        Value::Object(object) => object_weight(object),
    }
}

fn object_weight(object: &Map<String, Value>) -> usize {
    // A B-tree node holds up to 11 entries, at least 5 but in the root, and pointers to 12 others above the leaves.
    const NODE: usize = 11 * size_of::<(String, Value)>() + 16 * size_of::<usize>();
    let entries: usize =
        object.iter().map(|(name, value)| name.capacity() + heap_weight(value)).sum();
    entries + object.len().div_ceil(5) * NODE
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::parse(json.as_bytes()).unwrap()
    }

    #[test]
    fn a_token_without_end_is_refused() {
        assert_eq!(Claims::parse(b"{}").unwrap_err(), Reason::MissingClaim);
        assert_eq!(Claims::parse(br#"{"sub":"a"}"#).unwrap_err(), Reason::MissingClaim);
    }

    #[test]
    fn dates_are_finite_numbers() {
        for date in ["\"1\"", "null", "true", "[1]", "{}", "1e999"] {
            let exp = format!(r#"{{"exp":{date}}}"#);
            assert_eq!(Claims::parse(exp.as_bytes()).unwrap_err(), Reason::Malformed, "{date}");
            for name in ["nbf", "iat"] {
                let json = format!(r#"{{"exp":9,"{name}":{date}}}"#);
                assert_eq!(
                    Claims::parse(json.as_bytes()).unwrap_err(),
                    Reason::Malformed,
                    "{json}"
                );
            }
        }
        for (date, seconds) in [
            ("5", 5),
            ("5.0", 5),
            ("4.2", 5),
            ("-1", 0),
            ("-1.5", 0),
            ("1e3", 1_000),
            ("18446744073709551615", u64::MAX),
            ("1e300", u64::MAX),
        ] {
            let json = format!(r#"{{"exp":{date}}}"#);
            assert_eq!(claims(&json).expires_at(), seconds, "{date}");
        }
    }

    #[test]
    fn a_token_is_valid_from_nbf_until_just_before_exp() {
        let claims = claims(r#"{"nbf":1000,"exp":2000}"#);
        for (now, leeway, verdict) in [
            (999, 0, Err(Reason::NotYetValid)),
            (1000, 0, Ok(())),
            (1999, 0, Ok(())),
            (2000, 0, Err(Reason::Expired)),
            (969, 30, Err(Reason::NotYetValid)),
            (970, 30, Ok(())),
            (2029, 30, Ok(())),
            (2030, 30, Err(Reason::Expired)),
            (u64::MAX, 30, Err(Reason::Expired)),
        ] {
            assert_eq!(claims.judge_time(now, leeway), verdict, "{now} with {leeway}");
        }
    }

    #[test]
    fn scopes_are_whole_words_of_scope_or_scp() {
        for json in [
            r#"{"exp":1,"scope":"orders:read orders:write"}"#,
            r#"{"exp":1,"scp":"orders:write"}"#,
            r#"{"exp":1,"scp":["a","orders:write"]}"#,
            r#"{"exp":1,"scope":"a","scp":["orders:write"]}"#,
        ] {
            assert!(claims(json).has_scope("orders:write"), "{json}");
            assert!(!claims(json).has_scope("orders"), "{json}");
        }
        for scope in ["7", "null", "{\"a\":1}", "[[\"a\"]]", "\"\"", "[]", "\"A\"", "\"b\\ta\""] {
            assert!(!claims(&format!(r#"{{"exp":1,"scope":{scope}}}"#)).has_scope("a"), "{scope}");
        }
    }

    #[test]
    fn weight_counts_what_is_nested() {
        let flat = claims(r#"{"exp":1}"#).weight();
        let objects = claims(&format!(r#"{{"exp":1,"a":[{}0]}}"#, r#"{"b":1},"#.repeat(100)));
        assert!(objects.weight() > flat + 100 * 600, "{flat} {}", objects.weight());
        let text = claims(&format!(r#"{{"exp":1,"a":"{}"}}"#, "x".repeat(5_000)));
        assert!(text.weight() >= flat + 5_000);
    }

    #[test]
    fn values_do_not_print() {
        assert_eq!(
            format!("{:?}", claims(r#"{"exp":1,"sub":"ann"}"#)),
            "Claims { expires: 1, .. }"
        );
    }
}
