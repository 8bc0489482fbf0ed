//! Shapes of text: names, tokens, hosts, header values, origins.
//!
//! Each says what is wrong without repeating the text, which may have come from the environment.

use crate::config::HostPattern;

/// A name that may be a metric's label: short, and without what would have to be escaped.
pub(super) fn name(text: &str) -> Result<(), &'static str> {
    let fit = |c: char| c.is_alphanumeric() || "-_.:/@+".contains(c);
    match text {
        "" => Err("is empty"),
        _ if text.chars().count() > 100 => Err("is longer than 100 characters"),
        _ if !text.chars().all(fit) => Err("may have letters, digits and -_.:/@+ only"),
        _ => Ok(()),
    }
}

/// A token of RFC 9110, 5.6.2: methods and names of headers.
pub(super) fn is_token(text: &str) -> bool {
    let mark = |b| b"!#$%&'*+-.^_`|~".contains(&b);
    !text.is_empty()
        && text.len() <= 256
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || mark(b))
}

/// A value of a header, RFC 9110, 5.5.
pub(super) fn is_header_value(text: &str) -> bool {
    http::HeaderValue::from_str(text).is_ok() && text.trim() == text
}

/// `HOST` or `HOST:PORT`.
pub(super) fn is_authority(text: &str) -> bool {
    let exact = |host: &str| matches!(host.parse(), Ok(HostPattern::Exact(_)));
    match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            exact(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
        }
        _ => exact(text),
    }
}

/// An origin as browsers send it, its host perhaps `*.NAME`; or `*`.
pub(super) fn is_origin(text: &str) -> bool {
    let Some((scheme, host)) = text.split_once("://") else { return text == "*" };
    let named = host.strip_prefix("*.").unwrap_or(host);
    let scheme_fits = scheme.starts_with(|c: char| c.is_ascii_lowercase())
        && scheme
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b));
    scheme_fits && is_authority(named) && host == host.to_ascii_lowercase()
}

/// A path that a client is sent to or an upstream sees: absolute, printable, without blanks.
pub(super) fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|b| b.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_what_browsers_send() {
        for good in [
            "*",
            "https://a.example",
            "http://localhost:3000",
            "https://*.a.example",
            "https://[::1]:1",
        ] {
            assert!(is_origin(good), "{good}");
        }
        for bad in [
            "a.example",
            "https://a.example/",
            "https://",
            "null",
            "https://*",
            "https://A.example",
            "https://a:0",
        ] {
            assert!(!is_origin(bad), "{bad}");
        }
    }

    #[test]
    fn names_are_fit_for_a_label() {
        for good in ["orders", "GROUP@@orders", "订单", "a.b/c:d+e"] {
            assert_eq!(name(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a\"b", "a\nb", &"x".repeat(101)] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }
}
