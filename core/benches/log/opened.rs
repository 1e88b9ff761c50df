//! A log in a folder of its own, with a machine that does nothing.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::completion::{Completion, Wakes};
use headwater::ids::PartitionId;
use headwater::log::control::{self, PartitionOpen};
use headwater::log::storage::disk::DiskStorage;
use headwater::log::{
    Append, Appended, Entry, Kind, Log, LogOptions, Machine, PAYLOAD_VERSION, Run, Scope, StatePair,
};
use headwater::record::{BatchBuilder, RecordRef};
use headwater::{Durability, Pending, Result};

/// The log's folder within the storage.
pub(crate) const DIR: &str = "0000";

/// A machine that does nothing: this measures the log.
struct Nothing;

impl Machine for Nothing {
    fn apply(&self, _: &Entry<'_>, _: &mut Wakes) {}
    fn synced(&self, _: u64, _: &mut Wakes) {}

    fn pairs(&self, _scope: Scope) -> Vec<StatePair> {
        Vec::new()
    }

    fn restore(&self, _pairs: &[StatePair]) -> Result<()> {
        Ok(())
    }
}

/// A batch of so many records of 100 bytes.
pub(crate) fn batch(count: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(256 * 1_024);
    let record = RecordRef {
        timestamp_ms: 1,
        value: Some(&[b'v'; 100]),
        ..RecordRef::default()
    };
    for _ in 0..count {
        builder.push(&record).expect("a small record");
    }
    builder.finish(-1, -1, -1).expect("it has records")
}

/// A batch of one record of so many bytes.
pub(crate) fn batch_of_one(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(bytes + 1_024);
    let value = vec![b'v'; bytes];
    let record = RecordRef {
        timestamp_ms: 1,
        value: Some(&value),
        ..RecordRef::default()
    };
    builder.push(&record).expect("a record that fits");
    builder.finish(-1, -1, -1).expect("it has records")
}

/// The largest batch of records of 100 bytes that does not exceed `bytes`.
pub(crate) fn batch_of_bytes(bytes: usize) -> Vec<u8> {
    let (one, two) = (batch(1).len(), batch(2).len());
    let mut count = 1 + (bytes - one) / (two - one);
    loop {
        let found = batch(count);
        if found.len() <= bytes {
            return found;
        }
        count -= 1;
    }
}

pub(crate) fn open_log(folder: &Path, options: LogOptions) -> Log {
    let storage = Arc::new(DiskStorage::open(folder, true).expect("a storage"));
    let log = Log::open(storage, DIR, [1; 16], options, Arc::new(Nothing));
    log.expect("the log opens")
}

/// A new log, whose folder goes with it.
pub(crate) struct OpenLog {
    pub(crate) log: Log,
    pub(crate) folder: tempfile::TempDir,
}

impl OpenLog {
    /// With partitions 0 to `partitions`, without it.
    pub(crate) fn new(folder: &Path, partitions: u32, options: LogOptions) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a folder");
        let log = open_log(folder.path(), options);
        let this = Self { log, folder };
        for partition in 0..partitions {
            let open = PartitionOpen {
                topic: [1; 16],
                partition: partition as i32,
                start_offset: 0,
            };
            let payload = control::encode(&open).expect("a small payload");
            let (completion, mut pending) = Completion::pair();
            let open = append(
                Kind::PartitionOpen,
                partition,
                payload,
                Durability::Os,
                completion,
            );
            this.log.append(open, Run::Here);
            pending.wait(None).expect("the append");
        }
        this.sync();
        this
    }

    /// Appends a batch to a partition, and waits.
    pub(crate) fn append(&self, partition: u32, payload: Vec<u8>, ack: Durability) {
        let (completion, mut pending): (_, Pending<Appended>) = Completion::pair();
        self.submit(partition, payload, ack, completion);
        pending.wait(None).expect("the append");
    }

    /// Appends a batch to a partition.
    pub(crate) fn submit(
        &self,
        partition: u32,
        payload: Vec<u8>,
        ack: Durability,
        completion: Completion<Appended>,
    ) {
        let append = append(Kind::Records, partition, payload, ack, completion);
        self.log.append(append, Run::Here);
    }

    /// Waits until everything is on the disk.
    pub(crate) fn sync(&self) {
        let (completion, mut pending) = Completion::pair();
        self.log.sync(completion);
        pending.wait(None).expect("the sync");
    }

    /// Time per append to partition 0, one after the other.
    pub(crate) fn times(&self, batch: &[u8], count: usize, ack: Durability) -> Vec<Duration> {
        let time = || {
            let payload = batch.to_vec();
            let begin = Instant::now();
            self.append(0, payload, ack);
            begin.elapsed()
        };
        let times = (0..count).map(|_| time()).collect();
        self.log.close().expect("the close");
        times
    }
}

fn append(
    kind: Kind,
    partition: u32,
    payload: Vec<u8>,
    ack: Durability,
    completion: Completion<Appended>,
) -> Append {
    Append {
        kind,
        version: PAYLOAD_VERSION,
        partition: PartitionId(partition),
        payload,
        ack,
        topic: ack,
        log_append_time: false,
        completion,
    }
}
