//! Reads of one partition of 100 from the disk: where batches of all lie in turn, and in cold segments.
//!
//! Before each measurement the log is opened anew, so that it has no footer in memory, and the pages of all
//! files are dropped from the system's cache; beside the figures stands what came from the disk, as a share of
//! what was asked for. A read checks all that a subscription does: frames, and the batches' own checksums.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use headwater::Durability;
use headwater::ids::PartitionId;
use headwater::limits::PUSH_BYTES_MAX;
use headwater::log::{CleaningRule, Location, Log, LogOptions};
use headwater::record::batch;
use rustix::fs::Advice;

use crate::figures::{Sides, Speed, median};
use crate::opened::{DIR, OpenLog, batch_of_bytes, open_log};

const PARTITIONS: u32 = 100;
const BATCH_BYTES: usize = 64 * 1_024;
const BAR: u32 = 70;
/// Every tenth partition outlives the cleaning.
const KEPT_EVERY: u32 = 10;
/// Segments' worth of what nobody keeps at the end: so the rest lies before the older of two snapshots.
const TAIL_SEGMENTS: u64 = 6;
/// How long cleaning finds nothing to do when it is done: a snapshot may still be on its way.
const CLEANED_AFTER: Duration = Duration::from_secs(3);
/// What frames are padded to.
const FRAME_ALIGN: u64 = 8;

/// How much is written and read.
struct Size {
    bytes: usize,
    /// Each reads a hundredth of the bytes.
    rounds: usize,
    segment_bytes: u64,
}

const WHOLE: Size = Size {
    bytes: 4 << 30,
    rounds: 25,
    segment_bytes: 64 << 20,
};
const QUICK: Size = Size {
    bytes: 512 << 20,
    rounds: 4,
    segment_bytes: 16 << 20,
};

pub(crate) fn run(folder: &Path, is_quick: bool) {
    let size = if is_quick { QUICK } else { WHOLE };
    let options = LogOptions {
        segment_bytes: size.segment_bytes,
        clean_bytes_per_s: 0,
        ..LogOptions::default()
    };
    let folder = fill(folder, &size, options.clone());
    let cold = Cold {
        folder: folder.path(),
        options,
        rounds: size.rounds,
    };
    cold.interleaved();
    cold.clean();
    cold.moved();
}

/// A folder with a log in which the batches of all partitions lie in turn.
fn fill(folder: &Path, size: &Size, options: LogOptions) -> tempfile::TempDir {
    let open = OpenLog::new(folder, PARTITIONS + 1, options);
    let batch = batch_of_bytes(BATCH_BYTES);
    for number in 0..size.bytes / batch.len() {
        open.append(number as u32 % PARTITIONS, batch.clone(), Durability::Os);
    }
    let tail_bytes = (size.segment_bytes * TAIL_SEGMENTS) as usize;
    for _ in 0..tail_bytes / batch.len() {
        open.append(PARTITIONS, batch.clone(), Durability::Os);
    }
    open.log.close().expect("the close");
    open.folder
}

struct Cold<'a> {
    folder: &'a Path,
    options: LogOptions,
    rounds: usize,
}

