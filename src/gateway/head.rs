//! pingora's heads, opened up to what works on plain ones.
//!
//! pingora keeps a second table of how each name was written, copies it with every head, and parses each name that is added.
//! Names go on as HTTP/2 has them, in lower case (pingora writes the most common in their usual case), and so nothing of
//! that is paid for.

use std::mem;

use http::{Request, Response, request, response};
use pingora::http::{RequestHeader, ResponseHeader};

/// Changes a request's head, and forgets how its names were written.
///
/// A target that is no path is lost: `admit` lets none through.
pub(super) fn edit_request<T>(
    head: &mut RequestHeader,
    edit: impl FnOnce(&mut request::Parts) -> T,
) -> T {
    let empty = Request::new(()).into_parts().0.into();
    let mut parts = mem::replace(head, empty).into();
    let result = edit(&mut parts);
    *head = parts.into();
    result
}

/// Changes a response's head, and forgets how its names were written. Its reason phrase stays.
pub(super) fn edit_response<T>(
    head: &mut ResponseHeader,
    edit: impl FnOnce(&mut response::Parts) -> T,
) -> T {
    let usual = head.status.canonical_reason();
    let reason =
        head.get_reason_phrase().filter(|reason| Some(*reason) != usual).map(str::to_owned);
    let empty = Response::new(()).into_parts().0.into();
    let mut parts = mem::replace(head, empty).into();
    let result = edit(&mut parts);
    *head = parts.into();
    if let Some(reason) = reason {
        // It came from a head, so it can stand in one.
        let _ = head.set_reason_phrase(Some(&reason));
    }
    result
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    const X_TEST: HeaderName = HeaderName::from_static("x-test");

    #[test]
    fn a_request_keeps_its_target_and_headers() {
        let mut head = RequestHeader::build("PUT", b"/a?b=%20c", None).unwrap();
        head.append_header("X-Mine", "1").unwrap();
        edit_request(&mut head, |parts| {
            parts.headers.insert(X_TEST, HeaderValue::from_static("2"));
        });
        assert_eq!((head.method.as_str(), head.raw_path()), ("PUT", &b"/a?b=%20c"[..]));
        let mut wire = Vec::new();
        head.header_to_h1_wire(&mut wire);
        assert_eq!(wire, b"x-mine: 1\r\nx-test: 2\r\n");
    }

    #[test]
    fn a_response_keeps_its_reason() {
        for (reason, kept) in [("Quite Fine", "Quite Fine"), ("OK", "OK")] {
            let mut head = ResponseHeader::build(200, None).unwrap();
            head.set_reason_phrase(Some(reason)).unwrap();
            edit_response(&mut head, |parts| {
                parts.headers.append(X_TEST, HeaderValue::from_static("1"))
            });
            assert_eq!(head.get_reason_phrase(), Some(kept));
            assert_eq!(head.headers["x-test"], "1");
        }
    }
}
