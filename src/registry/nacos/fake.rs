//! A Nacos server for tests of what a real one will not do on demand: it answers as it is told and notes what it is asked.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, body::Body, extract::Request};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::BoxStream};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::{
    net::TcpListener,
    sync::{mpsc, watch},
    task::JoinSet,
};
use tonic::{
    Response, Status, Streaming,
    codegen::Service,
    transport::server::{Server, TcpIncoming},
};
use tonic_prost::ProstCodec;

use super::wire::{Body as Any, Payload, REQUEST, STREAM};

/// The server. It stops when dropped.
pub(super) struct Fake {
    pub(super) grpc_port: u16,
    state: Arc<State>,
    _task: JoinSet<()>,
}

/// What it was asked, on a request or on the stream.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) kind: String,
    pub(super) body: Value,
    pub(super) token: Option<String>,
}

/// What it answers.
pub(super) enum Reply {
    Json(Value),
    Bytes(&'static [u8]),
    Silence,
}

type Script = Box<dyn FnMut(&Asked) -> Option<Reply> + Send>;
type Outgoing = mpsc::UnboundedSender<Result<Payload, Status>>;

struct State {
    script: Mutex<Script>,
    asked: watch::Sender<Vec<Asked>>,
    /// The stream of the newest connection.
    stream: Mutex<Option<Outgoing>>,
}

#[derive(Clone)]
struct Unary(Arc<State>);

#[derive(Clone)]
struct Stream(Arc<State>);

// === impl Fake ===

impl Fake {
    /// Asks `script` first; what it leaves open is answered as a healthy server without instances would.
    pub(super) async fn start(
        script: impl FnMut(&Asked) -> Option<Reply> + Send + 'static,
    ) -> Self {
        let state = Arc::new(State {
            script: Mutex::new(Box::new(script)),
            asked: watch::Sender::default(),
            stream: Mutex::new(None),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let grpc_port = listener.local_addr().unwrap().port();
        let handler = state.clone();
        let router = Router::new().fallback(move |request| serve(handler.clone(), request));
        let server = Server::builder().add_routes(router.into());
        let mut task = JoinSet::new();
        task.spawn(async move {
            server.serve_with_incoming(TcpIncoming::from(listener)).await.unwrap();
        });
        Self { grpc_port, state, _task: task }
    }

    pub(super) fn push(&self, kind: &str, body: &Value) {
        self.send(Ok(Payload::json(kind, body)));
    }

    pub(super) fn push_service(&self, name: &str, last_ref_time: i64, ports: &[u16]) {
        let body = json!({ "requestId": "7", "serviceInfo": service(name, last_ref_time, ports) });
        self.push("NotifySubscriberRequest", &body);
    }

    pub(super) fn push_bytes(&self, kind: &str, bytes: &'static [u8]) {
        let mut payload = Payload::json(kind, &json!({}));
        payload.body = Some(Any { value: bytes.into() });
        self.send(Ok(payload));
    }

    pub(super) fn drop_stream(&self) {
        *self.state.stream.lock() = None;
    }

    fn send(&self, item: Result<Payload, Status>) {
        self.state.stream.lock().as_ref().unwrap().send(item).unwrap();
    }

    /// Waits for the `count`th message of a kind.
    pub(super) async fn asked(&self, kind: &str, count: usize) -> Asked {
        let mut asked = self.state.asked.subscribe();
        let of_kind =
            |all: &Vec<Asked>| all.iter().filter(|one| one.kind == kind).cloned().collect();
        let enough = asked.wait_for(|all| {
            let found: Vec<Asked> = of_kind(all);
            found.len() >= count
        });
        let found: Vec<Asked> = of_kind(&enough.await.unwrap());
        found[count - 1].clone()
    }

    /// Waits until the client has left the newest stream.
    pub(super) async fn left(&self) {
        let stream = self.state.stream.lock().clone().unwrap();
        stream.closed().await;
    }
}

/// A service with healthy instances on loopback.
pub(super) fn service(name: &str, last_ref_time: i64, ports: &[u16]) -> Value {
    let hosts: Vec<Value> =
        ports.iter().map(|port| json!({ "ip": "127.0.0.1", "port": port })).collect();
    json!({ "name": name, "groupName": "DEFAULT_GROUP", "lastRefTime": last_ref_time, "hosts": hosts })
}

/// An answer that says success.
pub(super) fn success(mut body: Value) -> Reply {
    body["resultCode"] = 200.into();
    Reply::Json(body)
}

/// An answer that says why not.
pub(super) fn refusal(code: i64) -> Reply {
    Reply::Json(json!({ "resultCode": 500, "errorCode": code, "message": "no" }))
}

async fn serve(state: Arc<State>, request: Request) -> http::Response<Body> {
    let mut grpc = tonic::server::Grpc::new(ProstCodec::<Payload, Payload>::default());
    match request.uri().path() {
        REQUEST => grpc.unary(Unary(state), request).await.map(Body::new),
        STREAM => grpc.streaming(Stream(state), request).await.map(Body::new),
        path => panic!("tollgate asks for {path}"),
    }
}

impl State {
    fn note(&self, payload: &Payload) -> Asked {
        let body = serde_json::from_str(&payload.text()).unwrap();
        let headers = payload.metadata.as_ref().map(|metadata| &metadata.headers);
        let token = headers.and_then(|headers| headers.get("accessToken")).cloned();
        let asked = Asked { kind: payload.kind().into(), body, token };
        self.asked.send_modify(|all| all.push(asked.clone()));
        asked
    }

    fn answer(&self, payload: &Payload) -> Reply {
        let asked = self.note(payload);
        let scripted = (self.script.lock())(&asked);
        scripted.unwrap_or_else(|| match asked.kind.as_str() {
            "SubscribeServiceRequest" | "ServiceQueryRequest" => {
                let name = asked.body["serviceName"].as_str().unwrap();
                success(json!({ "serviceInfo": service(name, 1, &[]) }))
            }
            _ => success(json!({})),
        })
    }
}

impl Service<tonic::Request<Payload>> for Unary {
    type Response = Response<Payload>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Payload>) -> Self::Future {
        let state = self.0.clone();
        async move {
            let mut payload = Payload::json("Answer", &json!({}));
            let bytes = match state.answer(request.get_ref()) {
                Reply::Json(body) => body.to_string().into(),
                Reply::Bytes(bytes) => bytes.into(),
                Reply::Silence => std::future::pending().await,
            };
            payload.body = Some(Any { value: bytes });
            Ok(Response::new(payload))
        }
        .boxed()
    }
}

impl Service<tonic::Request<Streaming<Payload>>> for Stream {
    type Response = Response<BoxStream<'static, Result<Payload, Status>>>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: tonic::Request<Streaming<Payload>>) -> Self::Future {
        let state = self.0.clone();
        let (push, mut pushes) = mpsc::unbounded_channel();
        *state.stream.lock() = Some(push);
        tokio::spawn(async move {
            let mut incoming = request.into_inner();
            while let Some(Ok(payload)) = incoming.next().await {
                state.note(&payload);
            }
        });
        let outgoing = futures_util::stream::poll_fn(move |cx| pushes.poll_recv(cx));
        std::future::ready(Ok(Response::new(outgoing.boxed()))).boxed()
    }
}
