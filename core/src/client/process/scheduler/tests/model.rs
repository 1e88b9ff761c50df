//! Random walks beside a model that keeps only what happened, and says of each step whether it may.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestCaseResult, TestRunner};

use super::super::mutant::{self, Mutant};
use super::*;

/// What may happen next; the numbers choose among what there is.
#[derive(Clone, Copy, Debug)]
enum Step {
    Push { place: usize, key: u8, gap: u8 },
    Take { max: usize },
    Finish { which: usize, verdict: u8 },
    Bury { which: usize },
    Wait { ms: u64 },
    Revoke { place: usize, back: i64 },
    TakeBack { which: usize },
}

#[derive(Clone, Debug, Default)]
struct Seen {
    key: Option<u64>,
    runs: u32,
    failed_ms: Option<u64>,
    is_running: bool,
    is_letter: bool,
    is_done: bool,
}

/// Where the record of a run lies, its key, and whether it was revoked meanwhile.
type Begun = ((usize, i64), Option<u64>, bool);

struct Model {
    scheduler: Scheduler<()>,
    settings: Settings,
    now_ms: u64,
    /// By place and offset; what was revoked is not in it.
    seen: BTreeMap<(usize, i64), Seen>,
    next_offsets: BTreeMap<usize, i64>,
    /// Runs that have not ended.
    runs: BTreeMap<Ticket, Begun>,
    letters: Vec<(u64, (usize, i64))>,
    is_stopped: bool,
}

fn order() -> impl Strategy<Value = Order> {
    prop_oneof![Just(Order::Key), Just(Order::Partition), Just(Order::None)]
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let numbers = (1..5_usize, 1..4_u32, 3..20_usize);
    (numbers, order(), any::<bool>()).prop_map(
        |((concurrency, attempts, max_records), order, has_dead_letter)| Settings {
            concurrency,
            order,
            attempts,
            has_dead_letter,
            max_records,
            max_bytes: 150,
        },
    )
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..2_usize, 0..4_u8, 0..3_u8).prop_map(|(place, key, gap)| Step::Push { place, key, gap }),
        6 => (1..4_usize).prop_map(|max| Step::Take { max }),
        8 => (any::<usize>(), any::<u8>()).prop_map(|(which, verdict)| Step::Finish { which, verdict }),
        2 => any::<usize>().prop_map(|which| Step::Bury { which }),
        3 => (1..400_u64).prop_map(|ms| Step::Wait { ms }),
        1 => (0..2_usize, 0..6_i64).prop_map(|(place, back)| Step::Revoke { place, back }),
        1 => any::<usize>().prop_map(|which| Step::TakeBack { which }),
    ]
}

fn pick<T>(from: impl ExactSizeIterator<Item = T>, which: usize) -> Option<T> {
    let mut from = from;
    let count = from.len();
    if count == 0 {
        None
    } else {
        from.nth(which % count)
    }
}

impl Model {
    fn new(settings: Settings) -> Self {
        Self {
            scheduler: Scheduler::new(settings, backoff()),
            settings,
            now_ms: 0,
            seen: BTreeMap::new(),
            next_offsets: BTreeMap::new(),
            runs: BTreeMap::new(),
            letters: Vec::new(),
            is_stopped: false,
        }
    }

    fn step(&mut self, step: Step) -> TestCaseResult {
        match step {
            Step::Push { place, key, gap } => self.push(place, key, gap)?,
            Step::Take { max } => _ = self.take(max)?,
            Step::Wait { ms } => self.now_ms += ms,
            Step::Bury { which } => self.bury(which)?,
            Step::Revoke { place, back } => self.revoke(place, back),
            Step::TakeBack { which } => self.take_back(which),
            Step::Finish { which, verdict } => {
                if let Some(ticket) = pick(
                    self.runs.keys().copied().collect::<Vec<_>>().into_iter(),
                    which,
                ) {
                    let verdict = match verdict % 8 {
                        0..5 => Verdict::Done,
                        5..7 => Verdict::Retry,
                        _ => Verdict::Dead,
                    };
                    self.finish(ticket, verdict)?;
                }
            }
        }
        self.check()
    }

