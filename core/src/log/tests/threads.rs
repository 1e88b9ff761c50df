//! Many threads at once: nobody is forgotten, offsets have no gaps, groups are written in order.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Barrier, OnceLock};

use super::*;
use crate::log::storage::disk::DiskStorage;
use crate::log::storage::memory::MemoryStorage;
use crate::record::BatchHeader;

const THREADS: u32 = 8;
const PARTITIONS: u32 = 5;
const APPENDS: u32 = 400;

/// Appends from many threads, some at `os`, some at `disk`, some on the io thread, some without waiting.
fn append_from_all(open: &Arc<Open>) -> Vec<Appended> {
    (0..PARTITIONS).for_each(|partition| open.open_partition(partition));
    let filled = Arc::new(AtomicUsize::new(0));
    let barrier = Arc::new(Barrier::new(THREADS as usize));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (open, filled) = (Arc::clone(open), Arc::clone(&filled));
            let barrier = Arc::clone(&barrier);
            std::thread::spawn(move || {
                barrier.wait();
                append_from_one(thread, &open, &filled)
            })
        })
        .collect();
    let answers: Vec<_> = threads
        .into_iter()
        .flat_map(|thread| thread.join().unwrap())
        .collect();
    assert_eq!(filled.load(Ordering::SeqCst), (THREADS * APPENDS) as usize);
    answers
}

fn append_from_one(thread: u32, open: &Open, filled: &Arc<AtomicUsize>) -> Vec<Appended> {
    let mut pendings = Vec::new();
    let mut answers = Vec::new();
    for number in 0..APPENDS {
        let partition = (thread + number) % PARTITIONS;
        let value = vec![thread as u8; (number as usize * 37) % 6_000];
        let count = 1 + number % 3;
        let values: Vec<&[u8]> = (0..count).map(|_| &value[..]).collect();
        let mut request = records(partition, &values);
        if number % 4 == 3 {
            request = request.disk();
        }
        let (completion, pending) = Completion::pair();
        let filled = Arc::clone(filled);
        let completion = Completion::call(move |result, wakes: &mut Wakes| {
            filled.fetch_add(1, Ordering::SeqCst);
            completion.complete(result, wakes);
        });
        let run = if number % 5 == 4 { Run::Io } else { Run::Here };
        open.log.append(request.into_append(completion), run);
        pendings.push(pending);
        if number % 3 == 0 {
            answers.extend(
                pendings
                    .drain(..)
                    .map(|mut pending| pending.wait(None).unwrap()),
            );
        }
    }
    answers.extend(
        pendings
            .into_iter()
            .map(|mut pending| pending.wait(None).unwrap()),
    );
    answers
}

/// Checks that indexes and, per partition, offsets are dense, and that answers tell the same.
fn check(open: &Open, answers: &[Appended]) {
    let by_index: BTreeMap<_, _> = answers
        .iter()
        .map(|answer| (answer.index, answer))
        .collect();
    assert_eq!(by_index.len(), (THREADS * APPENDS) as usize);
    let mut ends: BTreeMap<PartitionId, i64> = BTreeMap::new();
    for (at, seen) in open.memory.seen().iter().enumerate() {
        assert_eq!(seen.index, at as u64 + 1);
        if seen.kind != Kind::Records {
            continue;
        }
        let header = BatchHeader::parse(&seen.payload).unwrap();
        let end = ends.entry(seen.partition).or_default();
        assert_eq!(header.base_offset, *end);
        *end = header.last_offset() + 1;
        assert_eq!(by_index[&seen.index].base_offset, header.base_offset);
    }
    for (partition, end) in ends {
        assert_eq!(open.log.next_offset(partition), Some(end));
    }
}

#[test]
fn eight_threads_at_both_levels_get_dense_offsets_and_one_answer_each() {
    let storage = FaultyStorage::new();
    let open = Arc::new(open(&storage));
    let answers = append_from_all(&open);
    check(&open, &answers);
    open.log.close().unwrap();
    let again = super::open(&storage);
    assert_eq!(again.memory.payloads(), open.memory.payloads());
}

#[test]
fn eight_threads_on_a_real_disk_find_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let storage =
        || -> Arc<dyn Storage> { Arc::new(DiskStorage::open(folder.path(), true).unwrap()) };
    let open = Arc::new(try_open_with(storage(), options(1 << 20)).unwrap());
    let answers = append_from_all(&open);
    check(&open, &answers);
    for seen in open.memory.seen() {
        assert_eq!(open.log.read(seen.location).unwrap(), seen.payload);
    }
    open.log.close().unwrap();
    let again = try_open_with(storage(), options(1 << 20)).unwrap();
    assert_eq!(again.memory.payloads(), open.memory.payloads());
    assert_eq!(
        (again.log.term().0, again.log.size_bytes()),
        (1, open.log.size_bytes())
    );
}

