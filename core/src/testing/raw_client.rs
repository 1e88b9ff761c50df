//! The TCP transport by itself: requests and subscriptions without producer, consumer or retries.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::client::HostPort;
use crate::client::transport::tcp::{Endpoint, TcpOptions, TcpTransport};
use crate::client::transport::{Feed, Transport};
use crate::completion::{Completion, Pending, Wake};
use crate::error::Result;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::request::{Request, SubscribeAt};
use crate::protocol::response::Response;

/// A connection to a broker.
#[derive(Debug)]
pub struct RawClient(TcpTransport);

impl RawClient {
    /// Connects, waiting for it.
    ///
    /// # Errors
    /// `NETWORK_EXCEPTION`, `UNSUPPORTED_VERSION`.
    pub fn connect(address: SocketAddr) -> Result<Self> {
        let host = HostPort {
            host: address.ip().to_string(),
            port: address.port(),
        };
        TcpTransport::connect(Endpoint::Hosts(vec![host]), TcpOptions::default())
            .wait(None)
            .map(Self)
    }

    /// Asks; never waits.
    pub fn ask(&self, request: Request, payload: Bytes) -> Pending<Response> {
        let (completion, pending) = Completion::pair();
        self.submit(request, payload, completion);
        pending
    }

    /// The same with a completion of the caller's.
    pub fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.0.submit(request, payload, completion);
    }

    /// Opens a stream of record batches.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn subscribe(&self, subscribe: impl Into<SubscribeAt>) -> Result<RawFeed> {
        self.0.subscribe(subscribe.into()).map(RawFeed)
    }
}

/// A stream of record batches. Dropped, it ends.
#[derive(Debug)]
pub struct RawFeed(Arc<dyn Feed>);

impl RawFeed {
    /// What is there, about `max_bytes` of it; never waits.
    ///
    /// # Errors
    /// What ended the stream.
    pub fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        self.0.take(max_bytes)
    }

    /// Wakes once when there is something to take, at once if there is.
    pub fn watch(&self, wake: Wake) {
        self.0.watch(wake);
    }
}
