//! How a client is, for who probes it: from what is known already, without waiting for anything.
//!
//! Healthy means that all of it can work: it is open, it has its log, and each of its members of groups is one.
//! A consumer without a group is as healthy as the connection it reads over.

use std::time::Duration;

use super::handle::{Client, Shared};
use super::producer::Backlog;
use crate::error::Error;
use crate::fork;
use crate::world;

/// How a client is.
#[derive(Clone, Debug, PartialEq)]
pub struct Health {
    /// Whether all of it can work.
    pub is_healthy: bool,
    /// Why it cannot, in words, if it cannot.
    pub reason: Option<String>,
    /// Whether `close` was called, or the process forked.
    pub is_closed: bool,
    /// What it is connected to: a folder, a name in memory, or the broker that answers.
    pub address: String,
    /// Whether the broker is connected, or the log in this process takes appends.
    pub is_connected: bool,
    /// For how long it has been connected, or not, in ms.
    pub since_ms: u64,
    /// Why it is not connected; of a broker that is tried again and again, why the last attempt failed.
    pub last_error: Option<Error>,
    /// The consumers that have joined a group, or are about to.
    pub members: Vec<MemberHealth>,
    /// Bytes of records accepted and not acknowledged yet.
    pub buffered_bytes: u64,
    /// How many records these are.
    pub buffered_records: u64,
    /// How long the oldest batch of these has been waiting, in ms.
    pub oldest_unsent_ms: Option<u64>,
}

/// How a consumer is as a member of its group.
#[derive(Clone, Debug, PartialEq)]
pub struct MemberHealth {
    /// The group.
    pub group: String,
    /// Its id in the group; empty before it asked to join.
    pub member_id: String,
    /// The group's generation as it knows it; 0 before it is a member.
    pub generation: i32,
    /// What has become of it.
    pub state: MemberState,
    /// Partitions it holds.
    pub partitions: u64,
    /// How long ago its last heartbeat was answered, in ms.
    pub last_heartbeat_ms: Option<u64>,
    /// What is wrong with it, in words, if something is.
    pub reason: Option<String>,
}

/// What has become of a consumer in its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It is not a member yet, or joins again.
    Joining,
    /// It is a member.
    Stable,
    /// It is none any more, or must be taken for none: others may have its partitions.
    Lost,
}

impl MemberState {
    /// `joining`, `stable` or `lost`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Joining => "joining",
            Self::Stable => "stable",
            Self::Lost => "lost",
        }
    }
}

/// How the way to a log is.
#[derive(Clone, Debug)]
pub(crate) struct LinkHealth {
    pub(crate) is_connected: bool,
    /// For how long it has been so.
    pub(crate) since: Duration,
    pub(crate) last_error: Option<Error>,
}

impl Client {
    /// How it is, and why it does not work if it does not: for probes. It asks nobody, never waits, and answers
    /// for a closed client too.
    #[must_use]
    pub fn health(&self) -> Health {
        self.shared().health()
    }
}

impl Shared {
    fn health(&self) -> Health {
        if let Err(forked) = fork::check_process(self.generation) {
            // What was the parent's may be locked for ever here.
            return self.out_of_use(forked.message().to_owned(), 0, Some(forked));
        }
        let link = self.transport.health();
        let since_ms = millis(link.since);
        let members = self.members.lock();
        if members.is_closed {
            drop(members);
            let reason = format!("the client of {} is closed", self.address);
            return self.out_of_use(reason, since_ms, None);
        }
        let backlogs = members.producers.iter().filter_map(|it| it.backlog());
        let backlog = backlogs.fold(Backlog::default(), Backlog::with);
        let consumers = members.consumers.iter();
        let in_groups: Vec<_> = consumers.filter_map(|it| it.health()).collect();
        drop(members);
        let address = self.transport.description();
        let reason = reason(&address, &link, &in_groups);
        Health {
            is_healthy: reason.is_none(),
            reason,
            is_closed: false,
            address,
            is_connected: link.is_connected,
            since_ms,
            last_error: link.last_error,
            members: in_groups,
            buffered_bytes: backlog.bytes,
            buffered_records: backlog.records,
            oldest_unsent_ms: backlog
                .oldest
                .map(|opened| millis(world::now().saturating_duration_since(opened))),
        }
    }

    fn out_of_use(&self, reason: String, since_ms: u64, last_error: Option<Error>) -> Health {
        Health {
            is_healthy: false,
            reason: Some(reason),
            is_closed: true,
            address: self.address.clone(),
            is_connected: false,
            since_ms,
            last_error,
            members: Vec::new(),
            buffered_bytes: 0,
            buffered_records: 0,
            oldest_unsent_ms: None,
        }
    }
}

/// All that is wrong, in words.
fn reason(address: &str, link: &LinkHealth, members: &[MemberHealth]) -> Option<String> {
    let mut reasons = Vec::new();
    if !link.is_connected {
        let why = link.last_error.as_ref().map_or("", Error::message);
        let since_ms = link.since.as_millis();
        reasons.push(format!(
            "no connection to {address} for {since_ms} ms: {why}"
        ));
    }
    for member in members {
        if let Some(reason) = &member.reason {
            reasons.push(format!("the member of group `{}`: {reason}", member.group));
        }
    }
    (!reasons.is_empty()).then(|| reasons.join("; "))
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
