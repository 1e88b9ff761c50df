//! The reader beside opening: what it finds is what opening replays, and its verdict is opening's.

use std::collections::BTreeMap;
use std::io::IoSlice;

use super::*;
use crate::error::ErrorKind;
use crate::log::segment::SEGMENT_HEADER_BYTES;
use crate::log::storage::faulty::FaultyStorage;
use crate::log::tests::{DIR, LOG_UUID, open, records, try_open};

/// The bytes of every file of a log.
type Files = BTreeMap<String, Vec<u8>>;

/// What a reader came by.
#[derive(Debug, Default, PartialEq, Eq)]
struct Read {
    entries: Vec<(u64, Vec<u8>)>,
    cut: Vec<u64>,
    /// Path, position, and whether it was promised.
    damages: Vec<(String, u64, bool)>,
    ending: Ending,
}

impl Read {
    fn is_promised_damage(&self) -> bool {
        self.damages.iter().any(|(_, _, is_promised)| *is_promised)
    }
}

fn read(storage: &dyn Storage) -> Result<Read> {
    let mut found = Read::default();
    let reader = Reader::new(storage, DIR, LOG_UUID)?;
    let ending = reader.read(&mut |item| {
        match item {
            Item::Segment(_) => {}
            Item::Frame(frame) if frame.is_cut => found.cut.push(frame.header.index),
            Item::Frame(frame) => {
                let parts = frame.parts.iter();
                found
                    .entries
                    .extend(parts.map(|part| (frame.header.index, part.payload.to_vec())));
            }
            Item::Damage(damage) => {
                let damage = (damage.path.to_owned(), damage.position, damage.is_promised);
                found.damages.push(damage);
            }
        }
        ControlFlow::Continue(())
    })?;
    found.ending = ending.expect("nothing ended it");
    Ok(found)
}

fn files_of(storage: &dyn Storage) -> Files {
    let mut files = Files::new();
    for name in storage.list(DIR).unwrap() {
        let path = format!("{DIR}/{name}");
        let file = storage.open(&path, true).unwrap();
        let mut bytes = vec![0; file.length().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        files.insert(path, bytes);
    }
    files
}

fn storage_of(files: &Files) -> FaultyStorage {
    let storage = FaultyStorage::new();
    storage.create_dir(DIR).unwrap();
    for (path, bytes) in files {
        let file = storage.create(path).unwrap();
        file.write_at(&[IoSlice::new(bytes)], 0).unwrap();
        file.sync().unwrap();
    }
    storage
}

/// A log of two partitions: some of it synced and promised, the rest written since.
fn written() -> FaultyStorage {
    let storage = FaultyStorage::new();
    let log = open(&storage);
    log.open_partition(0);
    log.append(records(0, &[b"one", b"two"]).disk()).unwrap();
    log.append(records(0, &[b"three"])).unwrap();
    log.append(records(0, &[b"four"])).unwrap();
    storage
}

/// Where data ends in a file that is zeros behind it.
fn data_end(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).unwrap_or(0) + 1
}

#[test]
fn a_reader_finds_what_opening_replays_and_changes_nothing() {
    let storage = written();
    let before = files_of(&storage);
    let found = read(&storage).unwrap();
    assert_eq!(files_of(&storage), before);
    assert_eq!((&found.cut, &found.damages), (&Vec::new(), &Vec::new()));
    assert_eq!((found.ending.last_index, found.ending.is_clean), (4, false));
    let replayed = open(&storage_of(&before)).memory.payloads();
    assert_eq!(found.entries, replayed);
}

#[test]
fn a_clean_close_is_told() {
    let storage = FaultyStorage::new();
    let log = open(&storage);
    log.open_partition(0);
    log.log.close().unwrap();
    let ending = read(&storage).unwrap().ending;
    assert_eq!((ending.durable, ending.term, ending.is_clean), (1, 1, true));
}

#[test]
fn a_log_that_is_not_there_is_empty() {
    let found = read(&FaultyStorage::new()).unwrap();
    assert_eq!(found, Read::default());
}

