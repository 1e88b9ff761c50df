//! Appends in process, beside the plain calls they cannot do without, in the same run.
//!
//! `cargo bench -p headwater --bench log`. Rounds alternate between the log and the floor: the same bytes by
//! one `pwrite` per batch to a plain file of the same folder, and `fdatasync` after it where the log syncs.
//! Medians over the rounds; the batches are made outside of the clock on both sides.
//!
//! What is made ready ahead of the writer is measured too: one batch in flight, with and without it, beside
//! files that grow, have their space, or have been written.
//!
//! A word behind `--` runs only the parts whose names contain it.
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
use rustix::fs::FallocateFlags;

const ROUNDS: usize = 5;

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;

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
    let only = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    for (name, part) in PARTS {
        if only.as_ref().is_none_or(|only| name.contains(only)) {
            part(name, folder.path());
        }
    }
}

/// A part: its name, and what measures it in a folder.
type Part = (&'static str, fn(&str, &Path));

const PARTS: [Part; 7] = [
    ("one record of 100 B, os", |name, folder| {
        latency(name, folder, &batch(1), 40_000, Durability::Os);
    }),
    ("one record of 100 B, disk", |name, folder| {
        latency(name, folder, &batch(1), 400, Durability::Disk);
    }),
    ("batches of 1,000, os", |name, folder| {
        throughput(name, folder, &batch(1_000), 1_000, Durability::Os);
    }),
    ("open and replay, clean", |name, folder| {
        reopen(name, folder, &batch(1_000), 2_000);
    }),
    ("batches of 1,000, disk each", |name, folder| {
        throughput(name, folder, &batch(1_000), 200, Durability::Disk);
    }),
    ("ahead, disk", |_, folder| {
        ahead_of_disk(folder, 100, 1_500);
        for (bytes, count) in [(4, 700), (16, 300), (32, 200), (60, 120), (256, 40)] {
            ahead_of_disk(folder, bytes * KIB, count);
        }
    }),
    ("ahead, os", |_, folder| {
        ahead_of_os(folder, 100, 100_000);
        ahead_of_os(folder, 64 * KIB, 2_000);
    }),
];

/// One batch of a record in flight at `disk`: the log with and without zeros, and plain files.
fn ahead_of_disk(folder: &Path, bytes: usize, count: usize) {
    let batch = batch_of(bytes);
    let log = |reserves_ahead, zero_bytes| {
        let options = LogOptions {
            reserves_ahead,
            zero_bytes,
            ..LogOptions::default()
        };
        OpenLog::with(folder, options).times(&batch, count, Durability::Disk)
    };
    let floor = |ground| {
        let floor = Floor::new(folder);
        floor.prepare(ground, (count * batch.len() + MIB) as u64);
        floor.times(&batch, count, Durability::Disk)
    };
    compare(
        &format!("disk, {bytes} B"),
        &[
            ("log, nothing ahead", &|| log(false, 0)),
            ("log, space ahead", &|| log(true, 0)),
            ("log, 256 KiB of zeros ahead", &|| {
                log(true, 256 * KIB as u64)
            }),
            ("log, 1 MiB of zeros ahead", &|| log(true, MIB as u64)),
            ("file that grows", &|| floor(Ground::Growing)),
            ("file that has its space", &|| floor(Ground::Reserved)),
            ("file that was written", &|| floor(Ground::Written)),
        ],
    );
}

/// One batch of a record in flight at `os`: space reserved by the append that needs it, and ahead of it.
fn ahead_of_os(folder: &Path, bytes: usize, count: usize) {
    let batch = batch_of(bytes);
    let log = |reserves_ahead| {
        let options = LogOptions {
            reserves_ahead,
            ..LogOptions::default()
        };
        OpenLog::with(folder, options).times(&batch, count, Durability::Os)
    };
    compare(
        &format!("os, {bytes} B"),
        &[
            ("log, space by need", &|| log(false)),
            ("log, space ahead", &|| log(true)),
        ],
    );
}

/// A way to append, which gives the time of each.
type Way<'a> = (&'a str, &'a dyn Fn() -> Vec<Duration>);

/// Times of several ways, round by round. The ratios are to the first way of the same round, and of the
/// quicker quarter: on a machine that does other things too it tells more than the middle.
fn compare(name: &str, ways: &[Way<'_>]) {
    const ROUNDS: usize = 9;
    let mut found: Vec<Vec<Percentiles>> = ways.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for ((_, times), found) in ways.iter().zip(&mut found) {
            found.push(percentiles(times()));
        }
    }
    let first = found.first().map_or(&[][..], Vec::as_slice);
    println!("{name}");
    for ((way, _), found) in ways.iter().zip(&found) {
        let of = |which: fn(&Percentiles) -> f64| median(found.iter().map(which).collect());
        let ratios = found.iter().zip(first);
        let ratio = median(ratios.map(|(it, first)| it.p25 / first.p25).collect());
        println!(
            "  {way:<28} p25 {:8.2} us ({ratio:.2} of the first)  mean {:8.2}  p50 {:8.2}  p99 {:8.2}  p99.9 {:8.2}",
            of(|it| it.p25),
            of(|it| it.mean),
            of(|it| it.p50),
            of(|it| it.p99),
            of(|it| it.p999),
        );
    }
}

/// A batch of one record of so many bytes.
fn batch_of(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(MIB);
    let value = vec![b'v'; bytes];
    let record = RecordRef {
        timestamp_ms: 1,
        value: Some(&value),
        ..RecordRef::default()
    };
    builder.push(&record).expect("a record that fits");
    builder.finish(-1, -1, -1).expect("it has records")
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
        let log = open_log(open.folder.path(), LogOptions::default());
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

fn open_log(folder: &Path, options: LogOptions) -> Log {
    let storage = Arc::new(DiskStorage::open(folder, true).expect("a storage"));
    let log = Log::open(storage, "0000", [1; 16], options, Arc::new(Nothing));
    log.expect("the log opens")
}

struct OpenLog {
    log: Log,
    folder: tempfile::TempDir,
}

impl OpenLog {
    fn new(folder: &Path) -> Self {
        Self::with(folder, LogOptions::default())
    }

    fn with(folder: &Path, options: LogOptions) -> Self {
        let folder = tempfile::tempdir_in(folder).expect("a folder");
        let log = open_log(folder.path(), options);
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

/// What a plain file is before it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ground {
    Growing,
    Reserved,
    Written,
}

struct Floor {
    file: File,
}

impl Floor {
    fn new(folder: &Path) -> Self {
        let file = tempfile::tempfile_in(folder).expect("a file");
        Self { file }
    }

    fn prepare(&self, ground: Ground, bytes: u64) {
        if ground != Ground::Growing {
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes)
                .expect("the space");
        }
        if ground == Ground::Written {
            let zeros = vec![0; MIB];
            for position in (0..bytes).step_by(MIB) {
                let left = usize::try_from(bytes - position).expect("a length");
                let zeros = &zeros[..left.min(MIB)];
                self.file.write_all_at(zeros, position).expect("the zeros");
            }
        }
        self.file.sync_all().expect("the sync");
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
    p25: f64,
    p50: f64,
    p99: f64,
    p999: f64,
    mean: f64,
}

fn percentiles(mut times: Vec<Duration>) -> Percentiles {
    times.sort_unstable();
    let at = |part: usize| {
        let time = times.get(times.len() * part / 1_000).copied();
        time.unwrap_or_default().as_secs_f64() * 1e6
    };
    let sum: f64 = times.iter().map(Duration::as_secs_f64).sum();
    Percentiles {
        p25: at(250),
        p50: at(500),
        p99: at(990),
        p999: at(999),
        mean: sum / times.len().max(1) as f64 * 1e6,
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