/// A machine that appends more entries from within `apply`, while the writer's lock is held: they are one
/// group, which rolls segments in its middle.
#[derive(Default)]
struct Multiplies {
    memory: Memory,
    log: OnceLock<Arc<Log>>,
    is_done: AtomicBool,
    pendings: Mutex<Vec<Pending<Appended>>>,
}

impl Machine for Multiplies {
    fn apply(&self, entry: &Entry<'_>, wakes: &mut Wakes) {
        self.memory.apply(entry, wakes);
        let Some(log) = self.log.get() else { return };
        if self.is_done.swap(true, Ordering::SeqCst) {
            return;
        }
        for number in 0..100_u8 {
            let mut request = records(0, &[&vec![number; 5_000]]);
            if number % 2 == 1 {
                request = request.disk();
            }
            let pending = submit(log, request, Run::Here);
            self.pendings.lock().push(pending);
        }
    }

    fn synced(&self, index: u64, wakes: &mut Wakes) {
        Machine::synced(&self.memory, index, wakes);
    }

    fn pairs(&self, _scope: Scope) -> Vec<StatePair> {
        Vec::new()
    }

    fn restore(&self, _pairs: &[StatePair]) -> Result<()> {
        Ok(())
    }
}

#[test]
fn one_group_over_several_segments_is_written_in_order() {
    let storage = Arc::new(FaultyStorage::new());
    let machine = Arc::new(Multiplies::default());
    let log = Log::open(
        Arc::<FaultyStorage>::clone(&storage),
        DIR,
        LOG_UUID,
        options(64 * 1_024),
        Arc::<Multiplies>::clone(&machine),
    );
    let log = Arc::new(log.unwrap());
    assert!(machine.log.set(Arc::clone(&log)).is_ok());
    let mut opened = submit(&log, partition_open(0), Run::Here);
    opened.wait(None).unwrap();
    let pendings = std::mem::take(&mut *machine.pendings.lock());
    for (at, mut pending) in pendings.into_iter().enumerate() {
        assert_eq!(pending.wait(None).unwrap().base_offset, at as i64);
    }
    assert!(log.segment_count() > 8);
    log.close().unwrap();
    assert_eq!(open(&storage).memory.payloads(), machine.memory.payloads());
}

/// A machine that tells whose turn it is, from within `apply`: while the lock is held.
struct Turns(Arc<AtomicUsize>);

impl Machine for Turns {
    fn apply(&self, _: &Entry<'_>, _: &mut Wakes) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }

    fn synced(&self, _: u64, _: &mut Wakes) {}

    fn pairs(&self, _scope: Scope) -> Vec<StatePair> {
        Vec::new()
    }

    fn restore(&self, _pairs: &[StatePair]) -> Result<()> {
        Ok(())
    }
}

/// Whoever queues while another thread is about to let go of the lock is not forgotten. Each of two threads
/// appends a moment after the other's append was applied, when that one is about to let go, and nobody else
/// would come to help. If one were forgotten, this would not end.
#[test]
fn nobody_is_forgotten_when_two_threads_take_turns_in_haste() {
    const APPENDS: usize = 60_000;
    let turn = Arc::new(AtomicUsize::new(0));
    let storage = Arc::new(MemoryStorage::new());
    let machine = Arc::new(Turns(Arc::clone(&turn)));
    let log = Log::open(storage, DIR, LOG_UUID, options(1 << 20), machine).unwrap();
    let log = Arc::new(log);
    append_at_turn(&log, partition_open(0), &turn, 0);
    let threads: Vec<_> = (0..2)
        .map(|own| {
            let (log, turn) = (Arc::clone(&log), Arc::clone(&turn));
            std::thread::spawn(move || {
                let request = records(0, &[b"x"]);
                for number in (1 + own..=APPENDS).step_by(2) {
                    append_at_turn(&log, request.clone(), &turn, number);
                }
            })
        })
        .collect();
    threads
        .into_iter()
        .for_each(|thread| thread.join().unwrap());
    assert_eq!(log.next_offset(PartitionId(0)), Some(APPENDS as i64));
}

fn append_at_turn(log: &Log, request: Request, turn: &AtomicUsize, number: usize) {
    let (completion, mut pending) = Completion::pair();
    let append = request.into_append(completion);
    let mut spins = 0_u32;
    while turn.load(Ordering::SeqCst) != number {
        spins += 1;
        if spins > 1_000 {
            std::thread::yield_now();
        }
    }
    // Another moment each time.
    for _ in 0..number % 97 {
        std::hint::spin_loop();
    }
    log.append(append, Run::Here);
    pending.wait(None).unwrap();
}
