//! A client over in-memory streams: against our server with a door the tests answer for, and against a
//! peer that says whatever the test wants.

mod connecting;
mod ends;
mod epochs;
mod feeds;
mod requests;

use std::time::Duration;

use tokio::io::split;

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
    let client = connect::speak(reader, writer, "a:9092".to_owned(), &options())
        .await
        .unwrap();
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
    let (near, far) = tokio::io::duplex(buffer_bytes);
    let (reader, writer) = split(near);
    let mut peer = Peer::new(far);
    let shaking = async {
        peer.expect_magic().await;
        peer.expect(FrameKind::ClientHello).await;
        peer.say(&MAGIC).await;
        let hello = server_hello_of(version);
        peer.send(0, FrameKind::ServerHello, &hello).await;
    };
    let speaking = connect::speak(reader, writer, "a:9092".to_owned(), options);
    let (client, ()) = tokio::join!(speaking, shaking);
    (client.unwrap(), peer)
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
