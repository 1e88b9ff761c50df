//! What the tests of the coordinator share: one group, a clock, a log that can be told to wait.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::error::ErrorCode;

mod commits;
mod membership;
mod recovery;
mod sharing;
mod simulation;
mod static_members;

const GROUP: &str = "g";

/// A coordinator with one group, at a time of its own.
struct Stage {
    coordinator: Coordinator,
    now: Instant,
    next_ticket: u64,
    /// What the log has: the generation and who can come back.
    log: (i32, Vec<MemberId>),
    /// Whether what is to be persisted is, at once.
    is_log_prompt: bool,
    unpersisted: Option<(i32, Vec<MemberId>)>,
    write: u64,
    answers: BTreeMap<u64, Result<Assigned>>,
}

fn topic(name: &str) -> Arc<str> {
    Arc::from(name)
}

fn partition(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: Arc::from(topic),
        partition,
    }
}

fn partitions(topic: &str, numbers: impl IntoIterator<Item = i32>) -> BTreeSet<TopicPartition> {
    numbers
        .into_iter()
        .map(|number| partition(topic, number))
        .collect()
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A heartbeat with the defaults of the options' table.
fn heartbeat(member: &str, generation: i32) -> Heartbeat {
    Heartbeat {
        ticket: 0,
        session: 1,
        lifetime: Lifetime::Own,
        group: GROUP.to_owned(),
        member_id: member.into(),
        generation,
        instance_id: None,
        client_name: "test".to_owned(),
        host: String::new(),
        topics: BTreeSet::from([topic("t")]),
        assignor: Assignor::Sticky,
        session_timeout: ms(45_000),
        rebalance_timeout: ms(60_000),
        heartbeat: ms(3_000),
        owned: BTreeSet::new(),
    }
}

/// The same, of a member that holds partitions of `t`.
fn owning(member: &str, generation: i32, numbers: impl IntoIterator<Item = i32>) -> Heartbeat {
    Heartbeat {
        owned: partitions("t", numbers),
        ..heartbeat(member, generation)
    }
}

impl Stage {
    /// A topic `t` of so many partitions.
    fn new(count: i32) -> Self {
        let mut stage = Self {
            coordinator: Coordinator::default(),
            now: Instant::now(),
            next_ticket: 1,
            log: (0, Vec::new()),
            is_log_prompt: true,
            unpersisted: None,
            write: 0,
            answers: BTreeMap::new(),
        };
        stage.set_topic("t", Some(count));
        stage
    }

    fn set_topic(&mut self, name: &str, count: Option<i32>) {
        let outputs = self
            .coordinator
            .topic_changed(self.now, &topic(name), count);
        self.take(outputs);
    }

    /// Sends a heartbeat and returns its ticket.
    fn send(&mut self, heartbeat: Heartbeat) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let heartbeat = Heartbeat {
            ticket,
            ..heartbeat
        };
        let outputs = self.coordinator.heartbeat(self.now, &heartbeat, self.log.0);
        self.take(outputs);
        ticket
    }

    /// Sends a heartbeat that is answered at once.
    fn ask(&mut self, heartbeat: Heartbeat) -> Result<Assigned> {
        let ticket = self.send(heartbeat);
        self.answer(ticket).expect("it is answered at once")
    }

    fn answer(&mut self, ticket: u64) -> Option<Result<Assigned>> {
        self.answers.remove(&ticket)
    }

    fn take(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Answer { ticket, result } => {
                    let earlier = self.answers.insert(ticket, result);
                    assert!(earlier.is_none(), "ticket {ticket} is answered twice");
                }
                Output::Joined { .. } | Output::Synced { .. } => unreachable!("{output:?}"),
                Output::Persist {
                    write,
                    generation,
                    members,
                    ..
                } => {
                    self.write = write;
                    assert!(self.unpersisted.is_none(), "one at a time");
                    self.unpersisted = Some((generation, members));
                }
            }
        }
        if self.is_log_prompt {
            self.persist();
        }
    }

    fn persist(&mut self) {
        if let Some(written) = self.unpersisted.take() {
            self.log = written;
            let outputs = self
                .coordinator
                .persisted(self.now, GROUP, self.write, Ok(()));
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

    /// The broker is killed and starts again: all is gone but the log and the topics.
    fn restart(&mut self, count: i32) {
        self.restart_with(Some(count), None);
    }

    /// The same when the topic is gone, or the log may have lost records of one.
    fn restart_with(&mut self, count: Option<i32>, doubted: Option<&str>) {
        self.coordinator = Coordinator::default();
        self.coordinator.doubt(doubted.map(topic));
        self.unpersisted = None;
        self.answers.clear();
        self.set_topic("t", count);
        let (generation, members) = self.log.clone();
        let outputs = self
            .coordinator
            .recover(self.now, GROUP, generation, &members);
        self.take(outputs);
    }

    fn view(&self) -> GroupView {
        self.coordinator
            .describe(GROUP)
            .expect("the group has members")
    }

    fn commit(&self, member: Option<(&str, i32)>, numbers: &[i32]) -> Result<()> {
        let partitions = partitions("t", numbers.iter().copied());
        self.coordinator
            .check_commit(self.now, GROUP, member, &partitions)
    }
}

fn numbers(assigned: &Assigned) -> Vec<i32> {
    assigned
        .partitions
        .iter()
        .map(|found| found.partition)
        .collect()
}

fn code(result: Result<impl std::fmt::Debug>) -> ErrorCode {
    result.unwrap_err().code()
}
