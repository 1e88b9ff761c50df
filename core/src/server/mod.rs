//! The native protocol, server side: connections in, requests to the service, answers out.
//!
//! Whoever accepts connections hands them over, as a reading and a writing half, with the bytes it has
//! read to find out what is spoken there. Each is served until it ends: many requests in flight, answered
//! out of order; subscriptions pushed while there is credit. A connection takes in no more than its limits
//! allow, and stops reading when they are reached. Whatever comes in, the worst that happens is that this
//! one connection is closed, with the reason in words.
//!
//! What it does not do: listen on ports, count connections against a limit, TLS, authentication; those are
//! the broker's. Of its own it listens on one socket, for the processes that share a folder (`sharing`).

pub mod closing;
mod connection;
mod counts;
mod door;
#[cfg(test)]
pub(crate) mod fake;
mod handshake;
mod load;
pub mod local;
mod notice;
mod options;
mod prompt;
mod push;
pub mod quiet;
mod room;
mod session;
mod sharing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tracing::Instrument;

pub use door::{Door, Feed};
pub use options::ServerOptions;
pub use room::{Place, Room};
pub use sharing::share;

use crate::error::Error;
use crate::protocol::version::Opening;
use crate::service::Service;
use closing::Closing;
use counts::Counts;
use notice::Notices;
use prompt::Promptness;

/// Serves connections. Cheap to clone.
#[derive(Clone)]
pub struct Server(Arc<Inner>);

struct Inner {
    open: Box<dyn Fn() -> Arc<dyn Door> + Send + Sync>,
    options: ServerOptions,
    closing: Arc<Closing>,
    notices: Notices,
    counts: Arc<Counts>,
    room: Room,
    promptness: Arc<Promptness>,
}

impl Server {
    /// A server of this service: each connection is a session of its own.
    #[must_use]
    pub fn new(service: Service, options: ServerOptions) -> Self {
        Self::with_door(move || Arc::new(service.remote_session()), options)
    }

    /// A server of whatever `open` gives; it is called once per connection, after its handshake.
    #[must_use]
    pub fn with_door(
        open: impl Fn() -> Arc<dyn Door> + Send + Sync + 'static,
        options: ServerOptions,
    ) -> Self {
        Self(Arc::new(Inner {
            open: Box::new(open),
            options,
            closing: Arc::default(),
            notices: Notices::default(),
            counts: Arc::default(),
            room: Room::default(),
            promptness: Arc::default(),
        }))
    }

    /// Reads the first bytes of a connection, until they say what is spoken there: for a port on which more
    /// than one protocol is. Returns them too; they are for whoever serves the connection.
    ///
    /// None if nothing that says so came within the handshake's timeout, or the connection ended: then there is
    /// nobody to answer.
    pub async fn preview<R>(&self, reader: &mut R, peer: &str) -> Option<(Opening, Vec<u8>)>
    where
        R: AsyncRead + Send + Unpin,
    {
        connection::preview(&self.0, reader, peer).await
    }

    /// Serves one connection until it ends: to be spawned on a tokio runtime with io and time.
    ///
    /// `first` are the bytes that were read from it already, if any; `peer` names it in logs. The handshake's
    /// timeout counts from here. Dropped,
    /// the connection ends at once. A socket should have `TCP_NODELAY` set.
    pub async fn serve_connection<R, W>(&self, reader: R, writer: W, first: &[u8], peer: &str)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + 'static,
    {
        let span = tracing::info_span!("connection", peer, client = tracing::field::Empty);
        connection::serve(&self.0, reader, writer, first, (peer, &span))
            .instrument(span.clone())
            .await;
    }

    /// Refuses a connection with the reason, whatever it was about to say; takes 2 s at most. The
    /// client's `connect` fails with that error.
    pub async fn refuse_connection<R, W>(&self, reader: R, writer: W, peer: &str, reason: &Error)
    where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + 'static,
    {
        self.0.notices.closed(peer, reason);
        connection::refuse(reader, writer, reason).await;
    }

    /// Requests taken in, and those of them that were answered with an error.
    #[must_use]
    pub fn request_counts(&self) -> (u64, u64) {
        self.0.counts.requests()
    }

    /// The room that its connections have for record batches, for whoever takes in some by another protocol.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.0.room
    }

    /// How many connections there are.
    #[must_use]
    pub fn connection_count(&self) -> usize {
        self.0.closing.count()
    }

    /// Tells every connection that the server closes, and waits until all have been answered what they
    /// had asked before and have ended, at most `timeout`. Connections that come later are refused.
    ///
    /// Returns how many were still there at the deadline; they end when their tasks are dropped.
    pub async fn close(&self, timeout: Duration) -> usize {
        self.0.closing.close();
        // Both a deadline that passed and all connections gone are in the count.
        let _ = tokio::time::timeout(timeout, self.0.closing.empty()).await;
        self.connection_count()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("connections", &self.connection_count())
            .field("options", &self.0.options)
            .finish_non_exhaustive()
    }
}
