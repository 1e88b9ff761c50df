//! What was sent, answered and read beside, and whether it may be so.
//!
//! - What is acknowledged is at its offset, once, in order and without gaps, unless it was deleted or, at `os`, lost
//!   with the power (`os.rs`); what was reported as not written is not there.
//! - Who reads without a group has seen in the end what is there, and was told of all else (`view.rs`); of all that is
//!   there in the end a member has processed each record.
//! - Who passes records over has been told to by a deletion (`deletion.rs`); of a topic that was deleted nothing
//!   counts for the one that has its name.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::super::history::{End, History};
use super::Kind;
use super::clients::MADE_MS;
use super::deletion::Deleted;
use super::view::View;
use crate::client::RecordMetadata;
use crate::error::{Error, ErrorCode, Outcome};
use crate::ids::Durability;

/// A partition of one of the two topics that may have the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) partition: i32,
    /// Whether it is of the second.
    pub(super) is_new: bool,
}

/// What a partition holds in the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) start: i64,
    pub(super) end: i64,
    /// Offset, number, and whether it is of the second topic of the name.
    pub(super) records: Vec<(i64, u64, bool)>,
}

/// A place in the order of what happens, and how often the power was cut before.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) tick: u64,
    pub(super) cuts: u64,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) partition: i32,
    pub(super) invoked: Moment,
    pub(super) end: Option<Ended>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) at: Moment,
    pub(super) end: End,
    /// Of what is acknowledged: whether by the second topic of the name, and whether at `disk`.
    is_new: bool,
    is_on_disk: bool,
    /// Whether its producer was told that it has lost records.
    pub(super) is_truncated: bool,
}

