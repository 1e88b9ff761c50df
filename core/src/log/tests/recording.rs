//! For 10,000 `disk` acknowledgements: the sync that covers the frame had returned before.

use std::io;

use super::*;
use crate::log::frame::{FRAME_HEADER_BYTES, padded};
use crate::log::segment;
use crate::log::storage::StorageFile;

const THREADS: u32 = 4;
const ACKS_PER_THREAD: usize = 2_500;

/// An acknowledgement: of which index, and the time of the recording when it was given.
type Ack = (u64, u64);

/// Appends at `disk` from several threads through `storage`, whose calls `recording` records; returns the
/// first frame that was acknowledged before it was durable.
fn first_unproven(storage: Arc<dyn Storage>, recording: &FaultyStorage) -> Option<Seen> {
    let open = Arc::new(try_open_with(storage, options(1 << 20)).unwrap());
    let acks = Arc::new(Mutex::new(Vec::<Ack>::new()));
    let threads: Vec<_> = (0..THREADS)
        .map(|partition| {
            let (open, acks, recording) = (Arc::clone(&open), Arc::clone(&acks), recording.clone());
            std::thread::spawn(move || append_all(partition, &open, &acks, &recording))
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    let mut acks = std::mem::take(&mut *acks.lock());
    assert_eq!(acks.len(), THREADS as usize * (ACKS_PER_THREAD + 1));
    acks.sort_unstable_by_key(|(_, time)| *time);
    let seen = open.memory.seen();
    let mut history = recording.history();
    acks.into_iter().find_map(|(index, time)| {
        let seen = seen[index as usize - 1].clone();
        let start = seen.location.position;
        let end = start + padded((FRAME_HEADER_BYTES + seen.payload.len()) as u64);
        let path = segment::path(DIR, seen.location.segment);
        let is_proven = history.is_durable(&path, &(start..end), time);
        (!is_proven).then_some(seen)
    })
}

fn append_all(partition: u32, open: &Open, acks: &Arc<Mutex<Vec<Ack>>>, recording: &FaultyStorage) {
    let mut pendings = Vec::new();
    for number in 0..=ACKS_PER_THREAD {
        let request = if number == 0 {
            partition_open(partition)
        } else {
            records(partition, &[&number.to_le_bytes()])
        };
        let (filled, pending) = Completion::pair();
        let (acks, recording) = (Arc::clone(acks), recording.clone());
        let completion = Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            let time = recording.now();
            acks.lock().push((result.as_ref().unwrap().index, time));
            filled.complete(result, wakes);
        });
        let append = request.disk().into_append(completion);
        open.log.append(append, Run::Here);
        pendings.push(pending);
        if number % 8 == 0 {
            pendings
                .drain(..)
                .for_each(|mut pending| assert!(pending.wait(None).is_ok()));
        }
    }
    pendings
        .into_iter()
        .for_each(|mut pending| assert!(pending.wait(None).is_ok()));
}

#[test]
fn no_disk_acknowledgement_is_given_before_its_sync_returned() {
    let storage = FaultyStorage::new();
    assert_eq!(first_unproven(Arc::new(storage.clone()), &storage), None);
}

#[test]
fn the_same_check_finds_a_log_that_does_not_sync() {
    let recording = FaultyStorage::new();
    let storage = Arc::new(Unsynced {
        storage: recording.clone(),
    });
    assert!(first_unproven(storage, &recording).is_some());
}

/// A storage whose files say they are synced and are not.
#[derive(Debug)]
struct Unsynced {
    storage: FaultyStorage,
}

#[derive(Debug)]
struct UnsyncedFile(Arc<dyn StorageFile>);

impl Storage for Unsynced {
    fn create_dir(&self, path: &str) -> io::Result<()> {
        self.storage.create_dir(path)
    }

    fn create(&self, path: &str) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(UnsyncedFile(self.storage.create(path)?)))
    }

    fn open(&self, path: &str, is_read_only: bool) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(UnsyncedFile(
            self.storage.open(path, is_read_only)?,
        )))
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.storage.list(path)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.storage.rename(from, to)
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.storage.unlink(path)
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        self.storage.sync_dir(path)
    }

    fn is_durable(&self) -> bool {
        true
    }
}

impl StorageFile for UnsyncedFile {
    fn length(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.0.read_at(buffer, position)
    }

    fn write_at(&self, buffers: &[io::IoSlice<'_>], position: u64) -> io::Result<()> {
        self.0.write_at(buffers, position)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn preallocate(&self, end_position: u64) -> io::Result<()> {
        self.0.preallocate(end_position)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.0.truncate(length)
    }
}

#[test]
fn what_is_written_while_a_sync_runs_waits_for_the_next() {
    let storage = FaultyStorage::new();
    let open = try_open(&storage).unwrap();
    open.open_partition(0);
    storage.pause_syncs();
    let acks = Arc::new(Mutex::new(Vec::<Ack>::new()));
    let submit = |value: &[u8]| {
        let (filled, pending) = Completion::pair();
        let (acks, recording) = (Arc::clone(&acks), storage.clone());
        let completion = Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            acks.lock()
                .push((result.as_ref().unwrap().index, recording.now()));
            filled.complete(result, wakes);
        });
        let append = records(0, &[value]).disk().into_append(completion);
        open.log.append(append, Run::Here);
        pending
    };
    let mut first = submit(b"covered");
    storage.wait_for_paused_syncs(1);
    let mut second = submit(b"written too late for this sync");
    storage.resume_syncs();
    first.wait(None).unwrap();
    second.wait(None).unwrap();
    let mut history = storage.history();
    for (index, time) in acks.lock().iter() {
        let location = open.memory.seen()[*index as usize - 1].location;
        let range = location.position..location.position + u64::from(location.len);
        assert!(
            history.is_durable(&segment::path(DIR, 1), &range, *time),
            "{index} at {time}"
        );
    }
}
