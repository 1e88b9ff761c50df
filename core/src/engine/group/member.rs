//! A member: what it said last, what it holds, and what it was told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Assignor, Heartbeat, Lifetime, MemberId};
use crate::ids::TopicPartition;

#[derive(Debug)]
pub(super) struct Member {
    pub(super) id: MemberId,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) lifetime: Lifetime,
    pub(super) client_name: String,
    pub(super) host: String,
    pub(super) session: u64,
    pub(super) topics: BTreeSet<Arc<str>>,
    pub(super) assignor: Assignor,
    pub(super) heartbeat: Duration,
    pub(super) session_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
    pub(super) heard: Instant,
    /// How long it may be silent, from when it was heard last: its session timeout, or less once its
    /// connection is lost.
    pub(super) patience: Duration,
    pub(super) is_connected: bool,
    /// A static member whose process ended and is to come back.
    pub(super) is_away: bool,
    /// The generation in which it became a member; none while no generation that the log has knows it.
    pub(super) joined: Option<i32>,
    /// Whether the log has it among the members.
    pub(super) is_listed: bool,
    /// The generation it was told last; 0 before the first.
    pub(super) known: i32,
    /// What it may hold, or has not let go of yet.
    pub(super) held: BTreeMap<TopicPartition, Held>,
    /// Rises with each change of what it is to be told.
    pub(super) version: u64,
    /// The version it was told last, and through which session.
    pub(super) told: Option<(u64, u64)>,
    pub(super) parked: Option<Parked>,
}

/// A partition that a member holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// The generation in which it got it.
    pub(super) granted: i32,
    /// Whether it has to let go of it.
    pub(super) revoked: Option<Revoked>,
    /// Whether its topic is gone, or has lost records: what was read counts for nothing that is there now, so it is had
    /// again only after it was let go of.
    pub(super) is_void: bool,
}

/// A partition that its holder has to let go of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Revoked {
    /// The generation that took it away: who knows it, knows that.
    pub(super) generation: i32,
    pub(super) since: Instant,
}

/// A heartbeat that waits for news.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) ticket: u64,
    pub(super) until: Instant,
    /// Whether the member does not know what it was told last.
    pub(super) is_behind: bool,
}

impl Member {
    pub(super) fn new(heartbeat: &Heartbeat, now: Instant) -> Self {
        Self {
            id: Arc::clone(&heartbeat.member_id),
            instance_id: heartbeat.instance_id.clone(),
            lifetime: heartbeat.lifetime,
            client_name: heartbeat.client_name.clone(),
            host: heartbeat.host.clone(),
            session: heartbeat.session,
            topics: heartbeat.topics.clone(),
            assignor: heartbeat.assignor,
            heartbeat: heartbeat.heartbeat,
            session_timeout: heartbeat.session_timeout,
            rebalance_timeout: heartbeat.rebalance_timeout,
            heard: now,
            patience: heartbeat.session_timeout,
            is_connected: true,
            is_away: false,
            joined: None,
            is_listed: false,
            known: 0,
            held: BTreeMap::new(),
            version: 0,
            told: None,
            parked: None,
        }
    }

    /// Takes note of a sign of life, and of what does not concern the assignment.
    pub(super) fn hear(&mut self, heartbeat: &Heartbeat, now: Instant) {
        self.session = heartbeat.session;
        self.client_name.clone_from(&heartbeat.client_name);
        self.host.clone_from(&heartbeat.host);
        self.heartbeat = heartbeat.heartbeat;
        self.session_timeout = heartbeat.session_timeout;
        self.rebalance_timeout = heartbeat.rebalance_timeout;
        self.heard = now;
        self.patience = heartbeat.session_timeout;
        self.is_connected = true;
    }

    /// Whether it has a generation that may be told.
    pub(super) fn is_told(&self) -> bool {
        self.is_listed && self.joined.is_some()
    }

    /// A topic is gone: nothing that it holds of it counts any more. One without heartbeats never lets go of anything.
    /// True if it holds something of it.
    pub(super) fn void(&mut self, topic: &str) -> bool {
        if self.lifetime == Lifetime::Exclusive {
            return false;
        }
        let mut is_any = false;
        let held = self.held.iter_mut();
        for (_, held) in held.filter(|(partition, _)| *partition.topic == *topic) {
            held.is_void = true;
            is_any = true;
        }
        is_any
    }

    /// Whether it may come back after a restart, with what it holds then: that some of it is void nobody would know.
    pub(super) fn may_come_back(&self) -> bool {
        self.lifetime == Lifetime::Own && !self.held.values().any(|held| held.is_void)
    }

    /// What it may hold.
    pub(super) fn assigned(&self) -> impl Iterator<Item = &TopicPartition> {
        let held = self.held.iter();
        held.filter(|(_, held)| held.revoked.is_none())
            .map(|(partition, _)| partition)
    }

    /// When it counts as gone, if it is not heard before; none if silence is all that is expected of it.
    pub(super) fn session_end(&self) -> Option<Instant> {
        (self.lifetime != Lifetime::Exclusive).then(|| self.heard + self.patience)
    }

    /// Until when it has to let go of what was taken away.
    pub(super) fn release_end(&self) -> Option<Instant> {
        let revoked = self.held.values().filter_map(|held| held.revoked);
        let first = revoked.map(|revoked| revoked.since).min()?;
        Some(first + self.rebalance_timeout)
    }

    /// When something is due for it.
    pub(super) fn wakeup(&self) -> Option<Instant> {
        let parked = self.parked.map(|parked| parked.until);
        let times = [self.session_end(), self.release_end(), parked];
        let first = times.into_iter().flatten().min();
        // Who sends no heartbeats waits for the log alone, and for as long as that takes.
        first.filter(|_| self.lifetime != Lifetime::Exclusive)
    }

    /// How long a heartbeat may wait: never so long that the member's silence meanwhile ends its session.
    pub(super) fn poll(&self) -> Duration {
        self.heartbeat.min(self.session_timeout / 2)
    }

    /// By what range and round robin sort members: a static member's place outlives its id.
    pub(super) fn order(&self) -> &str {
        self.instance_id.as_deref().unwrap_or(&self.id)
    }
}