#[test]
fn every_damaged_byte_gets_the_verdict_of_opening() {
    let files = files_of(&written());
    let (path, bytes) = files.first_key_value().unwrap();
    let (mut promised, mut torn) = (0, 0);
    // The header once, to save time: its checksum covers all of it.
    for at in (0..64).chain(SEGMENT_HEADER_BYTES..data_end(bytes)) {
        let mut damaged = files.clone();
        damaged.get_mut(path).unwrap()[at] ^= 0x40;
        let read = read(&storage_of(&damaged));
        match (read, try_open(&storage_of(&damaged))) {
            (Ok(found), Ok(open)) => {
                assert!(!found.is_promised_damage(), "byte {at}: {found:?}");
                assert_eq!(found.damages.len(), 1, "byte {at}");
                assert_eq!(found.entries, open.memory.payloads(), "byte {at}");
                torn += 1;
            }
            (Ok(found), Err(error)) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}");
                assert!(found.is_promised_damage(), "byte {at}: {found:?}");
                let position = found.damages[0].1;
                let place = format!("position {position}:");
                assert!(error.message().contains(&place), "{error}: byte {at}");
                promised += 1;
            }
            (Err(read), Err(open)) => assert_eq!(read.kind(), open.kind(), "byte {at}"),
            (Err(error), Ok(_)) => panic!("byte {at}: only the reader refuses: {error}"),
        }
    }
    assert!(promised > 100 && torn > 100, "{promised} and {torn}");
}

#[test]
fn behind_damage_the_reader_goes_on() {
    let storage = FaultyStorage::new();
    let log = open(&storage);
    log.open_partition(0);
    for value in [b"a", b"b", b"c", b"d"] {
        log.append(records(0, &[value]).disk()).unwrap();
    }
    log.log.close().unwrap();
    let mut files = files_of(&storage);
    let bytes = files.values_mut().next().unwrap();
    let mut damage = |value: u8| {
        let at = bytes.iter().rposition(|byte| *byte == value).unwrap();
        bytes[at] ^= 0x80;
    };
    damage(b'b');
    damage(b'd');
    let found = read(&storage_of(&files)).unwrap();
    let indexes: Vec<_> = found.entries.iter().map(|(index, _)| *index).collect();
    assert_eq!(indexes, [1, 2, 4]);
    assert_eq!(found.damages.len(), 2);
    assert!(found.damages.iter().all(|(_, _, is_promised)| *is_promised));
}

#[test]
fn what_a_cut_left_behind_is_told_as_cut() {
    let mut files = files_of(&written());
    let bytes = files.values_mut().next().unwrap();
    let at = bytes.windows(5).rposition(|it| it == b"three").unwrap();
    bytes[at] ^= 1;
    // Before it is cut: the frame behind is none of the log's.
    let storage = storage_of(&files);
    let found = read(&storage).unwrap();
    assert_eq!((found.ending.last_index, &found.cut[..]), (2, &[4][..]));
    // Cut: the next segment says so.
    drop(open(&storage));
    let found = read(&storage).unwrap();
    assert_eq!(found.damages, []);
    assert_eq!((found.ending.last_index, found.ending.term), (2, 2));
}

#[test]
fn a_foreign_segment_is_damage() {
    let files = files_of(&written());
    let storage = storage_of(&files);
    let reader = Reader::new(&storage, DIR, [1; 16]).unwrap();
    let mut damages = 0;
    let ending = reader.read(&mut |item| {
        damages += usize::from(matches!(item, Item::Damage(damage) if damage.is_promised));
        ControlFlow::Continue(())
    });
    assert_eq!((damages, ending.unwrap().unwrap().last_index), (1, 0));
}

#[test]
fn a_visitor_can_end_the_reading() {
    let storage = written();
    let reader = Reader::new(&storage, DIR, LOG_UUID).unwrap();
    let mut items = 0;
    let ending = reader.read(&mut |_| {
        items += 1;
        if items == 3 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!((ending.unwrap(), items), (None, 3));
}
