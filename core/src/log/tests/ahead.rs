//! What lies ahead of the writer: space and zeros, and that no zero ever replaces a frame.

use std::io::{self, IoSlice};
use std::sync::mpsc;
use std::time::Duration;

use super::mutant::{self, Mutant};
use super::*;
use crate::error::{ErrorCode, ErrorKind};
use crate::log::ahead::Ahead;
use crate::log::segment::{self, ActiveSegment, SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::storage::StorageFile;
use crate::log::storage::faulty::{Action, CrashMode};
use crate::log::storage::memory::MemoryStorage;

const MIB: u64 = 1_024 * 1_024;
const START: u64 = SEGMENT_HEADER_BYTES as u64;

fn segment_of(file: &Arc<dyn StorageFile>) -> ActiveSegment {
    let header = SegmentHeader::default();
    ActiveSegment::new(Arc::clone(file), &header, START, START, true)
}

fn file() -> Arc<dyn StorageFile> {
    MemoryStorage::new().create("file").unwrap()
}

/// Does as if everything up to `end` were written.
fn write_to(active: &mut ActiveSegment, end: u64, segment_bytes: u64) {
    active.reserve(end, segment_bytes).unwrap();
    active.position = end;
    active.note_written();
}

#[test]
fn space_is_reserved_in_steps_that_double_when_less_than_half_a_step_is_left() {
    let file = file();
    let mut active = segment_of(&file);
    let ahead = Arc::clone(&active.ahead);
    let reserved = || {
        ahead.reserve_next(64 * MIB);
        assert_eq!(file.length().unwrap(), ahead.reserved());
        ahead.reserved() - START
    };
    write_to(&mut active, START + MIB / 2, 64 * MIB);
    assert_eq!(reserved(), MIB);
    write_to(&mut active, START + MIB / 2 + 1, 64 * MIB);
    assert_eq!(reserved(), 3 * MIB);
    assert_eq!(reserved(), 3 * MIB);
    let mut reached = Vec::new();
    for end in (MIB..70 * MIB).step_by(MIB as usize / 4) {
        write_to(&mut active, (START + end).min(64 * MIB), 64 * MIB);
        let now = reserved();
        if reached.last() != Some(&now) {
            reached.push(now);
        }
    }
    let wanted = [3, 7, 15, 31, 47, 63].map(|step| step * MIB);
    assert_eq!(reached[..6], wanted);
    assert_eq!(reached[6..], [64 * MIB - START]);
}

#[test]
fn a_disk_without_space_ahead_is_no_error_and_the_append_finds_out() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), options(4 * MIB)).unwrap();
    open.open_partition(0);
    storage.set_space(Some(MIB + 64 * 1_024));
    let value = vec![7; 100_000];
    let mut sequence = 0;
    let error = loop {
        match open.append(produced(0, &[&value], 7, 0, sequence).disk()) {
            Ok(_) => sequence += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), ErrorCode::DiskFull, "{error}");
    assert!(sequence >= 10, "{sequence}");
    storage.set_space(None);
    open.append(produced(0, &[&value], 7, 0, sequence).disk())
        .unwrap();
    open.log.close().unwrap();
    assert_eq!(
        super::open(&storage).memory.payloads(),
        open.memory.payloads()
    );
}

#[test]
fn space_is_reserved_ahead_after_a_round_and_else_by_the_append_that_needs_it() {
    for reserves_ahead in [true, false] {
        let options = LogOptions {
            reserves_ahead,
            ..options(16 * MIB)
        };
        let open = try_open_with(Arc::new(FaultyStorage::new()), options).unwrap();
        open.open_partition(0);
        let ahead = Arc::clone(&open.log.shared.writer.lock().active.ahead);
        let append = |count: usize| {
            for _ in 0..count {
                open.append(records(0, &[&[1; 100_000]])).unwrap();
            }
        };
        append(6);
        assert_eq!(ahead.reserved(), START + MIB);
        open.sync().unwrap();
        settle(&open);
        let steps = if reserves_ahead { 3 } else { 1 };
        assert_eq!(ahead.reserved(), START + steps * MIB);
        append(6);
        assert_eq!(ahead.reserved(), START + 3 * MIB);
    }
}

/// A file whose writes wait, of zeros alone.
#[derive(Debug)]
struct Gated {
    file: Arc<dyn StorageFile>,
    is_reached: Mutex<mpsc::Sender<()>>,
    is_open: Mutex<mpsc::Receiver<()>>,
}

