use proptest::prelude::*;

use super::*;
use crate::log::storage::faulty::FaultyStorage;
use std::io::IoSlice;
use std::slice::from_ref;

const DIR: &str = "0000";
const LOG_UUID: [u8; 16] = [4; 16];

/// Up to the numbers of what is replaced; then zeros, and the checksum.
const GOLDEN: &str = concat!(
    "4857434f4c443100",
    "0100000000000000",
    "04040404040404040404040404040404",
    "0900000000000000",
    "0700000000000000",
    "0b00000000000000",
    "6300000000000000",
    "0020000000000000",
    "0500000000000000",
    "0800000000000000",
    "4d01000000000000",
    "01000000",
    "02000000",
    "0200000000000000",
    "0300000000000000",
);
const GOLDEN_CRC: &str = "58dbd028";

fn sample() -> ColdHeader {
    ColdHeader {
        log_uuid: LOG_UUID,
        segment: 9,
        front: 7,
        first_index: 11,
        last_index: 99,
        frames_end: 8_192,
        batches: 5,
        set: 8,
        created_ms: 333,
        is_commit: true,
        replaced: vec![2, 3],
    }
}

fn decode(bytes: &[u8]) -> Result<ColdHeader, ColdError> {
    ColdHeader::decode(bytes.first_chunk().unwrap())
}

proptest! {
    #[test]
    fn a_header_comes_back_from_its_bytes(
        numbers in prop::array::uniform7(any::<u64>()),
        created_ms in any::<i64>(),
        is_commit in any::<bool>(),
        replaced in prop::collection::vec(any::<u64>(), 0..=REPLACED_MAX),
    ) {
        let [segment, front, first_index, last_index, frames_end, batches, set] = numbers;
        let header = ColdHeader {
            log_uuid: LOG_UUID,
            segment,
            front,
            first_index,
            last_index,
            frames_end,
            batches,
            set,
            created_ms,
            is_commit,
            replaced,
        };
        prop_assert_eq!(decode(&header.encode()), Ok(header));
    }
}

#[test]
fn a_header_has_the_bytes_of_the_format() {
    let bytes = sample().encode();
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let fields = GOLDEN.len() / 2;
    assert_eq!(bytes.len(), SEGMENT_HEADER_BYTES);
    assert_eq!(hex(&bytes[..fields]), GOLDEN);
    assert!(bytes[fields..CRC].iter().all(|byte| *byte == 0));
    assert_eq!(hex(&bytes[CRC..]), GOLDEN_CRC);
}

#[test]
fn a_header_with_any_byte_changed_is_none() {
    let bytes = sample().encode();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x10;
        assert!(
            matches!(decode(&changed), Err(ColdError::Damaged(_))),
            "byte {at}"
        );
    }
}

/// Writes headers as files, and says which of them count, which do not, and where the log begins.
fn survey(headers: &[ColdHeader], log_segments: &[u64]) -> (Vec<u64>, Vec<u64>, u64) {
    let storage = FaultyStorage::new();
    storage.create_dir(DIR).unwrap();
    for header in headers {
        let file = storage.create(&path(DIR, header.segment)).unwrap();
        file.write_at(&[IoSlice::new(&header.encode())], 0).unwrap();
    }
    let place = Place {
        storage: &storage,
        dir: DIR,
        log_uuid: &LOG_UUID,
    };
    let found = Survey::new(place, log_segments).unwrap();
    let kept = found.kept.iter().map(|it| it.header.segment).collect();
    (kept, found.doomed, found.front)
}

fn header(segment: u64, front: u64, is_commit: bool, replaced: &[u64]) -> ColdHeader {
    ColdHeader {
        segment,
        front,
        is_commit,
        replaced: replaced.to_vec(),
        ..sample()
    }
}

#[test]
fn what_does_not_commit_counts_only_without_its_sources() {
    let first = header(10, 4, false, &[]);
    let second = header(11, 4, true, &[]);
    let log = [1, 2, 3, 4, 5];
    // Cut short: the sources count.
    assert_eq!(survey(from_ref(&first), &log), (vec![], vec![10], 0));
    // Whole, before and after the sources are gone.
    let both = [first.clone(), second.clone()];
    assert_eq!(survey(&both, &log), (vec![10, 11], vec![], 4));
    assert_eq!(survey(&both, &[4, 5]), (vec![10, 11], vec![], 4));
    assert_eq!(survey(&both, &[2, 4, 5]), (vec![10, 11], vec![], 4));
    // The one that committed is gone since, because nothing in it lived.
    assert_eq!(survey(from_ref(&first), &[4, 5]), (vec![10], vec![], 0));
    // Of cold sources: cut short, whole, and with what committed replaced in its turn.
    let third = header(12, 4, false, &[10, 11]);
    let fourth = header(13, 4, true, &[10, 11]);
    let cut = [first.clone(), second.clone(), third.clone()];
    assert_eq!(survey(&cut, &[4, 5]), (vec![10, 11], vec![12], 4));
    let whole = [first, second, third.clone(), fourth];
    assert_eq!(survey(&whole, &[4, 5]), (vec![12, 13], vec![10, 11], 4));
    let fifth = header(14, 4, true, &[13]);
    assert_eq!(survey(&[third, fifth], &[4, 5]), (vec![12, 14], vec![], 4));
}

#[test]
fn a_damaged_one_is_refused_by_name() {
    let storage = FaultyStorage::new();
    storage.create_dir(DIR).unwrap();
    let file = storage.create(&path(DIR, 9)).unwrap();
    let mut bytes = sample().encode();
    bytes[50] ^= 1;
    file.write_at(&[IoSlice::new(&bytes)], 0).unwrap();
    let place = Place {
        storage: &storage,
        dir: DIR,
        log_uuid: &LOG_UUID,
    };
    let error = Survey::new(place, &[]).unwrap_err();
    assert!(
        error.to_string().contains("00000000000000000009.cold"),
        "{error}"
    );
}
