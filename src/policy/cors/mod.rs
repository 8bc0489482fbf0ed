//! Which other origins a browser may call a route from: the CORS protocol of the Fetch standard.
//!
//! `decision` asks for preflights, which are answered here and go nowhere; `forward` and `answer` ask what to add to a
//! response. It guards pages and not the route: a refused origin is told nothing, but its request is not stopped.

mod origin;
#[cfg(test)]
mod tests;

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS,
        ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
        ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
};

use self::origin::Origins;
use crate::config;

/// The CORS protocol of one route.
#[derive(Debug)]
pub struct Cors {
    origins: Origins,
    methods: Allowed<Method>,
    headers: Allowed<HeaderName>,
    expose: Option<HeaderValue>,
    credentials: bool,
    max_age: HeaderValue,
}

/// What the `Origin` of a request means to a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller<'a> {
    /// It has none: it is of the same origin, or of no browser.
    NotCors,
    Allowed(&'a HeaderValue),
    Refused,
}

/// The answer to a preflight.
#[derive(Debug)]
pub enum Preflight {
    /// 204 with these headers. They are all: nothing is to be added by [`Cors::annotations`].
    Grant(HeaderMap),
    /// 403.
    Refuse(PreflightRefusal),
}

/// What a preflight asks for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PreflightRefusal {
    #[error("origin not allowed")]
    Origin,
    #[error("method not allowed from another origin")]
    Method,
    #[error("request header not allowed from another origin")]
    Headers,
}

/// Why a config is no CORS policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CorsError {
    #[error(
        "`{0}` is no origin: write \"https://app.example.com\", \"https://*.example.com\" or \"*\""
    )]
    Origin(String),
    #[error(
        "\"*\" and credentials exclude each other: name the origins, and the headers to expose"
    )]
    AnyWithCredentials,
    #[error("`{0}` is no method")]
    Method(String),
    #[error("`{0}` is no header name")]
    Header(String),
}

/// What a preflight may ask for.
#[derive(Debug)]
enum Allowed<T> {
    /// Whatever it asks for is named in the answer: `*` means nothing of the kind once credentials are in play.
    Any,
    Listed {
        values: Box<[T]>,
        header: HeaderValue,
    },
}

/// What the upstream does not decide on a route with CORS: each is to be removed from its responses.
pub const REPLACED: [HeaderName; 6] = [
    ACCESS_CONTROL_ALLOW_CREDENTIALS,
    ACCESS_CONTROL_ALLOW_HEADERS,
    ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS,
    ACCESS_CONTROL_MAX_AGE,
];

/// No page asks for so many; a longer list is not searched.
const MOST_REQUEST_HEADERS: usize = 64;

const ANY: HeaderValue = HeaderValue::from_static("*");
const TRUE: HeaderValue = HeaderValue::from_static("true");
const VARY_ORIGIN: HeaderValue = HeaderValue::from_static("Origin");
const VARY_PREFLIGHT: HeaderValue = HeaderValue::from_static(
    "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
);

/// The method that a preflight asks leave for. Nothing, if the request is no preflight.
pub fn preflighted<'a>(method: &Method, request: &'a HeaderMap) -> Option<&'a HeaderValue> {
    if method != Method::OPTIONS || !request.contains_key(ORIGIN) {
        return None;
    }
    request.get(ACCESS_CONTROL_REQUEST_METHOD)
}

// === impl Cors ===

impl Cors {
    pub fn new(config: &config::Cors) -> Result<Self, CorsError> {
        let origins = Origins::new(config.origins.iter().map(|origin| origin.as_str()))?;
        let expose = Allowed::new(&config.expose, header_name)?;
        let any = matches!(origins, Origins::Any) || matches!(expose, Allowed::Any);
        if any && config.credentials {
            return Err(CorsError::AnyWithCredentials);
        }
        Ok(Self {
            origins,
            methods: Allowed::new(&config.methods, method)?,
            headers: Allowed::new(&config.headers, header_name)?,
            expose: Some(expose.header().unwrap_or(&ANY).clone()).filter(|names| !names.is_empty()),
            credentials: config.credentials,
            max_age: config.max_age.0.as_secs().into(),
        })
    }

