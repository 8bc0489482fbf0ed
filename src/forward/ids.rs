//! What ties the lines of one request together: its id, its trace (W3C Trace Context), and where it came from.

use std::{
    io::Cursor,
    net::IpAddr,
    ops::Range,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use uuid::{Builder, Uuid, fmt::Hyphenated};

use super::{TRACEPARENT, X_REQUEST_ID};
use crate::telemetry::json;

/// What is known of where a request came from when it is marked.
#[derive(Clone, Copy, Debug)]
pub struct Origin {
    /// The address on the other end of the connection.
    pub peer: IpAddr,
    /// Whether that is a proxy whose own marks are believed.
    pub trusted: bool,
    pub tls: bool,
    pub at: SystemTime,
}

/// How one request is known, to its upstream, its client and the logs.
///
/// What is new of it stands in one allocation, which all of its headers share.
#[derive(Clone, Debug)]
pub struct Marks {
    pub request_id: RequestId,
    pub trace: Trace,
    /// The peer's address as `X-Forwarded-For` has it.
    pub(super) peer: HeaderValue,
}

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

/// Where the parts of a text stand: the id, the trace with its own two, and what is left for the address.
const ID: Range<usize> = 0..Hyphenated::LENGTH;
const TRACE: Range<usize> = ID.end..ID.end + TRACE_LENGTH;
const TRACE_ID: Range<usize> = TRACE.start + 3..TRACE.start + 35;
const SPAN_ID: Range<usize> = TRACE.start + 36..TRACE.start + 52;
const LENGTH: usize = TRACE.end + LONGEST_ADDRESS;
const TRACE_LENGTH: usize = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".len();
const LONGEST_ADDRESS: usize = "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255".len();

// === impl Marks ===

impl Marks {
    /// Keeps what a trusted proxy, or for the trace anybody, has marked the request with.
    pub fn of(headers: &HeaderMap, origin: &Origin) -> Self {
        let their_id = if origin.trusted { headers.get(X_REQUEST_ID).filter(is_id) } else { None };
        let their_trace = headers.get(TRACEPARENT).filter(|value| is_trace(value.as_bytes()));
        let mut text = [0; LENGTH];
        if their_id.is_none() {
            write_id(&mut text, origin.at);
        }
        if their_trace.is_none() {
            write_trace(&mut text);
        }
        let address = write_address(&mut text, origin.peer);
        let text = Bytes::from_owner(text);
        let new = || RequestId(slice(&text, ID));
        let begun = || Trace { value: slice(&text, TRACE), new: true };
        let kept = |value: &HeaderValue| Trace { value: value.clone(), new: false };
        Self {
            request_id: their_id.cloned().map_or_else(new, RequestId),
            trace: their_trace.map_or_else(begun, kept),
            peer: slice(&text, address),
        }
    }
}

/// A value that is a part of `text`: it shares its memory.
fn slice(text: &Bytes, part: Range<usize>) -> HeaderValue {
    HeaderValue::from_maybe_shared(text.slice(part)).unwrap_or(HeaderValue::from_static(""))
}

/// A UUIDv7: 48 bits of milliseconds, then chance. No counter, which all threads would share.
fn write_id(text: &mut [u8; LENGTH], at: SystemTime) {
    let millis = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let mut chance = [0; 10];
    chance.copy_from_slice(&fastrand::u128(..).to_le_bytes()[..10]);
    let id = Builder::from_unix_timestamp_millis(u64::try_from(millis).unwrap_or(0), &chance);
    id.into_uuid().as_hyphenated().encode_lower(&mut text[ID]);
}

/// A trace of our own is marked as sampled: unmarked, services that follow their caller would record nothing at all.
fn write_trace(text: &mut [u8; LENGTH]) {
    let (mut trace, mut span) = ([0; 32], [0; 32]);
    Uuid::from_u128(fastrand::u128(1..)).as_simple().encode_lower(&mut trace);
    Uuid::from_u64_pair(fastrand::u64(1..), 0).as_simple().encode_lower(&mut span);
    text[TRACE].copy_from_slice(b"00-................................-................-01");
    text[TRACE_ID].copy_from_slice(&trace);
    text[SPAN_ID].copy_from_slice(&span[..16]);
}

fn write_address(text: &mut [u8; LENGTH], address: IpAddr) -> Range<usize> {
    let mut end = Cursor::new(&mut text[TRACE.end..]);
    // Cannot fail: there is room for the longest.
    let _ = json::address(&mut end, address);
    TRACE.end..TRACE.end + end.position() as usize
}

// === impl RequestId ===

impl RequestId {
    pub const HEADER: HeaderName = X_REQUEST_ID;

    pub fn value(&self) -> HeaderValue {
        self.0.clone()
    }

    pub fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

/// Whether it can stand in a log line and in a header: up to 128 visible characters.
fn is_id(value: &&HeaderValue) -> bool {
    (1..=128).contains(&value.len()) && value.as_bytes().iter().all(u8::is_ascii_graphic)
}

// === impl Trace ===

impl Trace {
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
fn is_trace(value: &[u8]) -> bool {
    let part = |from: usize, to: usize| value.get(from..to).unwrap_or_default();
    let hex = |digits: &[u8]| digits.iter().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let real = |digits: &[u8]| hex(digits) && digits.iter().any(|b| *b != b'0');
    let dashes = [2, 35, 52].iter().all(|at| value.get(*at) == Some(&b'-'));
    // A later version may go on after the flags; version ff is no version.
    let ends = value.len() == TRACE_LENGTH
        || (value.len() > TRACE_LENGTH && part(0, 2) != b"00" && value.get(55) == Some(&b'-'));
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
    use std::time::Duration;

    use super::*;

    fn marks(headers: &HeaderMap, peer: &str, trusted: bool) -> Marks {
        let at = UNIX_EPOCH + Duration::from_millis(0x0123_4567_89ab);
        Marks::of(headers, &Origin { peer: peer.parse().unwrap(), trusted, tls: false, at })
    }

    #[test]
    fn only_a_sound_traceparent_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_trace(good.as_bytes()));
        assert!(is_trace(format!("cc{}-what-comes", &good[2..]).as_bytes()));
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
            assert!(!is_trace(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_new_trace_is_a_sound_one() {
        let trace = marks(&HeaderMap::new(), "192.0.2.7", false).trace;
        assert!(trace.is_new());
        assert!(is_trace(trace.value().as_bytes()));
        assert_eq!(trace.trace_id().len(), 32);
        assert_eq!(trace.span_id().len(), 16);
    }

    #[test]
    fn a_new_id_is_a_uuid_that_tells_its_time() {
        let id = marks(&HeaderMap::new(), "192.0.2.7", false).request_id;
        let uuid = Uuid::parse_str(id.as_str()).unwrap();
        assert_eq!((uuid.get_version_num(), uuid.get_variant()), (7, uuid::Variant::RFC4122));
        assert!(id.as_str().starts_with("01234567-89ab-7"), "{}", id.as_str());
        assert_ne!(id.as_str(), marks(&HeaderMap::new(), "192.0.2.7", false).request_id.as_str());
    }

    #[test]
    fn an_id_is_taken_from_trusted_proxies_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("theirs"));
        assert_eq!(marks(&headers, "192.0.2.7", true).request_id.as_str(), "theirs");
        assert_eq!(marks(&headers, "192.0.2.7", false).request_id.as_str().len(), 36);
        headers.insert(X_REQUEST_ID, HeaderValue::from_static("two words"));
        assert_ne!(marks(&headers, "192.0.2.7", true).request_id.as_str(), "two words");
    }

    #[test]
    fn addresses_are_written_as_they_are_read() {
        for address in [
            "0.0.0.0",
            "1.20.255.9",
            "10.100.99.109",
            "255.255.255.255",
            "::1",
            "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
            "::ffff:255.255.255.255",
        ] {
            assert_eq!(marks(&HeaderMap::new(), address, false).peer, address);
        }
    }
}
