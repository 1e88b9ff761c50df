//! What lives among what is dead is moved into cold segments, and the space of the rest comes back.

use std::collections::BTreeMap;
use std::io::IoSlice;

use super::cleaning::below;
use super::*;
use crate::log::storage::faulty::{Action, CrashMode};
use crate::log::{CleaningRule, Rules, Stored, cold};
use crate::record::Batch;

/// A machine without a state: so that every segment gets a snapshot.
#[derive(Debug)]
pub(super) struct Stateless;

impl Machine for Stateless {
    fn apply(&self, _: &Entry<'_>, _: &mut Wakes) {}

    fn synced(&self, _: u64, _: &mut Wakes) {}

    fn pairs(&self, _: Scope) -> Vec<StatePair> {
        Vec::new()
    }

    fn restore(&self, _: &[StatePair]) -> Result<()> {
        Ok(())
    }
}

const SEGMENT_BYTES: u64 = 12 * 1_024;

pub(super) struct Moving {
    pub(super) storage: FaultyStorage,
    pub(super) log: Arc<Log>,
}

impl Moving {
    pub(super) fn new() -> Self {
        Self::on(&FaultyStorage::new()).unwrap()
    }

    pub(super) fn on(storage: &FaultyStorage) -> Result<Self> {
        let door = Arc::new(storage.clone());
        let options = LogOptions {
            snapshot_least_bytes: 0,
            ..options(SEGMENT_BYTES)
        };
        let log = Log::open(door, DIR, LOG_UUID, options, Arc::new(Stateless))?;
        Ok(Self {
            storage: storage.clone(),
            log: Arc::new(log),
        })
    }

    pub(super) fn append(&self, request: Request) {
        submit(&self.log, request, Run::Here).wait(None).unwrap();
    }

    pub(super) fn sync(&self) {
        let (completion, mut pending) = Completion::pair();
        self.log.sync(completion);
        pending.wait(None).unwrap();
        while self.log.shared.keeper.is_busy(&self.log.shared) {
            std::thread::yield_now();
        }
    }

    pub(super) fn again(self) -> Self {
        let storage = self.storage.clone();
        drop(self);
        Self::on(&storage).unwrap()
    }

    pub(super) fn close_and_again(self) -> Self {
        self.log.close().unwrap();
        self.again()
    }

    pub(super) fn cold_segments(&self) -> Vec<u64> {
        cold::list(&self.storage, DIR).unwrap()
    }

    /// Cleans until there is nothing more to do.
    pub(super) fn clean_all(&self, rules: &Rules<'_>) -> usize {
        let mut cleanings = 0;
        while self.log.clean(self.log.written(), rules).unwrap() > 0 {
            cleanings += 1;
            assert!(cleanings < 100, "it has no end");
        }
        cleanings
    }

    /// All batches of a partition from an offset on.
    pub(super) fn batches(&self, partition: u32, offset: i64) -> Vec<Stored> {
        let mut found = Vec::new();
        let mut at = offset;
        loop {
            let batches = self
                .log
                .read_from(PartitionId(partition), at, i64::MAX, 1_000);
            let batches = batches.unwrap();
            let Some(last) = batches.last() else {
                return found;
            };
            at = last.next_offset;
            found.extend(batches);
        }
    }