    /// Whether a page of the request's origin may read what the route answers.
    pub fn caller<'a>(&self, request: &'a HeaderMap) -> Caller<'a> {
        let mut origins = request.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) => Caller::NotCors,
            (Some(origin), None) if self.origins.contain(origin.as_bytes()) => {
                Caller::Allowed(origin)
            }
            (Some(_), _) => Caller::Refused,
        }
    }

    /// Nothing, if the request is no preflight.
    pub fn preflight(&self, method: &Method, request: &HeaderMap) -> Option<Preflight> {
        let wanted = preflighted(method, request)?;
        Some(match self.grant(wanted, request) {
            Ok(headers) => Preflight::Grant(headers),
            Err(refusal) => Preflight::Refuse(refusal),
        })
    }

    /// What is to be appended to a response, answers of our own included, once [`REPLACED`] are gone from it.
    pub fn annotations(
        &self,
        request: &HeaderMap,
    ) -> impl Iterator<Item = (HeaderName, HeaderValue)> + use<> {
        let origin = self.allowed_origin(request);
        let expose = origin.as_ref().and(self.expose.clone());
        let credentials = origin.as_ref().and(self.credentials());
        // A cache must not hand one origin's answer to another, nor the answer without an origin to one that has some.
        let vary = (!matches!(self.origins, Origins::Any)).then_some(VARY_ORIGIN);
        let headers = [
            (ACCESS_CONTROL_ALLOW_ORIGIN, origin),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, credentials),
            (ACCESS_CONTROL_EXPOSE_HEADERS, expose),
            (VARY, vary),
        ];
        headers.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    fn grant(
        &self,
        method: &HeaderValue,
        request: &HeaderMap,
    ) -> Result<HeaderMap, PreflightRefusal> {
        let origin = self.allowed_origin(request).ok_or(PreflightRefusal::Origin)?;
        if !self.allows_method(method) {
            return Err(PreflightRefusal::Method);
        }
        if !self.allows_headers(request) {
            return Err(PreflightRefusal::Headers);
        }
        let mut answer = HeaderMap::with_capacity(8);
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        answer.extend(self.credentials().map(|yes| (ACCESS_CONTROL_ALLOW_CREDENTIALS, yes)));
        answer
            .insert(ACCESS_CONTROL_ALLOW_METHODS, self.methods.header().unwrap_or(method).clone());
        match self.headers.header() {
            Some(names) if names.is_empty() => {}
            Some(names) => {
                answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            }
            None => {
                for line in request.get_all(ACCESS_CONTROL_REQUEST_HEADERS) {
                    answer.append(ACCESS_CONTROL_ALLOW_HEADERS, line.clone());
                }
            }
        }
        answer.insert(ACCESS_CONTROL_MAX_AGE, self.max_age.clone());
        answer.insert(VARY, VARY_PREFLIGHT);
        Ok(answer)
    }

    /// `*` on a route for all, whoever asks; else the request's own origin, if it is one of the route's.
    fn allowed_origin(&self, request: &HeaderMap) -> Option<HeaderValue> {
        match (&self.origins, self.caller(request)) {
            (Origins::Any, _) => Some(ANY),
            (Origins::Listed(_), Caller::Allowed(origin)) => Some(origin.clone()),
            (Origins::Listed(_), Caller::NotCors | Caller::Refused) => None,
        }
    }

    fn credentials(&self) -> Option<HeaderValue> {
        self.credentials.then_some(TRUE)
    }

    /// Three methods need no leave: a browser sends them whatever the answer names.
    fn allows_method(&self, wanted: &HeaderValue) -> bool {
        Method::from_bytes(wanted.as_bytes()).is_ok_and(|method| {
            matches!(method, Method::GET | Method::HEAD | Method::POST)
                || self.methods.allow(&method)
        })
    }

    fn allows_headers(&self, request: &HeaderMap) -> bool {
        let lines = request.get_all(ACCESS_CONTROL_REQUEST_HEADERS).iter();
        let names = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
        let mut names = names.map(<[u8]>::trim_ascii).filter(|name| !name.is_empty());
        names
            .by_ref()
            .take(MOST_REQUEST_HEADERS)
            .all(|name| HeaderName::from_bytes(name).is_ok_and(|name| self.headers.allow(&name)))
            && names.next().is_none()
    }
}

// === impl Allowed ===

impl<T: AsRef<str> + PartialEq> Allowed<T> {
    fn new(
        texts: &[String],
        parse: impl Fn(&str) -> Result<T, CorsError>,
    ) -> Result<Self, CorsError> {
        if texts.iter().any(|text| text == "*") {
            return Ok(Self::Any);
        }
        let values = texts.iter().map(|text| parse(text)).collect::<Result<Box<[T]>, _>>()?;
        let names: Vec<&str> = values.iter().map(AsRef::as_ref).collect();
        let names = names.join(", ");
        let header = HeaderValue::from_str(&names).map_err(|_| CorsError::Header(names))?;
        Ok(Self::Listed { values, header })
    }

    fn allow(&self, value: &T) -> bool {
        match self {
            Self::Any => true,
            Self::Listed { values, .. } => values.contains(value),
        }
    }

    /// The list, if it is one.
    fn header(&self) -> Option<&HeaderValue> {
        match self {
            Self::Any => None,
            Self::Listed { header, .. } => Some(header),
        }
    }
}

/// Browsers spell methods in upper case, whatever the operator does.
fn method(text: &str) -> Result<Method, CorsError> {
    Method::from_bytes(text.to_ascii_uppercase().as_bytes())
        .map_err(|_| CorsError::Method(text.into()))
}

fn header_name(text: &str) -> Result<HeaderName, CorsError> {
    text.parse().map_err(|_| CorsError::Header(text.into()))
}
