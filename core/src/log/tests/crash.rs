//! A power cut at every operation, in every mode, and again at every operation of the recovery.

use std::collections::BTreeMap;

use super::*;
use crate::log::storage::faulty::CrashMode;

/// What a script did before the power went.
#[derive(Debug, Default)]
struct Done {
    /// Every entry that was ever applied, by index.
    applied: BTreeMap<u64, Vec<u8>>,
    /// The highest index acknowledged at `disk`.
    disk: u64,
    /// The highest index acknowledged at all.
    acknowledged: u64,
    /// The highest term a log of the script served in.
    term: i32,
}

impl Done {
    fn note(&mut self, open: &Open) {
        self.applied.extend(open.memory.payloads());
        self.term = self.term.max(open.log.term().0);
    }

    fn append(&mut self, open: &Open, request: Request) -> Option<()> {
        let is_disk = request.ack == Durability::Disk;
        let appended = open.append(request).ok()?;
        self.acknowledged = appended.index;
        if is_disk {
            self.disk = appended.index;
        }
        Some(())
    }

    /// Appends at both levels, rolls segments, closes cleanly and not, opens again: until the power goes.
    fn run(&mut self, storage: &FaultyStorage) {
        for round in 0..4_u32 {
            let Ok(open) = try_open_with(Arc::new(storage.clone()), options(12 * 1_024)) else {
                return;
            };
            self.note(&open);
            let is_over = self.run_round(&open, round).is_none();
            self.note(&open);
            if round == 1 && open.log.close().is_err() {
                return;
            }
            if is_over {
                return;
            }
        }
    }

    fn run_round(&mut self, open: &Open, round: u32) -> Option<()> {
        // Not synced: what a power cut takes of it, readers have to be told by a higher term.
        self.append(open, partition_open(round))?;
        for step in 0..7_u8 {
            let value = vec![step; 100 + 700 * usize::from(step)];
            let request = records(round, &[&value, b"tail"]);
            let is_disk = step % 3 == 2;
            self.append(open, if is_disk { request.disk() } else { request })?;
        }
        Some(())
    }

    /// What has to hold of a log that was opened after the cut.
    fn check(&self, open: &Open, mode: CrashMode, what: &str) {
        let found = open.memory.payloads();
        for (index, payload) in &found {
            assert_eq!(
                self.applied.get(index),
                Some(payload),
                "{what}: index {index}"
            );
        }
        let last = open.log.written();
        assert_eq!(found.len() as u64, last, "{what}");
        assert!(last >= self.disk, "{what}: {last} of {} at disk", self.disk);
        if mode == CrashMode::AllWritten {
            assert!(
                last >= self.acknowledged,
                "{what}: {last} of {}",
                self.acknowledged
            );
        }
        let (term, most) = (open.log.term().0, self.term);
        assert!(
            term > most || (term == most && last >= self.acknowledged),
            "{what}: term {term}"
        );
    }
}

fn modes(seed: u64) -> Vec<CrashMode> {
    vec![
        CrashMode::OnlySynced,
        CrashMode::AllWritten,
        CrashMode::SubsetOfSectors(seed),
        CrashMode::SubsetOfSectors(seed + 1_000_003),
        CrashMode::TornLastWrite(0),
        CrashMode::TornLastWrite(100),
        CrashMode::TornLastWrite(600),
    ]
}

fn script_to(operation: u64) -> (FaultyStorage, Done) {
    let storage = FaultyStorage::new();
    storage.power_off_at(operation);
    let mut done = Done::default();
    done.run(&storage);
    (storage, done)
}

fn script_operations() -> u64 {
    let (storage, done) = script_to(u64::MAX);
    assert_eq!(done.acknowledged, 32);
    storage.now()
}

fn reopen(storage: &FaultyStorage) -> Open {
    try_open_with(Arc::new(storage.clone()), options(12 * 1_024)).unwrap()
}

