//! The messages of Nacos' naming protocol that tollgate sends and understands.
//!
//! Names and numbers are those of the Java server (`com.alibaba.nacos.api`); what is not listed here is not used.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::service_info::ServiceInfo;

/// The service's answer says that all went well.
const SUCCESS: i64 = 200;
/// `NacosException.UN_REGISTER`: the server does not know this connection (any more).
const UNREGISTERED: i64 = 301;

/// A message that has one answer.
pub(super) trait Request: Serialize + Send + Sync {
    const KIND: &'static str;
    type Answer: DeserializeOwned + Send;
}

/// What every answer begins with.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Outcome {
    result_code: i64,
    error_code: i64,
    message: Option<String>,
}

/// An answer's meaning, once its codes were read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Verdict {
    Success,
    /// Our token is missing, expired, or does not allow this.
    Denied,
    /// The connection is not, or no longer, registered.
    Unregistered,
    /// This request alone failed.
    Failed,
}

/// Asks whether the server is there; opens every connection.
#[derive(Serialize)]
pub(super) struct ServerCheck {}

/// Registers the connection; goes out on the stream and is not answered.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConnectionSetup<'a> {
    pub(super) client_version: &'static str,
    pub(super) tenant: &'a str,
    pub(super) labels: Labels,
}

#[derive(Serialize)]
pub(super) struct Labels {
    pub(super) source: &'static str,
    pub(super) module: &'static str,
    #[serde(rename = "AppName")]
    pub(super) app_name: &'static str,
}

/// Asks whether the connection lives and is registered.
#[derive(Serialize)]
pub(super) struct HealthCheck {}

/// Begins or ends pushes of a service; the answer to a beginning is the service as it is.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Subscribe<'a> {
    #[serde(flatten)]
    pub(super) service: Service<'a>,
    pub(super) subscribe: bool,
    /// Empty: the server's own filter mixes up subscribers of one service, so we filter ourselves.
    pub(super) clusters: &'static str,
}

/// Reads a service once.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceQuery<'a> {
    #[serde(flatten)]
    pub(super) service: Service<'a>,
    pub(super) cluster: &'static str,
    pub(super) healthy_only: bool,
    pub(super) udp_port: u16,
}

/// Names a service to the server.
#[derive(Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Service<'a> {
    pub(super) namespace: &'a str,
    pub(super) group_name: &'a str,
    pub(super) service_name: &'a str,
    pub(super) module: &'static str,
}

/// The answer of [`Subscribe`] and [`ServiceQuery`].
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServiceAnswer {
    pub(super) service_info: Option<ServiceInfo>,
}

/// The answer of a request of which only the outcome matters.
#[derive(Deserialize)]
pub(super) struct Done {}

/// What all pushes have, and what those that we understand have besides.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Push {
    pub(super) request_id: Option<String>,
    /// Of `NotifySubscriberRequest`.
    pub(super) service_info: Option<ServiceInfo>,
    /// Of `ConnectResetRequest`, and of these the HTTP side's.
    pub(super) server_ip: Option<String>,
    pub(super) server_port: Option<String>,
}

/// Answers a push on the stream that it came on.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PushAnswer<'a> {
    request_id: &'a str,
    result_code: i64,
    error_code: i64,
}

// === impl Request ===

impl Request for ServerCheck {
    const KIND: &'static str = "ServerCheckRequest";
    type Answer = Done;
}

impl Request for HealthCheck {
    const KIND: &'static str = "HealthCheckRequest";
    type Answer = Done;
}

impl Request for Subscribe<'_> {
    const KIND: &'static str = "SubscribeServiceRequest";
    type Answer = ServiceAnswer;
}

impl Request for ServiceQuery<'_> {
    const KIND: &'static str = "ServiceQueryRequest";
    type Answer = ServiceAnswer;
}

// === impl Outcome ===

impl Outcome {
    /// Reads the codes. Anything but a plain success is a failure, whatever the message's kind claims.
    pub(super) fn verdict(&self) -> Verdict {
        match (self.result_code, self.error_code) {
            (SUCCESS, 0 | SUCCESS) => Verdict::Success,
            (_, 401 | 403) | (401 | 403, _) => Verdict::Denied,
            (_, UNREGISTERED) => Verdict::Unregistered,
            _ => Verdict::Failed,
        }
    }

    /// For logs and errors: the codes, and the beginning of what the server says.
    pub(super) fn reason(&self) -> String {
        let said = self.message.as_deref().unwrap_or_default();
        let said: String = said.chars().filter(|char| !char.is_control()).take(200).collect();
        format!("{said} (result {}, error {})", self.result_code, self.error_code)
    }
}

// === impl PushAnswer ===

impl<'a> PushAnswer<'a> {
    /// `None` to a push without an id: there is nothing that an answer could be told by.
    pub(super) fn to(push: &'a Push) -> Option<Self> {
        let request_id = push.request_id.as_deref()?;
        Some(Self { request_id, result_code: SUCCESS, error_code: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(json: &str) -> Verdict {
        serde_json::from_str::<Outcome>(json).unwrap().verdict()
    }

    #[test]
    fn only_a_plain_success_is_one() {
        assert_eq!(verdict(r#"{"resultCode":200,"errorCode":0,"success":true}"#), Verdict::Success);
        assert_eq!(verdict(r#"{"resultCode":500,"errorCode":403}"#), Verdict::Denied);
        assert_eq!(verdict(r#"{"resultCode":403,"errorCode":0}"#), Verdict::Denied);
        assert_eq!(verdict(r#"{"resultCode":500,"errorCode":301}"#), Verdict::Unregistered);
        assert_eq!(verdict(r#"{"resultCode":200,"errorCode":500}"#), Verdict::Failed);
        assert_eq!(verdict(r#"{"success":true}"#), Verdict::Failed);
        assert_eq!(verdict("{}"), Verdict::Failed);
    }

    #[test]
    fn a_reason_is_short_and_of_one_line() {
        let message = "bad\n".repeat(100_000);
        let outcome = Outcome { result_code: 500, error_code: 1, message: Some(message) };
        let reason = outcome.reason();
        assert!(reason.len() < 250 && !reason.contains('\n'), "{reason}");
    }
}
