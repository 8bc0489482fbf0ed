//! Short forms of what many tests write and read.

use super::Backend;

/// An `[upstream.NAME]` table with these servers as its instances.
pub(crate) fn upstream(name: &str, backends: &[&Backend]) -> String {
    let instances: Vec<_> = backends.iter().map(|b| format!("\"{}\"", b.address)).collect();
    format!("[upstream.{name}]\ninstances = [{}]\n", instances.join(", "))
}

/// The `code` of an answer of the gateway's own.
pub(crate) async fn code(answer: reqwest::Response) -> String {
    let problem: serde_json::Value = answer.json().await.unwrap();
    problem["code"].as_str().unwrap().to_owned()
}

/// A header of an answer as text; empty where it is not there.
pub(crate) fn header<'a>(answer: &'a reqwest::Response, name: &str) -> &'a str {
    answer.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}
