//! Logs in to Nacos and keeps the token.
//!
//! Asked before every request that a server authorises. Never shows the password or a token in an error, and sends
//! them in bodies and headers only, since servers log query strings.

use std::{fmt::Write, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode, header::CONTENT_TYPE};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde::Deserialize;
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::servers::Server;
use crate::{config::Secret, registry::RegistryError};

/// Nacos 3 first, then 2 (and 1), as Nacos' own client does it.
const PATHS: [&str; 2] = ["/nacos/v3/auth/user/login", "/nacos/v1/auth/login"];
const TIMEOUT: Duration = Duration::from_secs(5);
const LARGEST_ANSWER: usize = 64 * 1024;
/// Nacos' own default, of a token that says no lifetime; and the bounds that any other is kept in.
const DEFAULT_LIFETIME: u64 = 18_000;
const LONGEST_LIFETIME: u64 = 30 * 86_400;

/// A user, and the token that it has now.
pub(super) struct Login {
    username: String,
    password: Secret,
    client: Client<HttpConnector, Full<Bytes>>,
    // Held while logging in, so that the requests of one moment log in once.
    token: Mutex<Option<Token>>,
}

struct Token {
    text: Arc<str>,
    /// At 80 % of its lifetime.
    refresh: Instant,
    expires: Instant,
}

/// The token as Nacos writes it: bare, or inside `data`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    #[serde(default)]
    access_token: Option<String>,
    #[serde(default)]
    token_ttl: Option<u64>,
    #[serde(default)]
    data: Option<Box<Self>>,
}

// === impl Login ===

impl Login {
    pub(super) fn new(username: &str, password: Option<&Secret>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(TIMEOUT));
        Self {
            username: username.into(),
            password: password.cloned().unwrap_or_else(|| Secret::new("")),
            // A login comes every few hours: a connection kept for it would only be stale.
            client: Client::builder(TokioExecutor::new())
                .pool_max_idle_per_host(0)
                .build(connector),
            token: Mutex::new(None),
        }
    }

    /// A token that is not `refused`, from what is kept or by logging in.
    pub(super) async fn token(
        &self,
        server: &Server,
        refused: Option<&str>,
    ) -> Result<Arc<str>, RegistryError> {
        let mut kept = self.token.lock().await;
        let now = Instant::now();
        let usable = kept.as_ref().filter(|token| Some(&*token.text) != refused);
        if let Some(token) = usable.filter(|token| now < token.refresh) {
            return Ok(token.text.clone());
        }
        let valid = usable.filter(|token| now < token.expires).map(|token| token.text.clone());
        match (self.log_in(server, now).await, valid) {
            (Ok(token), _) => Ok(kept.insert(token).text.clone()),
            // What cannot be renewed now is good until it expires.
            (Err(RegistryError::Unavailable(_)), Some(valid)) => Ok(valid),
            (Err(error), _) => Err(error),
        }
    }

    async fn log_in(&self, server: &Server, now: Instant) -> Result<Token, RegistryError> {
        for path in PATHS {
            let (status, body) = timeout(TIMEOUT, self.post(server, path))
                .await
                .map_err(|_| RegistryError::Unavailable(format!("{server}: login timed out")))??;
            match status {
                StatusCode::OK => return Token::parse(&body, now).ok_or_else(no_token),
                StatusCode::NOT_FOUND | StatusCode::NOT_IMPLEMENTED | StatusCode::GONE => {}
                _ => return Err(refusal(server, status)),
            }
        }
        Err(RegistryError::Protocol(format!("{server}: no login is served there")))
    }

    async fn post(
        &self,
        server: &Server,
        path: &str,
    ) -> Result<(StatusCode, Bytes), RegistryError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            RegistryError::Unavailable(format!("{server}: cannot log in: {error}"))
        };
        let form = format!(
            "username={}&password={}",
            form_encoded(&self.username),
            form_encoded(self.password.reveal())
        );
        let request = Request::post(format!("http://{server}{path}"))
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::from(form))
            .map_err(|error| unavailable(&error))?;
        let answer = self.client.request(request).await.map_err(|error| unavailable(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), LARGEST_ANSWER).collect().await;
        Ok((status, body.map_err(|error| unavailable(&error))?.to_bytes()))
    }
}

// === impl Token ===

impl Token {
    fn parse(body: &[u8], now: Instant) -> Option<Self> {
        let answer: Answer = serde_json::from_slice(body).ok()?;
        let answer = answer.data.map_or_else(|| Answer { data: None, ..answer }, |data| *data);
        let text = answer.access_token.filter(|token| !token.is_empty())?;
        let seconds = answer.token_ttl.unwrap_or(DEFAULT_LIFETIME).clamp(1, LONGEST_LIFETIME);
        let lifetime = Duration::from_secs(seconds);
        Some(Self {
            text: text.into(),
            refresh: now + lifetime.mul_f64(0.8),
            expires: now + lifetime,
        })
    }
}

fn no_token() -> RegistryError {
    RegistryError::Protocol("the answer to the login holds no token".into())
}

fn refusal(server: &Server, status: StatusCode) -> RegistryError {
    let text = format!("{server}: login answered {}", status.as_u16());
    match status {
        // Nacos 3 answers a wrong password so.
        StatusCode::INTERNAL_SERVER_ERROR => RegistryError::Auth(text),
        status if status.is_server_error() => RegistryError::Unavailable(text),
        _ => RegistryError::Auth(text),
    }
}

/// Percent-encodes all but the unreserved characters (RFC 3986, 2.3), which every form decoder undoes.
fn form_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

#[cfg(test)]
mod tests;