    fn push(&mut self, place: usize, key: u8, gap: u8) -> TestCaseResult {
        let next = self.next_offsets.entry(place).or_default();
        let offset = *next + i64::from(gap);
        let key = (key > 0).then_some(u64::from(key));
        let held = self.seen.values().filter(|seen| !seen.is_done).count();
        let result = self.scheduler.push(incoming(place, offset, key));
        let has_room = held == 0 || (held < self.settings.max_records && (held + 1) * 10 <= 150);
        prop_assert_eq!(result.is_ok(), has_room, "room");
        if has_room {
            *next = offset + 1;
            let seen = Seen {
                key,
                ..Seen::default()
            };
            self.seen.insert((place, offset), seen);
        }
        Ok(())
    }

    fn take(&mut self, max: usize) -> Result<usize, TestCaseError> {
        let tickets = self.scheduler.take(max, usize::MAX, self.now_ms);
        prop_assert!(tickets.len() <= max);
        prop_assert!(
            tickets.is_empty() || !self.is_stopped,
            "runs after the stop"
        );
        for ticket in &tickets {
            let held = self.scheduler.running(*ticket).unwrap();
            let at = (held.place, held.offset);
            let attempts = held.attempts;
            self.may_run(at)?;
            let seen = self.seen.get_mut(&at).unwrap();
            seen.runs += 1;
            seen.is_running = true;
            prop_assert_eq!(attempts, seen.runs);
            prop_assert!(seen.runs <= self.settings.attempts, "too many attempts");
            self.runs.insert(*ticket, (at, seen.key, false));
        }
        prop_assert!(self.runs.len() <= self.settings.concurrency, "too many run");
        Ok(tickets.len())
    }

    /// Whether a record may begin to run now.
    fn may_run(&self, at: (usize, i64)) -> TestCaseResult {
        let seen = &self.seen[&at];
        prop_assert!(
            !seen.is_done && !seen.is_running && !seen.is_letter,
            "runs twice"
        );
        if let Some(failed_ms) = seen.failed_ms {
            let full_ms = 100 << (seen.runs - 1);
            prop_assert!(
                self.now_ms >= failed_ms + full_ms * 4 / 5,
                "the pause is not over"
            );
        }
        let shares_lane = |place: usize, key: Option<u64>| match self.settings.order {
            Order::Key => place == at.0 && key == seen.key && key.is_some(),
            Order::Partition => place == at.0,
            Order::None => false,
        };
        let earlier = self.seen.range(..at);
        let mut unfinished =
            earlier.filter(|((place, _), other)| !other.is_done && shares_lane(*place, other.key));
        prop_assert!(unfinished.next().is_none(), "out of order");
        let is_beside = self
            .runs
            .values()
            .any(|((place, _), key, _)| shares_lane(*place, *key));
        prop_assert!(!is_beside, "beside another of its line");
        Ok(())
    }

    fn finish(&mut self, ticket: Ticket, verdict: Verdict) -> TestCaseResult {
        let (at, _, is_revoked) = self.runs.remove(&ticket).unwrap();
        let settled = self.scheduler.finish([(ticket, verdict)], self.now_ms);
        if is_revoked {
            prop_assert_eq!(settled, Settled::default());
            return Ok(());
        }
        let seen = self.seen.get_mut(&at).unwrap();
        seen.is_running = false;
        let is_last = verdict == Verdict::Dead || seen.runs == self.settings.attempts;
        if verdict == Verdict::Done {
            prop_assert_eq!(settled.done, [at]);
            seen.is_done = true;
        } else if !is_last {
            prop_assert_eq!(settled, Settled::default());
            seen.failed_ms = Some(self.now_ms);
        } else if self.settings.has_dead_letter {
            prop_assert_eq!(settled.letters.len(), 1);
            seen.is_letter = true;
            self.letters.push((settled.letters[0].record, at));
        } else {
            prop_assert_eq!(settled.stopped_by, Some(ticket));
            seen.is_letter = true;
            self.is_stopped = true;
        }
        Ok(())
    }

    fn bury(&mut self, which: usize) -> TestCaseResult {
        if self.letters.is_empty() {
            return Ok(());
        }
        let (record, at) = self.letters.remove(which % self.letters.len());
        let done = self.scheduler.buried(record);
        let seen = self.seen.get_mut(&at).filter(|seen| seen.is_letter);
        prop_assert_eq!(done, seen.is_some().then_some(at));
        if let Some(seen) = seen {
            seen.is_done = true;
        }
        Ok(())
    }

