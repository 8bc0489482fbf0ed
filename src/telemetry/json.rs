//! JSON by hand into a byte buffer, without formatting machinery.
//!
//! Called for each line of the access log and each answer of our own. Whatever the bytes of a value, what is written is valid JSON on one line,
//! and harmless on a terminal.

use std::{
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

/// The most bytes of one value that are written; what is longer ends in `…`.
pub const MAX_VALUE: usize = 2048;

/// An object that is being written.
pub struct Object<'a> {
    out: &'a mut Vec<u8>,
    separator: u8,
}

// === impl Object ===

impl<'a> Object<'a> {
    pub fn open(out: &'a mut Vec<u8>) -> Self {
        Self { out, separator: b'{' }
    }

    pub fn close(self) {
        self.out.push(b'}');
    }

    /// A member whose value `write` writes, whole and valid.
    pub fn raw(&mut self, key: &str, write: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(&[self.separator, b'"']);
        self.separator = b',';
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        write(self.out);
    }

    /// A string from anywhere, UTF-8 or not.
    pub fn bytes(&mut self, key: &str, value: &[u8]) {
        self.raw(key, |out| quoted(out, |out| escape(out, value)));
    }

    /// A string that is known to have nothing to escape: a word of ours, a number in hex, a name from the config.
    pub fn plain(&mut self, key: &str, value: &str) {
        debug_assert!(
            !value.chars().any(|c| c.is_control() || c == '"' || c == '\\'),
            "{key}: {value:?}"
        );
        self.raw(key, |out| quoted(out, |out| out.extend_from_slice(value.as_bytes())));
    }

    pub fn str(&mut self, key: &str, value: &str) {
        self.bytes(key, value.as_bytes());
    }

    pub fn number(&mut self, key: &str, value: u64) {
        self.raw(key, |out| decimal(out, value));
    }

    /// Milliseconds, to the microsecond.
    pub fn millis(&mut self, key: &str, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        self.raw(key, |out| {
            decimal(out, micros / 1000);
            let rest = (micros % 1000) as u16;
            let [hundreds, tens, ones] =
                [rest / 100, rest / 10 % 10, rest % 10].map(|digit| b'0' + digit as u8);
            out.extend_from_slice(&[b'.', hundreds, tens, ones]);
        });
    }

    pub fn ip(&mut self, key: &str, value: IpAddr) {
        self.raw(key, |out| {
            quoted(out, |out| {
                // Memory takes all that is written to it.
                let _ = address(out, value);
            });
        });
    }
}

pub fn quoted(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    out.push(b'"');
    write(out);
    out.push(b'"');
}

pub fn decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Writes an address as `Display` does, which for IPv4 takes ten times as long. Fails only as `out` does.
pub fn address(out: &mut impl Write, address: IpAddr) -> io::Result<()> {
    match address {
        IpAddr::V4(v4) => {
            for (i, octet) in v4.octets().into_iter().enumerate() {
                if i > 0 {
                    out.write_all(b".")?;
                }
                out.write_all(itoa::Buffer::new().format(octet).as_bytes())?;
            }
            Ok(())
        }
        // RFC 5952 has rules enough to leave them to the standard library.
        IpAddr::V6(v6) => write!(out, "{v6}"),
    }
}

fn escape(out: &mut Vec<u8>, value: &[u8]) {
    let (value, cut) = match value.get(..MAX_VALUE) {
        Some(head) if value.len() > MAX_VALUE => (head, true),
        _ => (value, false),
    };
    // Without a way out of the loop, so that it looks at many bytes at once.
    if value.iter().fold(true, |plain, byte| plain & is_plain(*byte)) {
        out.extend_from_slice(value);
    } else {
        for chunk in value.utf8_chunks() {
            chunk.valid().chars().for_each(|c| escape_char(out, c));
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    if cut {
        out.extend_from_slice("…".as_bytes());
    }
}

fn is_plain(byte: u8) -> bool {
    (b' '..=b'~').contains(&byte) & (byte != b'"') & (byte != b'\\')
}

fn escape_char(out: &mut Vec<u8>, c: char) {
    match c {
        '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
        // JSON allows DEL and the C1 controls as they are; a terminal would obey them.
        c if c.is_control() => {
            out.extend_from_slice(b"\\u00");
            for digit in [c as u32 >> 4, c as u32 & 0xf] {
                out.push(b"0123456789abcdef".get(digit as usize).copied().unwrap_or(b'0'));
            }
        }
        c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.bytes("v", value);
        object.close();
        out
    }

    #[test]
    fn what_json_or_a_terminal_would_take_as_its_own_is_escaped() {
        let line = written("a\"b\\c\n\r\t\0\x1b[31m\x7f\u{9b}é\u{2028}😀".as_bytes());
        assert_eq!(
            String::from_utf8(line).unwrap(),
            "{\"v\":\"a\\\"b\\\\c\\u000a\\u000d\\u0009\\u0000\\u001b[31m\\u007f\\u009bé\u{2028}😀\"}"
        );
    }

    #[test]
    fn invalid_utf8_is_replaced() {
        let parsed: serde_json::Value = serde_json::from_slice(&written(b"a\xff\xc3z")).unwrap();
        assert_eq!(parsed["v"], "a\u{fffd}\u{fffd}z");
    }

    #[test]
    fn a_long_value_is_cut_even_within_a_character() {
        let long = "€".repeat(MAX_VALUE);
        let parsed: serde_json::Value = serde_json::from_slice(&written(long.as_bytes())).unwrap();
        let value = parsed["v"].as_str().unwrap();
        assert!(value.len() < MAX_VALUE + 8 && value.ends_with('…'), "{}", value.len());
    }

    #[test]
    fn numbers_read_as_they_are() {
        let mut out = Vec::new();
        let mut object = Object::open(&mut out);
        object.number("zero", 0);
        object.number("max", u64::MAX);
        object.millis("ms", Duration::from_micros(12_345));
        object.millis("us", Duration::from_nanos(7_999));
        object.millis("never", Duration::MAX);
        object.ip("v4", "192.0.2.255".parse().unwrap());
        object.ip("v6", "2001:db8::1".parse().unwrap());
        object.close();
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"zero":0,"max":18446744073709551615,"ms":12.345,"us":0.007,"#.to_owned()
                + r#""never":18446744073709551.615,"v4":"192.0.2.255","v6":"2001:db8::1"}"#
        );
    }

    proptest! {
        #[test]
        fn any_bytes_make_one_line_of_valid_json(value: Vec<u8>) {
            let line = written(&value);
            let parsed: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(parsed["v"].as_str().unwrap(), String::from_utf8_lossy(&value));
            prop_assert!(!line.iter().any(|byte| byte.is_ascii_control()));
        }
    }
}
