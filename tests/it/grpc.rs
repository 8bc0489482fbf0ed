//! gRPC through an HTTPS listener to upstreams of HTTP/2.

use std::{
    future::{Ready, ready},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request};
use bytes::Bytes;
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use http::uri::PathAndQuery;
use tokio::{sync::mpsc, task::JoinSet};
use tonic::{
    Code, Response, Status, Streaming,
    client::Grpc,
    metadata::MetadataMap,
    server::StreamingService,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};
use tonic_prost::ProstCodec;

use crate::{
    support::{Gateway, H2Backend, all_to, client, closed_port},
    tls::https_gateway,
};

type Codec = ProstCodec<String, String>;

/// Sends every message back; some of them ask for more.
struct Echo;

impl StreamingService<String> for Echo {
    type Response = String;
    type ResponseStream = BoxStream<'static, Result<String, Status>>;
    type Future = Ready<Result<Response<Self::ResponseStream>, Status>>;

    fn call(&mut self, request: tonic::Request<Streaming<String>>) -> Self::Future {
        if request.metadata().contains_key("x-refuse") {
            return ready(Err(Status::permission_denied("not you")));
        }
        let (sender, mut messages) = mpsc::channel(1);
        tokio::spawn(answer(request.into_inner(), sender));
        let stream = stream::poll_fn(move |context| messages.poll_recv(context));
        let mut response = Response::new(stream.boxed());
        response.metadata_mut().insert("x-served-by", "echo".parse().unwrap());
        ready(Ok(response))
    }
}

async fn answer(mut asked: Streaming<String>, sender: mpsc::Sender<Result<String, Status>>) {
    while let Some(Ok(message)) = asked.next().await {
        match message.split_once(' ') {
            Some(("count", to)) => {
                for number in 0..to.parse().unwrap() {
                    let _ = sender.send(Ok(format!("{number}"))).await;
                }
            }
            Some(("fail", why)) => {
                let mut trailers = MetadataMap::new();
                trailers.insert("x-hint", "later".parse().unwrap());
                let details = Bytes::from_static(&[0, 1, 2, 255]);
                let status = Status::with_details_and_metadata(
                    Code::FailedPrecondition,
                    why,
                    details,
                    trailers,
                );
                let _ = sender.send(Err(status)).await;
            }
            _ => {
                let _ = sender.send(Ok(message)).await;
            }
        }
    }
}

async fn upstream() -> H2Backend {
    H2Backend::serve(Router::new().fallback(async |request: Request| {
        assert_eq!(request.headers()["te"], "trailers");
        assert_eq!(request.uri().path(), "/test.Echo/Talk");
        tonic::server::Grpc::new(Codec::default()).streaming(Echo, request).await.map(Body::new)
    }))
    .await
}

/// A client that speaks to the HTTPS listener.
async fn talk_to(gateway: &Gateway, pem: &str) -> Grpc<Channel> {
    let tls = ClientTlsConfig::new()
        .ca_certificate(Certificate::from_pem(pem))
        .domain_name("gateway.test");
    let url = format!("https://{}", gateway.listener("https"));
    let endpoint = Endpoint::from_shared(url).unwrap().tls_config(tls).unwrap();
    let mut client = Grpc::new(endpoint.connect().await.unwrap());
    client.ready().await.unwrap();
    client
}

async fn echo() -> (H2Backend, Gateway, Grpc<Channel>) {
    let backend = upstream().await;
    let (gateway, pem) = https_gateway(&all_to(&[backend.address], "protocol = \"http2\""));
    let client = talk_to(&gateway, &pem).await;
    (backend, gateway, client)
}

fn path() -> PathAndQuery {
    PathAndQuery::from_static("/test.Echo/Talk")
}

async fn unary(client: &mut Grpc<Channel>, message: &str) -> Result<Response<String>, Status> {
    client.ready().await.unwrap();
    client.unary(tonic::Request::new(message.to_owned()), path(), Codec::default()).await
}

#[tokio::test]
async fn a_unary_call_goes_through() {
    let (_backend, _gateway, mut client) = echo().await;
    for length in [0, 5, 1 << 20] {
        let message = "x".repeat(length);
        let response = unary(&mut client, &message).await.unwrap();
        assert_eq!(response.metadata().get("x-served-by").unwrap(), "echo");
        assert!(response.metadata().contains_key("x-request-id"));
        assert!(*response.get_ref() == message);
    }
}