impl StorageFile for Gated {
    fn length(&self) -> io::Result<u64> {
        self.file.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_at(buffer, position)
    }

    fn write_at(&self, buffers: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        if buffers.iter().all(|it| it.iter().all(|byte| *byte == 0)) {
            self.is_reached.lock().send(()).unwrap();
            self.is_open.lock().recv().unwrap();
        }
        self.file.write_at(buffers, position)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.file.preallocate(end_position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.truncate(length)
    }
}

/// Writes a frame of ones where zeros are being written, and says whether it is there in the end.
fn write_into_zeros() -> bool {
    const FRAME: u64 = 10_000;
    let (reached, is_reached) = mpsc::channel();
    let (open, is_open) = mpsc::channel();
    let file: Arc<dyn StorageFile> = Arc::new(Gated {
        file: file(),
        is_reached: Mutex::new(reached),
        is_open: Mutex::new(is_open),
    });
    let mut active = segment_of(&file);
    write_to(&mut active, START + 8, MIB);
    let ahead: Arc<Ahead> = Arc::clone(&active.ahead);
    let zeroing = std::thread::spawn(move || ahead.write_zeros(64 * 1_024, START));
    is_reached.recv().unwrap();
    let (written, is_written) = mpsc::channel();
    let frames = Arc::clone(&file);
    let writing = std::thread::spawn(move || {
        let start = active.position;
        active.reserve(start + FRAME, MIB).unwrap();
        let frame = [1; FRAME as usize];
        frames.write_at(&[IoSlice::new(&frame)], start).unwrap();
        written.send(start).unwrap();
    });
    // A writer that does not wait is through by now; one that does is let go after the first piece.
    let early = is_written.recv_timeout(Duration::from_millis(200)).ok();
    (0..8).for_each(|_| open.send(()).unwrap());
    let start = early.unwrap_or_else(|| is_written.recv().unwrap());
    writing.join().unwrap();
    assert!(zeroing.join().unwrap());
    let mut found = [0; FRAME as usize];
    file.read_at(&mut found, start).unwrap();
    found.iter().all(|byte| *byte == 1)
}

#[test]
fn a_frame_waits_for_zeros_that_are_being_written_where_it_goes() {
    assert!(write_into_zeros());
}

#[test]
fn a_writer_that_does_not_wait_for_zeros_is_found() {
    assert!(!mutant::with(Mutant::ZeroesNotAwaited, write_into_zeros));
}

fn zeroing(segment_bytes: u64, zero_bytes: u64) -> LogOptions {
    LogOptions {
        zero_bytes,
        ..options(segment_bytes)
    }
}

fn zeroed(open: &Open) -> u64 {
    open.log.shared.writer.lock().active.ahead.zeroed()
}

/// Waits until what comes after the last round is done.
fn settle(open: &Open) {
    while open.log.shared.is_preparing.load(Ordering::Acquire) {
        std::thread::yield_now();
    }
}

fn append_small(open: &Open, count: usize) {
    for _ in 0..count {
        open.append(records(0, &[b"small"]).disk()).unwrap();
        settle(open);
    }
}

#[test]
fn zeros_are_written_and_synced_ahead_of_small_syncs() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), zeroing(MIB, 64 * 1_024)).unwrap();
    open.open_partition(0);
    append_small(&open, 3);
    assert_eq!(zeroed(&open), 0);
    append_small(&open, 1);
    let end = zeroed(&open);
    assert!(end > 64 * 1_024, "{end}");
    let operations = storage.operations();
    assert_eq!(operations.last().unwrap().action, Action::Sync);
    // There are enough for a while.
    append_small(&open, 20);
    assert_eq!(zeroed(&open), end);
    let file = storage.open(&segment::path(DIR, 1), true).unwrap();
    assert_eq!(file.length().unwrap(), MIB);
    open.log.close().unwrap();
    assert!(file.length().unwrap() < 16 * 1_024);
}

