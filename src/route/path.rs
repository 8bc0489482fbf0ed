//! Brings a path into the one form that is matched, checked and forwarded.
//!
//! Called by `gateway` once a request, before anything else reads the path, and when patterns are built. Never
//! guesses: what two servers could read differently is refused.

use std::borrow::Cow;

/// Why a path is refused. All of these are the client's doing: 400.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// `/..` and the like. Browsers never send it.
    #[error("the path leaves the root")]
    AboveRoot,
    /// `*`, which is the target of `OPTIONS` alone and stands for the server.
    #[error("`*` is not a path")]
    Asterisk,
    /// A byte that RFC 3986 has not in paths: controls, blanks, `\`, anything beyond ASCII.
    #[error("the path has a character that no path has")]
    Character,
    /// A `%` that two hex digits do not follow.
    #[error("the path has a `%` without two hex digits")]
    Encoding,
    /// `%2F`, `%5C` or `%00`: servers disagree on whether these part segments or end the path.
    #[error("the path has an encoded slash, backslash or zero byte")]
    Hidden,
    #[error("the path does not start with a slash")]
    NotAbsolute,
    /// `..;`, `.;` or a bare `;`, which some servers read as `..`, `.` or nothing.
    #[error("the path has a `;` in a dot segment")]
    Parameter,
}

/// What a byte of a path asks for.
#[derive(Clone, Copy, PartialEq)]
enum Class {
    Plain,
    /// Plain too, unless it begins a segment.
    Leading,
    Percent,
    Refused,
    Slash,
}

const CLASSES: [Class; 256] = classes();

/// Brings the path of a request (without its query) into normal form, borrowed when it is normal already.
///
/// In this order: percent-encoded unreserved characters are decoded and the hex digits of all others made upper case
/// (RFC 3986 6.2.2), what [`BadPath`] lists is refused, runs of slashes become one, and dot segments are resolved
/// (RFC 3986 5.2.4). The result is never longer, and normalising it again changes nothing.
pub fn normalise_path(raw: &str) -> Result<Cow<'_, str>, BadPath> {
    if raw == "*" {
        return Err(BadPath::Asterisk);
    }
    if !raw.starts_with('/') {
        return Err(BadPath::NotAbsolute);
    }
    Ok(if is_normal(raw.as_bytes())? {
        Cow::Borrowed(raw)
    } else {
        Cow::Owned(resolve(&decode(raw))?)
    })
}

/// The byte that a percent escape at the front of `text` stands for.
pub(super) fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|d| u8::try_from(d).ok());
    Some(digit(high)? << 4 | digit(low)?)
}

