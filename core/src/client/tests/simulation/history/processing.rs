//! What handlers did with records, and which dead letters there are.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{History, State};
use crate::client::Finish;
use crate::client::options::Order;
use crate::client::tests::simulation::parts::{Found, key_of};
use crate::client::tests::simulation::processing::{GROUP, Handling};
use crate::record::Batch;
use crate::world;

/// Of one processor, what stays in order: the partition, and the key where keys are told apart.
type Lane = (usize, i32, Option<String>);

/// What is known of all processors.
#[derive(Debug, Default)]
pub(super) struct Handled {
    processors: usize,
    /// Of each lane the record that runs.
    lanes: BTreeMap<Lane, i64>,
    /// How many run.
    running: BTreeMap<usize, u32>,
    /// Since when none does.
    idle_since: BTreeMap<usize, Instant>,
    /// How long the longest of them took that have ended.
    longest: BTreeMap<usize, Duration>,
    /// Of each record of a processor the last attempt.
    attempts: BTreeMap<(usize, i32, i64), u32>,
    /// Records that failed for good, each with the attempts that they had then.
    failed: BTreeMap<(i32, i64), Vec<u32>>,
    /// Records whose dead letter was acknowledged.
    buried: BTreeSet<(i32, i64)>,
}

/// One attempt at a record.
#[derive(Clone, Copy, Debug)]
pub(in super::super) struct Run {
    pub(in super::super) processor: usize,
    pub(in super::super) partition: i32,
    pub(in super::super) offset: i64,
    pub(in super::super) number: u64,
    pub(in super::super) attempt: u32,
    pub(in super::super) began: Instant,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub(super) struct Letter {
    partition: i32,
    offset: i64,
    attempts: u32,
    number: u64,
}

impl Run {
    fn lane(&self, order: Order) -> Option<Lane> {
        match order {
            Order::Key => Some((self.processor, self.partition, Some(key_of(self.number)?))),
            Order::Partition => Some((self.processor, self.partition, None)),
            Order::None => None,
        }
    }
}

impl History {
    /// A processor is opened; its number.
    pub(in super::super) fn open_processor(&self) -> usize {
        let mut state = self.state();
        state.handled.processors += 1;
        state.handled.processors
    }

    /// A handler begins.
    pub(in super::super) fn begin_run(&self, run: &Run, handling: &Handling) {
        let mut state = self.state();
        state.seen(run.partition, run.offset, run.number);
        let mut failures = state.handled.begin(run, handling);
        failures.extend(state.overtaken(run, handling.order).map(|before| {
            format!("is handled before offset {before}, which has the same key or partition")
        }));
        let (offset, partition) = (run.offset, run.partition);
        for failure in failures {
            state.fail(format!(
                "offset {offset} of partition {partition} {failure}"
            ));
        }
    }

    /// It ends with this.
    pub(in super::super) fn end_run(&self, run: &Run, handling: &Handling, finish: &Finish) {
        let mut state = self.state();
        let handled = &mut state.handled;
        if let Some(lane) = run.lane(handling.order) {
            handled.lanes.remove(&lane);
        }
        let took = world::now().duration_since(run.began);
        let longest = handled.longest.entry(run.processor).or_default();
        *longest = took.max(*longest);
        if let Some(running) = handled.running.get_mut(&run.processor) {
            *running -= 1;
            if *running == 0 {
                handled.idle_since.insert(run.processor, world::now());
            }
        }
        let place = (run.partition, run.offset);
        match finish {
            Finish::Done => state.processed(GROUP, run.partition, run.offset),
            Finish::Retry(_) if run.attempt < handling.attempts => {}
            Finish::Retry(_) | Finish::Dead(_) => {
                handled.failed.entry(place).or_default().push(run.attempt);
            }
        }
    }

    /// A processor's member has left its group, since one of its handlers has run for so long. It commits before it
    /// leaves, and without a broker that takes its time: the handler may have ended since.
    pub(in super::super) fn stuck(&self, processor: usize, patience: Duration) {
        let mut state = self.state();
        let idle_since = state.handled.idle_since.get(&processor);
        let idle = idle_since.map(|since| world::now().duration_since(*since));
        let longest = state.handled.longest.get(&processor);
        let was_stuck = longest.is_some_and(|longest| *longest >= patience);
        if let Some(idle) = idle.filter(|idle| *idle >= patience && !was_stuck) {
            state.fail(format!(
                "a member counted as stuck, {idle:?} after the last of its handlers had ended"
            ));
        }
    }

