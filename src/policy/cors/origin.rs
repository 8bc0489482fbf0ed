//! The origins of a CORS policy, and whether one is among them.
//!
//! A browser sends an origin in one spelling only: lower case, without a default port. What an operator writes is
//! brought into that spelling once, and then bytes are compared.

use super::CorsError;

/// Who may call.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Origins {
    Any,
    Listed(Box<[Pattern]>),
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pattern {
    Exact(String),
    /// All hosts below one: `https://` and `.example.com:8443`.
    Below {
        scheme: String,
        parent: String,
    },
}

// === impl Origins ===

impl Origins {
    pub(super) fn new<'a>(texts: impl Iterator<Item = &'a str> + Clone) -> Result<Self, CorsError> {
        if texts.clone().any(|text| text == "*") {
            return Ok(Self::Any);
        }
        let pattern = |text: &str| Pattern::parse(text).ok_or(CorsError::Origin(text.into()));
        texts.map(pattern).collect::<Result<_, _>>().map(Self::Listed)
    }

    pub(super) fn contain(&self, origin: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(patterns) => patterns.iter().any(|pattern| pattern.matches(origin)),
        }
    }
}

// === impl Pattern ===

impl Pattern {
    /// `null` is no origin here: every sandboxed frame of any page may claim it.
    fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let (scheme, authority) = text.split_once("://")?;
        if !scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            || !scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
        {
            return None;
        }
        let (host, port) = split_port(authority)?;
        let port = match (scheme, port) {
            ("http", Some(80)) | ("https", Some(443)) | (_, None) => String::new(),
            (_, Some(port)) => format!(":{port}"),
        };
        Some(match host.strip_prefix("*.") {
            Some(parent) if is_name(parent.as_bytes()) => {
                Self::Below { scheme: format!("{scheme}://"), parent: format!(".{parent}{port}") }
            }
            None if is_name(host.as_bytes()) || is_ipv6(host) => {
                Self::Exact(format!("{scheme}://{host}{port}"))
            }
            _ => return None,
        })
    }

    fn matches(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(own) => origin == own.as_bytes(),
            Self::Below { scheme, parent } => origin
                .strip_prefix(scheme.as_bytes())
                .and_then(|host| host.strip_suffix(parent.as_bytes()))
                .is_some_and(is_name),
        }
    }
}

fn split_port(authority: &str) -> Option<(&str, Option<u16>)> {
    match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            let digits = port.bytes().all(|b| b.is_ascii_digit());
            Some((host, Some(port.parse().ok().filter(|_| digits)?)))
        }
        _ => Some((authority, None)),
    }
}

/// Labels with dots between them, in lower case.
fn is_name(host: &[u8]) -> bool {
    let letter = |b: &u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_');
    host.split(|b| *b == b'.').all(|label| !label.is_empty() && label.iter().all(letter))
}

fn is_ipv6(host: &str) -> bool {
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    address.is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(patterns: &[&str], inside: &[&str], outside: &[&str]) {
        let origins = Origins::new(patterns.iter().copied()).unwrap();
        for (list, expected) in [(inside, true), (outside, false)] {
            for origin in list {
                assert_eq!(origins.contain(origin.as_bytes()), expected, "{origin} {patterns:?}");
            }
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port_exactly() {
        check(
            &["https://app.example.com", "http://localhost:3000"],
            &["https://app.example.com", "http://localhost:3000"],
            &[
                "http://app.example.com",
                "https://app.example.com:8443",
                "https://app.example.com/",
                "https://app.example.com.evil.org",
                "https://evil.org/https://app.example.com",
                "https://APP.example.com",
                "https://example.com",
                "http://localhost",
                "http://localhost:30000",
                "null",
                "",
            ],
        );
        check(
            &["https://[2001:db8::1]:8443"],
            &["https://[2001:db8::1]:8443"],
            &["https://[2001:db8::1]"],
        );
        check(&["capacitor://localhost"], &["capacitor://localhost"], &["http://localhost"]);
    }

    #[test]
    fn operators_may_write_capitals_and_default_ports() {
        check(&["HTTPS://App.Example.com:443"], &["https://app.example.com"], &[]);
        check(&["http://a.com:80"], &["http://a.com"], &["http://a.com:80"]);
        check(&["http://a.com:443"], &["http://a.com:443"], &["http://a.com"]);
    }

    #[test]
    fn a_wildcard_stands_for_whole_labels() {
        check(
            &["https://*.example.com"],
            &["https://a.example.com", "https://a.b-c.example.com"],
            &[
                "https://example.com",
                "https://.example.com",
                "https://a..example.com",
                "https://evilexample.com",
                "http://a.example.com",
                "https://a.example.com:8443",
                "https://a.example.com.evil.org",
                "https://evil.org#.example.com",
                "https://evil.org/.example.com",
                "https://evil.org:80.example.com",
                "https://user@a.example.com",
                "https://\u{e9}.example.com",
            ],
        );
        check(&["http://*.local:3000"], &["http://a.local:3000"], &["http://a.local"]);
    }

    #[test]
    fn a_star_is_for_all_and_nothing_listed_for_none() {
        check(&["https://a.com", "*"], &["https://b.com", "null"], &[]);
        check(&[], &[], &["https://a.com", "null"]);
    }

    #[test]
    fn what_is_no_origin_is_named_in_the_error() {
        for text in [
            "",
            "null",
            "app.example.com",
            "https://",
            "https://*",
            "https://*.",
            "https://a.*.com",
            "https://*a.com",
            "https://a.com/",
            "https://a.com/path",
            "https://a.com:",
            "https://a.com:+80",
            "https://a.com:65536",
            "https://user@a.com",
            "https://a..com",
            "https://[::1",
            "://a.com",
            "1s://a.com",
        ] {
            let error = Origins::new([text].into_iter()).unwrap_err();
            assert_eq!(error, CorsError::Origin(text.into()));
        }
    }
}
