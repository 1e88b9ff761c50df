//! Opening a log on any bytes: a whole file as it is, and frames whose checksums were put right.

use std::sync::Arc;

use crate::sync::Mutex;

use super::segments::{DIR, LOG_UUID};
use super::{Target, records, segments};
use crate::completion::{Completion, Wakes};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{Durability, PartitionId};
use crate::log::control::{self, OffsetCommit, PartitionOpen, ProducerIds, TopicCreate};
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::log::{
    Append, Entry, Kind, Location, Log, LogOptions, Machine, PAYLOAD_VERSION, Run, Scope, SetPart,
    StatePair, encode_set,
};

pub(super) const SEGMENT_FILE: Target = Target {
    name: "segment_file",
    run: |bytes| check_log(&[bytes.to_vec()]),
    seeds: || logs().into_iter().flatten().collect(),
};

/// Several segments, whose headers and checksums are made: see [`segments::framed`].
pub(super) const LOG_FRAMES: Target = Target {
    name: "log_frames",
    run: |bytes| check_log(&segments::framed(bytes)),
    seeds: || {
        logs()
            .iter()
            .map(|files| segments::frames_of(files))
            .collect()
    },
};

/// Opens a log of these files. It must open or be refused, change nothing if it is refused as damaged,
/// serve the same after a power cut, take an append, and serve all of that at the next open.
fn check_log(files: &[Vec<u8>]) {
    let storage = segments::open(files);
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

    fn pairs(&self, _scope: Scope) -> Vec<StatePair> {
        Vec::new()
    }

    fn restore(&self, _pairs: &[StatePair]) -> Result<()> {
        Ok(())
    }
}

fn open(storage: &FaultyStorage) -> Result<(Log, Arc<Entries>), Error> {
    let entries = Arc::new(Entries::default());
    let machine = Arc::<Entries>::clone(&entries);
    let log = Log::open(Arc::new(storage.clone()), DIR, LOG_UUID, options(), machine)?;
    Ok((log, entries))
}

pub(super) fn options() -> LogOptions {
    LogOptions {
        segment_bytes: 16 * 1_024,
        clock: Arc::new(|| 1_700_000_000_000),
        os_sync_interval_ms: 3_600_000,
        idle_mark_ms: 3_600_000,
        ..LogOptions::default()
    }
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
        version: PAYLOAD_VERSION,
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
        segments::files_of(&storage)
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
            SetPart::control(
                Kind::ProducerIds,
                PartitionId(0),
                control::encode(&ProducerIds { first: 1, count: 1 })?,
            ),
            SetPart::control(
                Kind::OffsetCommit,
                PartitionId(0),
                control::encode(&commit)?,
            ),
            SetPart {
                kind: Kind::Records,
                version: PAYLOAD_VERSION,
                partition: PartitionId(1),
                payload: batches[0].clone(),
                log_append_time: false,
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
