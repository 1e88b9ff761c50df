//! Opening a log on any bytes: a whole file as it is, and frames whose checksums were put right.

use std::io::IoSlice;
use std::sync::Arc;

use parking_lot::Mutex;

use super::{Target, records};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorKind};
use crate::ids::{Durability, PartitionId};
use crate::log::control::{self, OffsetCommit, PartitionOpen, ProducerIds, TopicCreate};
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::log::storage::{Storage, StorageFile};
use crate::log::{
    Append, Entry, Kind, Location, Log, LogOptions, Machine, Run, SetPart, encode_set,
};

pub(super) const SEGMENT_FILE: Target = Target {
    name: "segment_file",
    run: |bytes| check_log(&[bytes.to_vec()]),
    seeds: || logs().into_iter().flatten().collect(),
};

/// Segments in a row, each of them `previous index u64, durable u64, previous term u32` and its frames,
/// between them [`SEPARATOR`]. Headers and checksums are made here, except that of a frame with flag 0x80.
pub(super) const LOG_FRAMES: Target = Target {
    name: "log_frames",
    run: |bytes| check_log(&segments_of(bytes)),
    seeds: || logs().iter().map(|files| frames_of(files)).collect(),
};

const SEPARATOR: &[u8; 8] = b"|segment";
const DESCRIPTION_BYTES: usize = 20;
const SEGMENTS_MAX: usize = 4;
const FLAG_BROKEN: u8 = 0x80;

const DIR: &str = "0000";
const LOG_UUID: [u8; 16] = *b"headwater-fuzzed";
const SEGMENT_HEADER_BYTES: usize = 4_096;
const FRAME_HEADER_BYTES: usize = 48;

/// Opens a log of these files. It must open or be refused, change nothing if it is refused as damaged,
/// serve the same after a power cut, take an append, and serve all of that at the next open.
fn check_log(files: &[Vec<u8>]) {
    let storage = storage_of(files);
    let before = storage.now();
    let (log, entries) = match open(&storage) {
        Ok(opened) => opened,
        Err(error) => {
            let kinds = [
                ErrorKind::Corrupt,
                ErrorKind::Unsupported,
                ErrorKind::Storage,
            ];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert_eq!(storage.now(), before, "refused, and changed all the same");
            return;
        }
    };
    let entries = entries.take();
    check_reads(&log, &entries);
    let (written, term) = (log.written(), log.term());
    assert_eq!(entries.last().map_or(0, |last| last.index), written);

    let crashed = storage.crash_image(CrashMode::OnlySynced);
    let (survivor, survived) = open(&crashed).expect("what was served is on the disk");
    assert_eq!(survived.take(), entries);
    assert!(survivor.term() >= term);
    drop(survivor);

    if append(
        &log,
        Kind::ProducerIds,
        0,
        &ProducerIds { first: 1, count: 1 },
    )
    .is_err()
    {
        // Only when indexes have come to their end.
        assert_eq!(written, u64::MAX);
        return;
    }
    log.close().expect("nothing fails here");
    let (again, found) = open(&storage).expect("it was closed in order");
    assert_eq!((again.term(), again.written()), (term, written + 1));
    let found = found.take();
    check_reads(&again, &found);
    let (last, others) = found.split_last().expect("one was appended");
    assert_eq!((last.index, last.kind), (written + 1, Kind::ProducerIds));
    assert_eq!(others, entries);
}

fn check_reads(log: &Log, entries: &[Seen]) {
    for entry in entries {
        let read = log.read(entry.location).expect("it was just replayed");
        assert_eq!(read, entry.payload);
    }
}

/// What the log said, in order.
#[derive(Debug, Default)]
struct Entries(Mutex<Vec<Seen>>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    index: u64,
    kind: Kind,
    partition: PartitionId,
    location: Location,
    payload: Vec<u8>,
}

impl Entries {
    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut self.0.lock())
    }
}

impl Machine for Entries {
    fn apply(&self, entry: &Entry<'_>, _wakes: &mut Wakes) {
        let mut seen = self.0.lock();
        if let Some(last) = seen.last() {
            // The parts of a SET share an index.
            assert!(entry.index == last.index || entry.index == last.index + 1);
        }
        seen.push(Seen {
            index: entry.index,
            kind: entry.kind,
            partition: entry.partition,
            location: entry.location,
            payload: entry.payload.to_vec(),
        });
    }

