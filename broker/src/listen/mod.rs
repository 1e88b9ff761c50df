//! Accepting connections, as many as are allowed, and handing them to whoever speaks what is spoken there.

mod bind;
mod counts;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use headwater::limits::LINGER_TIMEOUT_MS;
#[cfg(any(feature = "http", feature = "kafka"))]
use headwater::protocol::version::Opening;
use headwater::runtime::Runtime;
use headwater::server::quiet::Quiet;
use headwater::server::{Server, local};
use headwater::{Error, ErrorCode, Result};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

pub use bind::ListenAddress;
pub(crate) use bind::{Bound, socket_path};
pub(crate) use counts::Counts;
use counts::{Reading, Writing};
#[cfg(feature = "http")]
pub(crate) use counts::{RequestFigures, Spoken};

#[cfg(feature = "http")]
use crate::http::Http;
#[cfg(feature = "kafka")]
use crate::kafka::Kafka;

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
    counts: Arc<Counts>,
}

/// Who serves the connections of a port, by what is spoken there.
#[derive(Clone)]
pub(crate) struct Speakers {
    pub(crate) server: Server,
    #[cfg(feature = "http")]
    pub(crate) http: Http,
    #[cfg(feature = "kafka")]
    pub(crate) kafka: Kafka,
}

impl Places {
    pub(crate) fn new(connections_max: u32, counts: Arc<Counts>) -> Self {
        Self {
            connections_max,
            free: Arc::new(Semaphore::new(connections_max as usize)),
            refusals: Arc::new(Semaphore::new(REFUSALS_MAX)),
            counts,
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
    Served(Stream, OwnedSemaphorePermit),
    Refused(Stream, OwnedSemaphorePermit),
}

enum Stream {
    Tcp(TcpStream),
    Unix(local::Stream),
}

impl Stream {
    /// The same on the lane of this thread.
    fn moved_here(self) -> std::io::Result<Self> {
        match self {
            Self::Tcp(stream) => TcpStream::from_std(stream.into_std()?).map(Self::Tcp),
            Self::Unix(stream) => stream.moved_here().map(Self::Unix),
        }
    }
}

/// What connections come from.
enum Listener {
    Tcp(tokio::net::TcpListener),
    Unix {
        // Removes the socket's name when it is dropped: first, while nobody else can have it.
        _file: bind::SocketFile,
        listener: local::Listener,
    },
}

impl Listener {
    async fn accept(&self) -> std::io::Result<Stream> {
        match self {
            Self::Tcp(listener) => listener.accept().await.map(|(it, _)| Stream::Tcp(it)),
            Self::Unix { listener, .. } => listener.accept().await.map(Stream::Unix),
        }
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

/// Accepts connections on a lane of core's runtime, that on which it was bound, and serves each on the lane whose
/// turn it is.
///
/// # Errors
/// When the system refuses what a runtime needs of the listener.
pub(crate) fn accept(
    bound: Bound,
    speakers: Speakers,
    places: &Places,
    (lane, runtime): (&Handle, &'static Runtime),
) -> Result<Listening> {
    let failed = |error: std::io::Error| {
        Error::new(
            ErrorCode::NetworkException,
            format!("cannot listen: {error}"),
        )
        .with_source(error)
    };
    let listener = match bound {
        Bound::Tcp(listener) => {
            listener.set_nonblocking(true).map_err(failed)?;
            let _entered = lane.enter();
            Listener::Tcp(tokio::net::TcpListener::from_std(listener).map_err(failed)?)
        }
        Bound::Unix(file, listener) => Listener::Unix {
            listener,
            _file: file,
        },
    };
    let (accepting, stop) = watch::channel(true);
    let task = lane.spawn(run(listener, speakers, places.clone(), runtime, stop));
    Ok(Listening { accepting, task })
}

async fn run(
    listener: Listener,
    speakers: Speakers,
    places: Places,
    runtime: &'static Runtime,
    mut stop: watch::Receiver<bool>,
) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = next(&listener, &places) => {
                let Some(accepted) = accepted else { continue };
                let (speakers, places) = (speakers.clone(), places.clone());
                let serving = async move {
                    match accepted {
                        Accepted::Served(stream, _place) => {
                            serve(&speakers, stream, &places.counts, None).await;
                        }
                        Accepted::Refused(stream, _place) => {
                            let refusal = places.refusal();
                            serve(&speakers, stream, &places.counts, Some(refusal)).await;
                        }
                    }
                };
                connections.spawn_on(serving, runtime.lane());
            }
            Some(_) = connections.join_next() => {}
            _ = stop.wait_for(|accepting| !accepting) => break,
        }
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

/// The next connection.
async fn next(listener: &Listener, places: &Places) -> Option<Accepted> {
    // Who does not even get the place of a refusal stays in the system's own queue.
    let refusal = Arc::clone(&places.refusals).acquire_owned().await.ok()?;
    match listener.accept().await {
        Ok(stream) => {
            places.counts.accepted.add(1);
            Some(match Arc::clone(&places.free).try_acquire_owned() {
                Ok(place) => Accepted::Served(stream, place),
                Err(_) => {
                    places.counts.refused.add(1);
                    Accepted::Refused(stream, refusal)
                }
            })
        }
        Err(error) => {
            // Out of file descriptors, or a connection that was gone before it was accepted.
            headwater::seldom!(warn, %error, "a connection could not be accepted");
            tokio::time::sleep(PAUSE).await;
            None
        }
    }
}

/// Who is at the other end, and where the connection was made to.
struct Ends<'a> {
    peer: &'a str,
    /// None for a socket without an address.
    #[cfg_attr(
        not(feature = "kafka"),
        expect(dead_code, reason = "for Kafka's clients")
    )]
    local: Option<SocketAddr>,
}

/// Serves a connection, or tells it why not.
async fn serve(speakers: &Speakers, stream: Stream, counts: &Arc<Counts>, refusal: Option<Error>) {
    let stream = match stream.moved_here() {
        Ok(stream) => stream,
        Err(error) => {
            headwater::seldom!(warn, %error, "a connection could not be served");
            return;
        }
    };
    match stream {
        Stream::Tcp(stream) => {
            let peer = stream
                .peer_addr()
                .map_or_else(|_| "unknown".to_owned(), |peer| peer.to_string());
            if let Err(error) = stream.set_nodelay(true) {
                tracing::debug!(%error, peer, "TCP_NODELAY could not be set");
            }
            let ends = Ends {
                peer: &peer,
                local: stream.local_addr().ok(),
            };
            let (reader, writer) = stream.into_split();
            let halves = (reader, Quiet::new(writer));
            speak(speakers, halves, &ends, counts, refusal).await;
        }
        Stream::Unix(stream) => {
            let ends = Ends {
                peer: "a process of this machine",
                local: None,
            };
            speak(speakers, stream.into_split(), &ends, counts, refusal).await;
        }
    }
}

async fn speak<R, W>(
    speakers: &Speakers,
    (reader, writer): (R, W),
    ends: &Ends<'_>,
    counts: &Arc<Counts>,
    refusal: Option<Error>,
) where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin + 'static,
{
    let reader = Reading {
        reader,
        counts: Arc::clone(counts),
    };
    let writer = Writing {
        writer,
        counts: Arc::clone(counts),
    };
    match refusal {
        None => speakers.serve(reader, writer, ends).await,
        Some(reason) => speakers.refuse(reader, writer, ends.peer, &reason).await,
    }
}

impl Speakers {
    /// Answers what was asked, and ends the connections: all of them, or those that are done in time.
    pub(crate) async fn close(&self, timeout: Duration) {
        tokio::join!(
            async { self.server.close(timeout).await },
            async {
                #[cfg(feature = "http")]
                self.http.close(timeout).await;
            },
            async {
                #[cfg(feature = "kafka")]
                self.kafka.close(timeout).await;
            },
        );
    }

