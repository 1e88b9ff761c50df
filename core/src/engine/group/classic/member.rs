//! A member: what it said of itself, what it was assigned, and what it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Join, MemberId, Parked, Protocol};

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) client_name: String,
    pub(super) host: String,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) protocols: Vec<Protocol>,
    pub(super) heard: Instant,
    /// Whether its client can know its id: who cannot does not come back under it.
    pub(super) knows_id: bool,
    pub(super) can_skip_assignment: bool,
    /// It has joined, and waits for the generation.
    pub(super) joining: Option<Parked>,
    /// It waits for its assignment.
    pub(super) syncing: Option<Parked>,
    /// Whether it asked for the assignment of this generation.
    pub(super) has_synced: bool,
    pub(super) assignment: Bytes,
}

impl Member {
    pub(super) fn new(id: MemberId, join: &Join, now: Instant) -> Self {
        let mut member = Self {
            id,
            instance_id: join.instance_id.clone(),
            client_name: String::new(),
            host: String::new(),
            session_timeout: join.session_timeout,
            rebalance_timeout: join.rebalance_timeout,
            protocols: Vec::new(),
            heard: now,
            knows_id: !join.member_id.is_empty(),
            can_skip_assignment: false,
            joining: None,
            syncing: None,
            has_synced: false,
            assignment: Bytes::new(),
        };
        member.hear(join, now);
        member
    }

    /// Takes note of what it says as it joins.
    pub(super) fn hear(&mut self, join: &Join, now: Instant) {
        self.client_name.clone_from(&join.client_name);
        self.host.clone_from(&join.host);
        self.session_timeout = join.session_timeout;
        self.rebalance_timeout = join.rebalance_timeout;
        self.protocols.clone_from(&join.protocols);
        self.can_skip_assignment = join.can_skip_assignment;
        self.heard = now;
    }

    /// When it counts as gone if it is not heard before; none while it waits for an answer of ours.
    pub(super) fn session_end(&self) -> Option<Instant> {
        let waits = self.joining.is_some() || self.syncing.is_some();
        (!waits).then(|| self.heard + self.session_timeout)
    }

    /// What it says for a protocol.
    pub(super) fn metadata(&self, protocol: &str) -> Bytes {
        let mut protocols = self.protocols.iter();
        let found = protocols.find(|found| &*found.name == protocol);
        found.map_or_else(Bytes::new, |found| found.metadata.clone())
    }

    /// Bytes that are kept for it beyond what every member takes.
    pub(super) fn size_bytes(&self) -> usize {
        size_bytes(&self.protocols) + self.assignment.len()
    }
}

/// Bytes of what a member says of itself.
pub(super) fn size_bytes(protocols: &[Protocol]) -> usize {
    let sizes = protocols.iter();
    sizes
        .map(|protocol| protocol.name.len() + protocol.metadata.len())
        .sum()
}
