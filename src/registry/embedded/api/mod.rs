//! The part of Nacos' v1 open API that instances register with.
//!
//! Called by Nacos' HTTP clients (Nacos 1 and 2, Open API guide). Refusals are plain text, as Nacos' are; nothing that
//! is sent can do more than be refused.

use std::{sync::Arc, time::SystemTime};

use axum::{
    Router,
    extract::{DefaultBodyLimit, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::{
    Shared,
    params::{Params, Refusal, refuse},
    service::{DEFAULT_GROUP, ServiceKey},
    store::{Edit, Full, Pulse, Registered},
};

/// Far more than the largest metadata takes.
const MAX_BODY: usize = 64 * 1024;

/// How long a client may keep what it was told, in milliseconds, as in Nacos.
const CACHE_MILLIS: u64 = 10_000;

/// How long a token holds, in seconds, as in Nacos.
const TOKEN_TTL: u64 = 18_000;

type Answer = Result<Response, Refusal>;

/// The API, answering from the store.
pub(super) fn router(shared: Arc<Shared>) -> Router {
    let instance = post(register).delete(deregister).put(edit).patch(edit).get(show);
    Router::new()
        .route("/nacos/v1/ns/instance", instance)
        .route("/nacos/v1/ns/instance/beat", post(beat).put(beat))
        .route("/nacos/v1/ns/instance/list", get(list))
        .route("/nacos/v1/ns/service/list", get(services))
        .route("/nacos/v1/ns/operator/metrics", get(metrics))
        .route("/nacos/v1/console/health/liveness", get(ok))
        .route("/nacos/v1/console/health/readiness", get(ok))
        .route("/nacos/v1/auth/login", post(login))
        .route("/nacos/v1/auth/users/login", post(login))
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared)
}

async fn register(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let (key, registered) = (params.service()?, params.registered()?);
    let done = shared.change(|store| store.register(&key, registered, Instant::now()));
    done.map_err(full)?;
    Ok(ok().await)
}

async fn deregister(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let (key, address) = (params.service()?, params.address()?);
    shared.change(|store| store.deregister(&key, address));
    Ok(ok().await)
}

async fn edit(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let (key, address) = (params.service()?, params.address()?);
    let edit = Edit {
        weight: params.weight()?,
        enabled: params.enabled()?,
        healthy: params.flag("healthy")?,
        metadata: params.metadata()?,
    };
    if !shared.change(|store| store.edit(&key, address, edit)) {
        return Err(refuse("ip", "and `port` are of no instance of this service"));
    }
    Ok(ok().await)
}

async fn show(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let (key, address) = (params.service()?, params.address()?);
    let store = shared.store.lock();
    let found = store.instances(&key).find(|(instance, _)| instance.address == address);
    let Some((instance, pulse)) = found else {
        let text = "no such instance".into();
        return Err(Refusal { status: StatusCode::NOT_FOUND, text });
    };
    let mut answer = host(&key, instance, pulse);
    if let Some(answer) = answer.as_object_mut() {
        answer.insert("service".into(), key.grouped().into());
    }
    Ok(json_answer(&answer))
}

/// A full beat describes its instance, and registers it again where it is not known (any more); a light one only
/// names it.
async fn beat(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let beat = params.find("beat").map(str::to_owned);
    let params = match &beat {
        Some(beat) => params.with_beat(beat)?,
        None => params,
    };
    let (key, address, now) = (params.service()?, params.address()?, Instant::now());
    if let Some(interval) = shared.change(|store| store.beat(&key, address, now)) {
        return Ok(beat_answer(10_200, interval));
    }
    if beat.is_none() {
        return Ok(beat_answer(20_404, Pulse::DEFAULT.interval));
    }
    // Who lives by beats is ephemeral, whatever else it says.
    let registered = Registered { ephemeral: true, ..params.registered()? };
    let interval = Pulse::of(&registered).interval;
    shared.change(|store| store.register(&key, registered, now)).map_err(full)?;
    Ok(beat_answer(10_200, interval))
}

async fn list(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let key = params.service()?;
    let clusters = params.find("clusters").unwrap_or_default();
    let healthy_only = params.flag("healthyOnly")?.unwrap_or(false);
    let wanted = |instance: &Registered| {
        // What is disabled is as good as absent for a caller, and Nacos does not list it either.
        instance.enabled
            && (instance.healthy || !healthy_only)
            && (clusters.is_empty() || clusters.split(',').any(|c| c.trim() == instance.cluster))
    };
    let hosts: Vec<_> = {
        let store = shared.store.lock();
        let wanted = store.instances(&key).filter(|(instance, _)| wanted(instance));
        wanted.map(|(instance, pulse)| host(&key, instance, pulse)).collect()
    };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Ok(json_answer(&json!({
        "name": key.grouped(),
        "groupName": key.group,
        "clusters": clusters,
        "cacheMillis": CACHE_MILLIS,
        "hosts": hosts,
        // By the wall clock, since that is what Nacos says and clients compare.
        "lastRefTime": now.as_millis() as u64,
        "checksum": "",
        "allIPs": false,
        "reachProtectionThreshold": false,
        "valid": true,
    })))
}

async fn services(State(shared): State<Arc<Shared>>, params: Params) -> Answer {
    let group = params.find("groupName").unwrap_or(DEFAULT_GROUP);
    let (page, size) = (params.count("pageNo", 1)?.max(1), params.count("pageSize", 10)?);
    let store = shared.store.lock();
    let all = || store.services(params.namespace(), group);
    let doms: Vec<_> = all().skip((page - 1).saturating_mul(size)).take(size).collect();
    Ok(json_answer(&json!({ "count": all().count(), "doms": doms })))
}

async fn metrics(State(shared): State<Arc<Shared>>) -> Response {
    let (services, instances) = shared.store.lock().counts();
    json_answer(&json!({ "status": "UP", "serviceCount": services, "instanceCount": instances }))
}

/// Who may reach the listener may register: there are no users here, and the token opens nothing.
async fn login() -> Response {
    json_answer(&json!({ "accessToken": "none", "tokenTtl": TOKEN_TTL, "globalAdmin": false }))
}

async fn ok() -> Response {
    "ok".into_response()
}

fn full(Full(what): Full) -> Refusal {
    Refusal { status: StatusCode::BAD_REQUEST, text: format!("too many {what}") }
}

fn beat_answer(code: u32, interval: std::time::Duration) -> Response {
    let interval = interval.as_millis() as u64;
    let answer = json!({ "clientBeatInterval": interval, "code": code, "lightBeatEnabled": true });
    json_answer(&answer)
}

fn host(key: &ServiceKey, instance: &Registered, pulse: Pulse) -> Value {
    let (ip, port) = (instance.address.ip(), instance.address.port());
    let service = key.grouped();
    json!({
        "instanceId": format!("{ip}#{port}#{}#{service}", instance.cluster),
        "ip": ip,
        "port": port,
        "weight": instance.weight,
        "healthy": instance.healthy,
        "enabled": instance.enabled,
        "ephemeral": instance.ephemeral,
        "clusterName": instance.cluster,
        "serviceName": service,
        "metadata": instance.metadata,
        "instanceHeartBeatInterval": pulse.interval.as_millis() as u64,
        "instanceHeartBeatTimeOut": pulse.unhealthy_after.as_millis() as u64,
        "ipDeleteTimeout": pulse.removed_after.as_millis() as u64,
    })
}

fn json_answer(value: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json;charset=UTF-8")], value.to_string()).into_response()
}

#[cfg(test)]
mod tests;