    fn synced(&self, _index: u64, _wakes: &mut Wakes) {}
}

fn open(storage: &FaultyStorage) -> Result<(Log, Arc<Entries>), Error> {
    let entries = Arc::new(Entries::default());
    let options = LogOptions {
        segment_bytes: 16 * 1_024,
        clock: Arc::new(|| 1_700_000_000_000),
        os_sync_interval_ms: 3_600_000,
        idle_mark_ms: 3_600_000,
    };
    let machine = Arc::<Entries>::clone(&entries);
    let log = Log::open(Arc::new(storage.clone()), DIR, LOG_UUID, options, machine)?;
    Ok((log, entries))
}

fn append<T: serde::Serialize>(
    log: &Log,
    kind: Kind,
    partition: u32,
    payload: &T,
) -> Result<(), Error> {
    append_bytes(log, kind, partition, control::encode(payload)?)
}

fn append_bytes(log: &Log, kind: Kind, partition: u32, payload: Vec<u8>) -> Result<(), Error> {
    let (completion, mut pending) = Completion::pair();
    let append = Append {
        kind,
        partition: PartitionId(partition),
        payload,
        ack: Durability::Os,
        topic: Durability::Os,
        log_append_time: false,
        completion,
    };
    log.append(append, Run::Here);
    pending.wait(None).map(drop)
}

/// A disk that holds these segments, numbered from 1, all of it durable.
fn storage_of(files: &[Vec<u8>]) -> FaultyStorage {
    let storage = FaultyStorage::new();
    storage.create_dir(DIR).expect("it is empty");
    for (number, bytes) in (1..).zip(files) {
        let file = storage.create(&path(number)).expect("the number is new");
        file.write_at(&[IoSlice::new(bytes)], 0)
            .expect("it is short");
    }
    storage.crash_image(CrashMode::AllWritten)
}

fn path(number: u64) -> String {
    format!("{DIR}/{number:020}.log")
}

/// The files of some logs: closed in order or not, of one segment or of several, with every kind.
fn logs() -> Vec<Vec<Vec<u8>>> {
    let closed = |is_closed: bool, is_long: bool| {
        let storage = FaultyStorage::new();
        let (log, _) = open(&storage).expect("it is empty");
        fill(&log, is_long).expect("nothing fails here");
        if is_closed {
            log.close().expect("nothing fails here");
        }
        drop(log);
        files_of(&storage)
    };
    vec![
        closed(true, false),
        closed(false, false),
        closed(true, true),
    ]
}

fn fill(log: &Log, is_long: bool) -> Result<(), Error> {
    let topic = [7; 16];
    let create = TopicCreate {
        uuid: topic,
        name: "orders".to_owned(),
        config: vec![("durability".to_owned(), "os".to_owned())],
    };
    append(log, Kind::TopicCreate, 0, &create)?;
    let open = PartitionOpen {
        topic,
        partition: 0,
        start_offset: 0,
    };
    append(log, Kind::PartitionOpen, 1, &open)?;
    let commit = OffsetCommit {
        group: "g".to_owned(),
        generation: 1,
        offsets: Vec::new(),
    };
    let batches = records::batches();
    for _ in 0..if is_long { 12 } else { 1 } {
        append_bytes(log, Kind::Records, 1, batches[0].clone())?;
        let parts = [
            SetPart {
                kind: Kind::ProducerIds,
                partition: PartitionId(0),
                payload: control::encode(&ProducerIds { first: 1, count: 1 })?,
            },
            SetPart {
                kind: Kind::OffsetCommit,
                partition: PartitionId(0),
                payload: control::encode(&commit)?,
            },
        ];
        append_bytes(log, Kind::Set, 0, encode_set(&parts))?;
        if is_long {
            // Long enough for a segment to end.
            let create = TopicCreate {
                config: vec![("x".to_owned(), "y".repeat(4_000))],
                ..create.clone()
            };
            append(log, Kind::TopicCreate, 0, &create)?;
        }
    }
    Ok(())
}