#[test]
fn zeros_are_not_written_for_large_syncs_nor_for_those_nobody_waits_for_nor_in_memory() {
    let often = LogOptions {
        os_sync_interval_ms: 1,
        ..zeroing(MIB, 64 * 1_024)
    };
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage), often).unwrap();
    open.open_partition(0);
    for _ in 0..6 {
        open.append(records(0, &[&[1; 66_000]]).disk()).unwrap();
        settle(&open);
    }
    for _ in 0..6 {
        let index = open.append(records(0, &[b"os"])).unwrap().index;
        while open.log.synced() < index {
            std::thread::yield_now();
        }
        settle(&open);
    }
    assert_eq!(zeroed(&open), 0);
    let memory = try_open_with(Arc::new(MemoryStorage::new()), zeroing(MIB, 65_536)).unwrap();
    memory.open_partition(0);
    for _ in 0..6 {
        memory.append(records(0, &[b"os"])).unwrap();
        memory.sync().unwrap();
    }
    assert_eq!(zeroed(&memory), 0);
}

#[test]
fn zeros_are_reserved_space_to_the_next_open() {
    let storage = FaultyStorage::new();
    let options = || zeroing(MIB, 64 * 1_024);
    let first = try_open_with(Arc::new(storage.clone()), options()).unwrap();
    first.open_partition(0);
    append_small(&first, 6);
    assert!(zeroed(&first) > 0);
    let cut = storage.crash_image(CrashMode::OnlySynced);
    let second = try_open_with(Arc::new(cut.clone()), options()).unwrap();
    assert_eq!(second.memory.payloads(), first.memory.payloads());
    assert_eq!(zeroed(&second), 0);
    let ahead = Arc::clone(&second.log.shared.writer.lock().active.ahead);
    assert_eq!(ahead.reserved(), MIB);
    append_small(&second, 6);
    assert!(zeroed(&second) > 0);
    assert_eq!(second.log.segment_count(), 1);
    let payloads = second.memory.payloads();
    // Dropped, not closed: nobody touches the file any more.
    drop(second);
    let operations = cut.now();
    ahead.reserve_next(64 * MIB);
    assert!(!ahead.write_zeros(MIB, 0));
    assert_eq!(cut.now(), operations);
    let third = try_open_with(Arc::new(cut), options()).unwrap();
    assert_eq!(third.memory.payloads(), payloads);
}

#[test]
fn zeros_that_cannot_be_written_are_done_without() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), zeroing(MIB, 64 * 1_024)).unwrap();
    open.open_partition(0);
    append_small(&open, 3);
    // Behind the next frame's write and sync.
    storage.fail_at(storage.now() + 2, io::ErrorKind::StorageFull);
    append_small(&open, 20);
    assert_eq!(zeroed(&open), 0);
    open.log.close().unwrap();
    assert_eq!(
        super::open(&storage).memory.payloads(),
        open.memory.payloads()
    );
}

#[test]
fn a_sync_of_zeros_that_fails_stops_the_log() {
    let storage = FaultyStorage::new();
    let open = try_open_with(Arc::new(storage.clone()), zeroing(MIB, 64 * 1_024)).unwrap();
    open.open_partition(0);
    append_small(&open, 3);
    // Behind the next frame's write and sync, and eight pieces.
    storage.fail_at(storage.now() + 10, io::ErrorKind::Other);
    open.append(records(0, &[b"synced before"]).disk()).unwrap();
    settle(&open);
    let error = open.append(records(0, &[b"too late"])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(open.log.close().is_err());
}

#[test]
fn no_zero_replaces_a_frame_while_many_threads_append() {
    let storage = FaultyStorage::new();
    let options = zeroing(256 * 1_024, 8 * 1_024);
    let open = Arc::new(try_open_with(Arc::new(storage.clone()), options).unwrap());
    (0..4).for_each(|partition| open.open_partition(partition));
    let most = Arc::new(Mutex::new(0));
    let append = |partition: u32| {
        let (open, most) = (Arc::clone(&open), Arc::clone(&most));
        move || {
            for number in 0..600_usize {
                let value = vec![partition as u8 + 1; (number * 61) % 2_000];
                let request = records(partition, &[&value]);
                let request = if number % 3 == 0 {
                    request.disk()
                } else {
                    request
                };
                open.append(request).unwrap();
                let mut most = most.lock();
                *most = zeroed(&open).max(*most);
            }
        }
    };
    let threads: Vec<_> = (0..4)
        .map(|partition| std::thread::spawn(append(partition)))
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert!(*most.lock() > 0);
    open.sync().unwrap();
    for seen in open.memory.seen() {
        assert_eq!(open.log.read(seen.location).unwrap(), seen.payload);
    }
    let cut = storage.crash_image(CrashMode::OnlySynced);
    for storage in [cut, storage] {
        let again = super::open(&storage);
        assert_eq!(again.memory.payloads(), open.memory.payloads());
    }
}
