//! What is made ready ahead of the writer: one batch in flight, with and without it, beside files that grow, have
//! their space, or have been written.

use std::path::Path;
use std::time::Duration;

use headwater::Durability;
use headwater::log::LogOptions;

use super::figures::{Percentiles, median, percentiles};
use super::floor::{Floor, Ground};
use super::opened::{OpenLog, batch_of_one};

const KIB: usize = 1_024;
const MIB: usize = 1_024 * KIB;
const ROUNDS: usize = 9;

/// Both levels, from records of 100 bytes to more than zeros are written for.
pub(crate) fn run(folder: &Path, is_quick: bool) {
    let part = if is_quick { 10 } else { 1 };
    for (bytes, count) in [
        (100, 1_500),
        (4 * KIB, 700),
        (16 * KIB, 300),
        (32 * KIB, 200),
        (60 * KIB, 120),
        (256 * KIB, 40),
    ] {
        at_disk(folder, bytes, count / part);
    }
    at_os(folder, 100, 100_000 / part);
    at_os(folder, 64 * KIB, 2_000 / part);
}

/// The log with and without zeros, and plain files.
fn at_disk(folder: &Path, bytes: usize, count: usize) {
    let batch = batch_of_one(bytes);
    let log = |reserves_ahead, zero_bytes| {
        let options = LogOptions {
            reserves_ahead,
            zero_bytes,
            ..LogOptions::default()
        };
        OpenLog::new(folder, 1, options).times(&batch, count, Durability::Disk)
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
            ("log, 1 MiB of zeros ahead", &|| log(true, MIB as u64)),
            ("file that grows", &|| floor(Ground::Growing)),
            ("file that has its space", &|| floor(Ground::Reserved)),
            ("file that was written", &|| floor(Ground::Written)),
        ],
    );
}

/// Space reserved by the append that needs it, and ahead of it.
fn at_os(folder: &Path, bytes: usize, count: usize) {
    let batch = batch_of_one(bytes);
    let log = |reserves_ahead| {
        let options = LogOptions {
            reserves_ahead,
            ..LogOptions::default()
        };
        OpenLog::new(folder, 1, options).times(&batch, count, Durability::Os)
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
