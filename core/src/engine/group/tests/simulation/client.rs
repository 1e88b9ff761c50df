//! A member as a client is to be: what it does with answers, and what it says.

use super::*;

/// A commit on its way.
#[derive(Clone, Debug)]
pub(super) struct Commit {
    pub(super) member_id: MemberId,
    pub(super) generation: i32,
    pub(super) partition: TopicPartition,
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: usize,
    pub(super) is_running: bool,
    pub(super) incarnation: u32,
    pub(super) member_id: MemberId,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) generation: i32,
    pub(super) session: u64,
    /// What it holds, and since which time it is letting go of it.
    pub(super) owned: BTreeMap<TopicPartition, Option<u64>>,
    pub(super) accepted_ticket: u64,
    /// The heartbeat that it waits for, and since when.
    pub(super) asked: Option<(u64, u64)>,
    pub(super) topics: BTreeSet<Arc<str>>,
    /// How long it takes to let go.
    pub(super) release_ms: u64,
    /// A commit that it may still send later, of what it held once.
    pub(super) late_commit: Option<Commit>,
}

pub(super) const HEARTBEAT_MS: u64 = 300;
pub(super) const SESSION_MS: u64 = 2_000;
pub(super) const REBALANCE_MS: u64 = 1_500;
/// Without an answer for so long it connects anew.
pub(super) const ANSWER_MS: u64 = 700;

impl Client {
    pub(super) fn new(name: usize, instance_id: Option<Arc<str>>, session: u64) -> Self {
        let mut client = Self {
            name,
            is_running: true,
            incarnation: 0,
            member_id: Arc::from(""),
            instance_id,
            generation: JOINING,
            session,
            owned: BTreeMap::new(),
            accepted_ticket: 0,
            asked: None,
            topics: BTreeSet::from([topic("t"), topic("u")]),
            release_ms: 0,
            late_commit: None,
        };
        client.begin_anew();
        client
    }

    /// It is no member any more, and joins under another id.
    pub(super) fn begin_anew(&mut self) {
        self.incarnation += 1;
        self.member_id = Arc::from(format!("m{}-{}", self.name, self.incarnation));
        self.generation = JOINING;
        self.owned.clear();
        self.asked = None;
    }

    pub(super) fn heartbeat(&self, ticket: u64) -> Heartbeat {
        Heartbeat {
            ticket,
            session: self.session,
            instance_id: self.instance_id.clone(),
            topics: self.topics.clone(),
            session_timeout: ms(SESSION_MS),
            rebalance_timeout: ms(REBALANCE_MS),
            heartbeat: ms(HEARTBEAT_MS),
            owned: self.owned.keys().cloned().collect(),
            ..heartbeat(&self.member_id, self.generation)
        }
    }

    /// Takes an answer; true if it said something, so that the next heartbeat is due at once.
    pub(super) fn accept(&mut self, ticket: u64, result: &Result<Assigned>, now_ms: u64) -> bool {
        match result {
            Ok(assigned) => {
                let is_mine = assigned.member_id == self.member_id;
                let is_newer =
                    ticket > self.accepted_ticket && assigned.generation >= self.generation;
                if !is_mine || !is_newer {
                    return false;
                }
                self.accepted_ticket = ticket;
                self.generation = assigned.generation;
                self.take_up(&assigned.partitions, now_ms);
            }
            Err(error) => {
                // What was said to an earlier membership does not concern this one.
                let is_mine = error.message().contains(&format!("`{}`", self.member_id));
                if !is_mine || error.kind() != crate::error::ErrorKind::Fenced {
                    return false;
                }
                self.begin_anew();
                return true;
            }
        }
        if self.asked.is_some_and(|(asked, _)| asked == ticket) {
            self.asked = None;
        }
        self.asked.is_none()
    }

    fn take_up(&mut self, assigned: &[TopicPartition], now_ms: u64) {
        for (partition, releasing) in &mut self.owned {
            if assigned.contains(partition) {
                *releasing = None;
            } else {
                releasing.get_or_insert(now_ms + self.release_ms);
            }
        }
        for partition in assigned {
            self.owned.entry(partition.clone()).or_insert(None);
        }
    }

    /// Lets go of what it is done with; true if it did.
    pub(super) fn let_go(&mut self, now_ms: u64) -> bool {
        let before = self.owned.len();
        self.owned
            .retain(|_, releasing| releasing.is_none_or(|at| at > now_ms));
        self.owned.len() < before
    }
}
