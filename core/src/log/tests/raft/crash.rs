//! The power goes at every operation of a life of calls, in every way, and again in the recovery and in the
//! life after it: what an open finds is what the model allows.

use std::io::ErrorKind;

use super::super::crash::say;
use super::model::{Call, Model};
use super::*;
use crate::log::storage::faulty::{CrashMode, Random};
use mutant::Mutant;

/// Calls of a life.
const CALLS: usize = 40;
/// Openings that are judged, at least; `HEADWATER_CRASH_RECOVERIES` asks for more.
const RECOVERIES: u64 = 60_000;

/// How a life ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Calls,
    Off(u64),
    /// One operation fails, and the process is killed.
    Failure(u64),
}

/// What is left of a life.
struct Left {
    storage: FaultyStorage,
    /// As it was promised, and as it may be if the last call was not answered.
    models: Vec<Model>,
    calls: usize,
}

impl Left {
    /// Whether an opened log is one of those it may be; then what it is.
    fn judge(&self, log: &RaftLog) -> std::result::Result<Model, String> {
        let mut problems = Vec::new();
        for model in &self.models {
            match model.check(log) {
                Ok(()) => return Ok(model.adopted(log)),
                Err(problem) => problems.push(problem),
            }
        }
        Err(problems.join("; nor "))
    }
}

/// Calls chosen by `seed`, on a log that is `model`, until the end.
fn live(storage: FaultyStorage, model: Model, seed: u64, ending: Ending) -> Left {
    let mut left = Left {
        storage,
        models: vec![model.clone()],
        calls: 0,
    };
    let begun = left.storage.now();
    match ending {
        Ending::Calls => {}
        Ending::Off(after) => left.storage.power_off_at(begun + after),
        Ending::Failure(after) => left.storage.fail_at(begun + after, ErrorKind::Other),
    }
    let mut random = Random(seed);
    let Ok(mut log) = try_open_raft(&left.storage) else {
        return left;
    };
    let mut model = model.after(&Call::Reopen(false));
    for _ in 0..CALLS {
        let call = model.next(&mut random);
        let result = match &call {
            Call::Append(entries) => log.append(model.last, entries),
            Call::Sync => log.sync().map(|_| ()),
            Call::Truncate(to) => log.truncate(*to),
            Call::Vote(term, node, is_committed) => log.save_vote(*term, *node, *is_committed),
            Call::Commit(to) => log.save_committed(*to),
            Call::Purge(to) => log.purge(*to),
            Call::Reopen(is_clean) => {
                let closed = if *is_clean { log.close() } else { Ok(()) };
                closed
                    .and_then(|()| try_open_raft(&left.storage))
                    .map(|opened| log = opened)
            }
        };
        if let Err(error) = result {
            left.models = vec![model.halfway(&call), model];
            if error.code() != ErrorCode::KafkaStorageError {
                // The log does not take what the model allows: it is none of them.
                left.models.clear();
            }
            return left;
        }
        model = model.after(&call);
        left.calls += 1;
    }
    left.models = vec![model];
    left
}

fn mode(kind: u64, random: &mut Random) -> Option<CrashMode> {
    Some(match kind {
        0 => CrashMode::OnlySynced,
        1 => CrashMode::AllWritten,
        2 => CrashMode::SubsetOfSectors(random.next()),
        3 => CrashMode::TornLastWrite(random.below(300) as usize),
        4 => CrashMode::Zeroes,
        5 => CrashMode::GarbageTail(random.next()),
        6 => CrashMode::NamesLost,
        7 => CrashMode::LaterFirst(1 + random.below(2) as usize),
        // The process is killed, the machine goes on.
        _ => return None,
    })
}

const MODES: u64 = 9;

fn after(storage: &FaultyStorage, mode: Option<CrashMode>) -> FaultyStorage {
    mode.map_or_else(|| storage.fork(), |mode| storage.crash_image(mode))
}

/// What a walk did.
#[derive(Debug, Default)]
struct Tally {
    points: u64,
    recoveries: u64,
}