    fn revoke(&mut self, place: usize, back: i64) {
        let Some(next) = self.next_offsets.get_mut(&place) else {
            return;
        };
        let from = (*next - back).max(0);
        *next = from;
        self.scheduler.revoke(place, from);
        self.seen
            .retain(|(other, offset), _| *other != place || *offset < from);
        self.letters.retain(|(_, at)| self.seen.contains_key(at));
        for (at, _, is_revoked) in self.runs.values_mut() {
            *is_revoked |= at.0 == place && at.1 >= from;
        }
    }

    fn take_back(&mut self, which: usize) {
        let tickets: Vec<Ticket> = self.runs.keys().copied().collect();
        let Some(ticket) = pick(tickets.into_iter(), which) else {
            return;
        };
        self.scheduler.take_back([ticket]);
        let (at, _, is_revoked) = self.runs.remove(&ticket).unwrap();
        if !is_revoked {
            let seen = self.seen.get_mut(&at).unwrap();
            (seen.runs, seen.is_running) = (seen.runs - 1, false);
        }
    }

    /// What holds after every step.
    fn check(&self) -> TestCaseResult {
        prop_assert_eq!(self.scheduler.running_count(), self.runs.len());
        for place in [0, 1] {
            let of_place = || self.seen.range((place, 0)..(place + 1, 0));
            let first = of_place().find(|(_, seen)| !seen.is_done);
            if let Some(((_, offset), _)) = first {
                prop_assert_eq!(
                    self.scheduler.frontiers.of(place),
                    Some(*offset),
                    "the frontier"
                );
            } else if let Some(frontier) = self.scheduler.frontiers.of(place) {
                prop_assert_eq!(
                    frontier,
                    self.next_offsets[&place],
                    "the frontier at the end"
                );
            }
        }
        Ok(())
    }

    /// Everything ends: what cannot go on now can at the wake-up.
    fn drain(&mut self) -> TestCaseResult {
        let mut failures = 0;
        for turn in 0..10_000_usize {
            if self.is_stopped && self.runs.is_empty()
                || self.scheduler.is_empty() && self.runs.is_empty()
            {
                break;
            }
            let taken = self.take(3)?;
            if let Some((ticket, _)) = self.runs.pop_first_key() {
                failures += 1;
                let verdict = if failures % 3 == 0 {
                    Verdict::Retry
                } else {
                    Verdict::Done
                };
                self.finish(ticket, verdict)?;
            } else if !self.letters.is_empty() {
                self.bury(turn)?;
            } else if taken == 0 {
                let wake_ms = self.scheduler.next_wakeup();
                prop_assert!(
                    wake_ms.is_some_and(|wake_ms| wake_ms > self.now_ms),
                    "it hangs"
                );
                self.now_ms = wake_ms.unwrap_or_default();
                prop_assert!(self.scheduler.can_take(self.now_ms), "woken for nothing");
            }
            self.check()?;
        }
        prop_assert!(self.runs.is_empty());
        if !self.is_stopped {
            prop_assert!(self.scheduler.is_empty(), "records are left");
            prop_assert!(self.seen.values().all(|seen| seen.is_done));
            prop_assert!(self.seen.values().all(|seen| seen.runs >= 1));
            prop_assert!(self.scheduler.lanes.is_empty() && self.scheduler.ready.is_empty());
            prop_assert_eq!(self.scheduler.bytes, 0);
        }
        Ok(())
    }
}

/// The oldest run.
trait Oldest {
    fn pop_first_key(&self) -> Option<(Ticket, ())>;
}

impl<V> Oldest for BTreeMap<Ticket, V> {
    fn pop_first_key(&self) -> Option<(Ticket, ())> {
        self.first_key_value().map(|(ticket, _)| (*ticket, ()))
    }
}

fn walk(settings: Settings, steps: &[Step]) -> TestCaseResult {
    let mut model = Model::new(settings);
    for step in steps {
        model.step(*step)?;
    }
    model.drain()
}

fn run(cases: u32) -> Result<(), String> {
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    });
    let walks = (any_settings(), prop::collection::vec(any_step(), 1..120));
    let result = runner.run(&walks, |(settings, steps)| walk(settings, &steps));
    result.map_err(|error| error.to_string())
}

#[test]
fn random_walks_keep_every_rule_and_end() {
    run(2_000).unwrap();
}

#[test]
fn every_deliberate_bug_is_found() {
    for bug in [
        Mutant::RetryFreesLane,
        Mutant::PauseLeftOut,
        Mutant::LetterIsDone,
        Mutant::DroppedRunsForgotten,
    ] {
        let found = mutant::with(bug, || run(5_000));
        assert!(found.is_err(), "{bug:?} was not found");
    }
}
