//! The response fields that tell a caller of its limit: `RateLimit-Policy` and `RateLimit`. `Retry-After` is `answer`'s.
//!
//! Built once for each route and asked for each of its responses; says nothing of who the caller is. Names and members
//! are those of draft-ietf-httpapi-ratelimit-headers-11, structured fields (RFC 9651).

use std::{fmt::Write, time::Duration};

use bytes::{BufMut, BytesMut};
use http::{HeaderName, HeaderValue};

use super::{RateLimit, Verdict};

/// The fields of one route's limit.
pub struct LimitFields {
    policy: HeaderValue,
    /// The limit's name as a structured string.
    name: Box<str>,
}

pub const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
pub const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

// === impl LimitFields ===

impl LimitFields {
    /// `name` is the route's.
    pub fn new(name: &str, limit: &RateLimit) -> Self {
        let name = structured_string(name);
        let mut policy = String::new();
        let window = whole_seconds(limit.window()).max(1);
        // Writing to a string cannot fail.
        let _ = write!(policy, "{name};q={};w={window}", limit.burst());
        Self { policy: value(BytesMut::from(policy.as_bytes())), name: name.into() }
    }

    /// `RateLimit-Policy`: `"orders";q=50;w=1`, the burst and the seconds it takes to come back.
    pub fn policy(&self) -> &HeaderValue {
        &self.policy
    }

    /// `RateLimit`: `"orders";r=12;t=1`, what remains and the seconds until there is more.
    pub fn state(&self, verdict: &Verdict) -> HeaderValue {
        // Each number has at most 20 digits.
        let mut text = BytesMut::with_capacity(self.name.len() + 46);
        text.put_slice(self.name.as_bytes());
        text.put_slice(b";r=");
        put_number(&mut text, verdict.remaining.into());
        text.put_slice(b";t=");
        put_number(&mut text, whole_seconds(verdict.reset));
        value(text)
    }
}

/// Rounded up: who waits so long has waited long enough.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

/// RFC 9651, 3.3.3. What such a string cannot hold becomes an underscore.
fn structured_string(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('_'),
        }
    }
    quoted.push('"');
    quoted
}

fn put_number(text: &mut BytesMut, number: u64) {
    if number > 9 {
        put_number(text, number / 10);
    }
    text.put_u8(b'0' + (number % 10) as u8);
}

/// All of what is written here is printable ASCII, which a header value may be.
fn value(text: BytesMut) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.freeze()).unwrap_or(HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::policy::rate_limit::tests::config;

    #[test]
    fn policy_tells_burst_and_whole_seconds_to_fill() {
        for (name, rate, burst, policy) in [
            ("orders", "100/s", 50, r#""orders";q=50;w=1"#),
            ("orders", "100/s", 100, r#""orders";q=100;w=1"#),
            ("orders", "100/s", 101, r#""orders";q=101;w=2"#),
            ("slow", "1/h", 2, r#""slow";q=2;w=7200"#),
            (r#"a"b\c"#, "1/s", 1, r#""a\"b\\c";q=1;w=1"#),
            ("caf\u{e9}\r\nx", "1/s", 1, r#""caf___x";q=1;w=1"#),
        ] {
            let limit = RateLimit::new(&config(rate, burst, 1), Instant::now());
            assert_eq!(LimitFields::new(name, &limit).policy(), policy);
        }
    }

    #[test]
    fn state_tells_the_rest_and_never_too_short_a_time() {
        let limit = RateLimit::new(&config("1/s", 1, 1), Instant::now());
        let fields = LimitFields::new("orders", &limit);
        for (remaining, reset, state) in [
            (12, Duration::from_millis(1), r#""orders";r=12;t=1"#),
            (0, Duration::from_millis(1000), r#""orders";r=0;t=1"#),
            (0, Duration::from_nanos(1_000_000_001), r#""orders";r=0;t=2"#),
            (0, Duration::ZERO, r#""orders";r=0;t=0"#),
            (u32::MAX, Duration::MAX, r#""orders";r=4294967295;t=18446744073709551615"#),
        ] {
            let verdict = Verdict { allowed: false, remaining, reset };
            assert_eq!(fields.state(&verdict), state);
        }
    }
}
