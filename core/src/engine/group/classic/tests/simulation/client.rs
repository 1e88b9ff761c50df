//! A member as Kafka's clients are: what it does with answers, and what it says.

use std::collections::BTreeSet;

use super::*;

/// Partitions that a leader shares out.
pub(super) const PARTITIONS: u8 = 7;
pub(super) const BEAT_MS: u64 = 300;
pub(super) const SESSION_MS: u64 = 2_000;
pub(super) const REBALANCE_MS: u64 = 1_500;
/// Without an answer for so long it connects anew.
pub(super) const ANSWER_MS: u64 = 3_000;

/// What it is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doing {
    Joining,
    Syncing,
    Reading,
}

/// What it asks next.
pub(super) enum Ask {
    Join(Box<Join>),
    Sync(Box<Sync>),
    Beat(Speaker),
}

#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: usize,
    pub(super) is_running: bool,
    pub(super) instance_id: Option<Arc<str>>,
    pub(super) session: u64,
    pub(super) id: String,
    pub(super) generation: i32,
    pub(super) doing: Doing,
    pub(super) assigned: BTreeSet<u8>,
    /// What it leads with.
    pub(super) decided: Vec<(MemberId, Bytes)>,
    /// The request that it waits for, and since when.
    pub(super) asked: Option<(u64, u64)>,
    pub(super) beat_at_ms: u64,
    /// Until when it does nothing.
    pub(super) paused_until_ms: u64,
    pub(super) version: u64,
    pub(super) late_commit: Option<Speaker>,
}

impl Client {
    pub(super) fn new(name: usize, session: u64) -> Self {
        Self {
            name,
            is_running: true,
            instance_id: (name % 2 == 1).then(|| Arc::from(format!("i{name}"))),
            session,
            id: String::new(),
            generation: -1,
            doing: Doing::Joining,
            assigned: BTreeSet::new(),
            decided: Vec::new(),
            asked: None,
            beat_at_ms: 0,
            paused_until_ms: 0,
            version: 0,
            late_commit: None,
        }
    }

    /// It is no member any more, and joins as another.
    pub(super) fn begin_anew(&mut self) {
        self.id.clear();
        self.generation = -1;
        self.rejoin();
    }

    /// It lets go of all, and joins again under its id.
    fn rejoin(&mut self) {
        self.assigned.clear();
        self.decided.clear();
        self.doing = Doing::Joining;
        self.asked = None;
    }

    pub(super) fn speaker(&self) -> Speaker {
        Speaker {
            instance_id: self.instance_id.clone(),
            ..speaker(&self.id, self.generation)
        }
    }

    /// What it says next, once it waits for nothing.
    pub(super) fn ask(&self, ticket: u64, new_id: String) -> Ask {
        let own = format!("{}/{}", self.name, self.version);
        let mut protocols = vec![protocol("y", &own)];
        if self.version.is_multiple_of(2) {
            protocols.insert(0, protocol("x", &own));
        }
        match self.doing {
            Doing::Joining => Ask::Join(Box::new(Join {
                ticket,
                session: self.session,
                member_id: self.id.clone(),
                new_id: MemberId::from(new_id),
                must_know_id: self.name != 0,
                can_skip_assignment: self.name.is_multiple_of(3),
                instance_id: self.instance_id.clone(),
                session_timeout: ms(SESSION_MS),
                rebalance_timeout: ms(REBALANCE_MS),
                protocols,
                ..new("")
            })),
            Doing::Syncing => Ask::Sync(Box::new(Sync {
                ticket,
                session: self.session,
                speaker: self.speaker(),
                assignments: self.decided.clone(),
                ..sync("", 0, &[])
            })),
            Doing::Reading => Ask::Beat(self.speaker()),
        }
    }

    pub(super) fn joined(&mut self, joined: &Result<Joined>) {
        match joined {
            Ok(Joined::IdRequired(id)) => self.id = id.to_string(),
            Ok(Joined::Generation(told)) => {
                self.id = told.member_id.to_string();
                self.generation = told.generation;
                self.doing = Doing::Syncing;
                let leads = told.leader == told.member_id && !told.skip_assignment;
                self.decided = if leads {
                    share_out(&told.members)
                } else {
                    Vec::new()
                };
            }
            Err(error) => self.refused(error.code()),
        }
    }

    pub(super) fn synced(&mut self, synced: &Result<Synced>, now_ms: u64) {
        match synced {
            Ok(synced) => {
                self.assigned = synced.assignment.iter().copied().collect();
                self.doing = Doing::Reading;
                self.beat_at_ms = now_ms + BEAT_MS;
            }
            Err(error) => self.refused(error.code()),
        }
    }

    pub(super) fn beaten(&mut self, result: &Result<()>, now_ms: u64) {
        self.beat_at_ms = now_ms + BEAT_MS;
        if let Err(error) = result {
            self.refused(error.code());
        }
    }

    fn refused(&mut self, code: ErrorCode) {
        match code {
            ErrorCode::UnknownMemberId => self.begin_anew(),
            // Another process has its name: this one ends.
            ErrorCode::FencedInstanceId => {
                self.begin_anew();
                self.is_running = false;
            }
            _ => self.rejoin(),
        }
    }
}

/// One partition after the other to one member after the other.
fn share_out(members: &[Joiner]) -> Vec<(MemberId, Bytes)> {
    let shares = members.iter().enumerate().map(|(place, member)| {
        let own = (0..PARTITIONS).filter(|it| usize::from(*it) % members.len() == place);
        (
            MemberId::clone(&member.member_id),
            own.collect::<Vec<u8>>().into(),
        )
    });
    shares.collect()
}
