//! What a Nacos client sends: names and values, from the query, a form, or the JSON of a beat.
//!
//! Called by the API for each request. Nothing here is trusted: what does not fit is refused with its name.

use std::{collections::BTreeMap, net::SocketAddr, time::Duration};

use axum::{
    Form,
    extract::{FromRequest, Query, Request},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::time::timeout;

use super::{
    service::{ServiceKey, is_name},
    store::Registered,
};

/// Names and values, the first of a name counts. A value that is empty counts as absent, as it does in Nacos.
#[derive(Debug, Default)]
pub(super) struct Params(Vec<(String, String)>);

/// Why a request is refused, as plain text.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) text: String,
}

/// The heaviest weight that Nacos knows.
const MAX_WEIGHT: f64 = 10_000.0;

/// Metadata of one instance, names and values together.
const MAX_METADATA_BYTES: usize = 8 * 1024;
const MAX_METADATA_KEYS: usize = 64;

/// How long a client may take to bring a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// The cluster of an instance that names none.
pub(super) const DEFAULT_CLUSTER: &str = "DEFAULT";

// === impl Params ===

impl Params {
    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(n, v)| n == name && !v.is_empty()).map(|(_, value)| value.as_str())
    }

    /// The same, with what the JSON of a beat says before what stands beside it.
    pub(super) fn with_beat(mut self, beat: &str) -> Result<Self, Refusal> {
        let beat: BTreeMap<String, Value> =
            serde_json::from_str(beat).map_err(|error| refuse("beat", &error.to_string()))?;
        let fields = beat.into_iter().filter_map(|(name, value)| {
            // The one field whose name differs.
            let name = if name == "cluster" { "clusterName".into() } else { name };
            Some((name, text(value)?))
        });
        self.0 = fields.chain(self.0).collect();
        Ok(self)
    }

    pub(super) fn service(&self) -> Result<ServiceKey, Refusal> {
        let service = self.required("serviceName")?;
        ServiceKey::parse(self.find("namespaceId"), self.find("groupName"), service)
            .map_err(|why| refuse("serviceName", why))
    }

    /// The namespace alone, where no service is asked for.
    pub(super) fn namespace(&self) -> &str {
        ServiceKey::namespace_of(self.find("namespaceId"))
    }

    pub(super) fn address(&self) -> Result<SocketAddr, Refusal> {
        let ip = self.required("ip")?.trim_start_matches('[').trim_end_matches(']');
        let ip: std::net::IpAddr = ip.parse().map_err(|_| refuse("ip", "is not an IP address"))?;
        if ip.is_unspecified() || ip.is_multicast() {
            return Err(refuse("ip", "is nobody's address"));
        }
        match self.required("port")?.parse() {
            Ok(port @ 1..) => Ok(SocketAddr::new(ip.to_canonical(), port)),
            _ => Err(refuse("port", "is not a port from 1 to 65535")),
        }
    }

    pub(super) fn weight(&self) -> Result<Option<f64>, Refusal> {
        let Some(weight) = self.find("weight") else { return Ok(None) };
        match weight.parse() {
            Ok(weight) if (0.0..=MAX_WEIGHT).contains(&weight) => Ok(Some(weight)),
            _ => Err(refuse("weight", "is not a number from 0 to 10000")),
        }
    }

    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.find(name) {
            None => Ok(None),
            // The Python client writes its own language's words.
            Some("true" | "True" | "1") => Ok(Some(true)),
            Some("false" | "False" | "0") => Ok(Some(false)),
            Some(_) => Err(refuse(name, "is neither true nor false")),
        }
    }

    /// `enabled`, which most clients call `enable`.
    pub(super) fn enabled(&self) -> Result<Option<bool>, Refusal> {
        Ok(self.flag("enabled")?.or(self.flag("enable")?))
    }

    pub(super) fn cluster(&self) -> Result<Option<&str>, Refusal> {
        // The Python client sends the name of its own null value where it was given no cluster.
        let cluster = self.find("clusterName").filter(|cluster| *cluster != "None");
        match cluster {
            Some(name) if !is_name(name, 64) => Err(refuse("clusterName", "is not a name")),
            cluster => Ok(cluster),
        }
    }

    /// JSON with values that have a text, or `name=value,name=value`.
    pub(super) fn metadata(&self) -> Result<Option<BTreeMap<String, String>>, Refusal> {
        let Some(metadata) = self.find("metadata") else { return Ok(None) };
        let metadata = match serde_json::from_str::<BTreeMap<String, Value>>(metadata) {
            Ok(object) => json_metadata(object),
            Err(_) => pairs_metadata(metadata),
        };
        let metadata = metadata.ok_or_else(|| refuse("metadata", "is not a flat object"))?;
        let bytes: usize = metadata.iter().map(|(name, value)| name.len() + value.len()).sum();
        if metadata.len() > MAX_METADATA_KEYS || bytes > MAX_METADATA_BYTES {
            return Err(refuse("metadata", "is too large"));
        }
        Ok(Some(metadata))
    }

    /// An instance as it registers itself.
    pub(super) fn registered(&self) -> Result<Registered, Refusal> {
        Ok(Registered {
            address: self.address()?,
            weight: self.weight()?.unwrap_or(1.0),
            enabled: self.enabled()?.unwrap_or(true),
            healthy: self.flag("healthy")?.unwrap_or(true),
            ephemeral: self.flag("ephemeral")?.unwrap_or(true),
            cluster: self.cluster()?.unwrap_or(DEFAULT_CLUSTER).into(),
            metadata: self.metadata()?.unwrap_or_default(),
        })
    }

    /// A number of a page, or of how many to a page.
    pub(super) fn count(&self, name: &str, default: usize) -> Result<usize, Refusal> {
        match self.find(name).map(str::parse) {
            None => Ok(default),
            Some(Ok(count)) => Ok(count),
            Some(Err(_)) => Err(refuse(name, "is not a number")),
        }
    }

    fn required(&self, name: &str) -> Result<&str, Refusal> {
        self.find(name).ok_or_else(|| refuse(name, "is missing"))
    }
}