    async fn serve<R, W>(&self, mut reader: R, writer: W, ends: &Ends<'_>)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        let peer = ends.peer;
        let Some((opening, first)) = self.server.preview(&mut reader, peer).await else {
            return;
        };
        match opening {
            #[cfg(feature = "http")]
            Opening::Http => self.http.serve(reader, writer, first).await,
            #[cfg(feature = "kafka")]
            Opening::Kafka => {
                let served = self.kafka.serve((reader, writer), first, ends.local, peer);
                served.await;
            }
            _ => {
                let connection = self.server.serve_connection(reader, writer, &first, peer);
                connection.await;
            }
        }
    }

    async fn refuse<R, W>(&self, mut reader: R, writer: W, peer: &str, reason: &Error)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin + 'static,
    {
        // Whoever says nothing for so long is told in the port's own language.
        let within = Duration::from_millis(LINGER_TIMEOUT_MS);
        let preview = self.server.preview(&mut reader, peer);
        match tokio::time::timeout(within, preview).await {
            #[cfg(feature = "http")]
            Ok(Some((Opening::Http, _))) => {
                Http::refuse(reader, writer, reason.message()).await;
            }
            // Kafka's protocol has no words for it: the connection ends.
            #[cfg(feature = "kafka")]
            Ok(Some((Opening::Kafka, _))) => {
                headwater::seldom!(warn, peer, "Kafka connection refused: {reason}");
            }
            _ => {
                let refused = self.server.refuse_connection(reader, writer, peer, reason);
                refused.await;
            }
        }
    }
}
