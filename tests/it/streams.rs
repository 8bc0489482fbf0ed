//! Bodies go through as they come, whatever their size, and nothing is kept of them.

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, response::Response};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use crate::support::{Backend, Gateway, Scripted, Wire, all_to, client};

const CHUNK: usize = 64 * 1024;
const CHUNKS: usize = 1024;

/// 64 MiB that differ from place to place, made as they are read; and their hash.
fn large() -> (impl futures_util::Stream<Item = Result<Bytes, std::io::Error>>, [u8; 32]) {
    let chunk = |number: usize| {
        Bytes::from_iter((0..CHUNK).map(move |at| (at.wrapping_mul(31) ^ number) as u8))
    };
    let mut hash = Sha256::new();
    (0..CHUNKS).for_each(|number| hash.update(chunk(number)));
    (stream::iter((0..CHUNKS).map(move |number| Ok(chunk(number)))), hash.finalize().into())
}

/// Length and hash of a body, read as it comes.
async fn digest<E: std::fmt::Debug>(
    body: impl futures_util::Stream<Item = Result<Bytes, E>>,
) -> (usize, [u8; 32]) {
    let (mut length, mut hash) = (0, Sha256::new());
    let mut body = std::pin::pin!(body);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.unwrap();
        length += bytes.len();
        hash.update(&bytes);
    }
    (length, hash.finalize().into())
}

fn text(digest: (usize, [u8; 32])) -> String {
    format!("{digest:?}")
}

/// Says how long a request's body is and what its hash is; to GET it answers with the large body.
async fn measure() -> Backend {
    Backend::answering(async |request: Request| {
        if request.method() != http::Method::GET {
            let digest = digest(request.into_body().into_data_stream()).await;
            return Response::new(text(digest).into());
        }
        let counted = request.uri().path() == "/counted";
        let mut answer = Response::new(Body::from_stream(large().0));
        if counted {
            answer.headers_mut().insert("content-length", (CHUNK * CHUNKS).into());
        }
        answer
    })
    .await
}

#[tokio::test]
async fn a_large_body_goes_up_byte_for_byte() {
    let backend = measure().await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let expected = text((CHUNK * CHUNKS, large().1));
    for counted in [false, true] {
        let body = reqwest::Body::wrap_stream(large().0);
        let mut request = client().post(gateway.url("/")).body(body);
        if counted {
            request = request.header("content-length", CHUNK * CHUNKS);
        }
        assert_eq!(request.send().await.unwrap().text().await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_large_body_comes_down_byte_for_byte() {
    let backend = measure().await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    for (path, length) in [("/chunked", None), ("/counted", Some((CHUNK * CHUNKS) as u64))] {
        let answer = client().get(gateway.url(path)).send().await.unwrap();
        assert_eq!(answer.content_length(), length);
        let came = digest(answer.bytes_stream()).await;
        assert!(came == (CHUNK * CHUNKS, large().1), "{path}");
    }
}

#[tokio::test]
async fn a_body_that_nobody_reads_stops_at_its_sender() {
    // Sends for ever, and tells how much it got rid of.
    let (told, mut sent) = mpsc::unbounded_channel();
    let backend = Scripted::start(move |mut wire: Wire| {
        let told = told.clone();
        async move {
            wire.head().await;
            wire.send("HTTP/1.1 200 OK\r\ncontent-length: 1000000000000\r\n\r\n").await;
            let block = vec![0; CHUNK];
            while tokio::io::AsyncWriteExt::write_all(&mut wire.0, &block).await.is_ok() {
                let _ = told.send(CHUNK);
            }
        }
    })
    .await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(wire.head().await.status(), 200);
    let mut total = 0;
    while let Ok(Some(more)) = tokio::time::timeout(Duration::from_millis(500), sent.recv()).await {
        total += more;
        // The buffers of four sockets and of two streams: what systems let these grow to is below this.
        assert!(total < 48 << 20, "{total} bytes went nowhere");
    }
    assert!(total > 0);
}

#[tokio::test]
async fn events_arrive_one_by_one_as_they_are_sent() {
    let (events, rest) = mpsc::channel::<Bytes>(1);
    let rest = std::sync::Arc::new(tokio::sync::Mutex::new(Some(rest)));
    let backend = Backend::answering(move |_: Request| {
        let rest = rest.clone();
        async move {
            let mut rest = rest.lock().await.take().unwrap();
            let body = stream::poll_fn(move |context| {
                rest.poll_recv(context).map(|event| event.map(Ok::<_, std::io::Error>))
            });
            let mut answer = Response::new(Body::from_stream(body));
            answer.headers_mut().insert("content-type", "text/event-stream".parse().unwrap());
            answer
        }
    })
    .await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut answer = client().get(gateway.url("/events")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    for number in 0..20 {
        // The next event is sent only once the one before it has arrived.
        let event = Bytes::from(format!("data: {number}\n\n"));
        events.send(event.clone()).await.unwrap();
        assert_eq!(answer.chunk().await.unwrap(), Some(event));
    }
    drop(events);
    assert_eq!(answer.chunk().await.unwrap(), None);
}

#[tokio::test]
async fn a_body_is_forwarded_before_it_is_whole() {
    let backend = Scripted::start(|mut wire: Wire| async move {
        let head = wire.head().await;
        assert_eq!(head.header("transfer-encoding"), Some("chunked"));
        // The answer echoes each chunk before the next one is sent.
        wire.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        while let Some(chunk) = wire.chunk().await {
            wire.send(format!("{:x}\r\n", chunk.len())).await;
            wire.send([chunk.as_slice(), b"\r\n"].concat()).await;
        }
        wire.send("0\r\n\r\n").await;
    })
    .await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut wire = Wire::connect(gateway.address()).await;
    wire.send("POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n").await;
    wire.send("3\r\none\r\n").await;
    assert_eq!(wire.head().await.status(), 200);
    assert_eq!(wire.chunk().await.as_deref(), Some(b"one".as_slice()));
    wire.send("3\r\ntwo\r\n").await;
    assert_eq!(wire.chunk().await.as_deref(), Some(b"two".as_slice()));
    wire.send("0\r\n\r\n").await;
    assert_eq!(wire.chunk().await, None);
}

#[tokio::test]
async fn an_answer_without_a_body_stays_without() {
    let router = Router::new().fallback(async |request: Request| {
        let status: u16 = request.uri().path().trim_start_matches('/').parse().unwrap();
        http::StatusCode::from_u16(status).unwrap()
    });
    let backend = Backend::serve(router).await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut wire = Wire::connect(gateway.address()).await;
    for status in [204, 304, 204, 200] {
        wire.send(format!("GET /{status} HTTP/1.1\r\nhost: a\r\n\r\n")).await;
        let answer = wire.response().await;
        assert_eq!((answer.status(), answer.body.len()), (status, 0));
        assert_eq!(answer.header("transfer-encoding"), None);
    }
}
