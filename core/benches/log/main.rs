//! Appends and reads in process, beside the plain calls they cannot do without, in the same run.
//!
//! `cargo bench -p headwater --bench log -- [quick] [appends] [ahead] [partitions] [cold]`: all parts, or those named;
//! `quick` takes less data, to see that it works. Rounds alternate between the two sides, and medians over the
//! rounds are printed. About 11 GB are written below `target`, 5 GB at a time.
//!
//! - appends: against the same bytes by one `pwrite` per batch to a plain file of the same folder, and
//!   `fdatasync` after it where the log syncs; the batches are made outside of the clock on both sides
//! - ahead: what is made ready ahead of the writer, with and without it
//! - partitions: 1,000 of one log against one
//! - cold: one partition of 100 from the disk, against `pread` of the same; and once cleaning has moved it into
//!   cold segments, against a file that is read from front to back
#![expect(clippy::print_stdout, reason = "a bench prints its figures")]

#[cfg(target_os = "linux")]
mod ahead;
#[cfg(target_os = "linux")]
mod cold;
mod figures;
mod floor;
mod opened;
mod partitions;

use std::path::Path;
use std::time::{Duration, Instant};

use headwater::Durability;
use headwater::log::LogOptions;

use self::figures::{Percentiles, median, percentiles};
use self::floor::Floor;
use self::opened::{DIR, OpenLog, batch, open_log};

const ROUNDS: usize = 5;
const PARTS: [&str; 4] = ["appends", "ahead", "partitions", "cold"];

fn main() {
    let args: Vec<_> = std::env::args()
        .skip(1)
        .filter(|arg| !arg.starts_with('-'))
        .collect();
    for arg in &args {
        let is_known = arg == "quick" || PARTS.contains(&arg.as_str());
        assert!(is_known, "`{arg}` is none of quick, {}", PARTS.join(", "));
    }
    let is_quick = args.iter().any(|arg| arg == "quick");
    let is_all = args.iter().all(|arg| arg == "quick");
    let is_wanted = |part: &str| is_all || args.iter().any(|arg| arg == part);
    let folder = tempfile::Builder::new()
        .prefix("bench-log-")
        .tempdir_in(env!("CARGO_TARGET_TMPDIR"))
        .expect("the target folder can be written to");
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("load before: {}", load.trim());
    if is_wanted("appends") {
        appends(folder.path(), if is_quick { 10 } else { 1 });
    }
    #[cfg(target_os = "linux")]
    if is_wanted("ahead") {
        ahead::run(folder.path(), is_quick);
    }
    if is_wanted("partitions") {
        partitions::run(folder.path(), is_quick);
    }
    #[cfg(target_os = "linux")]
    if is_wanted("cold") {
        cold::run(folder.path(), is_quick);
    }
}

/// One partition, a part of the data.
fn appends(folder: &Path, part: usize) {
    let (single, large) = (batch(1), batch(1_000));
    let (os, disk) = (Durability::Os, Durability::Disk);
    latency(
        "one record of 100 B, os",
        folder,
        &single,
        40_000 / part,
        os,
    );
    latency(
        "one record of 100 B, disk",
        folder,
        &single,
        400 / part,
        disk,
    );
    throughput("batches of 1,000, os", folder, &large, 1_000 / part, os);
    reopen(folder, &large, 2_000 / part);
    throughput(
        "batches of 1,000, disk each",
        folder,
        &large,
        200 / part,
        disk,
    );
}

/// A new log with one partition.
fn new_log(folder: &Path) -> OpenLog {
    OpenLog::new(folder, 1, LogOptions::default())
}

/// Time per append, one after the other.
fn latency(name: &str, folder: &Path, batch: &[u8], count: usize, ack: Durability) {
    let mut ours = Vec::new();
    let mut floors = Vec::new();
    for _ in 0..ROUNDS {
        let log = new_log(folder);
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
        ours.push(rate(new_log(folder).times(batch, count, ack)));
        floors.push(rate(Floor::new(folder).times(batch, count, ack)));
    }
    let (ours, floor) = (median(ours), median(floors));
    println!(
        "{name:<30} log   {ours:6.2} M records/s, floor {floor:6.2} M/s: {:.0} %",
        ours / floor * 100.0
    );
}

/// Time to open a log that was closed cleanly; and without what is kept beside it, when every checksum is verified
/// and every entry replayed.
fn reopen(folder: &Path, batch: &[u8], count: usize) {
    let open = new_log(folder);
    open.times(batch, count, Durability::Os);
    let dir = open.folder.path().join(DIR);
    let time = || {
        let begin = Instant::now();
        let log = open_log(open.folder.path(), LogOptions::default());
        let time = begin.elapsed().as_secs_f64();
        assert_eq!(log.written(), count as u64 + 1);
        time
    };
    let size = (batch.len() * count) as f64;
    let clean = median((0..ROUNDS).map(|_| time()).collect());
    for file in std::fs::read_dir(dir).expect("the folder") {
        let path = file.expect("a file").path();
        if path
            .extension()
            .is_some_and(|it| it == "redb" || it == "snap")
        {
            std::fs::remove_file(path).expect("it is there");
        }
    }
    let replay = median((0..ROUNDS).map(|_| time()).collect());
    println!(
        "{:<30} log   {:6.2} ms, of {:.0} MB",
        "open, closed cleanly",
        clean * 1e3,
        size / 1e6
    );
    println!(
        "{:<30} log   {:6.2} M records/s, {:.2} GB/s ({:.0} ms)",
        "open and replay all of it",
        (count * 1_000) as f64 / replay / 1e6,
        size / replay / 1e9,
        replay * 1e3
    );
}