    /// All dead letters that there are.
    pub(in super::super) fn check_letters(&self, found: &[Found]) {
        let mut state = self.state();
        let mut counts = BTreeMap::<(i32, i64), usize>::new();
        let mut failures = Vec::new();
        for found in found {
            let letter = Letter::new(&found.value, |name| {
                let header = found.headers.iter().find(|(key, _)| key == name);
                header.map(|(_, value)| value.clone())
            });
            let place = (letter.partition, letter.offset);
            *counts.entry(place).or_default() += 1;
            if state.read.get(&place) != Some(&letter.number) {
                failures.push(format!("{letter:?} is of no record that was read there"));
            }
            let failed = state.handled.failed.get(&place);
            if !failed.is_some_and(|it| it.contains(&letter.attempts)) {
                failures.push(format!("{letter:?} is of a record that failed {failed:?}"));
            }
        }
        for (place, count) in &counts {
            let failed = state.handled.failed.get(place).map_or(0, Vec::len);
            if *count > failed {
                failures.push(format!(
                    "{place:?} has {count} dead letters and failed {failed} times for good"
                ));
            }
        }
        let lost = state.handled.buried.iter();
        let lost = lost.filter(|place| !counts.contains_key(place));
        failures.extend(lost.map(|place| {
            format!("the dead letter of {place:?} was acknowledged and is not there")
        }));
        failures.into_iter().for_each(|failure| state.fail(failure));
    }
}

impl Handled {
    fn begin(&mut self, run: &Run, handling: &Handling) -> Vec<String> {
        let mut failures = Vec::new();
        let attempt = run.attempt;
        if attempt > handling.attempts {
            failures.push(format!(
                "is tried {attempt} times, and {} are allowed",
                handling.attempts
            ));
        }
        let last = self
            .attempts
            .insert((run.processor, run.partition, run.offset), attempt);
        // Given again after it was taken away, it is new.
        if attempt != 1 && attempt != last.unwrap_or_default() + 1 {
            failures.push(format!("is at attempt {attempt} after {last:?}"));
        }
        self.idle_since.remove(&run.processor);
        let running = self.running.entry(run.processor).or_default();
        *running += 1;
        if *running > handling.concurrency {
            failures.push(format!(
                "is handled beside {} others, and {} may be at once",
                *running - 1,
                handling.concurrency
            ));
        }
        if let Some(lane) = run.lane(handling.order)
            && let Some(other) = self.lanes.insert(lane, run.offset)
        {
            failures.push(format!(
                "is handled beside offset {other}, which has the same key or partition"
            ));
        }
        failures
    }
}

impl State {
    /// A record before this one, of its key or its partition, that nobody has done with.
    fn overtaken(&self, run: &Run, order: Order) -> Option<i64> {
        let progress = self.groups.get(&(GROUP, run.partition));
        let from = progress.map_or(0, |it| it.frontier);
        let is_before = |offset: &i64| {
            if progress.is_some_and(|it| it.processed.contains(offset)) {
                return false;
            }
            let number = self.read.get(&(run.partition, *offset));
            match order {
                Order::None => false,
                Order::Partition => true,
                Order::Key => {
                    let key = key_of(run.number);
                    key.is_some() && number.is_some_and(|number| key_of(*number) == key)
                }
            }
        };
        (from..run.offset).find(is_before)
    }

    /// Dead letters were acknowledged: their records are done.
    pub(super) fn bury(&mut self, letters: &[Letter]) {
        for letter in letters {
            self.handled
                .buried
                .insert((letter.partition, letter.offset));
            self.processed(GROUP, letter.partition, letter.offset);
        }
    }
}

impl Letter {
    fn new(value: &[u8], header: impl Fn(&str) -> Option<Vec<u8>>) -> Self {
        let number = |name: &str| {
            let text = String::from_utf8(header(name)?).ok()?;
            text.parse::<i64>().ok()
        };
        Self {
            partition: number("headwater.dlq.partition").unwrap_or(-1) as i32,
            offset: number("headwater.dlq.offset").unwrap_or(-1),
            attempts: number("headwater.dlq.attempts").unwrap_or(-1) as u32,
            number: number_of(value),
        }
    }

    /// Those in a batch that is to be written.
    pub(super) fn all(payload: &Bytes) -> Vec<Self> {
        let Ok(batch) = Batch::already_verified(payload.clone()) else {
            return Vec::new();
        };
        let letters = batch.records().filter_map(Result::ok).map(|record| {
            Self::new(record.value.unwrap_or_default(), |name| {
                let mut headers = record.headers().filter_map(Result::ok);
                let header = headers.find(|header| header.key == name)?;
                Some(header.value.unwrap_or_default().to_vec())
            })
        });
        letters.collect()
    }
}

/// The number that a value begins with.
pub(in super::super) fn number_of(value: &[u8]) -> u64 {
    let digits = value.split(|byte| *byte == b':').next().unwrap_or_default();
    let number = std::str::from_utf8(digits).ok();
    number.and_then(|it| it.parse().ok()).unwrap_or(u64::MAX)
}