impl<S: Send + Sync> FromRequest<S> for Params {
    type Rejection = Response;

    async fn from_request(request: Request, state: &S) -> Result<Self, Response> {
        let Query(mut params) = Query::<Vec<(String, String)>>::try_from_uri(request.uri())
            .map_err(IntoResponse::into_response)?;
        let is_form = request.headers().get("content-type").is_some_and(|content_type| {
            content_type.as_bytes().starts_with(b"application/x-www-form-urlencoded")
        });
        if is_form && request.method() != Method::GET {
            let form = Form::<Vec<(String, String)>>::from_request(request, state);
            let Ok(form) = timeout(BODY_TIMEOUT, form).await else {
                return Err(StatusCode::REQUEST_TIMEOUT.into_response());
            };
            params.extend(form.map_err(IntoResponse::into_response)?.0);
        }
        Ok(Self(params))
    }
}

// === impl Refusal ===

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, self.text).into_response()
    }
}

pub(super) fn refuse(name: &str, why: &str) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, text: format!("`{name}` {why}") }
}

/// A JSON value as the text that a parameter would have; a beat's metadata stays JSON.
fn text(value: Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text),
        other => Some(other.to_string()),
    }
}

fn json_metadata(object: BTreeMap<String, Value>) -> Option<BTreeMap<String, String>> {
    let pair = |(name, value)| match value {
        Value::Array(_) | Value::Object(_) => None,
        Value::Null => Some((name, String::new())),
        scalar => Some((name, text(scalar)?)),
    };
    object.into_iter().map(pair).collect()
}

