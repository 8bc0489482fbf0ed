//! HTTP/1.1 by the byte, for what a well-behaved client or server never sends.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};

/// The longest that the other end may be silent.
const PATIENCE: Duration = Duration::from_secs(20);

/// One connection, from either end.
pub(crate) struct Wire(pub(crate) BufReader<TcpStream>);

/// A head or a whole response: the first line, and the headers as they came.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) first_line: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    /// Connects, sends, and reads one response.
    pub(crate) async fn ask(address: SocketAddr, request: &str) -> Message {
        let mut wire = Self::connect(address).await;
        wire.send(request).await;
        wire.response().await
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).await.unwrap();
    }

    /// A line without its end; empty at the end of the connection.
    async fn line(&mut self) -> String {
        let mut line = String::new();
        let read = self.0.read_line(&mut line);
        timeout(PATIENCE, read).await.expect("the other end is silent").unwrap_or_default();
        line.trim_end_matches(['\r', '\n']).to_owned()
    }

    /// The next head; its first line is empty where the other end has closed.
    pub(crate) async fn head(&mut self) -> Message {
        let first_line = self.line().await;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Message { first_line, headers, body: Vec::new() }
    }

    /// The next message, with a body as its `Content-Length` or chunks say.
    pub(crate) async fn response(&mut self) -> Message {
        let mut message = self.head().await;
        if let Some(length) = message.header("content-length") {
            message.body = vec![0; length.parse().unwrap()];
            let read = self.0.read_exact(&mut message.body);
            timeout(PATIENCE, read).await.expect("the other end is silent").unwrap();
        } else if message.header("transfer-encoding").is_some() {
            while let Some(chunk) = self.chunk().await {
                message.body.extend(chunk);
            }
        }
        message
    }

    /// The next chunk of a chunked body; `None` after the last one.
    pub(crate) async fn chunk(&mut self) -> Option<Vec<u8>> {
        let length = usize::from_str_radix(&self.line().await, 16).expect("a whole chunk");
        let mut chunk = vec![0; length];
        self.0.read_exact(&mut chunk).await.unwrap();
        self.line().await;
        (length > 0).then_some(chunk)
    }

    /// All that comes until the other end closes.
    pub(crate) async fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        let read = self.0.read_to_end(&mut rest);
        let _ = timeout(PATIENCE, read).await.expect("the other end does not close");
        rest
    }
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.first_line.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(own, _)| own == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// An upstream that does with each connection what a test says.
pub(crate) struct Scripted {
    pub(crate) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Scripted {
    pub(crate) async fn start<F, Fut>(serve: F) -> Self
    where
        F: Fn(Wire) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let count = connections.clone();
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(serve(Wire(BufReader::new(stream))));
            }
        });
        Self { address, connections, task }
    }

    /// Reads one head on each connection, sends these bytes and closes.
    pub(crate) async fn saying(bytes: &'static str) -> Self {
        Self::start(move |mut wire| async move {
            wire.head().await;
            wire.send(bytes).await;
        })
        .await
    }

    /// Takes connections and requests, and says nothing.
    pub(crate) async fn silent() -> Self {
        Self::start(|mut wire| async move {
            wire.rest().await;
        })
        .await
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Scripted {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// An address where nothing listens.
pub(crate) async fn closed_port() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}