impl Tally {
    /// Opens what a life has left, after a cut, and after another cut right behind.
    fn recover(
        &mut self,
        left: &Left,
        mode: Option<CrashMode>,
    ) -> std::result::Result<(FaultyStorage, Model), String> {
        let image = after(&left.storage, mode);
        let log = try_open_raft(&image).map_err(|error| format!("{mode:?}: {error}"))?;
        let model = left
            .judge(&log)
            .map_err(|problem| format!("{mode:?}: {problem}"))?;
        drop(log);
        // What it showed is durable, and stays the same.
        let again = image.crash_image(CrashMode::OnlySynced);
        let log = try_open_raft(&again).map_err(|error| format!("{mode:?}, again: {error}"))?;
        model
            .check(&log)
            .map_err(|problem| format!("{mode:?}, again: {problem}"))?;
        self.recoveries += 2;
        drop(log);
        Ok((image, model))
    }

    /// A cut in every way; then in the recovery, and in the life behind it.
    fn cut(&mut self, left: &Left, random: &mut Random) -> std::result::Result<(), String> {
        self.points += 1;
        for kind in 0..MODES {
            let first = mode(kind, random);
            let (image, model) = self.recover(left, first)?;
            let second = mode(random.below(MODES), random);
            let interrupted = after(&left.storage, first);
            interrupted.power_off_at(interrupted.now() + random.below(12));
            drop(try_open_raft(&interrupted));
            let again = Left {
                storage: interrupted,
                models: left.models.clone(),
                calls: 0,
            };
            self.recover(&again, second)
                .map_err(|problem| format!("{first:?}, in the recovery {problem}"))?;
            let off = Ending::Off(random.below(60));
            let next = live(image, model, random.next(), off);
            self.recover(&next, second)
                .map_err(|problem| format!("{first:?}, then {off:?}, then {problem}"))?;
        }
        Ok(())
    }
}

/// One life, cut at every operation, each of which also fails.
fn walk(seed: u64) -> std::result::Result<Tally, String> {
    let mut tally = Tally::default();
    let whole = live(FaultyStorage::new(), Model::default(), seed, Ending::Calls);
    assert_eq!(whole.calls, CALLS, "seed {seed}");
    let mut random = Random(!seed);
    for operation in 0..=whole.storage.now() {
        for ending in [Ending::Off(operation), Ending::Failure(operation)] {
            let left = live(FaultyStorage::new(), Model::default(), seed, ending);
            tally
                .cut(&left, &mut random)
                .map_err(|problem| format!("seed {seed}, {ending:?}: {problem}"))?;
        }
    }
    Ok(tally)
}

#[test]
fn a_groups_log_keeps_what_it_promises_through_power_cuts() {
    let wanted = std::env::var("HEADWATER_CRASH_RECOVERIES").map(|count| count.parse().unwrap());
    let least = wanted.unwrap_or(0).max(RECOVERIES);
    let (mut points, mut recoveries) = (0, 0);
    for seed in 1.. {
        let tally = walk(seed).unwrap();
        points += tally.points;
        recoveries += tally.recoveries;
        if recoveries >= least {
            break;
        }
    }
    say(&format!(
        "a group's log: {points} points, {recoveries} recoveries"
    ));
}

/// Whether a bug is found by one of a few walks.
fn is_found(mutant: Mutant) -> bool {
    (1..=6).any(|seed| mutant::with(mutant, || walk(seed)).is_err())
}

#[test]
fn a_truncation_that_goes_on_in_the_same_file_is_found() {
    assert!(is_found(Mutant::TruncateInPlace));
}

#[test]
fn a_vote_that_is_not_synced_is_found() {
    assert!(is_found(Mutant::VoteUnsynced));
}

#[test]
fn segments_that_go_before_the_purge_is_durable_are_found() {
    assert!(is_found(Mutant::PurgedAhead));
}

#[test]
fn a_tail_that_an_open_does_not_write_again_is_found() {
    assert!(is_found(Mutant::TailLeft));
}
