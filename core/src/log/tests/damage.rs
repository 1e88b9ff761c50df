//! Every region of a small log, flipped, zeroed, cut off: what was promised is refused, the rest is cut,
//! and nothing wrong is ever applied.

use std::io::IoSlice;

use proptest::prelude::*;

use super::*;
use crate::error::ErrorKind;
use crate::log::control::OffsetCommit;
use crate::log::segment;
use crate::log::storage::faulty::CrashMode;

/// A log of three segments: entries up to `durable` are known to be synced from what stands in the files.
struct Sample {
    storage: FaultyStorage,
    payloads: Vec<(u64, Vec<u8>)>,
    durable: u64,
    paths: Vec<String>,
}

fn sample() -> Sample {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(6 * 1_024)).unwrap();
    open.open_partition(0);
    open.append(records(0, &[b"one", b"two"]).disk()).unwrap();
    let commit = OffsetCommit {
        group: "g".into(),
        generation: 1,
        offsets: Vec::new(),
    };
    open.append(control(Kind::OffsetCommit, 0, &commit))
        .unwrap();
    open.append(records(0, &[&[3; 900]]).disk()).unwrap();
    open.append(records(0, &[&[4; 900]])).unwrap();
    open.append(records(0, &[&[5; 700]]).disk()).unwrap();
    open.append(records(0, &[b"says that six are synced"]))
        .unwrap();
    open.append(records(0, &[&[7; 301]])).unwrap();
    let payloads = open.memory.payloads();
    drop(open);
    let storage = storage.crash_image(CrashMode::AllWritten);
    let paths: Vec<_> = storage.list(DIR).unwrap();
    let paths: Vec<_> = paths.iter().map(|name| format!("{DIR}/{name}")).collect();
    assert_eq!((paths.len(), payloads.len()), (3, 8));
    Sample {
        storage,
        payloads,
        durable: 6,
        paths,
    }
}

impl Sample {
    fn copy(&self) -> FaultyStorage {
        self.storage.crash_image(CrashMode::AllWritten)
    }

    /// Opens a damaged copy and checks what came of it; says whether it was refused.
    fn check(&self, damaged: &FaultyStorage, what: &str) -> bool {
        let before = damaged.now();
        match try_open_with(Arc::new(damaged.clone()), options(6 * 1_024)) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{what}: {error}");
                assert!(
                    error.message().contains("0000/000000000000000000"),
                    "{what}: {error}"
                );
                assert!(error.message().contains("position"), "{what}: {error}");
                assert_eq!(damaged.now(), before, "{what}: something was changed");
                true
            }
            Ok(open) => {
                let found = open.memory.payloads();
                assert_eq!(found, self.payloads[..found.len()], "{what}");
                assert!(
                    found.len() as u64 >= self.durable,
                    "{what}: {} are left",
                    found.len()
                );
                for seen in open.memory.seen() {
                    assert_eq!(
                        open.log.read(seen.location).unwrap(),
                        seen.payload,
                        "{what}"
                    );
                }
                self.check_reading(&open, what);
                drop(open);
                // And it stays that way.
                let again = try_open_with(Arc::new(damaged.clone()), options(6 * 1_024)).unwrap();
                assert_eq!(again.memory.payloads(), found, "{what}");
                false
            }
        }
    }

    /// Every batch is found by its offsets, and is what was written.
    fn check_reading(&self, open: &Open, what: &str) {
        let seen = open.memory.seen();
        let batches = seen.iter().filter(|seen| seen.kind == Kind::Records);
        let mut offset = 0;
        for seen in batches {
            let batch = open.log.read_from(PartitionId(0), offset, i64::MAX, 1);
            let batch = batch.unwrap().remove(0);
            assert_eq!(
                (batch.base_offset, batch.location),
                (offset, seen.location),
                "{what}"
            );
            assert_eq!(batch.bytes, seen.payload, "{what}");
            offset = batch.next_offset;
        }
        let behind = open.log.read_from(PartitionId(0), offset, i64::MAX, 1);
        assert!(behind.unwrap().is_empty(), "{what}");
    }
}

/// Where the entries of the first segment end, and its footer begins.
fn first_entries_end(sample: &Sample) -> u64 {
    let open = reopen(sample);
    let seen = open.memory.seen();
    let first = seen.iter().filter(|seen| seen.location.segment == 1);
    let ends = first.map(|seen| {
        let bytes = u64::from(seen.location.payload_at) + u64::from(seen.location.len);
        seen.location.position + bytes.next_multiple_of(8)
    });
    ends.max().unwrap()
}

fn reopen(sample: &Sample) -> Open {
    try_open_with(Arc::new(sample.copy()), options(6 * 1_024)).unwrap()
}

fn change(storage: &FaultyStorage, path: &str, position: u64, change: impl Fn(&mut [u8])) -> bool {
    let file = storage.open(path, false).unwrap();
    let length = file.length().unwrap();
    let count = (length - position).min(8) as usize;
    let mut bytes = vec![0; count];
    file.read_at(&mut bytes, position).unwrap();
    let old = bytes.clone();
    change(&mut bytes);
    file.write_at(&[IoSlice::new(&bytes)], position).unwrap();
    bytes != old
}

