//! A client over in-memory streams: against our server with a door the tests answer for, and against a
//! peer that says whatever the test wants.

mod connecting;
mod ends;
mod epochs;
mod feeds;
mod reconnecting;
mod requests;

use std::sync::Arc;
use std::time::Duration;

use tokio::io::split;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::connect::Opened;
use super::line::Connector;
use super::{TcpOptions, TcpTransport, connect};
use crate::client::transport::Transport;
use crate::completion::{Completion, Pending};
use crate::error::Result;
use crate::protocol::frame::FrameKind;
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::tests::peer::Peer;
use crate::protocol::version::{MAGIC, ServerHello};
use crate::server::fake::Fake;
use crate::server::{Server, ServerOptions};

const BUFFER_BYTES: usize = 1 << 20;

fn options() -> TcpOptions {
    // Nothing is kept alive unless a test is about it.
    TcpOptions {
        keep_alive: Duration::from_secs(1_000_000),
        ..TcpOptions::default()
    }
}

/// A client of our server.
async fn both_ends() -> (TcpTransport, Server, Fake) {
    let (server, fake) = Fake::server(ServerOptions::default());
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    let (reader, writer) = split(far);
    let serving = server.clone();
    tokio::spawn(async move {
        serving
            .serve_connection(reader, writer, b"", "a test")
            .await
    });
    let (reader, writer) = split(near);
    let opened = connect::shake(reader, writer, "a:9092".to_owned(), &options(), None)
        .await
        .unwrap();
    let (_, connector) = next_connections();
    let client = TcpTransport::over(opened, connector, &options());
    (client, server, fake)
}

fn server_hello() -> ServerHello {
    server_hello_of(1)
}

fn server_hello_of(version: u16) -> ServerHello {
    ServerHello {
        version,
        server_version: "test".to_owned(),
        log_uuid: [7; 16],
        frame_bytes_max: 1 << 20,
        requests_max: 10,
        bytes_max: 1 << 20,
    }
}

/// Gives out the connections that are sent to it, one an attempt. While none is there an attempt lasts.
fn next_connections() -> (UnboundedSender<Result<Opened>>, Connector) {
    let (sender, receiver) = unbounded_channel::<Result<Opened>>();
    let receiver = Arc::new(tokio::sync::Mutex::new(receiver));
    let connector: Connector = Box::new(move || {
        let receiver = Arc::clone(&receiver);
        Box::pin(async move {
            let next = receiver.lock().await.recv().await;
            match next {
                Some(next) => next,
                None => std::future::pending().await,
            }
        })
    });
    (sender, connector)
}

/// A client of a peer that has shaken hands.
async fn with_peer(options: &TcpOptions, buffer_bytes: usize) -> (TcpTransport, Peer) {
    with_peer_of(1, options, buffer_bytes).await
}

/// The same with one that has chosen this version.
async fn with_peer_of(
    version: u16,
    options: &TcpOptions,
    buffer_bytes: usize,
) -> (TcpTransport, Peer) {
    let (opened, peer) = peer(server_hello_of(version), options, buffer_bytes).await;
    let (_, connector) = next_connections();
    (TcpTransport::over(opened, connector, options), peer)
}

/// A connection to a peer that has shaken hands.
async fn peer(hello: ServerHello, options: &TcpOptions, buffer_bytes: usize) -> (Opened, Peer) {
    let (near, far) = tokio::io::duplex(buffer_bytes);
    let (reader, writer) = split(near);
    let mut peer = Peer::new(far);
    let shaking = async {
        peer.expect_magic().await;
        peer.expect(FrameKind::ClientHello).await;
        peer.say(&MAGIC).await;
        peer.send(0, FrameKind::ServerHello, &hello).await;
    };
    let speaking = connect::shake(reader, writer, "a:9092".to_owned(), options, None);
    let (opened, ()) = tokio::join!(speaking, shaking);
    (opened.unwrap(), peer)
}

fn produce() -> Request {
    Request::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    }
}

fn ask(client: &TcpTransport, request: Request) -> Pending<Response> {
    ask_with(client, request, b"")
}

fn ask_with(client: &TcpTransport, request: Request, payload: &[u8]) -> Pending<Response> {
    let (completion, pending) = Completion::pair();
    client.submit(request, bytes::Bytes::copy_from_slice(payload), completion);
    pending
}

async fn error_of(pending: Pending<Response>) -> crate::Error {
    let result: Result<Response> = pending.await;
    result.unwrap_err()
}

/// Lets everything happen that can happen now.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}
