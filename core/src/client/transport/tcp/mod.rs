//! A log behind a socket, a broker's or that of the process that owns a folder: one connection at a time, many requests in flight, answers in any order.
//!
//! Whoever asks writes the request to the socket itself if it is free; one task of the runtime reads the
//! answers, writes what did not fit, and lets requests go whose deadline has passed. When the connection
//! is lost another is made (`line`): what cannot have happened is asked again over it, in order, and what is
//! asked meanwhile waits for it, up to its deadline. Streams end: their reader opens another where it stands.
//!
//! What may have happened is told by the error's outcome: a request that changes something, any byte of
//! which was handed to the socket, is `unknown` until it is answered, unless the server said that it did
//! not take it in. Only those fail when a connection is lost.

mod connect;
mod connection;
mod endpoint;
mod feed;
mod folder;
mod in_flight;
mod line;
#[cfg(any(test, feature = "simulation"))]
pub(in crate::client) mod simulated;
mod subscribed;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;
use tracing::Instrument;

use self::connect::Opened;
use self::line::{Connector, Line};
use super::{Feed, Transport};
use crate::client::health::LinkHealth;
use crate::completion::{Completion, Pending};
use crate::error::{Error, ErrorCode, Result};
use crate::limits::{self, REQUEST_TIMEOUT_MS};
use crate::protocol::request::{Request, SubscribeAt};
use crate::protocol::response::Response;
use crate::runtime;

pub(crate) use self::endpoint::Endpoint;
pub(crate) use self::folder::SharedFolder;

/// Refuses a child after a fork, which has its parent's socket too. Before any lock is taken: in a child it may be
/// held for ever.
fn check_owner(owner: &AtomicU32) -> Result<()> {
    let (owner, process) = (owner.load(Ordering::Relaxed), std::process::id());
    if owner == process {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::Forked,
        format!(
            "the connection belongs to process {owner}, of which this one ({process}) was forked; connect again"
        ),
    ))
}

/// How a connection is made and kept.
#[derive(Clone, Debug)]
pub(crate) struct TcpOptions {
    /// From the first attempt to the end of the handshake, all addresses together. Default 10 s.
    pub(crate) connect_timeout: Duration,
    /// From a request to its answer. Default 30 s.
    pub(crate) request_timeout: Duration,
    /// When nothing came for so long, the server is asked whether it lives. Default 10 s.
    pub(crate) keep_alive: Duration,
    /// How long its sign of life may take. Default 30 s.
    pub(crate) ping_timeout: Duration,
    /// Threads of the runtime, if this is what makes it.
    pub(crate) threads: Option<usize>,
    /// What the server's log calls the client.
    pub(crate) client_name: String,
    /// The pause before the second attempt to connect again; it doubles.
    pub(crate) reconnect_backoff: Duration,
    /// The longest such pause.
    pub(crate) reconnect_backoff_max: Duration,
    /// Of the pauses' jitter; none: one of the client's own.
    pub(crate) seed: Option<u64>,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_millis(REQUEST_TIMEOUT_MS),
            keep_alive: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(30),
            threads: None,
            client_name: "headwater".to_owned(),
            reconnect_backoff: Duration::from_millis(50),
            reconnect_backoff_max: Duration::from_secs(1),
            seed: None,
        }
    }
}

impl TcpOptions {
    /// How a connection to the owner of a folder is made and kept. It is in this machine, and another takes over
    /// within a moment; but a forked child of it may keep its sockets open when it is dead, so it is asked for
    /// signs of life.
    pub(crate) fn of_folder() -> Self {
        Self {
            keep_alive: Duration::from_secs(3),
            ping_timeout: Duration::from_millis(limits::OWNER_ANSWER_MS),
            reconnect_backoff: Duration::from_millis(5),
            reconnect_backoff_max: Duration::from_millis(200),
            ..Self::default()
        }
    }
}

/// The way to a broker, or to who owns a folder. Dropped, it says goodbye without waiting for answers.
pub(crate) struct TcpTransport {
    line: Arc<Line>,
    runtime: Handle,
    /// None where tests make the connections.
    endpoint: Option<Endpoint>,
}

impl TcpTransport {
    /// Connects.
    ///
    /// # Errors
    /// `NETWORK_EXCEPTION` naming every address tried and what it said; `UNSUPPORTED_VERSION` when there
    /// is a server that speaks no version of ours, or another protocol; of a folder what opening it may answer,
    /// and `OWNER_SILENT`.
    pub(crate) fn connect(endpoint: Endpoint, options: TcpOptions) -> Pending<Self> {
        match runtime::runtime(options.threads) {
            Ok(runtime) => {
                let (completion, pending) = Completion::pair();
                runtime.spawn(async move {
                    let opened = endpoint.connect(&options).await;
                    let connected = opened.map(|opened| {
                        let place = Arc::new((endpoint.clone(), options.clone()));
                        let connector: Connector = Box::new(move || {
                            let place = Arc::clone(&place);
                            Box::pin(async move { place.0.connect(&place.1).await })
                        });
                        let mut transport = Self::over(opened, connector, &options);
                        transport.endpoint = Some(endpoint);
                        transport
                    });
                    completion.finish(connected);
                });
                pending
            }
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Begins with a connection that is made already; `connector` makes the next ones. To be called on the
    /// runtime.
    fn over(opened: Opened, connector: Connector, options: &TcpOptions) -> Self {
        let runtime = Handle::current();
        let line = Line::new(&opened, options);
        let span = tracing::info_span!("broker", address = %line.description());
        runtime.spawn(Arc::clone(&line).run(opened, connector).instrument(span));
        Self {
            line,
            runtime,
            endpoint: None,
        }
    }
}

impl Transport for TcpTransport {
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.line.submit(request, payload, completion);
    }

    fn run_here(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.submit(request, payload, completion);
    }

    fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<dyn Feed>> {
        Ok(self.line.subscribe(subscribe)?)
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn(async move { job() });
    }

    fn assist(&self) {}

    fn close(&self, timeout: Duration) -> Result<()> {
        let closed = self.line.close(timeout);
        let ended = self.endpoint.as_ref().map_or(Ok(()), Endpoint::close);
        closed.and(ended)
    }

    fn description(&self) -> String {
        self.line.description()
    }

    fn health(&self) -> LinkHealth {
        self.line.health()
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn thread_count(&self) -> u64 {
        runtime::thread_count() as u64
    }
}

impl Drop for TcpTransport {
    fn drop(&mut self) {
        self.line.hang_up();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpTransport").field(&self.line).finish()
    }
}
