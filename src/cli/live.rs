//! Asks a running gateway's admin API.

use std::{net::SocketAddr, time::Duration};

use http::{Request, header::AUTHORIZATION};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};

use crate::{admin::UpstreamStatus, config::Config};

const WAIT: Duration = Duration::from_secs(1);
/// Larger than the status of ten thousand instances.
const MAX_BODY: usize = 32 << 20;

/// The upstreams of the gateway that runs this config, or why it cannot be asked.
pub(super) fn upstreams(config: &Config) -> Result<Vec<UpstreamStatus>, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let answer = tokio::time::timeout(WAIT, get(config, "/api/v1/upstreams")).await;
        let body = answer.map_err(|_| "it does not answer".to_owned())??;
        serde_json::from_slice(&body).map_err(|error| format!("its answer cannot be read: {error}"))
    })
}

async fn get(config: &Config, path: &str) -> Result<bytes::Bytes, String> {
    let address: SocketAddr = *config.admin.address;
    let mut request = Request::get(format!("http://{address}{path}"));
    if let Some(token) = &config.admin.token {
        request = request.header(AUTHORIZATION, format!("Bearer {}", token.reveal()));
    }
    let request = request.body(Empty::<bytes::Bytes>::new()).map_err(|error| error.to_string())?;
    let client = Client::builder(TokioExecutor::new()).build_http();
    let response = client.request(request).await.map_err(|_| "nothing answers there".to_owned())?;
    if !response.status().is_success() {
        return Err(format!("it answers {}", response.status()));
    }
    let body = Limited::new(response.into_body(), MAX_BODY)
        .collect()
        .await
        .map_err(|error| error.to_string())?;
    Ok(body.to_bytes())
}