fn data_end(storage: &FaultyStorage, path: &str) -> u64 {
    let file = storage.open(path, true).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let zeros = bytes.iter().rev().take_while(|byte| **byte == 0).count();
    (bytes.len() - zeros) as u64
}

#[test]
fn a_flipped_bit_anywhere_is_refused_or_cut_and_never_applied() {
    let sample = sample();
    let mut refused = 0;
    let mut cut = 0;
    for path in &sample.paths {
        let end = data_end(&sample.storage, path);
        for position in 0..end {
            // Every byte, one of its bits after the other.
            let bit = 1 << (position % 8);
            let damaged = sample.copy();
            change(&damaged, path, position, |bytes| bytes[0] ^= bit);
            let what = format!("{path}, byte {position}, bit {bit:#x}");
            if sample.check(&damaged, &what) {
                refused += 1
            } else {
                cut += 1
            }
        }
    }
    assert!(
        refused > 11_000 && cut > 4_000,
        "{refused} refused, {cut} cut"
    );
}

#[test]
fn eight_zeroed_or_filled_bytes_anywhere_are_refused_or_cut() {
    let sample = sample();
    for path in &sample.paths {
        let end = data_end(&sample.storage, path);
        for position in (0..end).step_by(8) {
            for fill in [0, 0xff] {
                let damaged = sample.copy();
                if change(&damaged, path, position, |bytes| bytes.fill(fill)) {
                    sample.check(&damaged, &format!("{path}, bytes {position}.. = {fill}"));
                }
            }
        }
    }
}

#[test]
fn a_file_shortened_anywhere_is_refused_or_cut() {
    let sample = sample();
    let entries_end = first_entries_end(&sample);
    for (at, path) in sample.paths.iter().enumerate() {
        let end = data_end(&sample.storage, path);
        for length in 0..end {
            let damaged = sample.copy();
            damaged.open(path, false).unwrap().truncate(length).unwrap();
            let what = format!("{path} shortened to {length}");
            let is_refused = sample.check(&damaged, &what);
            // A footer is no promise: without it the index is built again.
            assert!(is_refused || at > 0 || length >= entries_end, "{what}");
        }
    }
}

#[test]
fn zeros_from_anywhere_to_the_end_are_refused_or_cut() {
    let sample = sample();
    for path in &sample.paths {
        let end = data_end(&sample.storage, path);
        for position in (0..end).step_by(8) {
            let damaged = sample.copy();
            let file = damaged.open(path, false).unwrap();
            let length = file.length().unwrap();
            file.truncate(position).unwrap();
            file.truncate(length).unwrap();
            sample.check(&damaged, &format!("{path} zero from {position}"));
        }
    }
}

#[test]
fn a_segment_that_is_gone_is_refused_unless_nothing_in_it_was_promised() {
    let sample = sample();
    let damaged = sample.copy();
    damaged.unlink(&sample.paths[0]).unwrap();
    assert_eq!(try_open(&damaged).err().unwrap().kind(), ErrorKind::Corrupt);
}

#[test]
fn damage_found_while_reading_is_named_and_not_served() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    open.append(records(0, &[b"value"])).unwrap();
    let location = open.memory.seen()[1].location;
    let path = segment::path(DIR, 1);
    // The offset of a batch is not covered by its own checksum: the frame's covers it.
    change(&storage, &path, location.position + 48, |bytes| {
        bytes[7] = 9
    });
    let error = open.log.read(location).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(
        error
            .message()
            .contains(&format!("{path}, position {}", location.position)),
        "{error}"
    );
}

#[test]
fn batches_before_a_damaged_one_are_read_with_it_in_one_call() {
    // Those that lay beside it were refused with it, however whole they were.
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    for _ in 0..5 {
        open.append(records(0, &[b"value"])).unwrap();
    }
    let damaged = open.memory.seen()[4].location;
    change(
        &storage,
        &segment::path(DIR, 1),
        damaged.position + 48,
        |bytes| bytes[7] ^= 9,
    );
    let read = |offset| {
        let found = open
            .log
            .read_from(PartitionId(0), offset, i64::MAX, usize::MAX);
        found.map(|found| found.iter().map(|it| it.base_offset).collect::<Vec<_>>())
    };
    assert_eq!(read(0).unwrap(), [0, 1, 2]);
    let error = read(3).unwrap_err();
    let at = format!("position {}", damaged.position);
    assert!(error.message().contains(&at), "{error}");
    assert_eq!(read(4).unwrap(), [4]);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_are_no_reason_to_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..6_000),
        position in 0_u64..6_000,
    ) {
        let sample = sample();
        for path in &sample.paths {
            let damaged = sample.copy();
            let file = damaged.open(path, false).unwrap();
            file.write_at(&[IoSlice::new(&bytes)], position).unwrap();
            sample.check(&damaged, "arbitrary bytes");
        }
    }
}
