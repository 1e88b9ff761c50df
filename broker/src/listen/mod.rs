//! Accepting connections, as many as are allowed, and handing them to the server.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use headwater::server::Server;
use headwater::{Error, ErrorCode, Result};
use tokio::net::TcpStream;
use tokio::runtime::Runtime;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

/// How long accepting pauses when the system has no room for another connection.
const PAUSE: Duration = Duration::from_millis(50);

/// Connections that are told at the same time that there is no place; more wait to be accepted.
const REFUSALS_MAX: usize = 64;

/// How many connections there may be, over all listeners.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    connections_max: u32,
    free: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
}

impl Places {
    pub(crate) fn new(connections_max: u32) -> Self {
        Self {
            connections_max,
            free: Arc::new(Semaphore::new(connections_max as usize)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
        }
    }

    fn refusal(&self) -> Error {
        Error::new(
            ErrorCode::QuotaExceeded,
            format!(
                "the broker has {} connections, and max_connections allows no more; close one, or raise it",
                self.connections_max
            ),
        )
    }
}

/// A connection, and what it holds while it lasts.
enum Accepted {
    Served(TcpStream, OwnedSemaphorePermit),
    Refused(TcpStream, OwnedSemaphorePermit),
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
                let Some(accepted) = accepted else { continue };
                let (server, refusal) = (server.clone(), places.refusal());
                connections.spawn(async move {
                    match accepted {
                        Accepted::Served(stream, _place) => serve(&server, stream, None).await,
                        Accepted::Refused(stream, _place) => {
                            serve(&server, stream, Some(refusal)).await;
                        }
                    }
                });
            }
            Some(_) = connections.join_next() => {}
            _ = stop.wait_for(|accepting| !accepting) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection.
async fn next(listener: &tokio::net::TcpListener, places: &Places) -> Option<Accepted> {
    // Who does not even get the place of a refusal stays in the system's own queue.
    let refusal = Arc::clone(&places.refusals).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok((stream, _)) => Some(match Arc::clone(&places.free).try_acquire_owned() {
            Ok(place) => Accepted::Served(stream, place),
            Err(_) => Accepted::Refused(stream, refusal),
        }),
        Err(error) => {
            // Out of file descriptors, or a connection that was gone before it was accepted.
            tracing::warn!(%error, "a connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// Serves a connection, or tells it why not.
async fn serve(server: &Server, stream: TcpStream, refusal: Option<Error>) {
    let peer = stream
        .peer_addr()
        .map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string());
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, peer, "TCP_NODELAY could not be set");
    }
    let (reader, writer) = stream.into_split();
    match refusal {
        None => server.serve_connection(reader, writer, &[], &peer).await,
        Some(reason) => {
            server
                .refuse_connection(reader, writer, &peer, &reason)
                .await;
        }
    }
}
