//! What ties the lines of one request together: its id, and its trace (W3C Trace Context).

use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::Uuid;

use super::{TRACEPARENT, X_REQUEST_ID};

/// The id of one request: a trusted proxy's, or a UUIDv7 of our own (RFC 9562).
#[derive(Clone, Debug)]
pub struct RequestId(HeaderValue);

/// The trace that a request belongs to.
#[derive(Clone, Debug)]
pub struct Trace {
    /// `00-TRACE-SPAN-FLAGS`, as it came or as we began it.
    value: HeaderValue,
    new: bool,
}

// === impl RequestId ===

impl RequestId {
    pub const HEADER: HeaderName = X_REQUEST_ID;

    /// The id that came with the request where its sender is trusted, otherwise a new one.
    pub fn of(headers: &HeaderMap, trusted: bool) -> Self {
        let sound = |value: &&HeaderValue| {
            (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
        };
        let theirs = if trusted { headers.get(X_REQUEST_ID).filter(sound) } else { None };
        theirs.cloned().map_or_else(Self::new, Self)
    }

    fn new() -> Self {
        let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
        let text = Uuid::now_v7().as_hyphenated().encode_lower(&mut text);
        Self(HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("")))
    }

    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

// === impl Trace ===

impl Trace {
    /// The trace that the request came with, or one that begins here.
    ///
    /// A new one is marked as sampled: unmarked, services that follow their caller would record nothing at all.
    pub fn of(headers: &HeaderMap) -> Self {
        if let Some(value) =
            headers.get(TRACEPARENT).filter(|value| is_traceparent(value.as_bytes()))
        {
            return Self { value: value.clone(), new: false };
        }
        let trace = fastrand::u128(1..);
        let span = fastrand::u64(1..);
        let value = HeaderValue::try_from(format!("00-{trace:032x}-{span:016x}-01"));
        Self { value: value.unwrap_or(HeaderValue::from_static("")), new: true }
    }

    pub fn is_new(&self) -> bool {
        self.new
    }

    pub fn value(&self) -> HeaderValue {
        self.value.clone()
    }

    /// The 16 digits of the id of the span that called.
    pub fn span_id(&self) -> &str {
        self.value.to_str().ok().and_then(|text| text.get(36..52)).unwrap_or_default()
    }

    /// The 32 digits of the trace's id.
    pub fn trace_id(&self) -> &str {
        self.value.to_str().ok().and_then(|text| text.get(3..35)).unwrap_or_default()
    }
}

/// Version, trace, span and flags in lower-case hex, and neither id all zero (Trace Context section 3.2).
fn is_traceparent(value: &[u8]) -> bool {
    let part = |from: usize, to: usize| value.get(from..to).unwrap_or_default();
    let hex = |digits: &[u8]| digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let real = |digits: &[u8]| hex(digits) && digits.iter().any(|b| *b != b'0');
    let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    // A later version may go on after the flags; version ff is no version.
    let ends = value.len() == 55
        || (value.len() > 55 && part(0, 2) != b"00" && value.get(55) == Some(&b'-'));
    dashes
        && ends
        && hex(part(0, 2))
        && part(0, 2) != b"ff"
        && real(part(3, 35))
        && real(part(36, 52))
        && hex(part(53, 55))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_sound_traceparent_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_traceparent(good.as_bytes()));
        assert!(is_traceparent(format!("cc{}-what-comes", &good[2..]).as_bytes()));
        for bad in [
            "",
            "00",
            &good[..54],
            &format!("{good}-more"),
            &format!("ff{}", &good[2..]),
            &good.to_uppercase(),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert!(!is_traceparent(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_new_trace_is_a_sound_one() {
        let trace = Trace::of(&HeaderMap::new());
        assert!(trace.is_new());
        assert!(is_traceparent(trace.value().as_bytes()));
        assert_eq!(trace.trace_id().len(), 32);
    }

    #[test]
    fn an_id_is_taken_from_trusted_proxies_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("theirs"));
        assert_eq!(RequestId::of(&headers, true).as_str(), "theirs");
        assert_eq!(RequestId::of(&headers, false).as_str().len(), 36);
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("two words"));
        assert_ne!(RequestId::of(&headers, true).as_str(), "two words");
    }
}