    /// The bytes of a partition's batches, by offset.
    pub(super) fn living(&self, partition: u32, offset: i64) -> BTreeMap<i64, Vec<u8>> {
        let batches = self.batches(partition, offset).into_iter();
        let batches = batches.map(|batch| (batch.base_offset, batch.bytes.to_vec()));
        batches.collect()
    }
}

/// Partition 0 has ten times what the others have together; everything synced.
fn fill(open: &Moving, steps: u8) {
    (0..3).for_each(|partition| open.append(partition_open(partition)));
    for step in 0..steps {
        open.append(records(0, &[&vec![step; 3_000]]));
        open.append(records(1, &[&[step; 200], b"x"]));
        open.append(records(2, &[&[step; 90]]));
        if step % 3 == 2 {
            open.sync();
        }
    }
    open.sync();
}

/// Partition 0 is dead below an offset, the others live.
fn first_below(offset: i64) -> impl Fn(PartitionId) -> Option<CleaningRule> {
    move |id| Some(below(if id == PartitionId(0) { offset } else { 0 }))
}

#[test]
fn what_lives_is_moved_and_reads_as_before_now_and_after_the_next_open() {
    let open = Moving::new();
    fill(&open, 60);
    let before: Vec<_> = (0..3).map(|id| open.living(id, 0)).collect();
    let size_bytes = open.log.size_bytes();
    let rules = first_below(58);
    assert!(open.clean_all(&rules) > 0);
    let cold = open.cold_segments();
    assert!(!cold.is_empty());
    assert!(open.log.size_bytes() < size_bytes / 2);
    let check = |open: &Moving| {
        assert_eq!(open.living(1, 0), before[1]);
        assert_eq!(open.living(2, 0), before[2]);
        let last = before[0]
            .range(58..)
            .map(|(at, bytes)| (*at, bytes.clone()));
        assert_eq!(open.living(0, 58), last.collect());
        let find = |time_ms, offset| {
            let found = open.log.find_time(PartitionId(2), time_ms, offset).unwrap();
            found.map(|batch| batch.base_offset)
        };
        assert_eq!((find(5, 17), find(6, 0)), (Some(17), None));
    };
    check(&open);
    let open = open.again();
    check(&open);
    assert_eq!(open.cold_segments(), cold);
    open.append(records(2, &[b"more"]).disk());
    // The next one begins with a checkpoint, whose directory knows of them.
    let open = open.close_and_again();
    assert_eq!(open.batches(2, 0).len(), 61);
    assert_eq!(open.living(1, 0), before[1]);
}

#[test]
fn what_is_dead_is_never_much_more_than_what_lives() {
    let open = Moving::new();
    (0..3).for_each(|partition| open.append(partition_open(partition)));
    for round in 0..40_u8 {
        for _ in 0..6 {
            for (partition, len) in [(0, 3_000), (1, 900), (2, 90)] {
                open.append(records(partition, &[&vec![round; len]]));
            }
        }
        open.sync();
        // Of partition 0 the last 12 records live, of 1 half of all, of 2 everything.
        let end = i64::from(round) * 6 + 6;
        let starts = [(end - 12).max(0), end / 2, 0];
        open.clean_all(&|id| Some(below(starts[id.0 as usize])));
        let left: Vec<_> = (0..3)
            .map(|id| open.living(id, starts[id as usize]))
            .collect();
        let counts = left.iter().map(|living| living.len() as i64);
        assert!(counts.eq(starts.iter().map(|start| end - start)), "{round}");
        let bytes = left
            .iter()
            .flat_map(BTreeMap::values)
            .map(|it| it.len() as u64 + 56);
        let live: u64 = bytes.sum();
        // The slack; the segment that is written to, and those behind the older snapshot.
        let headers = (4_096 + 512) * open.log.segment_count() as u64;
        let size_bytes = open.log.size_bytes() - headers;
        let most = 2 * live + (3 + 3) * SEGMENT_BYTES;
        assert!(
            size_bytes <= most,
            "{round}: {size_bytes} bytes, {live} live"
        );
    }
}

/// No segment is dead as a whole, and there is not a byte of space.
#[test]
fn a_disk_that_is_full_is_emptied_all_the_same() {
    let open = Moving::new();
    fill(&open, 60);
    open.clean_all(&first_below(0));
    assert!(
        open.storage
            .list(DIR)
            .unwrap()
            .contains(&"reserve".to_owned())
    );
    open.storage.set_space(Some(1 << 40));
    let used = (1 << 40) - open.storage.free_bytes().unwrap();
    open.storage.set_space(Some(used));
    let append = |request: Request| submit(&open.log, request, Run::Here).wait(None);
    let (mut appended, mut refused) = (0, 0);
    while refused < 3 {
        match append(records(2, &[&[7; 2_000]])) {
            Ok(_) => appended += 1,
            Err(error) => {
                assert_eq!(error.code(), crate::error::ErrorCode::DiskFull);
                refused += 1;
            }
        }
    }
    // What gives space back finds some left over for it.
    let start = control(Kind::LogStart, 0, &control::LogStart { offset: 58 });
    append(start.clone()).unwrap();
    append(start).unwrap();
    open.sync();
    let before = [open.living(1, 0), open.living(2, 0)];
    let full_bytes = open.log.size_bytes();
    open.clean_all(&first_below(58));
    assert!(open.log.size_bytes() < full_bytes * 2 / 3);
    assert_eq!([open.living(1, 0), open.living(2, 0)], before);
    assert_eq!(open.batches(2, 0).len(), 60 + appended);
    append(records(2, &[&[7; 2_000]])).unwrap();
    let names = open.storage.list(DIR).unwrap();
    assert!(names.contains(&"reserve".to_owned()), "{names:?}");
    let open = open.again();
    assert_eq!(open.living(1, 0), before[0]);
}

#[test]
fn no_more_is_written_again_than_once_was() {
    for (brief, long) in [(1_000, 1_000), (3_000, 300), (300, 3_000)] {
        let open = Moving::new();
        (0..2).for_each(|partition| open.append(partition_open(partition)));
        for step in 0..600_i64 {
            open.append(records(0, &[&vec![1; brief]]));
            open.append(records(1, &[&vec![2; long]]));
            if step % 20 == 0 {
                open.sync();
                let starts = [step - 20, step - 400];
                open.clean_all(&|id| Some(below(starts[id.0 as usize])));
            }
        }
        let mut written = BTreeMap::new();
        for operation in open.storage.operations() {
            if let Action::Write { length, .. } = operation.action {
                let kind = operation.path.rsplit_once(".").map_or("", |(_, kind)| kind);
                let kind = if operation.path.ends_with(".cold.tmp") {
                    "cold"
                } else {
                    kind
                };
                *written.entry(kind.to_owned()).or_insert(0) += length;
            }
        }
        let again = written.get("cold").copied().unwrap_or(0);
        assert!(again <= written["log"], "{written:?}");
        assert!(again > 0 || brief <= long, "{written:?}");
    }
}

/// Of a cold segment every part is damaged in its turn: what is read is right, or an error that names the file.
#[test]
fn damage_to_a_cold_segment_is_named_and_never_served() {
    let open = Moving::new();
    fill(&open, 60);
    open.clean_all(&first_below(58));
    let whole = [open.living(1, 0), open.living(2, 0)];
    let path = cold::path(DIR, open.cold_segments()[0]);
    open.log.close().unwrap();
    let storage = open.storage.clone();
    drop(open);
    let length = storage.open(&path, true).unwrap().length().unwrap();
    let (mut refused, mut named, mut right) = (0, 0, 0);
    for position in (0..length).step_by(37).chain(length - 60..length) {
        let image = storage.crash_image(CrashMode::AllWritten);
        let file = image.open(&path, false).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, position).unwrap();
        file.write_at(&[IoSlice::new(&[!byte[0]])], position)
            .unwrap();
        let opened = match Moving::on(&image) {
            Ok(opened) => opened,
            Err(error) => {
                assert!(error.message().contains(&path), "{position}: {error}");
                refused += 1;
                continue;
            }
        };
        for (partition, whole) in (1..).zip(&whole) {
            for (offset, bytes) in whole {
                let id = PartitionId(partition);
                match opened.log.read_from(id, *offset, i64::MAX, 1) {
                    Ok(found) => {
                        let found = found.first().map(|it| (it.base_offset, it.bytes.to_vec()));
                        let is_whole = found
                            .as_ref()
                            .is_some_and(|(at, found)| (at, found) == (offset, bytes));
                        // What a frame's checksum leaves out, a batch's own covers: that is the reader's.
                        let is_told =
                            found.is_some_and(|(_, found)| Batch::verified(found.into()).is_err());
                        assert!(is_whole || is_told, "{position}: {partition}/{offset}");
                        right += u32::from(is_whole);
                        named += u32::from(is_told);
                    }
                    Err(error) => {
                        assert!(error.message().contains(&path), "{position}: {error}");
                        named += 1;
                    }
                }
            }
        }
    }
    assert!(
        refused > 100 && named > 50 && right > 1_000,
        "{refused} {named} {right}"
    );
}
