//! One TCP connection that is asked again and again, and whose end is seen.

use std::{io, net::SocketAddr};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

pub(crate) struct KeepAlive {
    stream: TcpStream,
    seen: Vec<u8>,
}

/// A response as it came, with a length.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl KeepAlive {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        Ok(Self { stream: TcpStream::connect(address).await?, seen: Vec::new() })
    }

    pub(crate) async fn get(&mut self, path: &str) -> io::Result<Reply> {
        self.send(path).await?;
        self.reply().await
    }

    pub(crate) async fn send(&mut self, path: &str) -> io::Result<()> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\n\r\n");
        self.stream.write_all(request.as_bytes()).await
    }

    /// Reads one response; an end of the connection before it is whole is an error.
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        let end = loop {
            if let Some(at) = self.seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at + 4;
            }
            self.more().await?;
        };
        let head = String::from_utf8_lossy(&self.seen[..end]).to_ascii_lowercase();
        let length: usize = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok())
            .unwrap_or_else(|| panic!("no length in {head}"));
        while self.seen.len() < end + length {
            self.more().await?;
        }
        let body = String::from_utf8_lossy(&self.seen[end..end + length]).into_owned();
        self.seen.drain(..end + length);
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Ok(Reply { status, head, body })
    }

    /// Whether the other side has closed it.
    pub(crate) async fn is_closed(&mut self) -> bool {
        self.seen.is_empty() && self.more().await.is_err()
    }

    async fn more(&mut self) -> io::Result<()> {
        let mut chunk = [0; 4096];
        match self.stream.read(&mut chunk).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            read => {
                self.seen.extend_from_slice(&chunk[..read]);
                Ok(())
            }
        }
    }
}
