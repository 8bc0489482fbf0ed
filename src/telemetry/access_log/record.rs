//! One request as a line of the access log.
//!
//! Called by the access log. Fields carry OpenTelemetry's attribute names, and ours the prefix `tollgate.`. Neither
//! query strings nor header values other than `User-Agent` are ever written.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use super::timestamp;
use crate::telemetry::{
    Outcome, Policies,
    json::{Object, address, decimal, quoted},
};

/// What is logged of one request. Everything is borrowed; what is `None` is left out.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// When the request came in.
    pub time: SystemTime,
    /// 32 and 16 hex digits (W3C Trace Context).
    pub trace_id: Option<&'a str>,
    pub span_id: Option<&'a str>,
    pub request_id: Option<&'a str>,
    pub method: &'a str,
    /// As it came in. A query is cut off here, should there be one.
    pub path: &'a [u8],
    pub scheme: &'a str,
    /// The host that was asked for, without its port.
    pub host: Option<&'a [u8]>,
    /// `1.0`, `1.1` or `2`.
    pub protocol_version: &'a str,
    pub user_agent: Option<&'a [u8]>,
    /// Who asks, as far as trusted proxies tell.
    pub client_address: Option<IpAddr>,
    /// The other end of the connection.
    pub peer_address: Option<IpAddr>,
    /// None: no status was sent.
    pub status: Option<u16>,
    pub request_bytes: u64,
    pub response_bytes: u64,
    /// A short stable word, never text from a peer.
    pub error: Option<&'a str>,
    pub duration: Duration,
    /// The part of `duration` that waited for the upstream.
    pub upstream_time: Option<Duration>,
    /// The part of `duration` that was our own.
    pub overhead: Duration,
    pub route: Option<&'a str>,
    /// The route's pattern of the path.
    pub route_path: Option<&'a str>,
    pub upstream: Option<&'a str>,
    /// The instance of the last try.
    pub instance: Option<SocketAddr>,
    pub outcome: Outcome,
    /// Tries, the first included.
    pub attempts: u32,
    /// Policies in shadow mode that would have refused.
    pub shadow: Policies,
    /// The hash of the config that the request was decided by.
    pub config: Option<&'a str>,
}

// === impl Record ===

impl Record<'_> {
    /// Appends the request as one line of JSON.
    pub(super) fn write(&self, line: &mut Vec<u8>) {
        let mut object = Object::open(line);
        object.raw("timestamp", |out| quoted(out, |out| timestamp::write(out, self.time)));
        self.write_request(&mut object);
        self.write_response(&mut object);
        self.write_decision(&mut object);
        object.close();
        line.push(b'\n');
    }

    fn write_request(&self, object: &mut Object<'_>) {
        optional(object, "trace_id", self.trace_id);
        optional(object, "span_id", self.span_id);
        if let Some(id) = self.request_id {
            object.str("tollgate.request_id", id);
        }
        object.str("http.request.method", self.method);
        let path = self.path.split(|byte| *byte == b'?').next();
        object.bytes("url.path", path.unwrap_or_default());
        object.plain("url.scheme", self.scheme);
        if let Some(host) = self.host {
            object.bytes("server.address", host);
        }
        object.plain("network.protocol.version", self.protocol_version);
        if let Some(client) = self.client_address {
            object.ip("client.address", client);
        }
        if let Some(peer) = self.peer_address {
            object.ip("network.peer.address", peer);
        }
        if let Some(agent) = self.user_agent {
            object.bytes("user_agent.original", agent);
        }
        object.number("http.request.body.size", self.request_bytes);
    }

    fn write_response(&self, object: &mut Object<'_>) {
        if let Some(status) = self.status {
            object.number("http.response.status_code", status.into());
        }
        object.number("http.response.body.size", self.response_bytes);
        optional(object, "error.type", self.error);
        object.millis("duration_ms", self.duration);
        if let Some(upstream) = self.upstream_time {
            object.millis("tollgate.upstream_ms", upstream);
        }
        object.millis("tollgate.overhead_ms", self.overhead);
    }

    fn write_decision(&self, object: &mut Object<'_>) {
        if let Some(path) = self.route_path {
            object.str("http.route", path);
        }
        optional(object, "tollgate.route", self.route);
        optional(object, "tollgate.upstream", self.upstream);
        if let Some(instance) = self.instance {
            object.raw("tollgate.instance", |out| quoted(out, |out| socket(out, instance)));
        }
        object.plain("tollgate.outcome", self.outcome.as_str());
        object.number("tollgate.attempts", self.attempts.into());
        if !self.shadow.is_empty() {
            object.raw("tollgate.shadow", |out| policies(out, self.shadow));
        }
        optional(object, "tollgate.config", self.config);
    }
}

