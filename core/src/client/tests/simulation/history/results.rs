//! Results that were committed with the offsets that they are of: each is there exactly once, and none without them.

use std::collections::BTreeMap;

use super::{History, State};
use crate::client::tests::simulation::parts::Found;
use crate::client::tests::simulation::results::{BILLS, GROUP, Source, bill_count};
use crate::protocol::request::PartitionOffset;

/// A record's partition and offset, and which of its results.
type Name = (i32, i64, u32);

/// Where results are.
#[derive(Debug, Default)]
pub(super) struct Billed {
    /// As it was acknowledged: the partition and the offset.
    places: BTreeMap<Name, (i32, i64)>,
}

impl History {
    /// A result was acknowledged, here.
    pub(in super::super) fn billed(&self, source: Source, index: u32, place: (i32, i64)) {
        let mut state = self.state();
        let name = (source.0, source.1, index);
        let known = state.billed.places.insert(name, place);
        if let Some(known) = known {
            state.fail(format!(
                "result {name:?} was acknowledged twice, at {known:?} and {place:?}"
            ));
        }
    }

    /// A broker has opened its log: so much is committed, and there are so many results.
    pub(in super::super) fn opened_with(&self, committed: &[PartitionOffset], results: i64) {
        let mut state = self.state();
        let mut expected = 0;
        for at in committed {
            for offset in 0..at.offset {
                let number = state.read.get(&(at.partition, offset));
                expected += number.map_or(0, |number| i64::from(bill_count(*number)));
            }
        }
        if results != expected {
            let committed: Vec<_> = committed
                .iter()
                .map(|it| (it.partition, it.offset))
                .collect();
            state.fail(format!(
                "there are {results} results after an open, and {expected} belong to what is committed, \
                 {committed:?}"
            ));
        }
    }

    /// All results that there are, in order.
    pub(in super::super) fn check_bills(&self, found: &[Found]) {
        let mut state = self.state();
        let mut failures = Vec::new();
        let mut places = BTreeMap::new();
        let mut last_of = BTreeMap::new();
        for found in found {
            let place = (found.partition, found.offset);
            let Some((number, name)) = parse(&found.value) else {
                failures.push(format!("{place:?} of {BILLS} is no result"));
                continue;
            };
            let (partition, offset, index) = name;
            let is_expected = index < bill_count(number);
            if state.read.get(&(partition, offset)) != Some(&number) || !is_expected {
                failures.push(format!("result {name:?} at {place:?} is of no record"));
            }
            if let Some(first) = places.insert(name, place) {
                failures.push(format!(
                    "result {name:?} is there twice, at {first:?} and {place:?}"
                ));
            }
            let before = last_of.insert((partition, index, found.partition), offset);
            if before.is_some_and(|before| before > offset) {
                failures.push(format!(
                    "result {name:?} at {place:?} comes after that of offset {before:?}"
                ));
            }
        }
        failures.extend(state.unbilled(&places));
        failures.into_iter().for_each(|failure| state.fail(failure));
    }
}

impl State {
    /// Results that are not there, or elsewhere than was said.
    fn unbilled(&self, places: &BTreeMap<Name, (i32, i64)>) -> Vec<String> {
        let mut failures = Vec::new();
        for ((partition, offset), number) in &self.read {
            for index in 0..bill_count(*number) {
                let name = (*partition, *offset, index);
                if !places.contains_key(&name) {
                    let progress = self.groups.get(&(GROUP, *partition));
                    let committed = progress.map_or(0, |it| it.committed);
                    failures.push(format!(
                        "result {name:?} is missing, and {committed} is committed"
                    ));
                }
            }
        }
        for (name, place) in &self.billed.places {
            let found = places.get(name);
            if found != Some(place) {
                failures.push(format!(
                    "result {name:?} was acknowledged at {place:?} and is at {found:?}"
                ));
            }
        }
        failures
    }
}

/// The number of the record that a result is of, and the result's name.
fn parse(value: &[u8]) -> Option<(u64, Name)> {
    let text = std::str::from_utf8(value).ok()?;
    let mut parts = text.split(':');
    let number = parts.next()?.parse().ok()?;
    let name = (
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
        parts.next()?.parse().ok()?,
    );
    Some((number, name))
}