#[tokio::test]
async fn a_server_streams() {
    let (_backend, _gateway, mut client) = echo().await;
    let request = tonic::Request::new("count 1000".to_owned());
    let response = client.server_streaming(request, path(), Codec::default()).await.unwrap();
    let came: Vec<String> = response.into_inner().map(Result::unwrap).collect().await;
    assert_eq!(came, (0..1000).map(|number| number.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn both_sides_stream_in_turns() {
    let (_backend, _gateway, mut client) = echo().await;
    let (sender, mut messages) = mpsc::channel(1);
    let asked = stream::poll_fn(move |context| messages.poll_recv(context));
    sender.send("first".to_owned()).await.unwrap();
    let response =
        client.streaming(tonic::Request::new(asked), path(), Codec::default()).await.unwrap();
    let mut answers: Streaming<String> = response.into_inner();
    assert_eq!(answers.message().await.unwrap().as_deref(), Some("first"));
    for number in 0..50 {
        // The next message is sent only once the one before it has come back.
        sender.send(number.to_string()).await.unwrap();
        assert_eq!(answers.message().await.unwrap(), Some(number.to_string()));
    }
    drop(sender);
    assert_eq!(answers.message().await.unwrap(), None);
    assert!(answers.trailers().await.unwrap().is_some());
}

#[tokio::test]
async fn a_status_arrives_with_its_details_and_trailers() {
    let (_backend, _gateway, mut client) = echo().await;
    let status = unary(&mut client, "fail too early").await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::FailedPrecondition, "too early"));
    assert_eq!(status.details(), [0, 1, 2, 255]);
    assert_eq!(status.metadata().get("x-hint").unwrap(), "later");
    let mut refused = tonic::Request::new(String::new());
    refused.metadata_mut().insert("x-refuse", "1".parse().unwrap());
    client.ready().await.unwrap();
    let status = client.unary::<_, String, _>(refused, path(), Codec::default()).await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "not you"));
}

#[tokio::test]
async fn many_calls_share_a_connection() {
    let (_backend, _gateway, client) = echo().await;
    let mut calls = JoinSet::new();
    for number in 0..200 {
        let mut client = client.clone();
        calls.spawn(async move {
            let message = number.to_string();
            assert_eq!(unary(&mut client, &message).await.unwrap().get_ref(), &message);
        });
    }
    while let Some(ended) = calls.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn errors_of_the_gateway_are_statuses() {
    let http2 = "protocol = \"http2\"";
    let disabled = all_to(&["127.0.0.1:9".parse().unwrap()], http2)
        .replace("[\"127.0.0.1:9\"]", "[{ address = \"127.0.0.1:9\", weight = 0 }]");
    let silent = H2Backend::serve(Router::new().fallback(async || {
        std::future::pending::<()>().await;
    }))
    .await;
    let slow = format!("{http2}\ntimeouts = {{ read = \"300ms\" }}");
    for (config, code) in [
        (disabled, Code::Unavailable),
        (all_to(&[closed_port().await], http2), Code::Unavailable),
        (all_to(&[silent.address], &slow), Code::DeadlineExceeded),
        (String::new(), Code::Unimplemented),
    ] {
        let (gateway, pem) = https_gateway(&config);
        let mut client = talk_to(&gateway, &pem).await;
        for _ in 0..3 {
            let status = unary(&mut client, "hello").await.unwrap_err();
            assert_eq!(status.code(), code, "{status:?}");
            assert!(status.metadata().contains_key("proxy-status"), "{status:?}");
        }
    }
}

#[tokio::test]
async fn an_error_of_the_gateway_is_a_head_and_nothing_else() {
    let gateway = Gateway::start("");
    let request = client().post(gateway.url("/test.Echo/Talk"));
    let request =
        request.header("content-type", "application/grpc").timeout(Duration::from_secs(9));
    let answer = request.send().await.unwrap();
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["grpc-status"]),
        (200, &"12".parse().unwrap())
    );
    assert_eq!(answer.headers()["content-type"], "application/grpc");
    assert_eq!(answer.bytes().await.unwrap(), "");
}

#[tokio::test]
async fn a_client_of_http1_is_given_trailers_to_wait_for() {
    let backend = upstream().await;
    let gateway = Gateway::start(&all_to(&[backend.address], "protocol = \"http2\""));
    // The backend asserts `te: trailers`, without which several servers refuse.
    let message = [0, 0, 0, 0, 4, 10, 2, b'h', b'i'].to_vec();
    let request = client().post(gateway.url("/test.Echo/Talk")).body(message.clone());
    let answer = request.header("content-type", "application/grpc").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.unwrap(), message);
}