fn optional(object: &mut Object<'_>, key: &str, value: Option<&str>) {
    if let Some(value) = value {
        object.plain(key, value);
    }
}

fn socket(out: &mut Vec<u8>, socket: SocketAddr) {
    let v6 = socket.is_ipv6();
    out.extend(v6.then_some(b'['));
    // Memory takes all that is written to it.
    let _ = address(out, socket.ip());
    out.extend(v6.then_some(b']'));
    out.push(b':');
    decimal(out, socket.port().into());
}

fn policies(out: &mut Vec<u8>, policies: Policies) {
    let mut separator = b'[';
    for policy in policies.iter() {
        out.push(separator);
        separator = b',';
        quoted(out, |out| out.extend_from_slice(policy.as_str().as_bytes()));
    }
    out.push(b']');
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::telemetry::Policy;

    pub(in super::super) fn refused() -> Record<'static> {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_763_629_200_250),
            trace_id: None,
            span_id: None,
            request_id: None,
            method: "GET",
            path: b"/nowhere",
            scheme: "http",
            host: None,
            protocol_version: "1.1",
            user_agent: None,
            client_address: None,
            peer_address: None,
            status: Some(404),
            request_bytes: 0,
            response_bytes: 120,
            error: None,
            duration: Duration::from_micros(250),
            upstream_time: None,
            overhead: Duration::from_micros(250),
            route: None,
            route_path: None,
            upstream: None,
            instance: None,
            outcome: Outcome::NoRoute,
            attempts: 0,
            shadow: Policies::default(),
            config: None,
        }
    }

    fn line(record: &Record<'_>) -> String {
        let mut line = Vec::new();
        record.write(&mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        assert_eq!(
            line(&refused()),
            concat!(
                r#"{"timestamp":"2025-11-20T09:00:00.250Z","http.request.method":"GET","#,
                r#""url.path":"/nowhere","url.scheme":"http","network.protocol.version":"1.1","#,
                r#""http.request.body.size":0,"http.response.status_code":404,"#,
                r#""http.response.body.size":120,"duration_ms":0.250,"tollgate.overhead_ms":0.250,"#,
                r#""tollgate.outcome":"no_route","tollgate.attempts":0}"#,
                "\n"
            )
        );
    }

    #[test]
    fn every_field_has_its_name() {
        let mut shadow = Policies::default();
        shadow.insert(Policy::RateLimit);
        shadow.insert(Policy::IpFilter);
        let parsed: serde_json::Value = serde_json::from_str(&line(&Record {
            trace_id: Some("4bf92f3577b34da6a3ce929d0e0e4736"),
            span_id: Some("00f067aa0ba902b7"),
            request_id: Some("0193a0b0"),
            path: b"/orders/\xff?token=secret",
            host: Some(b"api.example.com"),
            user_agent: Some(b"curl/8"),
            client_address: Some("203.0.113.9".parse().unwrap()),
            peer_address: Some("10.0.0.4".parse().unwrap()),
            status: Some(502),
            error: Some("connection_refused"),
            upstream_time: Some(Duration::from_millis(12)),
            route: Some("orders"),
            route_path: Some("/orders/**"),
            upstream: Some("orders-v2"),
            instance: Some("[2001:db8::7]:8080".parse().unwrap()),
            outcome: Outcome::ConnectFailed,
            attempts: 2,
            shadow,
            config: Some("ab12"),
            ..refused()
        }))
        .unwrap();
        let expected = serde_json::json!({
            "timestamp": "2025-11-20T09:00:00.250Z",
            "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "span_id": "00f067aa0ba902b7",
            "tollgate.request_id": "0193a0b0",
            "http.request.method": "GET",
            "url.path": "/orders/\u{fffd}",
            "url.scheme": "http",
            "server.address": "api.example.com",
            "network.protocol.version": "1.1",
            "client.address": "203.0.113.9",
            "network.peer.address": "10.0.0.4",
            "user_agent.original": "curl/8",
            "http.request.body.size": 0,
            "http.response.status_code": 502,
            "http.response.body.size": 120,
            "error.type": "connection_refused",
            "duration_ms": 0.25,
            "tollgate.upstream_ms": 12.0,
            "tollgate.overhead_ms": 0.25,
            "http.route": "/orders/**",
            "tollgate.route": "orders",
            "tollgate.upstream": "orders-v2",
            "tollgate.instance": "[2001:db8::7]:8080",
            "tollgate.outcome": "connect_failed",
            "tollgate.attempts": 2,
            "tollgate.shadow": ["ip_filter", "rate_limit"],
            "tollgate.config": "ab12",
        });
        assert_eq!(parsed, expected);
    }
}
