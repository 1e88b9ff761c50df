//! Kafka's wire protocol on the broker's port: a thin adapter over the same service.
//!
//! Whoever begins with a request of Kafka's is handed over with the bytes that said so. Requests are read by code of
//! ours ([`wire`]), since anybody can send them; answers are written with `kafka-protocol`, but for those that carry
//! records. Record batches pass through untouched. An API that is not in the [table](api::APIS) is not spoken: its
//! requests end the connection, as they do at a broker of Kafka's that does not know them.
//!
//! # To add an API
//!
//! One file, named as the API; `mod` it below, and give it a line in the table of `api.rs`. The file has
//!
//! ```text
//! pub(super) fn answer(context: &Context, request: &mut Request<'_>) -> Result<Answer, Malformed> {
//!     let fields = &mut request.fields;
//!     let group = fields.string("group_id")?;                     // in the order of the schema, both forms alike
//!     let id = if request.version >= 4 { fields.nullable_string("group_instance_id")? } else { None };
//!     let topics = fields.array("topics", |fields| {
//!         let name = fields.string("name")?;
//!         fields.tags()?;                                         // ends each struct of an array
//!         Ok(name.to_owned())
//!     })?;
//!     fields.end()?;                                              // ends the request
//!     ..
//! }
//! ```
//!
//! It reads the request to its end before anything happens, and never waits. An answer that is there is
//! `Ok(Answer::now(&response, request.version))` (`api_versions.rs`). One that comes from a completion is asked for at
//! once and awaited in `Answer::later(async move { .. Reply::of(&response, version) })` (`metadata.rs`): a `Pending` is
//! a future. One that lets a client wait for something to happen ends when [`Context::ended`](context::Context::ended)
//! does. A field that a version does not have must keep its default in a response of that version, or it cannot be
//! encoded. What reads files or may take long runs by `context.service().schedule(..)`, not here.
//!
//! What it does not do: TLS, authentication, transactions, more than one node.

mod alter_configs;
mod answer;
mod api;
mod api_versions;
mod collisions;
mod connection;
mod context;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod epochs;
mod error;
mod fetch;
mod figures;
mod find_coordinator;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod fuzzing;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod once;
mod operations;
mod outcome;
mod outgoing;
mod produce;
mod queue;
mod sync_group;
#[cfg(test)]
mod tests;
mod topic_options;
mod wire;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use headwater::server::Room;
use headwater::server::closing::Closing;
use headwater::service::Service;
use kafka_protocol::protocol::StrBytes;
use tokio::io::{AsyncRead, AsyncWrite};

use connection::{Allowance, Halves};
use context::{Context, Node};
use figures::Figures;

/// What is spoken: an API's name, its key and its versions, from the first to the last.
#[cfg(any(feature = "cli", test))]
pub(crate) fn spoken() -> impl Iterator<Item = (&'static str, i16, std::ops::RangeInclusive<i16>)> {
    api::APIS
        .iter()
        .map(|api| (api.name, api.key, api.versions()))
}

/// Serves connections of Kafka's protocol. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Kafka(Arc<Inner>);

struct Inner {
    service: Service,
    allowance: Allowance,
    cluster_id: StrBytes,
    /// How clients reach the broker, if that is not the address they have connected to.
    advertised: Option<Node>,
    /// For who comes by a socket that has no address.
    fallback: Node,
    figures: Arc<Figures>,
    /// Told once the broker closes. Each connection is a guest of it until its last answer.
    closing: Arc<Closing>,
}

/// What the broker allows a connection, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// Bytes of the largest request.
    pub(crate) frame_bytes_max: usize,
    /// A connection that is silent so long, with nothing in flight, is closed.
    pub(crate) idle_timeout: Duration,
    /// How long a closing connection waits for what is in flight.
    pub(crate) close_timeout: Duration,
    /// `HOST:PORT` that clients are told to connect to; none: the address that they have connected to.
    pub(crate) advertise: Option<(String, u16)>,
    /// The first address that the broker listens on, if there is one.
    pub(crate) address: Option<SocketAddr>,
    /// For record batches: that of the broker's other connections.
    pub(crate) room: Room,
}

impl Kafka {
    /// Kafka's protocol for a broker that has just started.
    pub(crate) fn new(service: Service, options: Options) -> Self {
        let cluster_id = URL_SAFE_NO_PAD.encode(service.log_uuid());
        let fallback = options.address.map_or_else(
            || Node {
                host: "localhost".to_owned(),
                port: 0,
            },
            node_at,
        );
        Self(Arc::new(Inner {
            service,
            allowance: Allowance {
                frame_bytes_max: options
                    .frame_bytes_max
                    .min(headwater::limits::KAFKA_REQUEST_BYTES_MAX),
                idle_timeout: options.idle_timeout,
                close_timeout: options.close_timeout,
                room: options.room,
            },
            cluster_id: cluster_id.into(),
            advertised: options.advertise.map(|(host, port)| Node { host, port }),
            fallback,
            figures: Arc::default(),
            closing: Arc::default(),
        }))
    }

    /// Serves a connection until it ends. `first` was read from it already; `local` is the address that it was
    /// made to, `peer` names the other side in logs.
    pub(crate) async fn serve<R, W>(
        &self,
        (reader, writer): (R, W),
        first: Vec<u8>,
        local: Option<SocketAddr>,
        peer: &str,
    ) where
        R: AsyncRead + Send + Unpin,
        W: AsyncWrite + Send + Unpin,
    {
        let inner = &self.0;
        let closing = inner.closing.enter();
        let context = self.context(local, peer);
        let halves = Halves {
            reader,
            writer,
            first,
        };
        let served = connection::serve(halves, context.clone(), &inner.allowance, closing);
        let end = served.await;
        let client = context.client();
        let client = client.map_or_else(String::new, |it| format!("{} {}", it.name, it.version));
        if end.is_fault() {
            headwater::seldom!(warn, peer, client, "Kafka connection closed: {end}");
        } else {
            tracing::debug!(peer, client, "Kafka connection closed: {end}");
        }
    }

    /// What the APIs know of a connection.
    fn context(&self, local: Option<SocketAddr>, peer: &str) -> Context {
        let inner = &self.0;
        let node = match (&inner.advertised, local) {
            (Some(advertised), _) => advertised.clone(),
            (None, Some(local)) => node_at(local),
            (None, None) => inner.fallback.clone(),
        };
        let session = inner.service.remote_session();
        let figures = Arc::clone(&inner.figures);
        Context::new(session, inner.cluster_id.clone(), node, peer, figures)
    }

    /// How many connections there are.
    #[cfg(any(feature = "http", test))]
    pub(crate) fn connection_count(&self) -> usize {
        self.0.closing.count()
    }

    /// Says what was asked, whenever it is asked itself.
    #[cfg(feature = "http")]
    pub(crate) fn figures(&self) -> crate::http::Other {
        let kafka = self.clone();
        Box::new(move || kafka.0.figures.spoken(kafka.connection_count()))
    }

    /// Lets every connection answer what it was asked, and waits for it, at most `timeout`.
    pub(crate) async fn close(&self, timeout: Duration) {
        self.0.closing.close();
        // Those left at the deadline are cut by whoever drops their tasks.
        let _ = tokio::time::timeout(timeout, self.0.closing.empty()).await;
    }
}

fn node_at(address: SocketAddr) -> Node {
    Node {
        host: address.ip().to_canonical().to_string(),
        port: address.port(),
    }
}
