//! A log behind a socket: one connection, many requests in flight, answers in any order.
//!
//! Whoever asks writes the request to the socket itself if it is free; one task of the runtime reads the
//! answers, writes what did not fit, and lets requests go whose deadline has passed. When the connection
//! is lost everything in flight fails, and whatever is asked later; there is no second connection.
//!
//! What may have happened is told by the error's outcome: a request that changes something, any byte of
//! which was handed to the socket, is `unknown` until it is answered, unless the server said that it did
//! not take it in.

mod connect;
mod connection;
mod feed;
mod in_flight;
mod task;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::runtime::Handle;

use super::FetchedBatch;
use super::{Feed, Transport};
use crate::client::HostPort;
use crate::client::runtime;
use crate::completion::Wake;
use crate::completion::{Completion, Pending};
use crate::error::Result;
use crate::protocol::request::{FetchPosition, Request, SubscribeAt};
use crate::protocol::response::Response;
use connection::Connection;
use feed::TcpFeed;

/// How a connection is made and kept.
#[derive(Clone, Debug)]
pub(crate) struct TcpOptions {
    /// From the first attempt to the end of the handshake, all addresses together. Default 10 s.
    pub(crate) connect_timeout: Duration,
    /// From a request to its answer. Default 30 s.
    pub(crate) request_timeout: Duration,
    /// When nothing came for so long, the server is asked whether it lives. Default 10 s.
    pub(crate) keep_alive: Duration,
    /// Threads of the runtime, if this is what makes it.
    pub(crate) threads: Option<usize>,
    /// What the server's log calls the client.
    pub(crate) client_name: String,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(10),
            threads: None,
            client_name: "headwater".to_owned(),
        }
    }
}

/// A connection to a broker. Dropped, it says goodbye without waiting for answers.
pub(crate) struct TcpTransport {
    connection: Arc<Connection>,
    runtime: Handle,
}

impl TcpTransport {
    /// Connects to the first of these brokers that answers.
    ///
    /// # Errors
    /// `NETWORK_EXCEPTION` naming every address tried and what it said; `UNSUPPORTED_VERSION` when there
    /// is a server that speaks no version of ours, or another protocol.
    pub(crate) fn connect(hosts: Vec<HostPort>, options: TcpOptions) -> Pending<Self> {
        match runtime::runtime(options.threads) {
            Ok(runtime) => {
                let (completion, pending) = Completion::pair();
                runtime.spawn(async move {
                    completion.finish(connect::connect(&hosts, &options).await);
                });
                pending
            }
            Err(error) => Pending::ready(Err(error)),
        }
    }
}

impl Transport for TcpTransport {
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.connection.submit(&request, &payload, completion);
    }

    fn run_here(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.submit(request, payload, completion);
    }

    fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<dyn Feed>> {
        Ok(Arc::new(Subscribed {
            feed: self.connection.subscribe(subscribe)?,
            connection: Arc::clone(&self.connection),
        }))
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) {
        self.runtime.spawn(async move { job() });
    }

    fn assist(&self) {}

    fn close(&self, timeout: Duration) -> Result<()> {
        self.connection.close(timeout)
    }

    fn description(&self) -> String {
        self.connection.description().to_owned()
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
        self.connection.hang_up();
    }
}

impl fmt::Debug for TcpTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TcpTransport")
            .field(&self.connection)
            .finish()
    }
}

/// The consumer's hold on a feed. Dropped, the subscription ends.
struct Subscribed {
    feed: Arc<TcpFeed>,
    connection: Arc<Connection>,
}

impl Feed for Subscribed {
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        self.connection.check_process()?;
        let taken = self.feed.take(max_bytes)?;
        self.connection.give_credit(&self.feed);
        Ok(taken)
    }

    fn watch(&self, wake: Wake) {
        self.feed.watch(wake);
    }

    fn reassign(&self, positions: Vec<FetchPosition>) -> Result<()> {
        self.connection.reassign(&self.feed, positions)
    }

    fn close(&self) {
        self.connection.unsubscribe(&self.feed);
    }
}

impl Drop for Subscribed {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Subscribed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.feed.fmt(f)
    }
}
