//! What the tests of classic groups share: a coordinator, a clock, a log that can be told to wait.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::*;
use crate::engine::group::{Coordinator, GroupState, GroupView};
use crate::error::{Error, ErrorCode};

mod commits;
mod instances;
mod joining;
mod kinds;
mod limits;
mod recovery;
mod simulation;
mod syncing;

const GROUP: &str = "g";

struct Stage {
    coordinator: Coordinator,
    now: Instant,
    next_ticket: u64,
    /// What the log has: the generation, and the members as it lists them.
    log: (i32, Vec<MemberId>),
    /// Whether what is to be persisted is, at once.
    is_log_prompt: bool,
    unpersisted: Option<(u64, i32, Vec<MemberId>)>,
    joined: BTreeMap<u64, Result<Joined>>,
    synced: BTreeMap<u64, Result<Synced>>,
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn code<T: std::fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code()
}

fn protocol(name: &str, metadata: &str) -> Protocol {
    Protocol {
        name: Arc::from(name),
        metadata: Bytes::copy_from_slice(metadata.as_bytes()),
    }
}

/// A join of one that gets an id at once, and tells who it is in its metadata.
fn new(name: &str) -> Join {
    Join {
        ticket: 0,
        session: 1,
        group: GROUP.to_owned(),
        member_id: String::new(),
        new_id: MemberId::from(name),
        must_know_id: false,
        can_skip_assignment: false,
        instance_id: None,
        client_name: "test".to_owned(),
        host: String::new(),
        session_timeout: ms(10_000),
        rebalance_timeout: ms(60_000),
        protocol_type: Arc::from("consumer"),
        protocols: vec![protocol("range", name)],
    }
}

/// A join of a member again.
fn again(name: &str) -> Join {
    Join {
        member_id: name.to_owned(),
        new_id: MemberId::from("never"),
        ..new(name)
    }
}

/// A join of a static member that says it is new.
fn instance(name: &str, instance: &str) -> Join {
    Join {
        instance_id: Some(Arc::from(instance)),
        ..new(name)
    }
}

fn speaker(name: &str, generation: i32) -> Speaker {
    Speaker {
        group: GROUP.to_owned(),
        member_id: MemberId::from(name),
        instance_id: None,
        generation,
    }
}

fn sync(name: &str, generation: i32, assignments: &[(&str, &str)]) -> Sync {
    let assignments = assignments.iter();
    Sync {
        ticket: 0,
        session: 1,
        speaker: speaker(name, generation),
        protocol_type: None,
        protocol: None,
        assignments: assignments
            .map(|(id, what)| (MemberId::from(*id), Bytes::copy_from_slice(what.as_bytes())))
            .collect(),
    }
}

impl Stage {
    fn new() -> Self {
        Self {
            coordinator: Coordinator::default(),
            now: Instant::now(),
            next_ticket: 1,
            log: (0, Vec::new()),
            is_log_prompt: true,
            unpersisted: None,
            joined: BTreeMap::new(),
            synced: BTreeMap::new(),
        }
    }

    /// A group of these members, stable in its first generation, each assigned its own name.
    fn stable(names: &[&str]) -> Self {
        let mut stage = Self::new();
        for name in names {
            stage.join(new(name));
        }
        stage.pass(ms(1_000));
        stage.settle(names);
        stage
    }

    /// All take up the generation they were told.
    fn settle(&mut self, names: &[&str]) {
        let generation = self.view().generation;
        let assignments: Vec<_> = names.iter().map(|name| (*name, *name)).collect();
        for name in names {
            self.sync(sync(name, generation, &assignments));
        }
        self.joined.clear();
        self.synced.clear();
        assert_eq!(self.view().state, GroupState::Stable);
    }

    fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    fn join(&mut self, join: Join) -> u64 {
        let ticket = self.ticket();
        let join = Join { ticket, ..join };
        let outputs = self.coordinator.join(self.now, &join, self.log.0);
        self.take(outputs);
        ticket
    }

    fn sync(&mut self, sync: Sync) -> u64 {
        let ticket = self.ticket();
        let sync = Sync { ticket, ..sync };
        let outputs = self.coordinator.sync(self.now, &sync);
        self.take(outputs);
        ticket
    }

    fn beat(&mut self, name: &str, generation: i32) -> Result<()> {
        self.coordinator.beat(self.now, &speaker(name, generation))
    }

    fn leave(&mut self, leavers: &[(&str, Option<&str>)]) -> Vec<Result<()>> {
        let leavers = leavers.iter().map(|(id, instance)| Leaver {
            member_id: (*id).to_owned(),
            instance_id: instance.map(Arc::from),
        });
        let leave = Leave {
            session: 1,
            group: GROUP.to_owned(),
            members: leavers.collect(),
        };
        let (results, outputs) = self.coordinator.leave(self.now, &leave);
        self.take(outputs);
        results
    }

    fn commit(&self, name: &str, generation: i32) -> Result<()> {
        self.coordinator
            .check_classic_commit(&speaker(name, generation))
    }

    /// The generation that one who joined was told.
    fn told(&mut self, ticket: u64) -> Generation {
        match self.joined.remove(&ticket) {
            Some(Ok(Joined::Generation(generation))) => generation,
            other => panic!("{other:?}"),
        }
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Joined { ticket, result } => {
                    assert!(self.joined.insert(ticket, result).is_none(), "twice");
                }
                Output::Synced { ticket, result } => {
                    assert!(self.synced.insert(ticket, result).is_none(), "twice");
                }
                Output::Persist {
                    write,
                    generation,
                    members,
                    ..
                } => {
                    assert!(self.unpersisted.is_none(), "one at a time");
                    self.unpersisted = Some((write, generation, members));
                }
                Output::Answer { .. } => unreachable!("{output:?}"),
            }
        }
        if self.is_log_prompt {
            self.persist(Ok(()));
        }
    }

    fn persist(&mut self, result: Result<()>) {
        if let Some((write, generation, members)) = self.unpersisted.take() {
            if result.is_ok() {
                self.log = (generation, members);
            }
            let outputs = self.coordinator.persisted(self.now, GROUP, write, result);
            self.take(outputs);
        }
    }

    /// Lets time pass, with everything that falls due meanwhile at its moment.
    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(at) = self.coordinator.next_wakeup().filter(|at| *at <= end) {
            self.now = self.now.max(at);
            let outputs = self.coordinator.advance(self.now);
            self.take(outputs);
        }
        self.now = end;
    }

    fn end_session(&mut self, session: u64) {
        let outputs = self.coordinator.session_ended(self.now, session);
        self.take(outputs);
    }

    fn restart(&mut self) {
        self.coordinator = Coordinator::default();
        self.unpersisted = None;
        self.joined.clear();
        self.synced.clear();
        let (generation, members) = self.log.clone();
        self.coordinator
            .recover(self.now, GROUP, generation, &members);
    }

    fn view(&self) -> GroupView {
        self.coordinator.describe(GROUP).expect("it has members")
    }

    fn ids(&self) -> Vec<String> {
        let members = self.view().members.into_iter();
        members.map(|member| member.id.to_string()).collect()
    }

    /// Keeps members alive for a while.
    fn pass_with_beats(&mut self, time: Duration, names: &[&str], generation: i32) {
        let end = self.now + time;
        while self.now < end {
            self.pass(ms(1_000).min(end - self.now));
            for name in names {
                let _ = self.beat(name, generation);
            }
        }
    }
}

fn failed() -> Result<()> {
    Err(Error::new(ErrorCode::DiskFull, "full"))
}