impl Cold<'_> {
    /// Against one `pread` for each of the same batches.
    fn interleaved(&self) {
        let files = self.files();
        self.compare(
            "cold, one partition of 100 in batches of 64 KiB",
            ["log", "pread of each"],
            &|round| round as u32 * 7 % PARTITIONS,
            &|places| read_places(&files, places),
        );
    }

    /// Against a file of as many bytes, read from front to back; and against `pread` of the same batches, which
    /// tells what of it is due to where they lie: the system reads ahead, and behind them are others.
    fn moved(&self) {
        let files = self.files();
        let places = places(&self.open(), 0);
        let is_moved = |place: &&Location| {
            let path = files.get(&place.segment);
            path.and_then(|path| path.extension())
                .is_some_and(|it| it == "cold")
        };
        let moved = places.iter().filter(is_moved).count() as f64 / places.len() as f64;
        let plain = self.folder.join("plain");
        write_plain(&plain, places.iter().map(frame_bytes).sum());
        let what = format!(
            "cold, one partition of {}, {:.0} % of it in cold segments",
            PARTITIONS / KEPT_EVERY,
            moved * 100.0
        );
        let partition = |round| round as u32 * KEPT_EVERY % PARTITIONS;
        self.compare(&what, ["log", "plain file"], &partition, &|_| {
            read_plain(&plain)
        });
        self.compare(&what, ["log", "pread of each"], &partition, &|places| {
            read_places(&files, places)
        });
    }

    /// Compares how the log reads a partition, another in each round, with another way to it.
    fn compare(
        &self,
        what: &str,
        names: [&'static str; 2],
        partition: &dyn Fn(usize) -> u32,
        other: &dyn Fn(&[Location]) -> u64,
    ) {
        let [mut ours, mut others] = [Vec::new(), Vec::new()];
        let sides = Sides::measure(
            names,
            self.rounds,
            [
                &mut |round| {
                    let log = self.open();
                    self.measure(&mut ours, || read(&log, partition(round)))
                },
                &mut |round| {
                    let places = places(&self.open(), partition(round));
                    self.measure(&mut others, || other(&places))
                },
            ],
        );
        sides.print(what, BAR);
        let (ours, others) = (median(ours), median(others));
        println!("    from the disk    {ours:8.1} %, {others:.1} %");
    }

    /// How fast `read` is with nothing in the cache; it answers how many bytes it got. Notes what share of them
    /// came from the disk, in percent.
    fn measure(&self, shares: &mut Vec<f64>, read: impl FnOnce() -> u64) -> Speed {
        drop_cached(self.folder);
        let before = disk_bytes();
        let mut bytes = 0;
        let speed = Speed::of(|| {
            bytes = read();
            bytes
        });
        shares.push((disk_bytes() - before) as f64 / bytes as f64 * 100.0);
        speed
    }

    /// Cleans until there is nothing more to do; every tenth partition lives.
    fn clean(&self) {
        let log = self.open();
        let kept = CleaningRule {
            log_start_offset: 0,
            compaction: None,
        };
        let is_kept = |id: PartitionId| id.0 < PARTITIONS && id.0.is_multiple_of(KEPT_EVERY);
        let mut last = Instant::now();
        while last.elapsed() < CLEANED_AFTER {
            let cleaned = log.clean(log.synced(), &|id| is_kept(id).then_some(kept));
            if cleaned.is_some_and(|segments| segments > 0) {
                last = Instant::now();
            } else {
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        log.close().expect("the close");
    }

    fn open(&self) -> Log {
        open_log(self.folder, self.options.clone())
    }

    /// The segments' files, by number.
    fn files(&self) -> HashMap<u64, PathBuf> {
        let mut files = HashMap::new();
        for entry in std::fs::read_dir(self.folder.join(DIR)).expect("the folder") {
            let path = entry.expect("an entry").path();
            let number = path
                .file_stem()
                .and_then(|stem| stem.to_str()?.parse().ok());
            let is_segment = path
                .extension()
                .is_some_and(|it| it == "log" || it == "cold");
            if let (Some(number), true) = (number, is_segment) {
                files.insert(number, path);
            }
        }
        files
    }
}

/// Reads a whole partition as a subscription does, and answers the bytes of its frames.
fn read(log: &Log, partition: u32) -> u64 {
    let mut bytes = 0;
    let mut offset = 0;
    loop {
        let stored = log.read_from(PartitionId(partition), offset, i64::MAX, PUSH_BYTES_MAX);
        let stored = stored.expect("the read");
        let Some(last) = stored.last() else {
            return bytes;
        };
        offset = last.next_offset;
        for one in &stored {
            batch::verify(&one.bytes).expect("an intact batch");
            bytes += frame_bytes(&one.location);
        }
    }
}

/// Where the batches of a partition lie.
fn places(log: &Log, partition: u32) -> Vec<Location> {
    let mut places = Vec::new();
    let mut offset = 0;
    loop {
        let stored = log.read_from(PartitionId(partition), offset, i64::MAX, PUSH_BYTES_MAX);
        let stored = stored.expect("the read");
        let Some(last) = stored.last() else {
            return places;
        };
        offset = last.next_offset;
        places.extend(stored.iter().map(|one| one.location));
    }
}

fn frame_bytes(place: &Location) -> u64 {
    (u64::from(place.payload_at) + u64::from(place.len)).next_multiple_of(FRAME_ALIGN)
}

fn read_places(files: &HashMap<u64, PathBuf>, places: &[Location]) -> u64 {
    let mut buffer = Vec::new();
    let mut opened: Option<(u64, File)> = None;
    let mut bytes = 0;
    for place in places {
        let file = match opened.take() {
            Some((segment, file)) if segment == place.segment => file,
            _ => File::open(&files[&place.segment]).expect("the segment opens"),
        };
        buffer.resize(frame_bytes(place) as usize, 0);
        file.read_exact_at(&mut buffer, place.position)
            .expect("the read");
        bytes += buffer.len() as u64;
        opened = Some((place.segment, file));
    }
    bytes
}

fn write_plain(path: &Path, bytes: u64) {
    let mut file = File::create(path).expect("a file");
    let block = vec![b'p'; PUSH_BYTES_MAX];
    let mut rest = bytes as usize;
    while rest > 0 {
        let count = rest.min(block.len());
        file.write_all(&block[..count]).expect("the write");
        rest -= count;
    }
}

fn read_plain(path: &Path) -> u64 {
    let mut file = File::open(path).expect("the file opens");
    let mut buffer = vec![0; PUSH_BYTES_MAX];
    let mut bytes = 0;
    loop {
        let count = file.read(&mut buffer).expect("the read");
        if count == 0 {
            return bytes;
        }
        bytes += count as u64;
    }
}

/// Has no page of a file below the folder in the cache any more; dirty ones are written first.
fn drop_cached(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("the folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            drop_cached(&path);
        } else {
            let file = File::open(&path).expect("the file opens");
            file.sync_all().expect("the sync");
            rustix::fs::fadvise(&file, 0, None, Advice::DontNeed).expect("the advice is taken");
        }
    }
}

/// Bytes that this process had read from a disk.
fn disk_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = io
        .lines()
        .find_map(|line| line.strip_prefix("read_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).unwrap_or(0)
}
