//! Headers there and back: what an upstream sees of a request, and what a client sees of the response.
//!
//! Called by `gateway` once for each try and once for each response. Identity and forwarding headers are set here and
//! nowhere else, since only at this point can a client's `Connection` header no longer delete them.

mod edits;
mod ids;

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, Version,
    header::{
        AUTHORIZATION, CONNECTION, COOKIE, FORWARDED, HOST, PROXY_AUTHENTICATE,
        PROXY_AUTHORIZATION, TE, VIA,
    },
    request::Parts,
    uri::InvalidUri,
};

pub use edits::{BadEdit, Edits};
pub use ids::{Marks, Origin, RequestId, Trace};

const VIA_TOLLGATE: HeaderValue = HeaderValue::from_static("1.1 tollgate");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
/// How many headers are added to a request at most, so that their table grows once.
const ADDED: usize = 8;

/// The client's side of a request, as its upstream is to see it.
pub struct Onward<'a> {
    pub origin: &'a Origin,
    pub marks: &'a Marks,
    /// The host that was asked for, with its port, as the client wrote it.
    pub authority: &'a str,
    /// The host to ask the upstream for, where the route sets one.
    pub host: Option<&'a HeaderValue>,
    /// The path to ask for, normalised and rewritten.
    pub path: &'a str,
    /// Headers that some route sets from claims: a client's own are never let through.
    pub identity: &'a [HeaderName],
    /// Whether the token stays here.
    pub drop_token: bool,
    pub edits: &'a Edits,
}

impl Onward<'_> {
    /// Makes `head` what the upstream is to see. Claims are set by the caller, after this.
    ///
    /// Fails where the path is no path.
    pub fn apply(&self, head: &mut Parts) -> Result<(), InvalidUri> {
        self.target(head)?;
        let headers = &mut head.headers;
        headers.reserve(ADDED);
        self.strip(headers);
        let asked = self.host(headers);
        self.forwarded(headers, asked);
        headers.append(VIA, VIA_TOLLGATE);
        headers.insert(X_REQUEST_ID, self.marks.request_id.value());
        if self.marks.trace.is_new() {
            headers.insert(TRACEPARENT, self.marks.trace.value());
        }
        // gRPC servers insist on it, and pingora takes it away where the client speaks HTTP/1.
        if head.version == Version::HTTP_2 && crate::answer::is_grpc(headers) {
            headers.insert(TE, HeaderValue::from_static("trailers"));
        }
        self.edits.apply(headers);
        Ok(())
    }

    /// The target becomes origin-form, so that there is one authority and it is `Host`.
    fn target(&self, head: &mut Parts) -> Result<(), InvalidUri> {
        if head.uri.authority().is_some() || head.uri.path() != self.path {
            head.uri = match head.uri.query() {
                Some(query) => Uri::try_from(format!("{}?{query}", self.path))?,
                None => Uri::try_from(self.path)?,
            };
        }
        Ok(())
    }

    /// Takes away what the upstream would believe, and must not believe a client.
    fn strip(&self, headers: &mut HeaderMap) {
        for name in self.identity {
            headers.remove(name);
        }
        if self.drop_token {
            headers.remove(&AUTHORIZATION);
        }
        let worth = Worth::of(headers);
        if worth.proxy_authorization {
            // pingora strips it on every way but from HTTP/2 to HTTP/2.
            headers.remove(&PROXY_AUTHORIZATION);
        }
        if worth.cookies > 1 {
            join_cookies(headers);
        }
        if worth.claims && !self.origin.trusted {
            for name in &STRANGERS_CLAIMS {
                headers.remove(name);
            }
        }
    }

    /// Sets the host to ask the upstream for, and returns the one that was asked for.
    fn host(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        let sent = headers.get(HOST).filter(|host| *host == self.authority).cloned();
        let asked = sent.clone().or_else(|| HeaderValue::try_from(self.authority).ok());
        if let Some(host) = self.host {
            headers.insert(HOST, host.clone());
        } else if sent.is_none() && !headers.contains_key(HOST) {
            headers.extend(asked.clone().map(|host| (HOST, host)));
        }
        asked
    }

    /// `X-Forwarded-*`: replaced at the edge, continued behind a trusted proxy.
    fn forwarded(&self, headers: &mut HeaderMap, asked: Option<HeaderValue>) {
        let proto = HeaderValue::from_static(if self.origin.tls { "https" } else { "http" });
        let peer = self.marks.peer.clone();
        if !self.origin.trusted {
            headers.insert(X_FORWARDED_FOR, peer);
            headers.insert(X_FORWARDED_PROTO, proto);
            if let Some(host) = asked {
                headers.insert(X_FORWARDED_HOST, host);
            }
            return;
        }
        let chain = joined(headers, &X_FORWARDED_FOR, ", ");
        let chain = match (chain.as_str(), peer.to_str()) {
            ("", _) | (_, Err(_)) => peer,
            (chain, Ok(last)) => HeaderValue::try_from(format!("{chain}, {last}")).unwrap_or(peer),
        };
        headers.insert(X_FORWARDED_FOR, chain);
        if !headers.contains_key(X_FORWARDED_PROTO) {
            headers.insert(X_FORWARDED_PROTO, proto);
        }
        if !headers.contains_key(X_FORWARDED_HOST)
            && let Some(host) = asked
        {
            headers.insert(X_FORWARDED_HOST, host);
        }
    }
}

