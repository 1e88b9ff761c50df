//! What was asked, answered and read, and whether it may be so.

mod classic;
mod native;
mod processing;
mod results;
mod statics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::parts::Parts;
use super::processing::LETTERS;
use crate::error::{Error, Outcome};
use crate::protocol::request::{PartitionOffset, Request};
use crate::protocol::response::Response;

pub use self::classic::CommitAsked;
use self::classic::{Classic, Open};
use self::processing::{Handled, Letter};
pub(super) use self::processing::{Run, number_of};
use self::results::Billed;
use self::statics::Names;

/// What became of a record that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It is in the log, at this offset.
    Acknowledged(i64),
    /// It is not in the log, and never will be.
    NotDone,
    /// It may be.
    Unknown,
}

#[derive(Debug)]
struct Sent {
    producer: usize,
    partition: i32,
    invoked_at: u64,
    end: Option<(u64, End)>,
}

/// What a group did with a partition.
#[derive(Debug, Default)]
struct Progress {
    /// Of each offset whether a host has passed it; up to `frontier` all were.
    processed: BTreeSet<i64>,
    frontier: i64,
    /// One behind the last record that was handed out; none was left out before it.
    delivered: i64,
    /// The last that was seen in the log.
    committed: i64,
    /// What a commit was acknowledged for.
    acknowledged: i64,
    /// Who holds it, as of which generation.
    holder: Option<(i32, String)>,
    /// Commits of classic members that may have been done, and may be done yet.
    open: Vec<Open>,
    /// The generation in which the last commit counted or was read.
    fence: i32,
}

impl Progress {
    /// Whether this is what a commit asked for of which nobody knows what became.
    fn is_explained(&self, committed: i64) -> bool {
        self.open.iter().any(|it| it.offset == committed)
    }
}

