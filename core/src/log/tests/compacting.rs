//! Compaction: of each key the last record stays, through power cuts at every operation of a cleaning.

use std::collections::BTreeMap;

use super::moving::Moving;
use super::*;
use crate::log::storage::faulty::CrashMode;
use crate::log::tests::mutant::{self, Mutant};
use crate::log::{CleaningRule, Compaction};
use crate::record::Batch;

/// Records of a partition by key; no value: a tombstone.
pub(super) fn keyed(partition: u32, records: &[(&[u8], Option<&[u8]>)]) -> Request {
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

/// What was appended to a partition: key and value by offset.
pub(super) type Said = BTreeMap<i64, (Vec<u8>, Option<Vec<u8>>)>;

/// Partition 0 has keys that come again, partition 1 is dead, partition 2 lives.
fn fill_keyed(open: &Moving, steps: u8) -> Said {
    (0..3).for_each(|partition| open.append(partition_open(partition)));
    let mut said = Said::new();
    for step in 0..steps {
        let keys = [step % 7, step % 3, 100 + step % 40, step % 7];
        let values: Vec<_> = (0..4_u8).map(|at| [step, at].repeat(150)).collect();
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
        open.append(super::records(2, &[&[step; 100]]));
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

/// Looks whether any offsets are in two segments. A reader need not come upon it: it reads those of one.
fn check_nothing_twice(open: &Moving) -> std::result::Result<(), String> {
    for partition in 0..3 {
        let extents = open.log.extents(PartitionId(partition));
        let mut pairs = extents.windows(2);
        if pairs.any(|pair| pair[0].next_offset > pair[1].first_offset) {
            return Err(format!("offsets of partition {partition} are there twice"));
        }
    }
    Ok(())
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
                check_nothing_twice(open)
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
fn cleaning_that_fails_at_any_operation_is_tried_again_and_loses_nothing() {
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
    let mut cleaned = 0;
    for operation in first..last {
        for kind in [std::io::ErrorKind::Other, std::io::ErrorKind::StorageFull] {
            let (open, _) = begin();
            let before = open.log.size_bytes();
            open.storage.fail_at(operation, kind);
            // Looked at anew each time: that there was nothing to do is remembered.
            for step in 0..3 {
                open.log.clean(open.log.written(), &compacted(0));
                open.append(records(2, &[&[step; 10]]).disk());
                open.sync();
            }
            cleaned += u32::from(open.log.size_bytes() < before);
            let mut living = living.clone();
            let added = open.living(2, 40);
            living.extend(added);
            let check = |open: &Moving| {
                check_compacted(open, &said)?;
                let is_same = open.living(2, 0) == living && living.len() == 43;
                is_same
                    .then_some(())
                    .ok_or_else(|| "others changed".to_owned())
            };
            let what = |problem: String| panic!("{kind:?} at {operation}: {problem}");
            check(&open).unwrap_or_else(what);
            for mode in [
                CrashMode::OnlySynced,
                CrashMode::AllWritten,
                CrashMode::SubsetOfSectors(operation),
                CrashMode::NamesLost,
                CrashMode::LaterFirst(1),
            ] {
                let again = Moving::on(&open.storage.crash_image(mode));
                let again = again
                    .unwrap_or_else(|error| panic!("{mode:?} {kind:?} at {operation}: {error}"));
                check(&again).unwrap_or_else(what);
                again.clean_all(&compacted(0));
                check(&again).unwrap_or_else(what);
            }
        }
    }
    assert!(
        u64::from(cleaned) > last - first,
        "{cleaned} of {}",
        2 * (last - first)
    );
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
