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
