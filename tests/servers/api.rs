//! The open API of a registry server, as instances, consoles and operators use it.

use std::time::Duration;

use serde_json::Value;

use crate::server::Kind;

/// An instance as it is registered over HTTP, like a service in another language would. It needs no heart beats while
/// a test runs.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) service: String,
    pub(crate) group: String,
    pub(crate) cluster: String,
    pub(crate) port: u16,
    pub(crate) weight: f64,
    pub(crate) enabled: bool,
    /// Gone with the server's memory; else kept in its data, and probed by TCP.
    pub(crate) ephemeral: bool,
    /// Longer than what an operator would write, where a test is about that.
    pub(crate) note: String,
}

/// One server's API, with a token where it asks for one.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) kind: Kind,
    /// HTTP; gRPC is this plus 1000.
    pub(crate) port: u16,
    http: reqwest::Client,
    token: String,
}

// === impl Record ===

impl Record {
    /// An ephemeral instance on loopback of weight 1, in the default group and cluster.
    pub(crate) fn new(service: &str, port: u16) -> Self {
        Self {
            service: service.into(),
            group: "DEFAULT_GROUP".into(),
            cluster: "DEFAULT".into(),
            port,
            weight: 1.0,
            enabled: true,
            ephemeral: true,
            note: String::new(),
        }
    }

    fn parameters(&self) -> Vec<(&'static str, String)> {
        let metadata = serde_json::json!({
            "version": "v1",
            "note": self.note,
            "preserved.heart.beat.timeout": "600000",
            "preserved.ip.delete.timeout": "1200000",
        });
        vec![
            ("serviceName", self.service.clone()),
            ("groupName", self.group.clone()),
            ("namespaceId", "public".into()),
            ("clusterName", self.cluster.clone()),
            ("ip", "127.0.0.1".into()),
            ("port", self.port.to_string()),
            ("weight", self.weight.to_string()),
            ("enabled", self.enabled.to_string()),
            ("healthy", "true".into()),
            ("ephemeral", self.ephemeral.to_string()),
            ("metadata", metadata.to_string()),
        ]
    }
}

// === impl Api ===

impl Api {
    pub(crate) fn new(kind: Kind, port: u16) -> Self {
        let http = reqwest::Client::builder().timeout(Duration::from_secs(10)).build().unwrap();
        Self { kind, port, http, token: String::new() }
    }

    pub(crate) async fn register(&self, record: &Record) {
        self.send(self.http.post(self.url(self.path(), &record.parameters()))).await;
    }

    pub(crate) async fn deregister(&self, record: &Record) {
        self.send(self.http.delete(self.url(self.path(), &record.parameters()))).await;
    }

    /// Changes weight, metadata or whether it is enabled, as the console does. r-nacos takes a weight of 1 for none
    /// given, and leaves it as it is.
    pub(crate) async fn change(&self, record: &Record) {
        let path = match self.kind {
            Kind::RNacos | Kind::Nacos2 => "v1/ns/instance",
            Kind::Nacos3 => "v3/admin/ns/instance",
        };
        self.send(self.http.put(self.url(path, &record.parameters()))).await;
    }

    /// Beats as an instance does, and registers where the server does not know it. Says whether the server answered.
    pub(crate) async fn beat(&self, record: &Record) -> bool {
        let parameters = record.parameters();
        let beat = match self.kind {
            // Its beats bring an instance back that it has forgotten, with a weight of 1.
            Kind::RNacos => self.http.post(self.url(self.path(), &parameters)),
            Kind::Nacos2 => self.http.put(self.url("v1/ns/instance/beat", &parameters)),
            Kind::Nacos3 => {
                let beat = [("heartBeat", "true".to_owned())];
                self.http.post(self.url(self.path(), &[&parameters[..], &beat].concat()))
            }
        };
        let quick = |request: reqwest::RequestBuilder| request.timeout(Duration::from_secs(1));
        let Ok(answer) = quick(beat).send().await else { return false };
        if self.kind == Kind::RNacos {
            return true;
        }
        let answer: Value = answer.json().await.unwrap_or_default();
        if matches!(answer["code"].as_i64(), Some(0 | 10200)) {
            return true;
        }
        let register = self.http.post(self.url(self.path(), &parameters));
        quick(register).send().await.is_ok()
    }

    /// The instances that take traffic, as the server lists them: ports with weights, in the order of ports.
    pub(crate) async fn list(&self, service: &str) -> Vec<(u16, f64)> {
        let path = match self.kind {
            Kind::RNacos | Kind::Nacos2 => "v1/ns/instance/list",
            Kind::Nacos3 => "v3/client/ns/instance/list",
        };
        let parameters = [("serviceName", service.into()), ("namespaceId", "public".into())];
        let answer = self.http.get(self.url(path, &parameters)).send().await.unwrap();
        let answer: Value = answer.json().await.unwrap();
        let hosts = answer["hosts"].as_array().or(answer["data"].as_array());
        let mut list: Vec<_> = hosts.into_iter().flatten().filter_map(used).collect();
        list.sort_by_key(|(port, _)| *port);
        list
    }

    /// Takes a token for the changes that tests make. Says whether the server is ready.
    pub(crate) async fn log_in(&mut self, asks_for_login: bool) -> bool {
        // A new server refuses whoever comes with the last one's token, even to log in.
        self.token.clear();
        let password = ("password", self.kind.password().to_owned());
        if self.kind == Kind::Nacos3 {
            // The first password of a new server; one that has it refuses another.
            let url = self.url("v3/auth/user/admin", std::slice::from_ref(&password));
            let _ = self.http.post(url).send().await;
        }
        let user = ("username", Kind::USER.into());
        let url = self.url("v1/auth/login", &[user, password]);
        let Ok(answer) = self.http.post(url).send().await else { return false };
        if !answer.status().is_success() {
            // Nacos 2 refuses every login while it asks for none.
            return !asks_for_login;
        }
        let answer: Value = answer.json().await.unwrap();
        self.token = answer["accessToken"].as_str().unwrap_or_default().to_owned();
        true
    }

    const fn path(&self) -> &'static str {
        match self.kind {
            Kind::RNacos | Kind::Nacos2 => "v1/ns/instance",
            Kind::Nacos3 => "v3/client/ns/instance",
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) {
        let answer = request.send().await.unwrap();
        let (status, body) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success() && !body.contains("\"code\":5"), "{status} {body}");
    }

    /// All parameters stand in the query, which every version reads.
    fn url(&self, path: &str, parameters: &[(&str, String)]) -> reqwest::Url {
        let url = format!("http://127.0.0.1:{}/nacos/{path}", self.port);
        let token = ("accessToken", self.token.clone());
        reqwest::Url::parse_with_params(&url, parameters.iter().chain([&token])).unwrap()
    }
}

fn used(host: &Value) -> Option<(u16, f64)> {
    let weight = host["weight"].as_f64()?;
    let used = host["enabled"] == true && host["healthy"] == true && weight > 0.0;
    used.then_some((u16::try_from(host["port"].as_u64()?).ok()?, weight))
}
