//! One connection to one Nacos server: requests with an answer, and the stream on which the server pushes.
//!
//! A connection is what the server knows a client by, so it is one TCP connection and is never mended: whatever fails
//! on it ends it. No HTTP/2 pings are sent, since Nacos ends a connection that pings more often than every 5 minutes.

use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures_util::{Stream, StreamExt, TryFutureExt, stream};
use http::{Uri, uri::PathAndQuery};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::mpsc, time::timeout};
use tonic::{
    Status,
    client::Grpc,
    codegen::Service,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{
    message::{ConnectionSetup, HealthCheck, Labels, Outcome, Request, ServerCheck, Verdict},
    servers::Server,
    wire::{Metadata, Payload, REQUEST, STREAM},
};
use crate::registry::RegistryError;

/// A server that does not answer for this long is lost. Nacos' own client waits as long.
pub(super) const TIMEOUT: Duration = Duration::from_secs(3);
/// Between two questions whether our setup was taken in.
const SETUP_POLL: Duration = Duration::from_millis(20);
/// Bounds what one message of the server may take of our memory.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;
/// Answers to pushes that wait to be sent, and pushes that come before we are ready.
const BACKLOG: usize = 64;

/// The half that asks. Cheap to clone; the connection ends when all clones and its [`Pushes`] are gone.
#[derive(Clone)]
pub(super) struct Connection {
    grpc: Grpc<Channel>,
    server: Arc<Server>,
    client_ip: Arc<str>,
}

/// The half that the server speaks on by itself.
pub(super) struct Pushes {
    stream: Pin<Box<dyn Stream<Item = Result<Payload, Status>> + Send>>,
    answers: mpsc::Sender<Payload>,
    early: VecDeque<Payload>,
    server: Arc<Server>,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum CallError {
    /// The token is missing, expired, or does not allow this.
    Denied(String),
    /// This one request; the connection is as good as before.
    Failed(String),
    /// The connection.
    Lost(RegistryError),
}

/// Gives out one TCP connection once, so that tonic cannot put another in its place unseen.
struct Once(Option<TcpStream>);

// === impl Connection ===

impl Connection {
    /// Connects, and registers the connection as a naming client of a namespace.
    pub(super) async fn open(
        server: &Server,
        namespace: &str,
    ) -> Result<(Self, Pushes), RegistryError> {
        let mut connection = Self::connect(server).await?;
        connection
            .call(&ServerCheck {}, None)
            .await
            .map_err(|error| error.into_lost(&connection.server))?;
        let mut pushes = connection.stream(namespace);
        connection.settle(&mut pushes).await?;
        Ok((connection, pushes))
    }

    /// Waits until the setup is taken in: it is not answered, and until then the connection counts as unknown.
    async fn settle(&self, pushes: &mut Pushes) -> Result<(), RegistryError> {
        let registered = timeout(TIMEOUT, self.registered());
        tokio::pin!(registered);
        loop {
            tokio::select! {
                done = &mut registered => {
                    let silent = || self.lost("does not take in the connection setup");
                    return done.unwrap_or_else(|_| Err(silent()));
                }
                payload = pushes.receive() => pushes.keep(payload?)?,
            }
        }
    }

    async fn connect(server: &Server) -> Result<Self, RegistryError> {
        let fail = |error: &dyn fmt::Display| {
            RegistryError::Unavailable(format!("{server}, gRPC port {}: {error}", server.grpc_port))
        };
        let address = (server.host.as_str(), server.grpc_port);
        let connect = async {
            let tcp = TcpStream::connect(address).await.map_err(|error| fail(&error))?;
            tcp.set_nodelay(true).map_err(|error| fail(&error))?;
            let client_ip = tcp.local_addr().map_err(|error| fail(&error))?.ip().to_string();
            // The name on the envelope only: the TCP connection is there already.
            let channel = Endpoint::from_static("http://nacos")
                .connect_with_connector(Once(Some(tcp)))
                .await
                .map_err(|error| fail(&error))?;
            Ok(Self {
                grpc: Grpc::new(channel).max_decoding_message_size(LARGEST_MESSAGE),
                server: Arc::new(server.clone()),
                client_ip: client_ip.into(),
            })
        };
        timeout(TIMEOUT, connect).await.unwrap_or_else(|_| Err(fail(&"timed out")))
    }

    /// Opens the stream and sends the setup on it, once it is polled: a server need not even send response headers
    /// before it has something to push.
    fn stream(&mut self, namespace: &str) -> Pushes {
        let (answers, waiting) = mpsc::channel(BACKLOG);
        let setup = ConnectionSetup {
            client_version: concat!("tollgate:v", env!("CARGO_PKG_VERSION")),
            tenant: namespace,
            labels: Labels { source: "sdk", module: "naming", app_name: "tollgate" },
        };
        let setup = self.envelope("ConnectionSetupRequest", &setup, None);
        let outgoing =
            stream::once(async { setup }).chain(stream::unfold(waiting, async |mut waiting| {
                let payload = waiting.recv().await?;
                Some((payload, waiting))
            }));
        let mut grpc = self.grpc.clone();
        let incoming = async move {
            grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
            let request = tonic::Request::new(outgoing);
            let path = PathAndQuery::from_static(STREAM);
            let answer =
                grpc.streaming(request, path, ProstCodec::<Payload, Payload>::default()).await?;
            Ok::<_, Status>(answer.into_inner())
        };
        Pushes {
            stream: Box::pin(incoming.try_flatten_stream()),
            answers,
            early: VecDeque::new(),
            server: self.server.clone(),
        }
    }

    /// Waits until the server knows the connection.
    async fn registered(&self) -> Result<(), RegistryError> {
        loop {
            match self.exchange(&HealthCheck {}, None).await {
                Ok((Verdict::Unregistered, ..)) => tokio::time::sleep(SETUP_POLL).await,
                Ok((verdict, reason, _)) => {
                    return self
                        .judge(verdict, reason)
                        .map_err(|error| error.into_lost(&self.server));
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends a request and waits for its answer, [`TIMEOUT`] at most.
    pub(super) async fn call<R: Request>(
        &self,
        request: &R,
        token: Option<&str>,
    ) -> Result<R::Answer, CallError> {
        let (verdict, reason, answer) =
            self.exchange(request, token).await.map_err(CallError::Lost)?;
        self.judge(verdict, reason)?;
        serde_json::from_str(&answer.text()).map_err(|error| {
            CallError::Failed(format!("{} is answered with junk: {error}", R::KIND))
        })
    }

    async fn exchange<R: Request>(
        &self,
        request: &R,
        token: Option<&str>,
    ) -> Result<(Verdict, String, Payload), RegistryError> {
        let payload = self.envelope(R::KIND, request, token);
        let answer = timeout(TIMEOUT, self.unary(payload))
            .await
            .map_err(|_| self.lost("does not answer"))?
            .map_err(|status| failure(&self.server, &status))?;
        let outcome: Outcome = serde_json::from_str(&answer.text()).unwrap_or_default();
        Ok((outcome.verdict(), outcome.reason(), answer))
    }

    async fn unary(&self, payload: Payload) -> Result<Payload, Status> {
        let mut grpc = self.grpc.clone();
        grpc.ready().await.map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(REQUEST);
        let request = tonic::Request::new(payload);
        Ok(grpc.unary(request, path, ProstCodec::default()).await?.into_inner())
    }

    fn judge(&self, verdict: Verdict, reason: String) -> Result<(), CallError> {
        match verdict {
            Verdict::Success => Ok(()),
            Verdict::Denied => Err(CallError::Denied(reason)),
            Verdict::Failed => Err(CallError::Failed(reason)),
            Verdict::Unregistered => {
                Err(CallError::Lost(self.lost("does not know this connection any more")))
            }
        }
    }

    fn envelope(
        &self,
        kind: &str,
        message: &impl serde::Serialize,
        token: Option<&str>,
    ) -> Payload {
        let mut payload = Payload::json(kind, message);
        let metadata = payload.metadata.get_or_insert_with(Metadata::default);
        metadata.client_ip = self.client_ip.to_string();
        metadata.headers.extend(token.map(|token| ("accessToken".into(), token.into())));
        payload
    }

    fn lost(&self, why: &str) -> RegistryError {
        RegistryError::Unavailable(format!("{} {why}", self.server))
    }

    pub(super) fn server(&self) -> &Server {
        &self.server
    }
}

// === impl Pushes ===

impl Pushes {
    /// The next push. May be dropped while waiting without losing one.
    pub(super) async fn next(&mut self) -> Result<Payload, RegistryError> {
        match self.early.pop_front() {
            Some(payload) => Ok(payload),
            None => self.receive().await,
        }
    }

    /// Sends an answer, without waiting for a server that does not read.
    pub(super) fn answer(&self, payload: Payload) -> Result<(), RegistryError> {
        self.answers.try_send(payload).map_err(|_| {
            RegistryError::Unavailable(format!(
                "{} does not take answers to its pushes",
                self.server
            ))
        })
    }

    async fn receive(&mut self) -> Result<Payload, RegistryError> {
        match self.stream.next().await {
            Some(Ok(payload)) => Ok(payload),
            Some(Err(status)) => Err(failure(&self.server, &status)),
            // Also how a server that is still starting refuses us.
            None => Err(RegistryError::Unavailable(format!("{} closed the stream", self.server))),
        }
    }

    fn keep(&mut self, payload: Payload) -> Result<(), RegistryError> {
        if self.early.len() >= BACKLOG {
            let text = format!("{} pushes before the connection is set up", self.server);
            return Err(RegistryError::Protocol(text));
        }
        self.early.push_back(payload);
        Ok(())
    }
}

// === impl CallError ===

impl CallError {
    /// For a request without which there is no session.
    pub(super) fn into_lost(self, server: &Server) -> RegistryError {
        match self {
            Self::Denied(reason) => RegistryError::Auth(format!("{server}: {reason}")),
            Self::Failed(reason) => RegistryError::Unavailable(format!("{server}: {reason}")),
            Self::Lost(error) => error,
        }
    }
}

// === impl Once ===

impl Service<Uri> for Once {
    type Response = TokioIo<TcpStream>;
    type Error = io::Error;
    type Future = std::future::Ready<Result<Self::Response, io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Uri) -> Self::Future {
        let tcp = self.0.take().map(TokioIo::new);
        std::future::ready(tcp.ok_or_else(|| io::Error::other("the connection has ended")))
    }
}

/// What a gRPC error means: refused, not understood, or gone. The text is the server's and cut short.
fn failure(server: &Server, status: &Status) -> RegistryError {
    let said: String = status.message().chars().filter(|c| !c.is_control()).take(200).collect();
    let text = format!("{server}: {said} ({:?})", status.code());
    match status.code() {
        tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => RegistryError::Auth(text),
        tonic::Code::Internal
        | tonic::Code::OutOfRange
        | tonic::Code::ResourceExhausted
        | tonic::Code::Unimplemented => RegistryError::Protocol(text),
        _ => RegistryError::Unavailable(text),
    }
}
