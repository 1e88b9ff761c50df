//! What was durable when, from the operations alone.

use std::collections::BTreeMap;
use std::ops::Range;

use super::names::Names;
use super::ranges::Ranges;
use super::state::Base;
use super::{Action, Operation};

/// The operations of a storage up to when it was asked for, and what they had made durable at any time
/// among them. Questions in rising order of time are cheap; one that goes back starts over.
#[derive(Debug)]
pub struct History {
    base: Base,
    operations: Vec<Operation>,
    time: u64,
    names: Names,
    files: BTreeMap<u64, FileHistory>,
}

#[derive(Debug, Default)]
struct FileHistory {
    /// Writes that no sync has covered, with their time.
    unsynced: Vec<(u64, Range<u64>)>,
    /// What failed syncs dropped.
    lost: Ranges,
    synced_end: u64,
}

impl History {
    pub(super) fn new(base: Base, operations: Vec<Operation>) -> Self {
        let mut history = Self {
            base,
            operations,
            time: 0,
            names: Names::default(),
            files: BTreeMap::new(),
        };
        history.start_over();
        history
    }

    /// Where the first byte of a file lies that a power cut after the first `time` operations could have
    /// taken: 0 if its name was not durable. Of what lies before, everything had been written and synced.
    pub fn durable_through(&mut self, path: &str, time: u64) -> u64 {
        self.file_at(path, time).map_or(0, |file| {
            let unsynced = file.unsynced.iter().map(|(_, range)| range.start);
            let first = unsynced.chain(file.lost.first()).min();
            first.unwrap_or(u64::MAX).min(file.synced_end)
        })
    }

    /// Whether these bytes of a file, all written, would have survived a power cut after the first `time`
    /// operations.
    pub fn is_durable(&mut self, path: &str, positions: &Range<u64>, time: u64) -> bool {
        self.file_at(path, time).is_some_and(|file| {
            let overlaps = |range: &Range<u64>| {
                range.start.max(positions.start) < range.end.min(positions.end)
            };
            positions.end <= file.synced_end
                && !file.lost.overlaps(positions)
                && !file.unsynced.iter().any(|(_, range)| overlaps(range))
        })
    }

    fn file_at(&mut self, path: &str, time: u64) -> Option<&FileHistory> {
        if time < self.time {
            self.start_over();
        }
        let end = time.min(self.operations.len() as u64);
        while self.time < end {
            self.step();
        }
        let file = self.names.durable_file(path)?;
        self.files.get(&file)
    }

    fn start_over(&mut self) {
        self.time = 0;
        self.names = self.base.names.clone();
        let synced = |(&file, &synced_end): (&u64, &u64)| {
            let settled = FileHistory {
                synced_end,
                ..FileHistory::default()
            };
            (file, settled)
        };
        self.files = self.base.lengths.iter().map(synced).collect();
    }

    fn step(&mut self) {
        let now = self.time;
        self.time += 1;
        let Some(operation) = usize::try_from(now)
            .ok()
            .and_then(|now| self.operations.get(now))
        else {
            return;
        };
        let (path, file) = (operation.path.as_str(), operation.file);
        if file != 0 {
            self.files.entry(file).or_default().step(operation, now);
        }
        if operation.error.is_some() {
            return;
        }
        let replayed = match &operation.action {
            Action::CreateDir => self.names.create_dir(path),
            Action::Create => self.names.create(path, file),
            Action::RenameTo(to) => self.names.rename(path, to),
            Action::Unlink => self.names.unlink(path),
            Action::SyncDir => self.names.sync_dir(path),
            Action::Write { .. }
            | Action::Sync
            | Action::Preallocate { .. }
            | Action::Truncate { .. } => Ok(()),
        };
        assert!(
            replayed.is_ok(),
            "operation {now} succeeded once: {operation:?}"
        );
    }
}

impl FileHistory {
    fn step(&mut self, operation: &Operation, now: u64) {
        match operation.action {
            // Failed writes count: some of their bytes may be there.
            Action::Write { position, length } if length > 0 => {
                self.unsynced.push((now, position..position + length));
            }
            Action::Sync => {
                let is_covered = |(time, _): &mut (u64, _)| *time < operation.began_at;
                for (_, range) in self.unsynced.extract_if(.., is_covered) {
                    if operation.error.is_none() {
                        self.synced_end = self.synced_end.max(range.end);
                        self.lost.remove(range);
                    } else {
                        self.lost.insert(range);
                    }
                }
            }
            Action::Truncate { length } if operation.error.is_none() => {
                self.synced_end = self.synced_end.min(length);
                self.lost.remove(length..u64::MAX);
                for (_, range) in &mut self.unsynced {
                    range.end = range.end.min(length);
                }
                self.unsynced.retain(|(_, range)| !range.is_empty());
            }
            _ => {}
        }
    }
}
