//! How large a request body may be.
//!
//! `decision` checks what the head announces, `gateway` counts what really comes: a body without a length, or one that
//! lies, is cut off where the limit is passed. Nothing is ever buffered here.

use http::{HeaderMap, header::CONTENT_LENGTH};

use crate::config::units::Size;

/// The most bytes that a route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyLimit {
    max: u64,
}

/// Counts the body of one request.
#[derive(Clone, Copy, Debug)]
pub struct BodyCount {
    /// Nothing, not even zero, once refused.
    left: Option<u64>,
}

/// There is more of the body than its route takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("request body too large")]
pub struct TooLarge;

// === impl BodyLimit ===

impl BodyLimit {
    pub fn new(max: Size) -> Self {
        Self { max: max.0 }
    }

    /// In bytes.
    pub fn max(&self) -> u64 {
        self.max
    }

    /// Refuses a head that announces too much. One without a length, or with one that is no number, passes: the count
    /// decides.
    pub fn check(&self, headers: &HeaderMap) -> Result<(), TooLarge> {
        let mut lengths = headers.get_all(CONTENT_LENGTH).iter();
        if lengths.any(|length| exceeds(length.as_bytes(), self.max)) {
            Err(TooLarge)
        } else {
            Ok(())
        }
    }

    /// For a body about to come.
    pub fn count(&self) -> BodyCount {
        BodyCount { left: Some(self.max) }
    }
}

/// Whether this is a number, and above `max`; also when it is too large for any integer.
fn exceeds(digits: &[u8], max: u64) -> bool {
    let number = digits.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        Some(number.saturating_mul(10).saturating_add(digit))
    });
    number.is_some_and(|number| number > max || number == u64::MAX)
}

// === impl BodyCount ===

impl BodyCount {
    /// Counts a piece of the body. Once refused, every piece is.
    pub fn add(&mut self, bytes: usize) -> Result<(), TooLarge> {
        self.left = self.left.and_then(|left| left.checked_sub(bytes as u64));
        self.left.map(drop).ok_or(TooLarge)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn an_announced_length_above_the_limit_is_refused() {
        for (lengths, allowed) in [
            (&[] as &[&str], true),
            (&["0"], true),
            (&["100"], true),
            (&["000000000000000000000000000100"], true),
            (&["101"], false),
            (&["18446744073709551615"], false),
            (&["18446744073709551716"], false),
            (&["99999999999999999999999999999999999"], false),
            (&["1", "101"], false),
            (&["-1"], true),
            (&["1e9"], true),
            (&[""], true),
        ] {
            let mut headers = HeaderMap::new();
            for length in lengths {
                headers.append(CONTENT_LENGTH, HeaderValue::from_str(length).unwrap());
            }
            assert_eq!(BodyLimit::new(Size(100)).check(&headers).is_ok(), allowed, "{lengths:?}");
        }
    }

    #[test]
    fn a_body_is_refused_at_the_first_byte_above_the_limit() {
        for (pieces, refused_at) in [
            (&[100_usize] as &[_], None),
            (&[101], Some(0)),
            (&[60, 40, 0, 1], Some(3)),
            (&[usize::MAX, usize::MAX], Some(0)),
        ] {
            let mut count = BodyLimit::new(Size(100)).count();
            assert_eq!(pieces.iter().position(|piece| count.add(*piece).is_err()), refused_at);
        }
    }

    #[test]
    fn a_refused_body_stays_refused() {
        let mut count = BodyLimit::new(Size(10)).count();
        assert_eq!(count.add(11), Err(TooLarge));
        assert_eq!(count.add(0), Err(TooLarge));
    }
}
