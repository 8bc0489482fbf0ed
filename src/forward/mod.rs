//! Headers there and back: what an upstream sees of a request, and what a client sees of the response.
//!
//! Called by `gateway` once for each try and once for each response. Identity and forwarding headers are set here and
//! nowhere else, since only at this point can a client's `Connection` header no longer delete them.

mod edits;
mod ids;

use std::net::IpAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version,
    header::{
        AUTHORIZATION, CONNECTION, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, VIA,
    },
};
use pingora::{
    BError,
    http::{RequestHeader, ResponseHeader},
};

pub use edits::{BadEdit, Edits};
pub use ids::{RequestId, Trace};

const VIA_TOLLGATE: HeaderValue = HeaderValue::from_static("1.1 tollgate");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// What other proxies tell applications of the client. From a stranger it would be believed, so it goes.
const STRANGERS_CLAIMS: [HeaderName; 4] = [
    FORWARDED,
    HeaderName::from_static("x-real-ip"),
    HeaderName::from_static("x-forwarded-port"),
    HeaderName::from_static("x-forwarded-prefix"),
];
/// Response headers that are for the next hop only, `Connection` apart (RFC 9110 section 7.6.1).
const HOP_BY_HOP: [HeaderName; 3] = [
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
];

/// The client's side of a request, as its upstream is to see it.
pub struct Onward<'a> {
    /// The address on the other end of the connection.
    pub peer: IpAddr,
    /// Whether that is a proxy whose `X-Forwarded-*` are believed.
    pub peer_is_trusted: bool,
    pub tls: bool,
    /// The host that was asked for, with its port, as the client wrote it.
    pub authority: &'a str,
    /// The host to ask the upstream for, where the route sets one.
    pub host: Option<&'a HeaderValue>,
    /// The path to ask for, normalised and rewritten.
    pub path: &'a str,
    pub request_id: &'a RequestId,
    pub trace: &'a Trace,
    /// Headers that some route sets from claims: a client's own are never let through.
    pub identity: &'a [HeaderName],
    /// Whether the token stays here.
    pub drop_token: bool,
    pub edits: &'a Edits,
}

impl Onward<'_> {
    /// Makes `head` what the upstream is to see. Claims are set by the caller, after this.
    pub fn apply(&self, head: &mut RequestHeader) -> Result<(), BError> {
        self.target(head)?;
        for name in self.identity {
            head.remove_header(name);
        }
        if self.drop_token {
            head.remove_header(&AUTHORIZATION);
        }
        // pingora strips it on every way but from HTTP/2 to HTTP/2.
        head.remove_header(&PROXY_AUTHORIZATION);
        join_cookies(head)?;
        self.forwarded(head)?;
        head.append_header(VIA, VIA_TOLLGATE)?;
        head.insert_header(X_REQUEST_ID, self.request_id.value())?;
        if self.trace.is_new() {
            head.insert_header(TRACEPARENT, self.trace.value())?;
        }
        // gRPC servers insist on it, and pingora takes it away where the client speaks HTTP/1.
        if head.version == Version::HTTP_2 && crate::answer::is_grpc(&head.headers) {
            head.insert_header(TE, HeaderValue::from_static("trailers"))?;
        }
        self.edits.apply_to_request(head)
    }

    /// Path and Host. The target becomes origin-form, so that there is one authority and it is `Host`.
    fn target(&self, head: &mut RequestHeader) -> Result<(), BError> {
        if head.uri.authority().is_some() || head.uri.path() != self.path {
            let uri = match head.uri.query() {
                Some(query) => Uri::try_from(format!("{}?{query}", self.path)),
                None => Uri::try_from(self.path),
            };
            let invalid = |e| {
                pingora::Error::because(pingora::ErrorType::InvalidHTTPHeader, "rewritten path", e)
            };
            head.set_uri(uri.map_err(invalid)?);
        }
        if let Some(host) = self.host {
            head.insert_header(HOST, host.clone())?;
        } else if !head.headers.contains_key(HOST) {
            head.insert_header(HOST, self.authority)?;
        }
        Ok(())
    }

    /// `X-Forwarded-*`: replaced at the edge, continued behind a trusted proxy.
    fn forwarded(&self, head: &mut RequestHeader) -> Result<(), BError> {
        let peer = self.peer.to_string();
        let proto = HeaderValue::from_static(if self.tls { "https" } else { "http" });
        if !self.peer_is_trusted {
            for name in &STRANGERS_CLAIMS {
                head.remove_header(name);
            }
            head.insert_header(X_FORWARDED_FOR, peer)?;
            head.insert_header(X_FORWARDED_PROTO, proto)?;
            head.insert_header(X_FORWARDED_HOST, self.authority)?;
            return Ok(());
        }
        let chain = joined(&head.headers, &X_FORWARDED_FOR, ", ");
        let chain = if chain.is_empty() { peer } else { format!("{chain}, {peer}") };
        head.insert_header(X_FORWARDED_FOR, chain)?;
        if !head.headers.contains_key(X_FORWARDED_PROTO) {
            head.insert_header(X_FORWARDED_PROTO, proto)?;
        }
        if !head.headers.contains_key(X_FORWARDED_HOST) {
            head.insert_header(X_FORWARDED_HOST, self.authority)?;
        }
        Ok(())
    }
}

/// Makes `head` what the client is to see: without what was meant for the gateway alone.
pub fn response(
    head: &mut ResponseHeader,
    request_id: &RequestId,
    edits: &Edits,
) -> Result<(), BError> {
    if head.status != http::StatusCode::SWITCHING_PROTOCOLS {
        strip_hop_by_hop(head);
    }
    head.append_header(VIA, VIA_TOLLGATE)?;
    head.insert_header(X_REQUEST_ID, request_id.value())?;
    edits.apply_to_response(head)
}

fn strip_hop_by_hop(head: &mut ResponseHeader) {
    for name in &HOP_BY_HOP {
        head.remove_header(name);
    }
    let Some(nominated) = head.headers.get(CONNECTION).cloned() else { return };
    for token in nominated.to_str().unwrap_or_default().split(',').map(str::trim) {
        // `close` and `keep-alive` are pingora's to read; framing is never for a header to take away.
        if !token.eq_ignore_ascii_case("close") && !token.eq_ignore_ascii_case("transfer-encoding")
        {
            head.remove_header(token);
        }
    }
}

/// HTTP/2 clients may send cookies in crumbs; HTTP/1 knows one line only (RFC 9113 section 8.2.3).
fn join_cookies(head: &mut RequestHeader) -> Result<(), BError> {
    if head.headers.get_all(COOKIE).iter().nth(1).is_some() {
        let line = joined(&head.headers, &COOKIE, "; ");
        head.insert_header(COOKIE, line)?;
    }
    Ok(())
}

/// All lines of a header as one; a line that is not text is left out.
fn joined(headers: &HeaderMap, name: &HeaderName, separator: &str) -> String {
    let mut line = String::new();
    for value in headers.get_all(name).iter().filter_map(|value| value.to_str().ok()) {
        if !line.is_empty() {
            line.push_str(separator);
        }
        line.push_str(value);
    }
    line
}

#[cfg(test)]
mod tests;
