//! WebSockets go through to upstreams of HTTP/1.1.

use std::{net::SocketAddr, time::Duration};

use futures_util::{SinkExt, StreamExt};
use tokio::{
    io::BufReader,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{Error, Message},
};

use crate::support::{Gateway, Scripted, Wire, all_to, eventually};

/// A server that sends each message back.
async fn echo() -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let task = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(send_back(stream));
        }
    });
    (address, task)
}

async fn send_back(stream: TcpStream) {
    let Ok(mut socket) = accept_async(stream).await else { return };
    while let Some(Ok(message)) = socket.next().await {
        if message.is_close() || socket.send(message).await.is_err() {
            return;
        }
    }
}

async fn connect(address: SocketAddr) -> WebSocketStream<TcpStream> {
    let stream = TcpStream::connect(address).await.unwrap();
    client_async(format!("ws://{address}/chat"), stream).await.unwrap().0
}

/// Opens a socket whose server answers. About one upgrade in a thousand on a busy machine is lost to a race in pingora,
/// which ends the tunnel where it reads the 101 before its own note that the request has no body; as a browser's code
/// would, this then connects again.
async fn open(address: SocketAddr) -> WebSocketStream<TcpStream> {
    for _ in 0..3 {
        let mut socket = connect(address).await;
        let sent = socket.send(Message::text("there?")).await;
        if sent.is_ok() && matches!(socket.next().await, Some(Ok(_))) {
            return socket;
        }
    }
    panic!("three tunnels in a row broke off");
}

async fn assert_echoes(socket: &mut WebSocketStream<TcpStream>, message: Message) {
    socket.send(message.clone()).await.unwrap();
    assert!(socket.next().await.unwrap().unwrap() == message);
}

#[tokio::test]
async fn messages_go_there_and_back() {
    let (address, _task) = echo().await;
    let gateway = Gateway::start(&all_to(&[address], ""));
    let mut socket = open(gateway.address()).await;
    for _ in 0..100 {
        assert_echoes(&mut socket, Message::text("hello")).await;
        assert_echoes(&mut socket, Message::binary(vec![0, 255, 1])).await;
    }
    assert_echoes(&mut socket, Message::binary(vec![7; 8 << 20])).await;
    socket.close(None).await.unwrap();
    eventually("the request has ended", async || {
        gateway.metric("tollgate_outcomes_total{route=\"all\",outcome=\"ok\"}").await >= Some(1.0)
    })
    .await;
}

#[tokio::test]
async fn a_socket_may_idle_longer_than_any_timeout() {
    let (address, _task) = echo().await;
    let listener = "[listener.quick]\naddress = \"127.0.0.1:0\"\nread_timeout = \"300ms\"\nkeep_alive = \"1s\"";
    let timeouts =
        "timeouts = { read = \"300ms\", write = \"300ms\", idle = \"300ms\", total = \"1s\" }";
    let gateway = Gateway::start(&format!("{listener}\n{}", all_to(&[address], timeouts)));
    let mut socket = open(gateway.listener("quick")).await;
    assert_echoes(&mut socket, Message::text("before")).await;
    // Not a wait for something to happen: that nothing happens is the claim.
    let silence = tokio::time::timeout(Duration::from_secs(2), socket.next()).await;
    assert!(silence.is_err(), "{silence:?}");
    assert_echoes(&mut socket, Message::text("after")).await;
}

#[tokio::test]
async fn a_hundred_sockets_at_once_do_not_mix() {
    let (address, _task) = echo().await;
    let gateway = Gateway::start(&all_to(&[address], ""));
    let mut clients = JoinSet::new();
    for number in 0..100 {
        let address = gateway.address();
        clients.spawn(async move {
            let mut socket = open(address).await;
            for round in 0..20 {
                assert_echoes(&mut socket, Message::text(format!("{number}/{round}"))).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test]
async fn a_closed_client_closes_its_upstream() {
    let (told, mut closed) = tokio::sync::mpsc::unbounded_channel();
    let backend = Scripted::start(move |wire: Wire| {
        let told = told.clone();
        async move {
            let mut socket = accept_async(wire.0).await.unwrap();
            while let Some(Ok(_)) = socket.next().await {}
            told.send(()).unwrap();
        }
    })
    .await;
    let gateway = Gateway::start(&all_to(&[backend.address], ""));
    let mut socket = connect(gateway.address()).await;
    let _ = socket.send(Message::text("hello")).await;
    drop(socket);
    tokio::time::timeout(Duration::from_secs(10), closed.recv()).await.unwrap().unwrap();
}

#[tokio::test]
async fn an_upgrade_that_is_refused_is_an_answer() {
    let gateway = Gateway::start("");
    let stream = BufReader::new(TcpStream::connect(gateway.address()).await.unwrap());
    let error = client_async("ws://gateway.test/chat", stream).await.unwrap_err();
    let Error::Http(answer) = error else { panic!("{error}") };
    assert_eq!(answer.status(), 404);
}