fn pairs_metadata(pairs: &str) -> Option<BTreeMap<String, String>> {
    let pair = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    };
    pairs.split(',').filter(|pair| !pair.trim().is_empty()).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params(pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect())
    }

    #[track_caller]
    fn refused<T: std::fmt::Debug>(result: Result<T, Refusal>, text: &str) {
        let refusal = result.unwrap_err();
        assert_eq!((refusal.status, refusal.text.as_str()), (StatusCode::BAD_REQUEST, text));
    }

    #[test]
    fn an_instance_that_says_little_gets_the_defaults() {
        let registered = params(&[("ip", "10.0.0.1"), ("port", "80"), ("weight", "")]).registered();
        let expected = Registered {
            address: "10.0.0.1:80".parse().unwrap(),
            weight: 1.0,
            enabled: true,
            healthy: true,
            ephemeral: true,
            cluster: "DEFAULT".into(),
            metadata: BTreeMap::new(),
        };
        assert_eq!(registered.unwrap(), expected);
    }

    #[test]
    fn weights_that_cannot_be_are_refused() {
        for weight in ["NaN", "nan", "inf", "-1", "-0.01", "10000.1", "1e9", "1,5", "heavy"] {
            refused(
                params(&[("weight", weight)]).weight(),
                "`weight` is not a number from 0 to 10000",
            );
        }
        for (weight, value) in [("0", 0.0), ("0.01", 0.01), ("10000", 10_000.0), ("1e3", 1000.0)] {
            assert_eq!(params(&[("weight", weight)]).weight().unwrap(), Some(value));
        }
    }

    #[test]
    fn addresses_that_nobody_has_are_refused() {
        for ip in ["localhost", "10.0.0.256", "", "0.0.0.0", "::", "224.0.0.1", "10.0.0.1:80"] {
            assert!(params(&[("ip", ip), ("port", "80")]).address().is_err(), "{ip}");
        }
        for port in ["0", "65536", "-1", "http", ""] {
            assert!(params(&[("ip", "10.0.0.1"), ("port", port)]).address().is_err(), "{port}");
        }
        for (ip, address) in [("[::1]", "[::1]:80"), ("::ffff:10.0.0.1", "10.0.0.1:80")] {
            let parsed = params(&[("ip", ip), ("port", "80")]).address().unwrap();
            assert_eq!(parsed.to_string(), address);
        }
    }

    #[test]
    fn metadata_comes_as_json_or_as_pairs() {
        let check = |metadata: &str, expected: &[(&str, &str)]| {
            let parsed = params(&[("metadata", metadata)]).metadata().unwrap().unwrap();
            let pairs: Vec<_> = parsed.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            assert_eq!(pairs, expected, "{metadata}");
        };
        check(
            r#"{"zone":"a","n":7,"on":true,"none":null}"#,
            &[("n", "7"), ("none", ""), ("on", "true"), ("zone", "a")],
        );
        check("{}", &[]);
        check("zone=a, version=1.2=x,", &[("version", "1.2=x"), ("zone", "a")]);
    }

    #[test]
    fn metadata_that_is_nested_or_large_is_refused() {
        let deep = "[".repeat(100_000);
        for metadata in [r#"{"a":{"b":"c"}}"#, r#"["a"]"#, "nothing", &deep] {
            refused(
                params(&[("metadata", metadata)]).metadata(),
                "`metadata` is not a flat object",
            );
        }
        let large = format!("a={}", "x".repeat(MAX_METADATA_BYTES));
        let many: String = (0..=MAX_METADATA_KEYS).map(|n| format!("k{n}=v,")).collect();
        for metadata in [large, many] {
            refused(params(&[("metadata", &metadata)]).metadata(), "`metadata` is too large");
        }
    }

    #[test]
    fn a_beat_says_what_a_registration_says() {
        let beat = r#"{"serviceName":"G@@s","cluster":"c1","ip":"10.0.0.1","port":"80","weight":2.5,
            "metadata":{"zone":"a"},"scheduled":false,"ephemeral":true}"#;
        let params =
            params(&[("serviceName", "other"), ("ip", "10.9.9.9")]).with_beat(beat).unwrap();
        let registered = params.registered().unwrap();
        assert_eq!(registered.address, "10.0.0.1:80".parse().unwrap());
        assert_eq!((registered.weight, registered.cluster.as_str()), (2.5, "c1"));
        assert_eq!(registered.metadata["zone"], "a");
        assert_eq!(params.service().unwrap().group, "G");
    }

    #[test]
    fn words_of_the_python_client_are_understood() {
        let params = params(&[("enable", "False"), ("clusterName", "None")]);
        assert_eq!(params.enabled().unwrap(), Some(false));
        assert_eq!(params.cluster().unwrap(), None);
    }
}
