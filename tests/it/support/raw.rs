//! Requests written byte by byte, for what a well-behaved client would never send.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// A response, as it came until the connection closed.
pub(crate) struct RawAnswer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// Sends a head of a method with a target and more header lines, and reads until the other side closes.
pub(crate) async fn raw(address: SocketAddr, request: &str, headers: &[&str]) -> RawAnswer {
    let mut text = format!("{request} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n");
    for header in headers {
        text.push_str(header);
        text.push_str("\r\n");
    }
    raw_bytes(address, &format!("{text}\r\n")).await
}

/// Sends these bytes, and reads until the other side closes.
pub(crate) async fn raw_bytes(address: SocketAddr, bytes: &str) -> RawAnswer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    RawAnswer { status: status.unwrap_or(0), head: head.into(), body: body.into() }
}
