//! What the tests of the log share: a machine that remembers, batches, and short ways to append and wait.

mod ahead;
mod basics;
mod cleaned_model;
mod cleaning;
mod compacting;
mod crash;
mod cut;
mod damage;
mod expiring;
mod faults;
mod golden;
mod kept;
mod model;
mod moving;
pub(super) mod mutant;
mod quota;
mod raft;
mod reading;
mod recording;
mod sequences;
mod sets;
mod space;
mod threads;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use crate::sync::Mutex;

use crate::completion::{Completion, Pending, Wakes};
use crate::error::Result;
use crate::ids::{Durability, PartitionId};
use crate::record::{BatchBuilder, RecordRef};

use super::control::{self, PartitionOpen};
use super::storage::Storage;
use super::storage::faulty::FaultyStorage;
use super::{
    Append, Appended, Entry, Kind, Location, Log, LogOptions, Machine, PAYLOAD_VERSION, Run, Scope,
    StatePair,
};

pub(super) const LOG_UUID: [u8; 16] = *b"headwater-tests!";
pub(super) const DIR: &str = "0000";
pub(super) const TOPIC: [u8; 16] = [7; 16];
pub(super) const START_MS: i64 = 1_700_000_000_000;

/// An entry as a test remembers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) index: u64,
    pub(super) term: i32,
    pub(super) kind: Kind,
    pub(super) partition: PartitionId,
    pub(super) location: Location,
    pub(super) payload: Vec<u8>,
    pub(super) has_tail: bool,
}

/// How it is kept: index, term, kind, partition, segment, position, where the payload is, payload.
type KeptSeen = (u64, i32, u8, u32, u64, u64, u32, Vec<u8>);

impl Seen {
    fn kept(&self) -> KeptSeen {
        let at = self.location;
        let kind = self.kind.number();
        let payload = self.payload.clone();
        let partition = self.partition.0;
        let place = (at.segment, at.position, at.payload_at);
        (
            self.index, self.term, kind, partition, place.0, place.1, place.2, payload,
        )
    }

    fn restored(kept: KeptSeen) -> Self {
        let (index, term, kind, partition, segment, position, payload_at, payload) = kept;
        Self {
            index,
            term,
            kind: Kind::from_number(kind).unwrap(),
            partition: PartitionId(partition),
            location: Location {
                segment,
                position,
                payload_at,
                len: payload.len() as u32,
            },
            payload,
            has_tail: false,
        }
    }
}

/// A machine that remembers what it was told, and checks the order.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) seen: Mutex<Vec<Seen>>,
    synced: Mutex<u64>,
    /// How many the last question for changes was answered with.
    told: Mutex<usize>,
    /// The last entry that came from a snapshot or checkpoint, and was not replayed.
    pub(super) restored: Mutex<u64>,
}

impl Memory {
    pub(super) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().clone()
    }

    pub(super) fn payloads(&self) -> Vec<(u64, Vec<u8>)> {
        self.seen
            .lock()
            .iter()
            .map(|seen| (seen.index, seen.payload.clone()))
            .collect()
    }

    pub(super) fn synced(&self) -> u64 {
        *self.synced.lock()
    }
}

impl Machine for Memory {
    fn apply(&self, entry: &Entry<'_>, _wakes: &mut Wakes) {
        let mut seen = self.seen.lock();
        let last = seen.last().map_or(0, |last| last.index);
        assert!(
            entry.index == last + 1 || entry.index == last,
            "{last} then {}",
            entry.index
        );
        if let Some(tail) = &entry.tail {
            assert_eq!(tail, entry.payload);
        }
        seen.push(Seen {
            index: entry.index,
            term: entry.term.0,
            kind: entry.kind,
            partition: entry.partition,
            location: entry.location,
            payload: entry.payload.to_vec(),
            has_tail: entry.tail.is_some(),
        });
    }

    fn synced(&self, index: u64, _wakes: &mut Wakes) {
        let applied = self.seen.lock().last().map_or(0, |last| last.index);
        let mut synced = self.synced.lock();
        assert!(index > *synced, "{index} after {synced:?}");
        assert!(index <= applied, "{index} is synced, {applied} applied");
        *synced = index;
    }

    /// Everything that was ever applied: a state that shows every entry that is missing in it.
    fn pairs(&self, scope: Scope) -> Vec<StatePair> {
        let seen = self.seen.lock();
        let mut told = self.told.lock();
        let first = if scope == Scope::All { 0 } else { *told };
        if scope == Scope::Changed {
            *told = seen.len();
        }
        let new = seen.iter().enumerate().skip(first);
        new.map(|(at, seen)| StatePair::new((at as u64).to_be_bytes().to_vec(), Some(seen.kept())))
            .collect()
    }