/// Each segment's bytes, without the space reserved behind its last frame.
fn files_of(storage: &FaultyStorage) -> Vec<Vec<u8>> {
    let names = storage.list(DIR).expect("the log made it");
    let read = |name: &String| {
        let file = storage
            .open(&format!("{DIR}/{name}"), true)
            .expect("it was listed");
        read_all(&*file)
    };
    names.iter().map(read).collect()
}

fn read_all(file: &dyn StorageFile) -> Vec<u8> {
    let mut bytes = vec![0; file.length().expect("in memory") as usize];
    file.read_at(&mut bytes, 0).expect("in memory");
    let end = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    bytes.truncate(end.next_multiple_of(8));
    bytes
}

/// Files as an input of `log_frames`.
fn frames_of(files: &[Vec<u8>]) -> Vec<u8> {
    let parts: Vec<_> = files
        .iter()
        .map(|file| {
            let (header, frames) = file.split_at(SEGMENT_HEADER_BYTES);
            // Where the segment's header has them.
            [&header[48..56], &header[56..64], &header[96..100], frames].concat()
        })
        .collect();
    parts.join(&SEPARATOR[..])
}

/// An input of `log_frames` as files.
fn segments_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut files = Vec::new();
    let mut rest = bytes;
    while files.len() < SEGMENTS_MAX {
        let end = rest
            .windows(SEPARATOR.len())
            .position(|window| window == SEPARATOR);
        let (part, behind) = rest.split_at(end.unwrap_or(rest.len()));
        files.extend(segment_of(files.len() as u64 + 1, part));
        let Some(behind) = behind.get(SEPARATOR.len()..) else {
            break;
        };
        rest = behind;
    }
    files
}

fn segment_of(number: u64, part: &[u8]) -> Option<Vec<u8>> {
    let (description, frames) = part.split_at_checked(DESCRIPTION_BYTES)?;
    let previous_index = u64::from_le_bytes(*description.first_chunk()?);
    let mut file = vec![0; SEGMENT_HEADER_BYTES];
    file[..8].copy_from_slice(b"HWSEG1\0\0");
    file[8] = 1;
    file[16..32].copy_from_slice(&LOG_UUID);
    file[32..40].copy_from_slice(&number.to_le_bytes());
    file[40..48].copy_from_slice(&previous_index.wrapping_add(1).to_le_bytes());
    file[48..64].copy_from_slice(&description[..16]);
    file[96..100].copy_from_slice(&description[16..]);
    let crc = crc32c::crc32c(&file[..SEGMENT_HEADER_BYTES - 4]);
    file[SEGMENT_HEADER_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
    file.extend_from_slice(frames);
    repair_frames(number, &mut file);
    Some(file)
}

/// Puts the checksum of each frame right, and those of the batches in them, up to the first length that
/// cannot be.
fn repair_frames(segment: u64, file: &mut [u8]) {
    let mut position = SEGMENT_HEADER_BYTES;
    while let Some(header) = file.get(position..).and_then(<[u8]>::first_chunk::<4>) {
        let len = u32::from_le_bytes(*header) as usize;
        let Some(frame) = file
            .get_mut(position..)
            .and_then(|rest| rest.get_mut(..len))
        else {
            return;
        };
        let Some((header, payload)) = frame.split_at_mut_checked(FRAME_HEADER_BYTES) else {
            return;
        };
        if header[41] & FLAG_BROKEN == 0 {
            let is_batch = header[40] == Kind::Records as u8;
            if let Some(repaired) = records::repaired(payload).filter(|_| is_batch) {
                payload.copy_from_slice(&repaired);
            }
            let covered = if is_batch {
                payload.len().min(21)
            } else {
                payload.len()
            };
            let mut crc = crc32c::crc32c(&LOG_UUID);
            let (segment, position) = (segment.to_le_bytes(), (position as u64).to_le_bytes());
            for part in [
                &segment,
                &position,
                &header[..4],
                &header[8..],
                &payload[..covered],
            ] {
                crc = crc32c::crc32c_append(crc, part);
            }
            header[4..8].copy_from_slice(&crc.to_le_bytes());
        }
        position += len.next_multiple_of(8);
    }
}
