//! Three members, the clients that write to them, and what has to hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use headwater::record::{BatchBuilder, RecordRef};
use openraft::BasicNode;

use super::Records;
use super::machine::Applied;
use super::network::Network;
use super::node::{Death, Member, Node};
use super::store::Bug;

/// How long a client waits for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often something is looked at again that has to come about.
const ATTEMPTS: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(20);

/// An acknowledged write.
#[derive(Clone, Copy, Debug)]
struct Acked {
    value: u64,
    index: u64,
    /// When it was asked for, and answered: in one count of both.
    asked: u64,
    answered: u64,
}

#[derive(Debug, Default)]
struct Clients {
    values: u64,
    clock: u64,
    acked: Vec<Acked>,
}

/// The group.
pub(super) struct Group {
    pub(super) nodes: Vec<Node>,
    pub(super) network: Network,
    clients: Arc<Mutex<Clients>>,
}

fn batch(value: u64) -> Bytes {
    let mut builder = BatchBuilder::new(128);
    let value = value.to_be_bytes();
    let record = RecordRef {
        timestamp_ms: 1,
        value: Some(&value),
        ..RecordRef::default()
    };
    builder.push(&record).unwrap();
    builder.finish(-1, -1, -1).unwrap().into()
}

impl Group {
    /// Three members, of which one has told the others of them.
    pub(super) async fn new(bug: Option<Bug>) -> Result<Self, String> {
        let mut group = Self {
            nodes: (1..=3).map(|id| Node::new(id, bug)).collect(),
            network: Network::default(),
            clients: Arc::default(),
        };
        for node in &mut group.nodes {
            node.rise(&group.network).await?;
        }
        let ids = group.nodes.iter().map(|node| node.id);
        let members: BTreeMap<_, _> = ids.map(|id| (id, BasicNode::new(id))).collect();
        let first = group.nodes[0].member().unwrap().clone();
        first
            .initialize(members)
            .await
            .map_err(|error| error.to_string())?;
        Ok(group)
    }

    /// Which of the members lead, or believe so.
    pub(super) fn leaders(&self) -> Vec<usize> {
        let is_leader = |node: &Node| node.member().is_some_and(Member::is_leader);
        let nodes = self.nodes.iter().enumerate();
        nodes
            .filter(|(_, node)| is_leader(node))
            .map(|(at, _)| at)
            .collect()
    }

    /// Asks a member to log something. Nobody waits for the answer.
    pub(super) fn write(&self, at: usize) {
        let Some(member) = self.nodes[at].member().cloned() else {
            return;
        };
        let clients = Arc::clone(&self.clients);
        tokio::spawn(async move { write(member, &clients).await });
    }

    /// Acknowledged writes so far.
    pub(super) fn acked(&self) -> usize {
        self.clients.lock().unwrap().acked.len()
    }

    /// A member dies, and comes back, if need be after more deaths of the kinds that `deaths` gives. Says how
    /// often it died.
    pub(super) async fn replace(
        &mut self,
        at: usize,
        mut deaths: impl FnMut() -> (Death, Option<u64>),
    ) -> Result<u64, String> {
        let node = &mut self.nodes[at];
        for count in 1.. {
            let (death, next) = deaths();
            node.die(&self.network, death).await?;
            if let Some(operations) = next {
                node.arm(operations, false);
            }
            if node.rise(&self.network).await? {
                return Ok(count);
            }
        }
        Ok(0)
    }

    /// Ends all members, which would go on without anybody.
    pub(super) async fn end(mut self) -> Result<(), String> {
        for node in &mut self.nodes {
            node.die(&self.network, Death::Kill).await?;
        }
        Ok(())
    }

    /// With everything mended: the group goes on, all three come to the same, and nothing is lost.
    pub(super) async fn check(&self) -> Result<(), String> {
        self.network.mend();
        for node in &self.nodes {
            node.disarm();
        }
        let index = self.write_last().await?;
        let states = self.settled(index).await?;
        self.check_states(&states)?;
        self.check_logs(index)
    }

    /// Writes something that is acknowledged; everything before it is decided then.
    async fn write_last(&self) -> Result<u64, String> {
        for _ in 0..ATTEMPTS {
            for at in self.leaders() {
                let member = self.nodes[at].member().unwrap().clone();
                if let Some(index) = write(member, &self.clients).await {
                    return Ok(index);
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err("the group does not go on".to_owned())
    }

    /// What all three have applied, once all have come to `index`.
    async fn settled(&self, index: u64) -> Result<Vec<Applied>, String> {
        for _ in 0..ATTEMPTS {
            let nodes = self.nodes.iter();
            let insides = nodes.filter_map(|node| node.inside());
            let states: Vec<_> = insides
                .map(|(_, machine)| machine.applied.lock().unwrap().clone())
                .collect();
            let is_settled = |state: &Applied| state.last.is_some_and(|last| last.index >= index);
            if states.len() == self.nodes.len() && states.iter().all(is_settled) {
                return Ok(states);
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(format!("not all members come to index {index}"))
    }

    fn check_states(&self, states: &[Applied]) -> Result<(), String> {
        let first = &states[0];
        for other in states {
            if other.batches != first.batches {
                return Err("the members have applied different records".to_owned());
            }
        }
        let distinct: BTreeSet<_> = first.batches.iter().map(|(_, batch)| batch).collect();
        if distinct.len() != first.batches.len() {
            return Err("records were applied twice".to_owned());
        }
        let by_index: BTreeMap<_, _> = first.batches.iter().cloned().collect();
        let mut acked = self.clients.lock().unwrap().acked.clone();
        for write in &acked {
            if by_index.get(&write.index) != Some(&batch(write.value)) {
                return Err(format!("{write:?} was acknowledged and is not there"));
            }
        }
        // What was answered before something else was asked for stands before it.
        acked.sort_by_key(|write| write.index);
        let mut latest_asked = 0;
        for write in &acked {
            if write.answered < latest_asked {
                return Err(format!("{write:?} stands behind what was asked for later"));
            }
            latest_asked = latest_asked.max(write.asked);
        }
        Ok(())
    }

    /// The logs hold the same up to `index`, as far as they reach back.
    fn check_logs(&self, index: u64) -> Result<(), String> {
        let mut known = BTreeMap::new();
        for node in &self.nodes {
            let Some((store, _)) = node.inside() else {
                continue;
            };
            let entries = store.entries(0, index + 1, usize::MAX);
            for entry in entries.map_err(|error| error.to_string())? {
                let index = entry.log_id.index;
                if known.get(&index).is_some_and(|known| *known != entry) {
                    return Err(format!("logs differ at {index}: {known:?}, {entry:?}"));
                }
                known.insert(index, entry);
            }
        }
        Ok(())
    }
}

/// One client's write; the index if it was acknowledged.
async fn write(member: Member, clients: &Mutex<Clients>) -> Option<u64> {
    let (value, asked) = {
        let mut clients = clients.lock().unwrap();
        clients.values += 1;
        clients.clock += 1;
        (clients.values, clients.clock)
    };
    let answer = member.client_write(Records(batch(value)));
    let answer = tokio::time::timeout(PATIENCE, answer).await;
    let index = answer.ok()?.ok()?.log_id.index;
    let mut clients = clients.lock().unwrap();
    clients.clock += 1;
    let answered = clients.clock;
    clients.acked.push(Acked {
        value,
        index,
        asked,
        answered,
    });
    Some(index)
}