    fn restore(&self, pairs: &[StatePair]) -> Result<()> {
        let mut pairs = pairs.to_vec();
        pairs.sort();
        let kept = pairs.iter().map(StatePair::decode);
        let kept: Vec<KeptSeen> = kept.collect::<Result<_>>()?;
        let restored: Vec<_> = kept.into_iter().map(Seen::restored).collect();
        let last = restored.last().map_or(0, |last| last.index);
        *self.restored.lock() = last;
        *self.synced.lock() = last;
        *self.told.lock() = restored.len();
        *self.seen.lock() = restored;
        Ok(())
    }
}

/// A log that is open, and its machine.
pub(super) struct Open {
    pub(super) log: Arc<Log>,
    pub(super) memory: Arc<Memory>,
}

pub(super) fn options(segment_bytes: u64) -> LogOptions {
    let clock = AtomicI64::new(START_MS);
    LogOptions {
        segment_bytes,
        clock: Arc::new(move || clock.fetch_add(1, Ordering::Relaxed)),
        // Far away: a test that wants them says so.
        os_sync_interval_ms: 3_600_000,
        idle_mark_ms: 3_600_000,
        zero_bytes: 0,
        keeps_inline: true,
        ..LogOptions::default()
    }
}

pub(super) fn try_open_with(storage: Arc<dyn Storage>, options: LogOptions) -> Result<Open> {
    let memory = Arc::new(Memory::default());
    let log = Log::open(
        storage,
        DIR,
        LOG_UUID,
        options,
        Arc::<Memory>::clone(&memory),
    )?;
    Ok(Open {
        log: Arc::new(log),
        memory,
    })
}

pub(super) fn try_open(storage: &FaultyStorage) -> Result<Open> {
    try_open_with(Arc::new(storage.clone()), options(64 * 1_024))
}

pub(super) fn open(storage: &FaultyStorage) -> Open {
    try_open(storage).unwrap()
}

impl Open {
    pub(super) fn submit(&self, append: impl Into<Request>, run: Run) -> Pending<Appended> {
        submit(&self.log, append.into(), run)
    }

    pub(super) fn append(&self, append: impl Into<Request>) -> Result<Appended> {
        self.submit(append, Run::Here).wait(None)
    }

    pub(super) fn open_partition(&self, partition: u32) {
        self.append(partition_open(partition)).unwrap();
    }

    pub(super) fn sync(&self) -> Result<()> {
        let (completion, mut pending) = Completion::pair();
        self.log.sync(completion);
        pending.wait(None)
    }
}

pub(super) fn submit(log: &Log, request: Request, run: Run) -> Pending<Appended> {
    let (completion, pending) = Completion::pair();
    log.append(request.into_append(completion), run);
    pending
}

/// An append without its completion.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) version: u16,
    pub(super) partition: PartitionId,
    pub(super) payload: Vec<u8>,
    pub(super) ack: Durability,
    pub(super) topic: Durability,
}

impl Request {
    pub(super) fn into_append(self, completion: Completion<Appended>) -> Append {
        let Self {
            kind,
            version,
            partition,
            payload,
            ack,
            topic,
        } = self;
        Append {
            kind,
            version,
            partition,
            payload,
            ack,
            topic,
            log_append_time: false,
            completion,
        }
    }

    pub(super) fn disk(mut self) -> Self {
        self.ack = Durability::Disk;
        self
    }
}

pub(super) fn control<T: serde::Serialize>(kind: Kind, partition: u32, payload: &T) -> Request {
    Request {
        kind,
        version: PAYLOAD_VERSION,
        partition: PartitionId(partition),
        payload: control::encode(payload).unwrap(),
        ack: Durability::Os,
        topic: Durability::Os,
    }
}

pub(super) fn partition_open(partition: u32) -> Request {
    let open = PartitionOpen {
        topic: TOPIC,
        partition: partition as i32,
        start_offset: 0,
    };
    control(Kind::PartitionOpen, partition, &open)
}

pub(super) fn records(partition: u32, values: &[&[u8]]) -> Request {
    produced(partition, values, -1, -1, -1)
}

pub(super) fn produced(
    partition: u32,
    values: &[&[u8]],
    producer_id: i64,
    epoch: i16,
    sequence: i32,
) -> Request {
    let mut builder = BatchBuilder::new(1_024);
    for value in values {
        let record = RecordRef {
            timestamp_ms: 5,
            value: Some(value),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    Request {
        kind: Kind::Records,
        version: PAYLOAD_VERSION,
        partition: PartitionId(partition),
        payload: builder.finish(producer_id, epoch, sequence).unwrap(),
        ack: Durability::Os,
        topic: Durability::Os,
    }
}
