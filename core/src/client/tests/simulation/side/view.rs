//! What somebody has seen who reads without a group, from the beginning: in the end what is there, and of what was
//! left out or taken back it was told as much.

use std::collections::BTreeMap;
use std::fmt;

use super::Kind;
use super::deletion::Deleted;
use super::ledger::{Found, Ledger, Place};
use crate::client::Metrics;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct View {
    /// By partition, what comes next.
    next: BTreeMap<i32, i64>,
    seen: BTreeMap<(i32, i64), u64>,
    /// Offsets gone back over, and passed over.
    back: u64,
    over: u64,
    /// Passed over before the first record: where it began, the log may have begun there already.
    before: u64,
    told: Told,
}

/// What the client has counted.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    truncations: u64,
    truncated: u64,
    resets: u64,
    skipped: u64,
}

impl From<&Metrics> for Told {
    fn from(metrics: &Metrics) -> Self {
        Self {
            truncations: metrics.log_truncations,
            truncated: metrics.records_truncated,
            resets: metrics.offset_resets,
            skipped: metrics.records_skipped,
        }
    }
}

impl Ledger {
    /// Somebody begins to read, with a client that has counted nothing yet.
    pub(super) fn view_begins(&self) {
        self.state().view = View::default();
    }

    /// What the client has counted by now.
    pub(super) fn view_told(&self, metrics: &Metrics) {
        self.state().view.told = metrics.into();
    }

    /// A record was read; the client has counted this before.
    pub(super) fn view(&self, place: Place, offset: i64, number: u64, metrics: &Metrics) {
        self.seen(place, offset, number);
        let partition = place.partition;
        let mut state = self.state();
        let is_start = state.deleted.is_start(place, offset);
        let view = &mut state.view;
        view.told = metrics.into();
        let known = view.next.insert(partition, offset + 1);
        let expected = known.unwrap_or(0);
        let mut failure = None;
        if offset < expected {
            view.back += expected.abs_diff(offset);
            let behind = view.seen.range((partition, offset)..(partition + 1, 0));
            let behind: Vec<_> = behind.map(|(place, _)| *place).collect();
            for place in behind {
                view.seen.remove(&place);
            }
            if view.told.truncated < view.back {
                failure = Some("went back, and was not told so");
            }
        }
        if offset > expected {
            match known {
                Some(_) => view.over += offset.abs_diff(expected),
                None => view.before += offset.abs_diff(expected),
            }
            if !is_start {
                failure = Some("passed records over that nobody deleted");
            } else if view.told.skipped < view.over {
                failure = Some("passed records over, and was not told so");
            }
        }
        view.seen.insert((partition, offset), number);
        let told = view.told;
        drop(state);
        if let Some(failure) = failure {
            self.fail(format!(
                "a reader of {place:?} {failure}, from {expected} to {offset}: {told:?}"
            ));
        }
    }
}

impl View {
    fn next(&self, partition: i32) -> i64 {
        self.next.get(&partition).copied().unwrap_or(0)
    }

    /// Offsets that it is still to go back, and on, without that there is a record; of partitions of which it has read
    /// nothing, those that it may have to.
    fn left(&self, found: &[Found]) -> (u64, u64, u64) {
        let places = (0..).zip(found);
        let mut left = (0, 0, 0);
        for (partition, found) in places {
            let next = self.next(partition);
            left.0 += next.saturating_sub(found.end).max(0) as u64;
            let on = found.end.saturating_sub(next).max(0) as u64;
            match self.next.contains_key(&partition) {
                true => left.1 += on,
                false => left.2 += on,
            }
        }
        left
    }

    /// Whether nothing is left to be read, and all was told.
    pub(super) fn is_at(&self, found: &[Found]) -> bool {
        let (back, on, _) = self.left(found);
        let is_read = |(partition, found): (i32, &Found)| {
            self.next(partition) >= found.end || found.records.is_empty()
        };
        (0..).zip(found).all(is_read)
            && self.told.truncated >= self.back + back
            && self.told.skipped >= self.over + on
    }

    /// In the end: what it has seen is what is there, and it was told of all else.
    pub(super) fn check(&self, kind: Kind, found: &[Found], deleted: &Deleted) -> Vec<String> {
        let mut failures = Vec::new();
        for (partition, found) in (0..).zip(found) {
            let there: BTreeMap<_, _> = found.records.iter().map(|it| (it.0, it.1)).collect();
            let seen = self
                .seen
                .range((partition, found.start)..(partition, found.end));
            for ((_, offset), number) in seen {
                if there.get(offset) != Some(number) {
                    failures.push(format!(
                        "a reader of partition {partition} has seen record {number} at {offset}, where {:?} is, \
                         and was not told",
                        there.get(offset)
                    ));
                }
            }
            let missing = there.keys().find(|offset| {
                let is_seen = self.seen.contains_key(&(partition, **offset));
                // What was asked to be deleted may have been gone until the power was cut.
                !is_seen && !deleted.may_be_gone(partition, **offset)
            });
            if let Some(offset) = missing {
                failures.push(format!(
                    "a reader of partition {partition} has not seen offset {offset}"
                ));
            }
        }
        let (back, on, before) = self.left(found);
        let (back, on) = (self.back + back, self.over + on);
        let told = self.told;
        let is_told = told.truncated == back
            && (on..=on + before + self.before).contains(&told.skipped)
            && (told.truncations > 0) == (back > 0)
            && (told.resets > 0) == (told.skipped > 0);
        let may_be = kind.is_truncated() || back == 0;
        if !is_told || !may_be {
            failures.push(format!(
                "a reader was told {told:?}, and went {back} back and {on} on"
            ));
        }
        failures
    }
}

impl fmt::Display for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            next,
            back,
            over,
            told,
            ..
        } = self;
        write!(
            f,
            "is at {next:?}, {back} back and {over} over, told {told:?}"
        )
    }
}
