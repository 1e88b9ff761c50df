//! What an API knows when it answers: the service, and who is asking.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use headwater::ids::PartitionId;
use headwater::service::{Service, Session};
use headwater::sync::Mutex;
use kafka_protocol::protocol::StrBytes;
use tokio::sync::watch;

use super::figures::Figures;

/// The only node there is.
pub(crate) const NODE_ID: i32 = 0;

/// A connection, as the APIs see it. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Context(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    session: Session,
    cluster_id: StrBytes,
    node: Node,
    /// Where the other side is.
    peer: String,
    client: OnceLock<Client>,
    figures: Arc<Figures>,
    /// The partition that had no place in the last answer to a fetch.
    fetch_turn: Mutex<Option<PartitionId>>,
    /// True once the connection takes nothing more.
    ending: watch::Sender<bool>,
}

/// How clients reach this broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Node {
    /// A name or an address.
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// The software that connected, as it names itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Client {
    pub(crate) name: String,
    pub(crate) version: String,
}

impl Context {
    pub(super) fn new(
        session: Session,
        cluster_id: StrBytes,
        node: Node,
        peer: &str,
        figures: Arc<Figures>,
    ) -> Self {
        Self(Arc::new(Inner {
            session,
            cluster_id,
            node,
            // The address alone: a port says nothing to people.
            peer: peer.parse::<SocketAddr>().map_or_else(
                |_| peer.to_owned(),
                |peer| peer.ip().to_canonical().to_string(),
            ),
            client: OnceLock::new(),
            figures,
            fetch_turn: Mutex::new(None),
            ending: watch::Sender::new(false),
        }))
    }

    /// The session of this connection.
    pub(crate) fn session(&self) -> &Session {
        &self.0.session
    }

    /// What is served.
    pub(crate) fn service(&self) -> &Service {
        self.0.session.service()
    }

    /// The log's uuid, as Kafka writes one.
    pub(crate) fn cluster_id(&self) -> StrBytes {
        self.0.cluster_id.clone()
    }

    /// How clients reach this broker.
    pub(crate) fn node(&self) -> &Node {
        &self.0.node
    }

    /// Where the other side is, for people.
    pub(crate) fn peer(&self) -> &str {
        &self.0.peer
    }

    /// The partition whose turn it is when records are fetched, if one had to wait.
    pub(super) fn fetch_turn(&self) -> Option<PartitionId> {
        *self.0.fetch_turn.lock()
    }

    /// Notes whose turn it is the next time.
    pub(super) fn set_fetch_turn(&self, partition: Option<PartitionId>) {
        *self.0.fetch_turn.lock() = partition;
    }

    /// Where it is counted what is asked, here and over all other connections.
    pub(super) fn figures(&self) -> &Figures {
        &self.0.figures
    }

    /// The software on the other side, once it has said so.
    pub(crate) fn client(&self) -> Option<&Client> {
        self.0.client.get()
    }

    /// Notes who is on the other side; only the first word counts.
    pub(super) fn introduce(&self, client: Client) -> bool {
        self.0.client.set(client).is_ok()
    }

    /// Ready once the connection takes nothing more, because either side ends it: whoever lets an answer wait
    /// for something to happen (a long poll) gives it then.
    pub(crate) async fn ended(&self) {
        let mut ending = self.0.ending.subscribe();
        // The sender lives in the context itself.
        let _ = ending.wait_for(|is_ending| *is_ending).await;
    }

    pub(super) fn end(&self) {
        self.0.ending.send_replace(true);
    }
}
