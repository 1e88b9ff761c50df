//! A server over in-memory streams, with a door that the tests answer for.
//!
//! Time stands still and jumps to the next timer when nothing else can happen, so no test waits.

mod handshake;
mod limits;
mod lines;
mod push;
mod requests;

use std::time::Duration;

use tokio::io::{AsyncWrite, split};
use tokio::task::JoinHandle;

use super::fake::Fake;
use super::{Server, ServerOptions};
use crate::protocol::frame::{Frame, FrameKind};
use crate::protocol::header::{Goodbye, WireError};
use crate::protocol::request::Request;
use crate::protocol::tests::peer::{Peer, encode};
use crate::protocol::version::{ClientHello, MAGIC};

const BUFFER_BYTES: usize = 1 << 20;

fn options() -> ServerOptions {
    ServerOptions {
        close_timeout: Duration::from_secs(5),
        ..ServerOptions::default()
    }
}

fn fake() -> (Server, Fake) {
    Fake::server(options())
}

/// A connection before its handshake, over a stream that holds so many bytes.
fn dial(server: &Server, buffer_bytes: usize) -> (Peer, JoinHandle<()>) {
    let (near, far) = tokio::io::duplex(buffer_bytes);
    (Peer::new(near), serve(server, far))
}

fn serve<S>(server: &Server, stream: S) -> JoinHandle<()>
where
    S: tokio::io::AsyncRead + AsyncWrite + Send + 'static,
{
    let (reader, writer) = split(stream);
    let server = server.clone();
    tokio::spawn(async move { server.serve_connection(reader, writer, b"", "a test").await })
}

fn hello(version_min: u16, version_max: u16) -> Vec<u8> {
    let hello = ClientHello {
        version_min,
        version_max,
        ..ClientHello::ours("a test")
    };
    let mut bytes = MAGIC.to_vec();
    bytes.extend(encode(0, FrameKind::ClientHello, &hello, b""));
    bytes
}

/// A connection whose handshake is done.
async fn connect(server: &Server) -> (Peer, JoinHandle<()>) {
    connect_over(server, BUFFER_BYTES).await
}

async fn connect_over(server: &Server, buffer_bytes: usize) -> (Peer, JoinHandle<()>) {
    let (mut peer, task) = dial(server, buffer_bytes);
    peer.say(&hello(1, 1)).await;
    peer.expect_magic().await;
    peer.expect(FrameKind::ServerHello).await;
    (peer, task)
}

async fn ask(peer: &mut Peer, id: u64, request: &Request) {
    peer.send(id, FrameKind::Request, request).await;
}

async fn expect_goodbye(peer: &mut Peer) -> Goodbye {
    peer.expect(FrameKind::Goodbye).await.read_header().unwrap()
}

fn error_of(frame: &Frame) -> crate::Error {
    crate::Error::from(frame.read_header::<WireError>().unwrap())
}
