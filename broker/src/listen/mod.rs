//! Accepting connections, as many as are allowed, and handing them to the server.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use headwater::server::Server;
use headwater::{Error, ErrorCode, Result};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// How long accepting pauses when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// How many connections there may be, over all listeners.
#[derive(Clone, Debug)]
pub(crate) struct Places(Arc<Semaphore>);

impl Places {
    pub(crate) fn new(connections_max: u32) -> Self {
        Self(Arc::new(Semaphore::new(connections_max as usize)))
    }
}

/// A listener at work. Dropped, it ends with all its connections.
#[derive(Debug)]
pub(crate) struct Listening {
    accepting: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Listening {
    /// Takes no more connections; those there are go on.
    pub(crate) fn stop_accepting(&self) {
        self.accepting.send_replace(false);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Accepts connections on core's runtime and serves them.
///
/// # Errors
/// When the system refuses what a runtime needs of the listener.
pub(crate) fn accept(
    listener: TcpListener,
    server: Server,
    places: &Places,
    runtime: &Runtime,
) -> Result<Listening> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorCode::NetworkException,
            format!("cannot listen: {error}"),
        )
        .with_source(error)
    };
    listener.set_nonblocking(true).map_err(failed)?;
    let _entered = runtime.enter();
    let listener = tokio::net::TcpListener::from_std(listener).map_err(failed)?;
    let (accepting, stop) = watch::channel(true);
    let task = runtime.spawn(run(listener, server, places.clone(), stop));
    Ok(Listening { accepting, task })
}

async fn run(
    listener: tokio::net::TcpListener,
    server: Server,
    places: Places,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = next(&listener, &places) => {
                let Some((stream, place)) = accepted else { continue };
                let server = server.clone();
                connections.spawn(async move {
                    serve(&server, stream).await;
                    drop(place);
                });
            }
            Some(_) = connections.join_next() => {}
            _ = stop.wait_for(|accepting| !accepting) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection with its place; waits while there is none.
async fn next(
    listener: &tokio::net::TcpListener,
    places: &Places,
) -> Option<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    // The place first: who does not get one stays in the system's own queue.
    let place = Arc::clone(&places.0).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some((stream, place)),
        Err(error) => {
            // Out of file descriptors, or a connection that was gone before it was accepted.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

async fn serve(server: &Server, stream: TcpStream) {
    let peer = stream
        .peer_addr()
        .map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer, "TCP_NODELAY could not be set");
    }
    let (reader, writer) = stream.into_split();
    server.serve_connection(reader, writer, &[], &peer).await;
}
