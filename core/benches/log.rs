//! Appends in process, beside the plain calls they cannot do without, in the same run.
//!
//! `cargo bench -p headwater --bench log`. Rounds alternate between the log and the floor: the same bytes by
//! one `pwrite` per batch to a plain file of the same folder, and `fdatasync` after it where the log syncs.
//! Medians over the rounds; the batches are made outside of the clock on both sides.
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use headwater::completion::{Completion, Wakes};
use headwater::ids::PartitionId;
use headwater::log::control::{self, PartitionOpen};
use headwater::log::storage::disk::DiskStorage;
use headwater::log::{
    Append, Appended, Entry, Kind, Log, LogOptions, Machine, Run, Scope, StatePair,
};
use headwater::record::{BatchBuilder, RecordRef};
use headwater::{Durability, Pending, Result};

const ROUNDS: usize = 5;

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

fn main() {
    let folder = tempfile::Builder::new()
        .prefix("bench-log-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target folder can be written to");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    let single = batch(1);
    let large = batch(1_000);
    latency(
        "one record of 100 B, os",
        folder.path(),
        &single,
        40_000,
        Durability::Os,
    );
    latency(
        "one record of 100 B, disk",
        folder.path(),
        &single,
        400,
        Durability::Disk,
    );
    throughput(
        "batches of 1,000, os",
        folder.path(),
        &large,
        1_000,
        Durability::Os,
    );
    reopen("open and replay, clean", folder.path(), &large, 2_000);
    throughput(
        "batches of 1,000, disk each",
        folder.path(),
        &large,
        200,
        Durability::Disk,
    );
}

fn batch(count: usize) -> Vec<u8> {
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

/// Time per append, one after the other.
fn latency(name: &str, folder: &Path, batch: &[u8], count: usize, ack: Durability) {
    let mut ours = Vec::new();
    let mut floors = Vec::new();
    for _ in 0..ROUNDS {
        let log = OpenLog::new(folder);
        ours.push(percentiles(log.times(batch, count, ack)));
        let floor = Floor::new(folder);
        floors.push(percentiles(floor.times(batch, count, ack)));
    }
    let show = |times: &[Percentiles]| {
        let of = |which: fn(&Percentiles) -> f64| median(times.iter().map(which).collect());
        format!(
            "p50 {:7.2} us  p99 {:7.2} us",
            of(|it| it.p50),
            of(|it| it.p99)
        )
    };
    println!("{name:<30} log   {}", show(&ours));
    println!("{:<30} floor {}", "", show(&floors));
}

/// Records per second, one batch after the other.
fn throughput(name: &str, folder: &Path, batch: &[u8], count: usize, ack: Durability) {
    let mut ours = Vec::new();
    let mut floors = Vec::new();
    for _ in 0..ROUNDS {
        let rate = |times: Vec<Duration>| {
            let seconds: f64 = times.iter().map(Duration::as_secs_f64).sum();
            (count * 1_000) as f64 / seconds / 1e6
        };
        ours.push(rate(OpenLog::new(folder).times(batch, count, ack)));
        floors.push(rate(Floor::new(folder).times(batch, count, ack)));
    }
    let (ours, floor) = (median(ours), median(floors));
    println!(
        "{name:<30} log   {ours:6.2} M records/s, floor {floor:6.2} M/s: {:.0} %",
        ours / floor * 100.0
    );
}

/// Time to open a log that was closed cleanly: every checksum verified, every entry replayed.
fn reopen(name: &str, folder: &Path, batch: &[u8], count: usize) {
    let open = OpenLog::new(folder);
    open.times(batch, count, Durability::Os);
    let times = (0..ROUNDS).map(|_| {
        let begin = Instant::now();
        let log = open_log(open.folder.path());
        let time = begin.elapsed().as_secs_f64();
        assert_eq!(log.written(), count as u64 + 1);
        time
    });
    let time = median(times.collect());
    let size = (batch.len() * count) as f64;
    println!(
        "{name:<30} log   {:6.2} M records/s, {:.2} GB/s ({:.0} MB in {:.0} ms)",
        (count * 1_000) as f64 / time / 1e6,
        size / time / 1e9,
        size / 1e6,
        time * 1e3
    );
}

fn open_log(folder: &Path) -> Log {
    let storage = Arc::new(DiskStorage::open(folder, true).expect("a storage"));
    let log = Log::open(
        storage,
        "0000",
        [1; 16],
        LogOptions::default(),
        Arc::new(Nothing),
    );
    log.expect("the log opens")
}

struct OpenLog {
    log: Log,
    folder: tempfile::TempDir,
}

impl OpenLog {
    fn new(folder: &Path) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a folder");
        let log = open_log(folder.path());
        let this = Self { log, folder };
        let open = PartitionOpen {
            topic: [1; 16],
            partition: 0,
            start_offset: 0,
        };
        let payload = control::encode(&open).expect("a small payload");
        this.append(Kind::PartitionOpen, payload, Durability::Os);
        this
    }

    fn append(&self, kind: Kind, payload: Vec<u8>, ack: Durability) {
        let (completion, mut pending): (_, Pending<Appended>) = Completion::pair();
        let partition = PartitionId(0);
        let append = Append {
            kind,
            partition,
            payload,
            ack,
            topic: ack,
            log_append_time: false,
            completion,
        };
        self.log.append(append, Run::Here);
        pending.wait(None).expect("the append");
    }

    fn times(&self, batch: &[u8], count: usize, ack: Durability) -> Vec<Duration> {
        let time = || {
            let payload = batch.to_vec();
            let begin = Instant::now();
            self.append(Kind::Records, payload, ack);
            begin.elapsed()
        };
        let times = (0..count).map(|_| time()).collect();
        self.log.close().expect("the close");
        times
    }
}

struct Floor {
    file: File,
}

impl Floor {
    fn new(folder: &Path) -> Self {
        let file = tempfile::tempfile_in(folder).expect("a file");
        Self { file }
    }

    fn times(&self, batch: &[u8], count: usize, ack: Durability) -> Vec<Duration> {
        let mut position = 0;
        let mut time = || {
            let payload = batch.to_vec();
            let begin = Instant::now();
            self.file
                .write_all_at(&payload, position)
                .expect("the write");
            if ack == Durability::Disk {
                self.file.sync_data().expect("the sync");
            }
            position += payload.len() as u64;
            begin.elapsed()
        };
        (0..count).map(|_| time()).collect()
    }
}

struct Percentiles {
    p50: f64,
    p99: f64,
}

fn percentiles(mut times: Vec<Duration>) -> Percentiles {
    times.sort_unstable();
    let at = |part: usize| {
        let time = times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default();
        time.as_secs_f64() * 1e6
    };
    Percentiles {
        p50: at(50),
        p99: at(99),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