#[derive(Debug, Default)]
pub(super) struct State {
    now: u64,
    pub(super) sent: Vec<Sent>,
    read: BTreeMap<(Place, i64), u64>,
    pub(super) view: View,
    /// Of each partition how far the group's members were given it.
    delivered: BTreeMap<Place, i64>,
    processed: BTreeSet<(Place, i64, u64)>,
    pub(super) deleted: Deleted,
    pub(super) found: Option<Vec<Found>>,
    failures: usize,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Ledger {
    pub(super) kind: Kind,
    history: Arc<History>,
    state: Mutex<State>,
}

impl Ledger {
    pub(super) fn new(kind: Kind, history: &Arc<History>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            history: Arc::clone(history),
            state: Mutex::default(),
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn cuts(&self) -> u64 {
        self.history.cuts()
    }

    /// Something is not as it should be.
    pub(super) fn fail(&self, what: String) {
        let mut state = self.state();
        state.failures += 1;
        if state.failures <= 8 {
            drop(state);
            self.history
                .fail(format!("beside, {:?}: {what}", self.kind));
        }
    }

    pub(super) fn fail_all(&self, what: Vec<String>) {
        what.into_iter().for_each(|what| self.fail(what));
    }

    fn moment(&self, state: &mut State) -> Moment {
        state.now += 1;
        Moment {
            tick: state.now,
            cuts: self.cuts(),
        }
    }

    /// A record is about to be sent; its number.
    pub(super) fn invoke(&self, partition: i32) -> u64 {
        let mut state = self.state();
        let invoked = self.moment(&mut state);
        state.sent.push(Sent {
            partition,
            invoked,
            end: None,
        });
        state.sent.len() as u64 - 1
    }

    /// What became of it.
    pub(super) fn ended(&self, number: u64, result: &Result<RecordMetadata, Error>) {
        let mut state = self.state();
        let at = self.moment(&mut state);
        let ended = |end| Ended {
            at,
            end,
            is_new: false,
            is_on_disk: false,
            is_truncated: false,
        };
        let ended = match result {
            Ok(it) => Ended {
                is_new: it.timestamp_ms != MADE_MS,
                is_on_disk: it.durability >= Durability::Disk,
                ..ended(End::Acknowledged(it.offset))
            },
            Err(error) => Ended {
                is_truncated: error.code() == ErrorCode::LogTruncated,
                ..ended(match error.outcome() {
                    Outcome::NotDone => End::NotDone,
                    _ => End::Unknown,
                })
            },
        };
        state.sent[number as usize].end = Some(ended);
    }

    /// Records that nobody has said anything of yet.
    pub(super) fn open_count(&self) -> usize {
        let state = self.state();
        state.sent.iter().filter(|sent| sent.end.is_none()).count()
    }

    pub(super) fn found(&self) -> Option<Vec<Found>> {
        self.state().found.clone()
    }

    /// Somebody was given a record.
    pub(super) fn seen(&self, place: Place, offset: i64, number: u64) {
        let cuts = self.cuts();
        let mut state = self.state();
        let known = state.read.insert((place, offset), number);
        let invoked_at = |number: u64| state.sent.get(number as usize).map(|it| it.invoked.cuts);
        let Some(last) = invoked_at(number) else {
            drop(state);
            return self.fail(format!(
                "{place:?} holds record {number}, which nobody sent"
            ));
        };
        let Some(known) = known.filter(|known| *known != number) else {
            return;
        };
        // One of the two was there before the power was cut.
        let first = invoked_at(known).map_or(last, |known| known.min(last));
        let may_differ = self.kind.is_truncated() && first < cuts;
        drop(state);
        if !may_differ {
            self.fail(format!(
                "{place:?}: record {known} was read at {offset}, and then record {number}"
            ));
        }
    }

    /// A member of the group was given a record.
    pub(super) fn deliver(&self, place: Place, offset: i64, number: u64) {
        self.seen(place, offset, number);
        let mut state = self.state();
        let expected = state.delivered.get(&place).copied().unwrap_or(0);
        let next = expected.max(offset + 1);
        state.delivered.insert(place, next);
        // What was lost with the power comes again, at other offsets, and who has not heard yet that its topic is another
        // goes on in that for a while, which counts for nothing: what does is what is processed in the end.
        let may_pass_over =
            self.kind.is_truncated() || place.is_new || state.deleted.is_start(place, offset);
        drop(state);
        if offset > expected && !may_pass_over {
            self.fail(format!(
                "a member was given offset {offset} of {place:?} when nobody had offset {expected}"
            ));
        }
    }

    /// Its host has passed it.
    pub(super) fn process(&self, place: Place, offset: i64, number: u64) {
        let mut state = self.state();
        state.processed.insert((place, offset, number));
    }

    /// How far members have processed it; where records may be lost or deleted, at most.
    pub(super) fn frontier(&self, place: Place) -> i64 {
        let state = self.state();
        let first = (place, i64::MIN, 0);
        let offsets = state
            .processed
            .range(first..)
            .map(|(at, offset, _)| (at, *offset));
        let offsets = offsets.take_while(|(at, _)| **at == place).map(|it| it.1);
        if self.kind != Kind::Topic {
            return offsets.last().map_or(0, |last| last + 1);
        }
        offsets.fold(
            0,
            |next, offset| if offset == next { next + 1 } else { next },
        )
    }

    /// Looks at all that is there in the end.
    pub(super) fn check(&self, found: Vec<Found>) {
        let mut state = self.state();
        let is_new = state.deleted.is_topic;
        let mut failures = Vec::new();
        let mut places = BTreeMap::new();
        for (partition, found) in (0..).zip(&found) {
            failures.extend(state.check_partition(partition, found, is_new, &mut places));
        }
        let mut lost = Vec::new();
        for (number, sent) in (0..).zip(&state.sent) {
            let Some(ended) = &sent.end else { continue };
            let End::Acknowledged(offset) = ended.end else {
                continue;
            };
            let place = places.get(&number).copied();
            let start = found[sent.partition as usize].start;
            if ended.is_new != is_new {
                if let Some(place) = place {
                    failures.push(format!(
                        "record {number} was acknowledged by a topic that is deleted, and is at {place} of \
                         partition {} of the one that has its name",
                        sent.partition
                    ));
                }
            } else if place == Some(offset) || (place.is_none() && offset < start) {
                // It is there, or is deleted.
            } else if place.is_none() && !ended.is_on_disk && self.cuts() > sent.invoked.cuts {
                lost.push(number);
            } else {
                failures.push(format!(
                    "record {number} was acknowledged at {offset} of partition {} and is at {place:?}",
                    sent.partition
                ));
            }
        }
        failures.extend(state.check_lost(&lost, |number| places.contains_key(&number)));
        state.found = Some(found);
        drop(state);
        self.fail_all(failures);
    }

    /// Whether those who read are where they are to be in the end.
    pub(super) fn is_all_read(&self, is_followed: bool, has_members: bool) -> bool {
        let state = self.state();
        let Some(found) = &state.found else {
            return false;
        };
        let is_followed_up = !is_followed || state.view.is_at(found);
        is_followed_up && (!has_members || state.unprocessed(found).is_none())
    }

    /// The words for what is left to do.
    pub(super) fn standing(&self) -> String {
        let state = self.state();
        let found = state.found.as_deref().unwrap_or_default();
        let ends: Vec<_> = found.iter().map(|it| (it.start, it.end)).collect();
        format!(
            "{} records are open, the log has {ends:?}, the follower {}, not processed is {:?}",
            state.sent.iter().filter(|it| it.end.is_none()).count(),
            state.view,
            state.unprocessed(found)
        )
    }

    /// What is read once stays, and what was told is what was seen.
    pub(super) fn check_views(&self) {
        let state = self.state();
        let Some(found) = &state.found else { return };
        let mut failures = match self.kind.followers() {
            0 => Vec::new(),
            _ => state.view.check(self.kind, found, &state.deleted),
        };
        if !self.kind.is_truncated() {
            let is_new = state.deleted.is_topic;
            for ((place, offset), number) in &state.read {
                let found = &found[place.partition as usize];
                let is_there = found.records.contains(&(*offset, *number, place.is_new));
                if place.is_new == is_new && *offset >= found.start && !is_there {
                    failures.push(format!(
                        "record {number} was read at {offset} of {place:?} and is not there"
                    ));
                }
            }
        }
        drop(state);
        self.fail_all(failures);
    }
}

impl State {
    /// What a partition holds, as far as it can be said of it alone; notes where each record is.
    fn check_partition(
        &self,
        partition: i32,
        found: &Found,
        is_new: bool,
        places: &mut BTreeMap<u64, i64>,
    ) -> Vec<String> {
        let mut failures = Vec::new();
        let offsets: Vec<_> = found.records.iter().map(|(offset, ..)| *offset).collect();
        if offsets != (found.start..found.end).collect::<Vec<_>>() {
            failures.push(format!(
                "partition {partition} goes from {} to {} and holds {offsets:?}",
                found.start, found.end
            ));
        }
        let start = Place { partition, is_new };
        if found.start != 0 && !self.deleted.is_start(start, found.start) {
            failures.push(format!(
                "partition {partition} begins at {}, as nobody asked",
                found.start
            ));
        }
        let (mut before, mut first_end) = (u64::MAX, u64::MAX);
        for (offset, number, is_record_new) in found.records.iter().rev() {
            let at = format!("record {number} at {offset} of partition {partition}");
            let Some(sent) = self.sent.get(*number as usize) else {
                failures.push(format!("{at}: nobody sent it"));
                continue;
            };
            if sent.partition != partition || *is_record_new != is_new {
                failures.push(format!("{at} is one of another partition, or topic"));
            }
            if let Some(other) = places.insert(*number, *offset) {
                failures.push(format!("{at} is at {other} too"));
            }
            // Each partition has one producer, which numbers what it sends.
            if before < *number {
                failures.push(format!("{at} comes before record {before}"));
            }
            before = *number;
            if sent.invoked.tick > first_end {
                failures.push(format!(
                    "{at} was sent after one behind it was acknowledged"
                ));
            }
            match &sent.end {
                Some(it) if it.end == End::NotDone => {
                    failures.push(format!("{at} was reported as not written"));
                }
                Some(it) if matches!(it.end, End::Acknowledged(_)) => {
                    first_end = first_end.min(it.at.tick);
                }
                _ => {}
            }
        }
        failures
    }

    /// A record that is there and that no member has processed as it is.
    fn unprocessed(&self, found: &[Found]) -> Option<(Place, i64, u64)> {
        let all = (0..).zip(found).flat_map(|(partition, found)| {
            let records = found.records.iter();
            records.map(move |(offset, number, is_new)| {
                let place = Place {
                    partition,
                    is_new: *is_new,
                };
                (place, *offset, *number)
            })
        });
        let mut left =
            all.filter(|(place, offset, _)| !self.deleted.may_be_gone(place.partition, *offset));
        left.find(|it| !self.processed.contains(it))
    }
}