#[derive(Debug, Default)]
struct State {
    /// Counts what happens, for what was before what.
    now: u64,
    sent: Vec<Sent>,
    read: BTreeMap<(i32, i64), u64>,
    groups: BTreeMap<(&'static str, i32), Progress>,
    grants: BTreeMap<(&'static str, i32, i32), String>,
    classics: BTreeMap<&'static str, Classic>,
    /// How often the power was lost.
    cuts: u64,
    handled: Handled,
    billed: Billed,
    names: Names,
    failures: Vec<String>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History(Mutex<State>);

/// What was known when something was asked for.
#[derive(Default)]
pub(super) struct Asked {
    /// The group that it is about.
    group: Option<&'static str>,
    /// Of which partitions another holds a later generation.
    late: Vec<(i32, i32, String)>,
    /// Whether who asks has lost its name to another.
    is_fenced: bool,
    /// The dead letters that it brings.
    letters: Vec<Letter>,
}

impl History {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A record is about to be sent; its number.
    #[must_use]
    pub fn invoke(&self, producer: usize, partition: i32) -> u64 {
        let mut state = self.state();
        let invoked_at = state.tick();
        state.sent.push(Sent {
            producer,
            partition,
            invoked_at,
            end: None,
        });
        state.sent.len() as u64 - 1
    }

    /// What became of it.
    pub fn ended(&self, number: u64, end: End) {
        let mut state = self.state();
        let at = state.tick();
        state.sent[number as usize].end = Some((at, end));
    }

    /// The same as a native producer is told it.
    pub(super) fn end(&self, number: u64, result: &Result<(i32, i64), Error>) {
        let end = match result {
            Ok((_, offset)) => End::Acknowledged(*offset),
            Err(error) if error.outcome() == Outcome::NotDone => End::NotDone,
            Err(_) => End::Unknown,
        };
        self.ended(number, end);
        let mut state = self.state();
        let wanted = state.sent[number as usize].partition;
        if let Ok((partition, _)) = result
            && *partition != wanted
        {
            state.fail(format!(
                "record {number} for partition {wanted} went to {partition}"
            ));
        }
    }

    /// Records that nobody has said anything of yet.
    pub(super) fn open_count(&self) -> usize {
        let state = self.state();
        state.sent.iter().filter(|sent| sent.end.is_none()).count()
    }

    pub(super) fn acknowledged_count(&self) -> usize {
        let state = self.state();
        let ends = state.sent.iter().filter_map(|sent| sent.end);
        ends.filter(|(_, end)| matches!(end, End::Acknowledged(_)))
            .count()
    }

    /// Whether a record of this partition, at this offset or behind it, is acknowledged.
    #[must_use]
    pub fn is_acknowledged_from(&self, partition: i32, from: i64) -> bool {
        let state = self.state();
        let mut sent = state.sent.iter().filter(|it| it.partition == partition);
        sent.any(|it| matches!(it.end, Some((_, End::Acknowledged(offset))) if offset >= from))
    }

    /// A member of a group was given a record.
    pub fn deliver(&self, group: &'static str, partition: i32, offset: i64, number: u64) {
        let mut state = self.state();
        state.seen(partition, offset, number);
        let progress = state.groups.entry((group, partition)).or_default();
        let expected = progress.delivered;
        if offset > expected {
            state.fail(format!(
                "a member of `{group}` was given offset {offset} of partition {partition} when nobody had offset \
                 {expected}"
            ));
        } else if offset == expected {
            progress.delivered += 1;
        }
    }

    /// Its host has passed it.
    pub fn process(&self, group: &'static str, partition: i32, offset: i64) {
        self.state().processed(group, partition, offset);
    }

    pub(super) fn frontier(&self, group: &'static str, partition: i32) -> i64 {
        let state = self.state();
        let progress = state.groups.get(&(group, partition));
        progress.map_or(0, |it| it.frontier)
    }

    /// What was seen to be committed last.
    pub(super) fn committed(&self, group: &'static str, partition: i32) -> i64 {
        let state = self.state();
        let progress = state.groups.get(&(group, partition));
        progress.map_or(0, |it| it.committed)
    }

    /// The power was lost: what was not acknowledged may not be there any more.
    pub(super) fn lose(&self) {
        let mut state = self.state();
        state.cuts += 1;
        for progress in state.groups.values_mut() {
            progress.committed = progress.acknowledged;
        }
    }

    pub(super) fn cuts(&self) -> u64 {
        self.state().cuts
    }

    /// What the log says is committed.
    pub(super) fn commits(&self, group: &'static str, offsets: &[PartitionOffset]) {
        let mut state = self.state();
        let found: BTreeMap<i32, i64> =
            offsets.iter().map(|it| (it.partition, it.offset)).collect();
        let mut failures = Vec::new();
        for ((of, partition), progress) in &mut state.groups {
            if *of != group {
                continue;
            }
            let committed = found.get(partition).copied().unwrap_or(0);
            if progress.is_explained(committed) {
                progress.acknowledged = progress.acknowledged.min(committed);
            } else if committed < progress.committed {
                failures.push(format!(
                    "the committed offset of partition {partition} went back from {} to {committed}",
                    progress.committed
                ));
            }
            if committed < progress.acknowledged {
                failures.push(format!(
                    "offset {} of partition {partition} was committed and acknowledged, and {committed} is",
                    progress.acknowledged
                ));
            }
            if committed > progress.frontier {
                failures.push(format!(
                    "offset {committed} of partition {partition} is committed and only {} are processed",
                    progress.frontier
                ));
            }
            progress.committed = committed;
        }
        failures.into_iter().for_each(|failure| state.fail(failure));
    }

    /// A request comes to the broker.
    pub(super) fn ask(&self, request: &Request, payload: &Bytes) -> Asked {
        let state = self.state();
        match request {
            Request::CommitOffsets {
                group,
                member: Some(member),
                offsets,
            }
            | Request::ProduceAndCommit {
                group,
                member: Some(member),
                offsets,
                ..
            } => {
                let Some(group) = Parts::group_of(group) else {
                    return Asked::default();
                };
                Asked {
                    group: Some(group),
                    late: state.late(group, member, offsets),
                    is_fenced: state.is_fenced(group, &member.id),
                    ..Asked::default()
                }
            }
            Request::GroupHeartbeat(said) => {
                let group = Parts::group_of(&said.group);
                Asked {
                    group,
                    is_fenced: group.is_some_and(|it| state.is_fenced(it, &said.member_id)),
                    ..Asked::default()
                }
            }
            Request::Produce { topic, .. } if topic == LETTERS => Asked {
                letters: Letter::all(payload),
                ..Asked::default()
            },
            _ => Asked::default(),
        }
    }

    /// What the broker answers.
    pub(super) fn answer(
        &self,
        request: &Request,
        asked: &Asked,
        result: &Result<Response, Error>,
    ) {
        let mut state = self.state();
        match (request, result) {
            (
                Request::CommitOffsets {
                    member, offsets, ..
                }
                | Request::ProduceAndCommit {
                    member, offsets, ..
                },
                Ok(_),
            ) => state.commit(asked, member.as_ref(), offsets),
            (Request::GroupHeartbeat(said), Ok(Response::GroupHeartbeat(answer)))
                if answer.generation > 0 =>
            {
                state.grant(asked, said, answer);
            }
            (Request::Produce { .. }, Ok(_)) => state.bury(&asked.letters),
            _ => {}
        }
    }

    /// Something is not as it should be.
    pub fn fail(&self, what: String) {
        self.state().fail(what);
    }

    pub(super) fn failures(&self) -> Vec<String> {
        self.state().failures.clone()
    }

    /// Looks at all that a partition holds in the end: offsets and records.
    pub(super) fn check(&self, partition: i32, found: &[(i64, u64)]) {
        let mut state = self.state();
        let mut failures = Vec::new();
        let mut places = BTreeMap::new();
        let mut last_of = BTreeMap::new();
        for (place, (offset, number)) in found.iter().enumerate() {
            if *offset != place as i64 {
                failures.push(format!(
                    "partition {partition}: offset {offset} is at place {place}"
                ));
            }
            let Some(sent) = state.sent.get(*number as usize) else {
                failures.push(format!(
                    "partition {partition} holds record {number}, which nobody sent"
                ));
                continue;
            };
            if sent.partition != partition {
                failures.push(format!(
                    "partition {partition} holds record {number} of another"
                ));
            }
            if let Some(first) = places.insert(*number, *offset) {
                failures.push(format!(
                    "partition {partition} holds record {number} twice, at {first} and {offset}"
                ));
            }
            if let Some((_, End::NotDone)) = sent.end {
                failures.push(format!(
                    "partition {partition} holds record {number} at {offset}, which was reported as not written"
                ));
            }
            let before = last_of.insert(sent.producer, *number);
            if before.is_some_and(|before| before > *number) {
                failures.push(format!(
                    "partition {partition}: record {number} of producer {} at {offset} comes after {before:?}",
                    sent.producer
                ));
            }
        }
        let records = state.sent.iter().enumerate();
        for (number, sent) in records.filter(|(_, sent)| sent.partition == partition) {
            let place = places.get(&(number as u64));
            match sent.end {
                Some((_, End::Acknowledged(offset))) if place != Some(&offset) => {
                    failures.push(format!(
                        "partition {partition}: record {number} was acknowledged at {offset} and is at {place:?}"
                    ));
                }
                _ => {}
            }
        }
        failures.extend(state.times(partition, found));
        failures.into_iter().for_each(|failure| state.fail(failure));
    }
}

impl State {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn fail(&mut self, what: String) {
        // The first say it all.
        if self.failures.len() < 16 {
            self.failures.push(what);
        }
    }

    fn processed(&mut self, group: &'static str, partition: i32, offset: i64) {
        let progress = self.groups.entry((group, partition)).or_default();
        progress.processed.insert(offset);
        while progress.processed.contains(&progress.frontier) {
            progress.frontier += 1;
        }
    }

    /// What was sent after an acknowledgement comes after it, and what was read once stays.
    fn times(&self, partition: i32, found: &[(i64, u64)]) -> Vec<String> {
        let mut failures = Vec::new();
        let mut first_end = u64::MAX;
        for (offset, number) in found.iter().rev() {
            let Some(sent) = self.sent.get(*number as usize) else {
                continue;
            };
            if sent.invoked_at > first_end {
                failures.push(format!(
                    "partition {partition}: record {number} at {offset} was sent after one behind it was acknowledged"
                ));
            }
            if let Some((at, End::Acknowledged(_))) = sent.end {
                first_end = first_end.min(at);
            }
        }
        let stays: BTreeMap<i64, u64> = found.iter().copied().collect();
        for ((_, offset), number) in self.read.range((partition, 0)..(partition + 1, 0)) {
            if stays.get(offset) != Some(number) {
                failures.push(format!(
                    "partition {partition}: record {number} was read at {offset}, where now is {:?}",
                    stays.get(offset)
                ));
            }
        }
        failures
    }

    fn seen(&mut self, partition: i32, offset: i64, number: u64) {
        let known = *self.read.entry((partition, offset)).or_insert(number);
        if known != number {
            self.fail(format!(
                "partition {partition}: record {known} was read at {offset}, and then record {number}"
            ));
        }
    }
}