/// What other proxies tell applications of the client. From a stranger it would be believed, so it goes.
const STRANGERS_CLAIMS: [HeaderName; 4] =
    [FORWARDED, X_REAL_IP, X_FORWARDED_PORT, X_FORWARDED_PREFIX];

/// Response headers that are for the next hop only, `Connection` apart.
const HOP_BY_HOP: [HeaderName; 3] = [KEEP_ALIVE, PROXY_CONNECTION, PROXY_AUTHENTICATE];

/// What in a head is worth a look: most requests have nothing of it, and one walk is cheaper than six searches.
#[derive(Default)]
struct Worth {
    claims: bool,
    cookies: usize,
    proxy_authorization: bool,
}

impl Worth {
    fn of(headers: &HeaderMap) -> Self {
        let mut worth = Self::default();
        for (name, _) in headers {
            match name.as_str().as_bytes() {
                [b'c', ..] => worth.cookies += usize::from(name == COOKIE),
                [b'f' | b'x', ..] => worth.claims |= STRANGERS_CLAIMS.contains(name),
                [b'p', ..] => worth.proxy_authorization |= name == PROXY_AUTHORIZATION,
                _ => {}
            }
        }
        worth
    }
}

/// Makes the headers of a response what the client is to see: without what was meant for the gateway alone.
pub fn response(
    headers: &mut HeaderMap,
    status: StatusCode,
    request_id: &RequestId,
    edits: &Edits,
) {
    if status != StatusCode::SWITCHING_PROTOCOLS {
        strip_hop_by_hop(headers);
    }
    headers.append(VIA, VIA_TOLLGATE);
    headers.insert(X_REQUEST_ID, request_id.value());
    edits.apply(headers);
}

/// Takes away what is for the next hop only (RFC 9110 section 7.6.1).
fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let (mut nominates, mut others) = (false, false);
    for name in headers.keys() {
        match name.as_str().as_bytes() {
            [b'c', ..] => nominates |= name == CONNECTION,
            [b'k' | b'p', ..] => others |= HOP_BY_HOP.contains(name),
            _ => {}
        }
    }
    if others {
        for name in &HOP_BY_HOP {
            headers.remove(name);
        }
    }
    if nominates && let Some(nominated) = headers.get(CONNECTION).cloned() {
        for token in nominated.to_str().unwrap_or_default().split(',').map(str::trim) {
            // Those of the connection itself are pingora's to read; framing is never for a header to take away.
            if !["keep-alive", "close", "transfer-encoding"]
                .iter()
                .any(|own| token.eq_ignore_ascii_case(own))
            {
                headers.remove(token);
            }
        }
    }
}

/// HTTP/2 clients may send cookies in crumbs; HTTP/1 knows one line only (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if let Ok(line) = HeaderValue::try_from(joined(headers, &COOKIE, "; ")) {
        headers.insert(COOKIE, line);
    }
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
