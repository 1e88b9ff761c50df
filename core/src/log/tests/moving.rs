//! What lives among what is dead is moved into cold segments, and the space of the rest comes back.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::cleaning::below;
use super::*;
use crate::log::storage::faulty::{Action, CrashMode};
use crate::log::tests::mutant::{self, Mutant};
use crate::log::{CleaningRule, Compaction, Rules, Stored, cold};
use crate::record::Batch;

/// A machine without a state: so that every segment gets a snapshot.
#[derive(Debug)]
struct Stateless;

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

struct Moving {
    storage: FaultyStorage,
    log: Arc<Log>,
}

impl Moving {
    fn new() -> Self {
        Self::on(&FaultyStorage::new()).unwrap()
    }

    fn on(storage: &FaultyStorage) -> Result<Self> {
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

    fn append(&self, request: Request) {
        submit(&self.log, request, Run::Here).wait(None).unwrap();
    }

    fn sync(&self) {
        let (completion, mut pending) = Completion::pair();
        self.log.sync(completion);
        pending.wait(None).unwrap();
        while self.log.shared.keeper.is_busy(&self.log.shared) {
            std::thread::yield_now();
        }
    }

    fn again(self) -> Self {
        let storage = self.storage.clone();
        drop(self);
        Self::on(&storage).unwrap()
    }

    fn close_and_again(self) -> Self {
        self.log.close().unwrap();
        self.again()
    }

    fn cold_segments(&self) -> Vec<u64> {
        cold::list(&self.storage, DIR).unwrap()
    }

    /// Cleans until there is nothing more to do.
    fn clean_all(&self, rules: &Rules<'_>) -> usize {
        let mut cleanings = 0;
        while self.log.clean(self.log.written(), rules).unwrap() > 0 {
            cleanings += 1;
            assert!(cleanings < 100, "it has no end");
        }
        cleanings
    }

    /// All batches of a partition from an offset on.
    fn batches(&self, partition: u32, offset: i64) -> Vec<Stored> {
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
    fn living(&self, partition: u32, offset: i64) -> BTreeMap<i64, Vec<u8>> {
        let batches = self.batches(partition, offset).into_iter();
        let batches = batches.map(|batch| (batch.base_offset, batch.bytes.to_vec()));
        batches.collect()
    }
}

/// Records of a partition by key; no value: a tombstone.
fn keyed(partition: u32, records: &[(&[u8], Option<&[u8]>)]) -> Request {
    let mut builder = BatchBuilder::new(1_024);
    for (key, value) in records {
        let record = RecordRef {
            timestamp_ms: 5,
            key: Some(key),
            value: *value,
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    Request {
        payload: builder.finish(-1, -1, -1).unwrap(),
        ..super::records(partition, &[b"other"])
    }
}

/// Partition 0 has ten times what the others have together; everything synced.
fn fill(open: &Moving, steps: u8) {
    (0..3).for_each(|partition| open.append(partition_open(partition)));
    for step in 0..steps {
        open.append(records(0, &[&vec![step; 3_000]]));
        open.append(records(1, &[&vec![step; 200], b"x"]));
        open.append(records(2, &[&vec![step; 90]]));
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

/// What was appended to a partition: key and value by offset.
type Said = BTreeMap<i64, (Vec<u8>, Option<Vec<u8>>)>;

/// Partition 0 has keys that come again, partition 1 is dead, partition 2 lives.
fn fill_keyed(open: &Moving, steps: u8) -> Said {
    (0..3).for_each(|partition| open.append(partition_open(partition)));
    let mut said = Said::new();
    for step in 0..steps {
        let keys = [step % 7, step % 3, 100 + step % 40, step % 7];
        let values: Vec<_> = (0..4_u8).map(|at| vec![step, at].repeat(150)).collect();
        let pairs: Vec<_> = keys.iter().zip(&values).collect();
        let records: Vec<(&[u8], Option<&[u8]>)> = pairs
            .iter()
            .map(|(key, value)| {
                let is_tombstone = **key == 5 || (**key > 120 && step > 30);
                (
                    std::slice::from_ref(*key),
                    (!is_tombstone).then_some(value.as_slice()),
                )
            })
            .collect();
        for (key, value) in &records {
            let offset = said.len() as i64;
            said.insert(offset, (key.to_vec(), value.map(<[u8]>::to_vec)));
        }
        open.append(keyed(0, &records));
        open.append(super::records(1, &[&vec![step; 2_000]]));
        open.append(super::records(2, &[&vec![step; 100]]));
        if step % 3 == 2 {
            open.sync();
        }
    }
    open.sync();
    said
}

fn compacted(tombstone_retention_ms: i64) -> impl Fn(PartitionId) -> Option<CleaningRule> {
    move |id| {
        Some(CleaningRule {
            log_start_offset: if id == PartitionId(1) { i64::MAX } else { 0 },
            compaction: (id == PartitionId(0)).then_some(Compaction {
                tombstone_retention_ms,
            }),
        })
    }
}

/// Reads all of partition 0: nothing but what was said, in order, and at least the last of each key that is
/// no tombstone. Says how many records there are, and how many tombstones.
fn check_compacted(open: &Moving, said: &Said) -> std::result::Result<(usize, usize), String> {
    let (mut last, mut found, mut tombstones) = (-1, 0, 0);
    let mut values = BTreeMap::new();
    for stored in open.batches(0, 0) {
        let batch = Batch::verified(stored.bytes).map_err(|error| error.to_string())?;
        for record in batch.records() {
            let record = record.map_err(|error| error.to_string())?;
            let (key, value) = (record.key.unwrap_or_default(), record.value);
            let is_said = said
                .get(&record.offset)
                .is_some_and(|(known, said)| (known.as_slice(), said.as_deref()) == (key, value));
            if !is_said || record.offset <= last {
                return Err(format!("offset {} behind {last}: {is_said}", record.offset));
            }
            (last, found) = (record.offset, found + 1);
            tombstones += usize::from(value.is_none());
            values.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        }
    }
    let mut expected = BTreeMap::new();
    for (key, value) in said.values() {
        expected.insert(key.clone(), value.clone());
    }
    let living = |values: &BTreeMap<Vec<u8>, Option<Vec<u8>>>| -> Vec<_> {
        let living = values.iter().filter(|(_, value)| value.is_some());
        living
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    if living(&values) != living(&expected) {
        return Err("the last records of the keys are not what was said".to_owned());
    }
    if last != said.len() as i64 - 1 {
        return Err(format!("the last record is at {last} of {}", said.len()));
    }
    Ok((found, tombstones))
}

#[test]
fn of_each_key_the_last_record_stays_and_with_time_no_tombstone() {
    let open = Moving::new();
    let said = fill_keyed(&open, 120);
    assert_eq!(check_compacted(&open, &said).unwrap().0, 480);
    assert!(open.clean_all(&compacted(i64::MAX)) > 0);
    let (records, tombstones) = check_compacted(&open, &said).unwrap();
    // What lies behind the older snapshot is not compacted yet.
    assert!(records < 240 && tombstones > 20, "{records} {tombstones}");
    let open = open.again();
    let again = check_compacted(&open, &said).unwrap();
    assert_eq!(again, (records, tombstones));
    assert_eq!(open.batches(2, 0).len(), 120);
    // Later ones of all keys, and no tombstone is kept any longer.
    let mut said = said;
    for step in 0..120_u8 {
        let value = vec![step; 600];
        let key = [100 + step % 21];
        said.insert(said.len() as i64, (key.to_vec(), Some(value.clone())));
        open.append(keyed(0, &[(&key, Some(&value))]));
        open.append(super::records(1, &[&vec![step; 2_000]]));
        if step % 3 == 2 {
            open.sync();
            open.clean_all(&compacted(0));
        }
    }
    let (_, left) = check_compacted(&open, &said).unwrap();
    assert!(left < tombstones / 2, "{left} of {tombstones}");
}

/// Plays a cleaning to each of its operations, cuts the power there in every mode, and looks at what is left.
///
/// # Errors
/// What is not as it should be.
fn cut_everywhere(stride: usize) -> std::result::Result<u64, String> {
    let begin = || {
        let open = Moving::new();
        let said = fill_keyed(&open, 40);
        (open, said)
    };
    let (open, said) = begin();
    let living = open.living(2, 0);
    let first = open.storage.now();
    open.clean_all(&compacted(0));
    let last = open.storage.now();
    assert!(
        open.cold_segments().len() > 1 && last - first > 20,
        "{first} {last}"
    );
    let mut recoveries = 0;
    for operation in (first..=last).step_by(stride) {
        let (open, _) = begin();
        open.storage.power_off_at(operation);
        open.log.clean(open.log.written(), &compacted(0));
        while open
            .log
            .clean(open.log.written(), &compacted(0))
            .is_some_and(|it| it > 0)
        {}
        let modes = [
            CrashMode::OnlySynced,
            CrashMode::AllWritten,
            CrashMode::SubsetOfSectors(operation),
            CrashMode::SubsetOfSectors(operation + 1_000),
            CrashMode::TornLastWrite(100),
            CrashMode::Zeroes,
            CrashMode::GarbageTail(operation),
            CrashMode::NamesLost,
            CrashMode::LaterFirst(1),
        ];
        for mode in modes {
            recoveries += 1;
            let what = |problem: String| {
                format!("cut at {operation} of {first}..{last}, {mode:?}: {problem}")
            };
            let again = Moving::on(&open.storage.crash_image(mode));
            let again = again.map_err(|error| what(error.to_string()))?;
            let check = |open: &Moving| {
                check_compacted(open, &said)?;
                if open.living(2, 0) != living {
                    return Err("what was not to be touched is another".to_owned());
                }
                Ok(())
            };
            check(&again).map_err(what)?;
            again.clean_all(&compacted(0));
            check(&again).map_err(what)?;
            // Nothing is left over: neither of this cleaning nor of the one that was cut short.
            let names = again.storage.list(DIR).unwrap();
            let left = names.iter().filter(|name| name.ends_with(".cold.tmp"));
            if again.cold_segments().is_empty() && left.count() > 0 {
                return Err(what("files are left over".to_owned()));
            }
            let again = again.again();
            check(&again).map_err(what)?;
        }
    }
    Ok(recoveries)
}

#[test]
fn cleaning_that_is_cut_at_any_operation_loses_nothing_and_brings_nothing_twice() {
    let recoveries = cut_everywhere(1).unwrap();
    assert!(recoveries > 300, "{recoveries}");
}

#[test]
fn cleanings_that_do_it_wrong_are_found() {
    for mutant in [
        Mutant::ColdUnsynced,
        Mutant::MovedAhead,
        Mutant::PendingCounts,
    ] {
        let found = mutant::with(mutant, || cut_everywhere(1));
        let found = found.expect_err("nobody finds it");
        println!("{mutant:?}: {found}");
    }
}

/// One thing to do with a log that is cleaned.
#[derive(Clone, Debug)]
enum Step {
    /// Keys, and whether each has a value; how large the batches for the other partitions are.
    Append {
        keys: Vec<(u8, bool)>,
        sizes: [usize; 2],
        is_disk: bool,
    },
    Sync,
    /// Of each partition so many more records are dead; and tombstones are kept so long.
    Clean {
        dead: [i64; 3],
        retention_ms: i64,
    },
    Kill,
    Close,
    Cut(CrashMode),
}

fn step() -> impl Strategy<Value = Step> {
    let keys = proptest::collection::vec((0..12_u8, prop::bool::weighted(0.8)), 1..5);
    let append = (keys, [0..3_000_usize, 0..300], prop::bool::weighted(0.3));
    let append = append.prop_map(|(keys, sizes, is_disk)| Step::Append {
        keys,
        sizes,
        is_disk,
    });
    let clean = (
        [0..2_i64, 0..20, 0..2],
        prop_oneof![Just(0), Just(i64::MAX)],
    );
    let mode = prop_oneof![
        Just(CrashMode::OnlySynced),
        Just(CrashMode::AllWritten),
        any::<u64>().prop_map(CrashMode::SubsetOfSectors),
    ];
    prop_oneof![
        20 => append,
        4 => Just(Step::Sync),
        4 => clean.prop_map(|(dead, retention_ms)| Step::Clean { dead, retention_ms }),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
        1 => mode.prop_map(Step::Cut),
    ]
}

/// A plain vector for each partition, and what a log has to hold of them.
struct Model {
    open: Moving,
    said: [Said; 3],
    starts: [i64; 3],
    /// The ends that no power cut takes.
    promised: [i64; 3],
}

impl Model {
    fn new() -> Self {
        let open = Moving::new();
        (0..3).for_each(|partition| open.append(partition_open(partition).disk()));
        Self {
            open,
            said: [const { Said::new() }; 3],
            starts: [0; 3],
            promised: [0; 3],
        }
    }

    fn end(&self, partition: usize) -> i64 {
        self.said[partition]
            .last_key_value()
            .map_or(0, |(last, _)| last + 1)
    }

    fn ends(&self) -> [i64; 3] {
        [self.end(0), self.end(1), self.end(2)]
    }

    fn append(&mut self, partition: usize, records: &[(Vec<u8>, Option<Vec<u8>>)], is_disk: bool) {
        let borrowed: Vec<_> = records
            .iter()
            .map(|(key, value)| (key.as_slice(), value.as_deref()))
            .collect();
        let request = keyed(partition as u32, &borrowed);
        self.open
            .append(if is_disk { request.disk() } else { request });
        for record in records {
            let end = self.end(partition);
            self.said[partition].insert(end, record.clone());
        }
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Append {
                keys,
                sizes,
                is_disk,
            } => {
                let number = self.end(0).to_le_bytes();
                let records: Vec<_> = keys
                    .iter()
                    .map(|(key, has_value)| (vec![*key], has_value.then(|| number.repeat(40))))
                    .collect();
                self.append(0, &records, false);
                for (at, size) in (1..).zip(sizes) {
                    let number = self.end(at).to_le_bytes();
                    let value = number.repeat(1 + size / 8);
                    self.append(at, &[(vec![7], Some(value))], is_disk && at == 2);
                }
                if is_disk {
                    self.promised = self.ends();
                }
            }
            Step::Sync => {
                self.open.sync();
                self.promised = self.ends();
            }
            Step::Clean { dead, retention_ms } => self.clean(dead, retention_ms),
            Step::Kill => self.open = Moving::on(&self.open.storage).unwrap(),
            Step::Close => {
                self.open.log.close().unwrap();
                self.promised = self.ends();
                self.open = Moving::on(&self.open.storage).unwrap();
            }
            Step::Cut(mode) => {
                let image = self.open.storage.crash_image(mode);
                self.open = Moving::on(&image).unwrap();
                for at in 0..3 {
                    let end = self.open.log.next_offset(PartitionId(at as u32)).unwrap();
                    let (promised, written) = (self.promised[at], self.end(at));
                    let is_all = mode == CrashMode::AllWritten;
                    assert!(end >= if is_all { written } else { promised } && end <= written);
                    self.said[at].retain(|offset, _| *offset < end);
                }
                self.promised = self.ends();
            }
        }
        self.check();
    }

    /// What was decided is in the log, and so synced.
    fn clean(&mut self, dead: [i64; 3], retention_ms: i64) {
        self.open.sync();
        self.promised = self.ends();
        for at in 0..3 {
            self.starts[at] = (self.starts[at] + dead[at]).min(self.end(at));
        }
        let starts = self.starts;
        self.open.clean_all(&|id| {
            let compaction = Compaction {
                tombstone_retention_ms: retention_ms,
            };
            Some(CleaningRule {
                compaction: (id == PartitionId(0)).then_some(compaction),
                ..below(starts[id.0 as usize])
            })
        });
    }

    fn check(&self) {
        for at in 0..3 {
            let start = self.starts[at];
            let mut found = Said::new();
            for stored in self.open.batches(at as u32, start) {
                let batch = Batch::verified(stored.bytes).unwrap();
                for record in batch.records().map(|record| record.unwrap()) {
                    let key = record.key.unwrap_or_default().to_vec();
                    let said = (key, record.value.map(<[u8]>::to_vec));
                    assert!(
                        found
                            .last_key_value()
                            .is_none_or(|(last, _)| *last < record.offset)
                    );
                    assert_eq!(self.said[at].get(&record.offset), Some(&said), "{at}");
                    found.insert(record.offset, said);
                }
            }
            // What a key led to is what it leads to: a tombstone that went took what it spoke of along.
            let last_of = |said: &Said, key: &[u8]| -> Option<Vec<u8>> {
                let mut of_key = said.range(start..).rev().filter(|(_, (it, _))| it == key);
                of_key.next().and_then(|(_, (_, value))| value.clone())
            };
            for (key, _) in found.values() {
                assert_eq!(last_of(&found, key), last_of(&self.said[at], key), "{at}");
            }
            for (offset, (key, value)) in self.said[at].range(start..) {
                let mut later = self.said[at].range(offset + 1..);
                let is_last = !later.any(|(_, (later, _))| later == key);
                let may_be_gone = at == 0 && !(is_last && value.is_some());
                assert!(may_be_gone || found.contains_key(offset), "{at}: {offset}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn a_log_that_is_cleaned_is_a_vector_without_what_is_dead(
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut model = Model::new();
        for step in steps {
            model.run(step);
        }
    }
}

/// A tombstone went as soon as it was old enough, while a value that it spoke of lay in an older cold segment
/// that was not cleaned with it: and the value was back.
#[test]
fn a_tombstone_stays_as_long_as_something_that_it_speaks_of_may_be_there() {
    let open = Moving::new();
    (0..2).for_each(|partition| open.append(partition_open(partition)));
    let mut said = Said::new();
    let mut append = |key: u8, value: Option<Vec<u8>>| {
        said.insert(said.len() as i64, (vec![key], value.clone()));
        open.append(keyed(0, &[(&[key], value.as_deref())]));
        open.append(records(1, &[&[7; 3_000]]));
    };
    // Much that never comes again, compacted at once; and then little, in many small cleanings.
    (0..100).for_each(|key| append(key, Some(vec![key; 1_500])));
    open.sync();
    open.clean_all(&compacted(0));
    for key in 0..60_u8 {
        let is_tombstone = key < 20;
        append(
            if is_tombstone { key } else { 200 },
            (!is_tombstone).then(|| vec![key]),
        );
        append(150 + key % 3, Some(vec![key; 40]));
        if key % 4 == 3 {
            open.sync();
            open.clean_all(&compacted(0));
        }
    }
    check_compacted(&open, &said).unwrap();
    // Only the later ones together, twice: the first time a tombstone is kept in any case.
    let oldest = open.cold_segments()[..3].to_vec();
    for _ in 0..2 {
        let mut later = open.cold_segments();
        later.retain(|segment| !oldest.contains(segment));
        assert!(!later.is_empty());
        open.log.shared.move_these(later, &compacted(0));
        let (_, tombstones) = check_compacted(&open, &said).unwrap();
        assert!(tombstones > 15, "{tombstones}");
    }
    // With all of them nothing is left that they speak of, and they go.
    for _ in 0..2 {
        open.log
            .shared
            .move_these(open.cold_segments(), &compacted(0));
    }
    assert_eq!(check_compacted(&open, &said).unwrap().1, 0);
}
