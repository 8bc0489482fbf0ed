//! Which bucket a request takes from.
//!
//! A key is a hash with a seed of its own for each limit, so that nobody can aim at another's bucket. It never holds
//! what it was made of.

use std::{
    hash::{BuildHasher, Hash, Hasher},
    net::IpAddr,
    num::NonZeroU64,
};

use foldhash::quality::RandomState;
use http::HeaderMap;
use serde_json::Value;

use crate::config::LimitKey;

/// The bucket of a caller, within one limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key(pub(super) NonZeroU64);

/// What callers are told apart by.
pub(super) struct Caller {
    parts: Box<[LimitKey]>,
    seed: RandomState,
}

// === impl Key ===

impl From<u64> for Key {
    fn from(hash: u64) -> Self {
        Self(NonZeroU64::new(hash).unwrap_or(NonZeroU64::MIN))
    }
}

// === impl Caller ===

impl Caller {
    pub(super) fn new(parts: &[LimitKey]) -> Self {
        Self { parts: parts.into(), seed: RandomState::default() }
    }

    pub(super) fn parts(&self) -> &[LimitKey] {
        &self.parts
    }

    /// Those who lack a header or a claim share one bucket: to leave it out gains nobody anything.
    pub(super) fn key<'a>(
        &self,
        client: IpAddr,
        headers: &HeaderMap,
        claim: impl Fn(&str) -> Option<&'a Value>,
    ) -> Key {
        let mut hash = self.seed.build_hasher();
        for part in &self.parts {
            match part {
                LimitKey::Claim(name) => {
                    claim(name).filter(|value| !value.is_null()).hash(&mut hash);
                }
                LimitKey::Client => network(client).hash(&mut hash),
                LimitKey::Header(name) => {
                    let mut count = 0_usize;
                    for value in headers.get_all(name) {
                        value.as_bytes().hash(&mut hash);
                        count += 1;
                    }
                    count.hash(&mut hash);
                }
                LimitKey::Route => {}
            }
        }
        hash.finish().into()
    }
}

/// An IPv4 address, or the /64 of an IPv6 address: whoever has one address of it has them all.
fn network(client: IpAddr) -> Result<u32, u64> {
    match client.to_canonical() {
        IpAddr::V4(address) => Ok(address.to_bits()),
        IpAddr::V6(address) => Err((address.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use http::HeaderValue;

    use super::*;

    struct Request(&'static str, &'static [(&'static str, &'static str)], &'static str);

    fn key(caller: &Caller, Request(client, headers, claims): Request) -> Key {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)))
            .collect();
        let claims: BTreeMap<String, Value> = serde_json::from_str(claims).unwrap();
        caller.key(client.parse().unwrap(), &headers, |name| claims.get(name))
    }

    fn check(per: &[&str], one: Request, other: Request, same: bool) {
        let parts: Vec<LimitKey> = per.iter().map(|part| part.parse().unwrap()).collect();
        let caller = Caller::new(&parts);
        assert_eq!(key(&caller, one) == key(&caller, other), same, "{per:?}");
    }

    #[test]
    fn callers_are_told_apart_by_what_the_limit_names() {
        let none = "{}";
        for (one, other, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("0.0.0.1", "0:0:0:1::", false),
        ] {
            check(&["client"], Request(one, &[], none), Request(other, &[], none), same);
            check(&["route"], Request(one, &[], none), Request(other, &[], none), true);
        }
    }

    #[test]
    fn headers_count_with_all_their_values() {
        let at = |headers| Request("::1", headers, "{}");
        let x = &["header.X-Key"];
        check(x, at(&[("x-key", "a")]), at(&[("x-key", "a"), ("other", "b")]), true);
        check(x, at(&[("x-key", "a")]), at(&[("x-key", "A")]), false);
        check(x, at(&[("x-key", "a")]), at(&[("x-key", "a"), ("x-key", "b")]), false);
        check(x, at(&[("x-key", "ab")]), at(&[("x-key", "a"), ("x-key", "b")]), false);
        check(x, at(&[]), at(&[]), true);
        check(x, at(&[]), at(&[("x-key", "")]), false);
    }

    #[test]
    fn claims_count_by_type_and_value() {
        let with = |claims| Request("::1", &[], claims);
        let sub = &["jwt.sub"];
        check(sub, with(r#"{"sub":"a","iss":"b"}"#), with(r#"{"sub":"a"}"#), true);
        check(sub, with(r#"{"sub":"1"}"#), with(r#"{"sub":1}"#), false);
        check(sub, with("{}"), with(r#"{"sub":null}"#), true);
        check(sub, with("{}"), with(r#"{"sub":""}"#), false);
    }

    #[test]
    fn parts_of_a_key_do_not_run_together() {
        let two = &["header.a", "header.b"];
        let at = |headers| Request("::1", headers, "{}");
        check(two, at(&[("a", "xy"), ("b", "z")]), at(&[("a", "x"), ("b", "yz")]), false);
        check(two, at(&[("a", "x")]), at(&[("b", "x")]), false);
        check(two, at(&[("a", "x"), ("b", "y")]), at(&[("b", "y"), ("a", "x")]), true);
    }

    #[test]
    fn each_limit_has_a_seed_of_its_own() {
        let parts = [LimitKey::Client];
        let client = || Request("10.0.0.1", &[], "{}");
        let keys: Vec<_> = (0..4).map(|_| key(&Caller::new(&parts), client())).collect();
        assert!(keys.iter().any(|key| *key != keys[0]));
    }
}