/// Whether `byte` may stand in a segment as it is (RFC 3986 `pchar`, without escapes).
pub(super) const fn is_path_character(byte: u8) -> bool {
    is_unreserved(byte)
        || matches!(
            byte,
            b'!' | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b','
                | b';'
                | b'='
                | b':'
                | b'@'
        )
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

const fn classes() -> [Class; 256] {
    let mut classes = [Class::Refused; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        #[allow(clippy::indexing_slicing, reason = "at compile time, and every index is below 128")]
        {
            classes[byte as usize] = match byte {
                b'/' => Class::Slash,
                b'%' => Class::Percent,
                b'.' | b';' => Class::Leading,
                _ if is_path_character(byte) => Class::Plain,
                _ => Class::Refused,
            };
        }
        byte += 1;
    }
    classes
}

/// Refuses what may be refused byte by byte, and says whether anything is left to change.
fn is_normal(raw: &[u8]) -> Result<bool, BadPath> {
    let mut normal = true;
    let mut rest = raw;
    let mut after_slash = false;
    while let [byte, tail @ ..] = rest {
        let class = CLASSES.get(usize::from(*byte)).copied().unwrap_or(Class::Refused);
        match class {
            Class::Plain => {}
            Class::Leading => normal &= !(after_slash && is_dot_segment(segment(rest))?),
            Class::Percent => {
                normal &=
                    escape_is_normal(rest)? && !(after_slash && is_dot_segment(segment(rest))?);
            }
            Class::Refused => return Err(BadPath::Character),
            Class::Slash => normal &= !after_slash,
        }
        after_slash = class == Class::Slash;
        rest = tail;
    }
    Ok(normal)
}

fn escape_is_normal(text: &[u8]) -> Result<bool, BadPath> {
    match escape(text).ok_or(BadPath::Encoding)? {
        0 | b'/' | b'\\' => Err(BadPath::Hidden),
        byte => {
            Ok(!is_unreserved(byte) && !text.iter().skip(1).take(2).any(u8::is_ascii_lowercase))
        }
    }
}

/// What stands before the next slash.
fn segment(rest: &[u8]) -> &[u8] {
    rest.split(|byte| *byte == b'/').next().unwrap_or_default()
}

/// Whether a decoded segment is `.` or `..`. With a `;` behind, or a `;` alone, it is refused.
fn is_dot_segment(segment: &[u8]) -> Result<bool, BadPath> {
    let dots = segment.iter().take_while(|byte| **byte == b'.').count();
    match (dots, segment.get(dots..).unwrap_or_default()) {
        (0..=2, [b';', ..] | [b'%', b'3', b'B' | b'b', ..]) => Err(BadPath::Parameter),
        (1..=2, []) => Ok(true),
        _ => Ok(false),
    }
}

/// Decodes what is unreserved and makes the other escapes upper case. `raw` has passed [`is_normal`], so it is ASCII.
fn decode(raw: &str) -> String {
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [byte, tail @ ..] = rest {
        rest = match (escape(rest), tail) {
            (Some(byte), [_, _, tail @ ..]) if is_unreserved(byte) => {
                decoded.push(char::from(byte));
                tail
            }
            (Some(_), [high, low, tail @ ..]) => {
                let digits = [high, low].map(|digit| char::from(digit.to_ascii_uppercase()));
                decoded.push('%');
                decoded.extend(digits);
                tail
            }
            _ => {
                decoded.push(char::from(*byte));
                tail
            }
        };
    }
    decoded
}

/// Merges slashes and resolves dot segments.
fn resolve(decoded: &str) -> Result<String, BadPath> {
    let mut path = String::with_capacity(decoded.len());
    let mut ends_in_slash = false;
    for segment in decoded.split('/').skip(1) {
        ends_in_slash = segment.is_empty() || is_dot_segment(segment.as_bytes())?;
        if !ends_in_slash {
            path.push('/');
            path.push_str(segment);
        } else if segment == ".." {
            let parent = path.rfind('/').ok_or(BadPath::AboveRoot)?;
            path.truncate(parent);
        }
    }
    if ends_in_slash {
        path.push('/');
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(raw: &str, expected: &str) {
        assert_eq!(normalise_path(raw).as_deref(), Ok(expected), "{raw}");
    }

    fn refuse(raw: &str, expected: BadPath) {
        assert_eq!(normalise_path(raw), Err(expected), "{raw:?}");
    }

    #[test]
    fn normal_path_is_borrowed() {
        for path in [
            "/",
            "/a",
            "/a/",
            "/a/b.c",
            "/.well-known/x",
            "/...",
            "/..a/.b",
            "/a%20b",
            "/%C3%A9",
            "/%2532e",
            "/a;v=1/b",
            "/a:b@c!$&'()*+,;=-._~",
            "/..a;b",
        ] {
            assert!(matches!(normalise_path(path), Ok(Cow::Borrowed(p)) if p == path), "{path}");
        }
    }

    #[test]
    fn every_spelling_of_a_path_becomes_one() {
        for spelling in [
            "//admin",
            "/./admin",
            "/%61dmin",
            "/%61%64%6D%69%6e",
            "/x/../admin",
            "/x/%2e%2e/admin",
            "/x/.%2E/admin",
            "/x/%2e./admin",
            "/%2e/admin",
            "///./x//..//admin",
            "/x/y/../../admin",
        ] {
            check(spelling, "/admin");
        }
    }

    #[test]
    fn escapes_that_stay_are_upper_case() {
        check("/a%c3%a9b%7e%3f", "/a%C3%A9b~%3F");
        check("/a%252e", "/a%252e");
        check("/%2e%61", "/.a");
    }

    #[test]
    fn dot_segment_at_the_end_leaves_a_slash() {
        check("/a/.", "/a/");
        check("/a/..", "/");
        check("/a/b/..", "/a/");
        check("/a/b/../", "/a/");
        check("/.", "/");
        check("/a//", "/a/");
        check("//", "/");
        check("/a//../b", "/b");
    }

    #[test]
    fn root_is_not_left() {
        for path in ["/..", "/../", "/a/../..", "/../a", "/%2e%2e/a", "//..", "/./../a", "/.%2e"] {
            refuse(path, BadPath::AboveRoot);
        }
    }

    #[test]
    fn what_servers_read_differently_is_refused() {
        for path in ["/a%2fb", "/a%2Fb", "/a%5cb", "/a%5C", "/%00", "/a/..%2fadmin", "/%2f"] {
            refuse(path, BadPath::Hidden);
        }
        for path in
            ["/a/..;/b", "/.;x/a", "/;a/admin", "/a/..%3b/b", "/%2e%2e;/a", "/%2e%3Ba", "/;"]
        {
            refuse(path, BadPath::Parameter);
        }
        for path in ["/%", "/%4", "/%zz", "/a%+1", "/%%41", "/a%2", "/%é"] {
            refuse(path, BadPath::Encoding);
        }
        for path in [
            "/a\\b", "/a b", "/a\tb", "/a\0", "/a\x7f", "/é", "/a?b", "/a#b", "/<", "/[a]", "/a|b",
            "/{a}",
        ] {
            refuse(path, BadPath::Character);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        refuse("*", BadPath::Asterisk);
        for path in ["", "a", "a/b", "**", "http://a/b", "%2Fa"] {
            refuse(path, BadPath::NotAbsolute);
        }
    }

    proptest! {
        #[test]
        fn normalising_twice_changes_nothing(
            raw in "(/|//|\\.|%2[eE]|%3[bB]|;|a|%61|%c3|%25|%2f|[ -~]){0,24}"
        ) {
            let raw = format!("/{raw}");
            if let Ok(once) = normalise_path(&raw) {
                prop_assert!(once.len() <= raw.len() && once.starts_with('/') && !once.contains("//"));
                prop_assert!(once.split('/').all(|s| s != "." && s != ".."));
                prop_assert!(matches!(normalise_path(&once), Ok(Cow::Borrowed(twice)) if twice == once));
            }
        }

        #[test]
        fn no_text_panics(raw in "\\PC*", tail in any::<String>()) {
            let _ = normalise_path(&raw);
            let _ = normalise_path(&format!("/{raw}{tail}"));
        }
    }
}