#[test]
fn a_cut_at_any_operation_keeps_what_was_promised_and_invents_nothing() {
    for operation in 0..=script_operations() {
        let (storage, done) = script_to(operation);
        for mode in modes(operation) {
            let what = format!("cut at {operation}, {mode:?}");
            let image = storage.crash_image(mode);
            let first = reopen(&image);
            done.check(&first, mode, &what);
            let found = first.memory.payloads();
            drop(first);
            // What an open has served is durable: a second cut takes nothing of it.
            let second = reopen(&image.crash_image(CrashMode::OnlySynced));
            assert_eq!(second.memory.payloads(), found, "{what}: opened twice");
            second.append(partition_open(99).disk()).unwrap();
            let last = second.memory.payloads();
            second.log.close().unwrap();
            drop(second);
            let third = reopen(&image);
            assert_eq!(
                third.memory.payloads(),
                found,
                "{what}: the first image again"
            );
            drop(third);
            assert_eq!(last.len(), found.len() + 1);
        }
    }
}

#[test]
fn what_was_cut_never_comes_back() {
    for operation in (0..=script_operations()).step_by(3) {
        let (storage, done) = script_to(operation);
        for mode in modes(operation + 7) {
            let what = format!("cut at {operation}, {mode:?}");
            let image = storage.crash_image(mode);
            let first = reopen(&image);
            let kept = first.log.written();
            // As long as what was cut, so that old frames would fit behind them.
            for step in 0..3_u8 {
                let value = vec![0xee; 100 + 700 * usize::from(step)];
                let request = records(0, &[&value, b"tail"]);
                if first.log.next_offset(PartitionId(0)).is_none() {
                    first.append(partition_open(0)).unwrap();
                }
                first.append(request).unwrap();
            }
            let written = first.memory.payloads();
            for mode in modes(operation) {
                let again = reopen(&image.crash_image(mode));
                let found = again.memory.payloads();
                assert_eq!(found, written[..found.len()], "{what}, then {mode:?}");
                assert!(found.len() as u64 >= kept, "{what}, then {mode:?}");
            }
            drop(first);
            assert!(done.disk <= kept, "{what}");
        }
    }
}

#[test]
fn a_cut_during_the_recovery_loses_nothing_either() {
    for operation in (0..=script_operations()).step_by(2) {
        let (storage, done) = script_to(operation);
        for mode in modes(operation + 17) {
            let mut number = 0;
            loop {
                let image = storage.crash_image(mode);
                image.power_off_at(number);
                let opened = try_open_with(Arc::new(image.clone()), options(12 * 1_024));
                let is_whole = opened.is_ok();
                drop(opened);
                for second in modes(number) {
                    let what =
                        format!("cut at {operation}, {mode:?}, again at {number}, {second:?}");
                    done.check(&reopen(&image.crash_image(second)), mode, &what);
                }
                if is_whole {
                    break;
                }
                number += 1;
            }
        }
    }
}

#[test]
fn after_a_kill_what_the_page_cache_shows_is_made_durable_before_it_is_served() {
    for operation in 0..=script_operations() {
        let (storage, done) = script_to(operation);
        // The process is killed, the machine is not: everything written is still to be seen.
        storage.clear_faults();
        let open = reopen(&storage);
        done.check(
            &open,
            CrashMode::AllWritten,
            &format!("killed at {operation}"),
        );
        let after_cut = reopen(&storage.crash_image(CrashMode::OnlySynced));
        assert_eq!(
            after_cut.memory.payloads(),
            open.memory.payloads(),
            "killed at {operation}"
        );
        // And a MARK that only the page cache had is no hole between what comes.
        let is_new = open.log.next_offset(PartitionId(50)).is_none();
        assert!(is_new);
        open.append(partition_open(50).disk()).unwrap();
        let after_cut = reopen(&storage.crash_image(CrashMode::OnlySynced));
        assert_eq!(
            after_cut.memory.payloads(),
            open.memory.payloads(),
            "killed at {operation}"
        );
    }
}

#[test]
fn after_a_failed_sync_what_is_served_again_is_durable() {
    for operation in 0..=script_operations() {
        let storage = FaultyStorage::new();
        storage.fail_at(operation, std::io::ErrorKind::Other);
        let mut done = Done::default();
        done.run(&storage);
        storage.clear_faults();
        let open = reopen(&storage);
        let what = format!("operation {operation} failed");
        assert!(open.log.written() >= done.disk, "{what}");
        let is_new = open.log.next_offset(PartitionId(50)).is_none();
        assert!(is_new);
        open.append(partition_open(50).disk()).unwrap();
        let after_cut = reopen(&storage.crash_image(CrashMode::OnlySynced));
        assert_eq!(
            after_cut.memory.payloads(),
            open.memory.payloads(),
            "{what}"
        );
    }
}
