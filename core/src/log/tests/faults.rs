//! Calls that fail: what is told to whom, and what the log does then.

use std::error::Error as _;
use std::io::ErrorKind as IoErrorKind;

use super::*;
use crate::error::{ErrorCode, ErrorKind, Outcome};
use crate::log::storage::faulty::{Action, CrashMode};

#[test]
fn a_failed_sync_stops_the_log_and_says_that_the_outcome_is_unknown() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    open.append(records(0, &[b"synced"]).disk()).unwrap();
    assert!(open.log.health().is_ok());
    storage.fail_next_sync();
    let error = open.append(records(0, &[b"lost?"]).disk()).unwrap_err();
    assert_eq!(open.log.health().unwrap_err().message(), error.message());
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Storage, Outcome::Unknown)
    );
    assert!(error.message().contains("cannot sync 0000/"), "{error}");
    assert!(error.source().is_some());
    for request in [records(0, &[b"later"]), records(0, &[b"later"]).disk()] {
        let error = open.append(request).unwrap_err();
        assert_eq!(error.code(), ErrorCode::KafkaStorageError);
        assert_eq!(error.outcome(), Outcome::NotDone);
        assert!(error.source().is_some());
    }
    assert_eq!(open.sync().unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(open.log.close().unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!((open.log.synced(), open.log.thread_count()), (2, 0));
    let again = super::open(&storage);
    assert_eq!((again.log.written(), again.log.term().0), (3, 2));
}

/// What recovery had read was read once more to be written again, and written as it was then.
#[test]
fn what_the_cache_loses_while_the_log_opens_is_not_served() {
    let mut outcomes = [0; 2];
    for operation in 0..8 {
        let storage = FaultyStorage::new();
        let first = open(&storage);
        first.open_partition(0);
        first.append(records(0, &[b"synced"]).disk()).unwrap();
        first.append(records(0, &[b"lost"])).unwrap();
        storage.fail_next_sync();
        assert!(first.sync().is_err());
        drop(first);
        storage.evict_at(storage.now() + operation);
        let opened = try_open(&storage);
        outcomes[usize::from(opened.is_ok())] += 1;
        if let Ok(again) = opened {
            let served = again.memory.payloads();
            let crashed = storage.crash_image(CrashMode::OnlySynced);
            assert_eq!(open(&crashed).memory.payloads(), served, "{operation}");
        }
        // The next open finds what is there.
        let last = open(&storage);
        assert!(last.log.written() >= 2, "{operation}");
    }
    assert!(outcomes[0] > 0 && outcomes[1] > 0, "{outcomes:?}");
}

#[test]
fn a_failed_write_stops_the_log() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    storage.fail_at(storage.now(), IoErrorKind::Other);
    let error = open.append(records(0, &[b"half"])).unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Storage, Outcome::Unknown)
    );
    let error = open.append(records(0, &[b"later"])).unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Storage, Outcome::NotDone)
    );
    assert_eq!(open.log.written(), 1);
    assert_eq!(open.memory.payloads().len(), 1);
    // The half that was written is cut.
    drop(open);
    assert_eq!(super::open(&storage).log.written(), 1);
}

#[test]
fn a_full_disk_refuses_appends_until_there_is_room_again() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    storage.set_space(Some(70_000));
    let mut refused = 0;
    for byte in 0..40_u8 {
        match first.append(produced(
            0,
            &[&[byte; 4_000]],
            1,
            0,
            i32::from(byte) - refused,
        )) {
            Ok(_) => assert_eq!(refused, 0),
            Err(error) => {
                assert_eq!(
                    (error.code(), error.kind()),
                    (ErrorCode::DiskFull, ErrorKind::Full)
                );
                assert_eq!(error.outcome(), Outcome::NotDone);
                refused += 1;
            }
        }
    }
    assert!((5..40).contains(&refused), "{refused}");
    // What still fits goes in; sequences go on where they were.
    let taken = 40 - refused;
    storage.set_space(None);
    let appended = first.append(produced(0, &[b"room"], 1, 0, taken)).unwrap();
    assert_eq!(appended.base_offset, i64::from(taken));
    first.append(records(0, &[b"and on"]).disk()).unwrap();
    first.log.close().unwrap();
    let second = open(&storage);
    assert_eq!(second.memory.payloads(), first.memory.payloads());
}

#[test]
fn a_roll_that_finds_no_room_leaves_nothing_that_would_cut_what_follows() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    // Fill the first segment up to less than one large record.
    while first.log.size_bytes() < 60_000 {
        first.append(records(0, &[&[1; 5_000]])).unwrap();
    }
    let used: u64 = 64 * 1_024;
    for room in [0, 100, 4_096] {
        storage.set_space(Some(used + room));
        let error = first.append(records(0, &[&[2; 9_000]])).unwrap_err();
        assert_eq!(error.code(), ErrorCode::DiskFull, "{room}: {error}");
        assert_eq!(
            first.append(records(0, &[b"small"])).is_ok(),
            room < 4_096,
            "{room}"
        );
    }
    storage.set_space(None);
    first.append(records(0, &[&[3; 9_000]])).unwrap();
    first.append(records(0, &[b"small"]).disk()).unwrap();
    let found = first.memory.payloads();
    first.log.close().unwrap();
    assert_eq!(open(&storage).memory.payloads(), found);
}

#[test]
fn a_roll_that_fails_and_cannot_be_undone_stops_the_log() {
    for later in 0..4 {
        let storage = FaultyStorage::new();
        let open = open(&storage);
        open.open_partition(0);
        open.append(records(0, &[&[1; 50_000]])).unwrap();
        storage.fail_at(storage.now() + later, IoErrorKind::PermissionDenied);
        let result = open.append(records(0, &[&[1; 50_000]]));
        let error = result.expect_err("one of the calls of a roll failed");
        assert_eq!(error.kind(), ErrorKind::Storage, "{later}: {error}");
        let found = open.memory.payloads();
        drop(open);
        let again = super::open(&storage).memory.payloads();
        assert_eq!(again[..found.len()], found, "{later}");
    }
}

#[test]
fn a_roll_onto_a_file_that_is_there_stops_the_log_and_leaves_the_file() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    let path = crate::log::segment::path(DIR, 2);
    storage.create(&path).unwrap();
    open.append(records(0, &[&[1; 50_000]])).unwrap();
    let error = open.append(records(0, &[&[1; 50_000]])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Storage, "{error}");
    assert!(storage.open(&path, true).is_ok());
}

#[test]
fn an_open_on_a_full_disk_says_so() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    first.open_partition(0);
    first.append(records(0, &[b"a"])).unwrap();
    drop(first);
    // Shortened to its data, the file has no room for the mark of the new term.
    let image = storage.crash_image(CrashMode::AllWritten);
    let path = crate::log::segment::path(DIR, 1);
    let file = image.open(&path, false).unwrap();
    let data = (0..).step_by(8).skip(512).find(|position| {
        let mut bytes = [0; 8];
        file.read_at(&mut bytes, *position)
            .is_ok_and(|()| bytes == [0; 8])
            && *position > 4_096 + 200
    });
    file.truncate(data.unwrap()).unwrap();
    image.set_space(Some(file.length().unwrap()));
    let error = try_open(&image).err().unwrap();
    assert_eq!(error.code(), ErrorCode::DiskFull, "{error}");
    let message = error.message();
    for part in ["takes 4144 bytes", "0 are free", "4144 are missing", &path] {
        assert!(message.contains(part), "{part} is not in: {message}");
    }
    image.set_space(None);
    assert_eq!(open(&image).log.written(), 2);
}

#[test]
fn dropping_the_log_answers_everybody_and_joins_nothing() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    storage.pause_syncs();
    let mut pendings: Vec<_> = (0..5)
        .map(|_| open.submit(records(0, &[b"a"]).disk(), Run::Here))
        .collect();
    storage.wait_for_paused_syncs(1);
    let Open { log, memory: _ } = open;
    drop(log);
    for pending in &mut pendings {
        let error = pending.wait(None).unwrap_err();
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Closed, Outcome::Unknown)
        );
    }
    storage.resume_syncs();
}

#[test]
fn data_that_nobody_waits_for_is_synced_in_the_background_and_an_idle_log_is_marked() {
    let storage = FaultyStorage::new();
    let timed = LogOptions {
        os_sync_interval_ms: 1,
        idle_mark_ms: 1,
        ..options(64 * 1_024)
    };
    let first = try_open_with(Arc::new(storage.clone()), timed).unwrap();
    first.open_partition(0);
    first.append(records(0, &[b"a"])).unwrap();
    while first.log.synced() < 2 {
        std::thread::yield_now();
    }
    let marks = || {
        let writes = storage
            .operations()
            .into_iter()
            .map(|operation| operation.action);
        writes
            .filter(|action| matches!(action, Action::Write { length: 48, .. }))
            .count()
    };
    // The mark says so on disk: damage to what was synced last is then known for what it is.
    while marks() == 0 {
        std::thread::yield_now();
    }
    assert_eq!(marks(), 1);
    first.sync().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(20));
    assert_eq!(marks(), 1);
    drop(first);
    let second = open(&storage);
    assert_eq!((second.log.term().0, second.log.written()), (2, 2));
}

/// Whoever looked at the writer just when the log had been idle for long enough kept it from being marked.
#[test]
fn an_idle_log_is_marked_though_somebody_looked_at_it_when_it_was_to_be() {
    let storage = FaultyStorage::new();
    let timed = LogOptions {
        idle_mark_ms: 1,
        ..options(64 * 1_024)
    };
    let open = try_open_with(Arc::new(storage.clone()), timed).unwrap();
    open.open_partition(0);
    let before = storage.now();
    open.log.shared.with_writer(|_| {
        let (completion, mut synced) = Completion::pair();
        open.log.sync(completion);
        synced.wait(None).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
    });
    // The sync, and the mark with its own.
    while storage.now() < before + 3 {
        std::thread::yield_now();
    }
    open.log.close().unwrap();
}

#[test]
fn a_panic_of_the_machine_stops_the_log() {
    struct Panics;
    impl Machine for Panics {
        fn apply(&self, _: &Entry<'_>, _: &mut Wakes) {
            panic!("a bug, on purpose");
        }
        fn synced(&self, _: u64, _: &mut Wakes) {}

        fn pairs(&self, _scope: Scope) -> Vec<StatePair> {
            Vec::new()
        }

        fn restore(&self, _pairs: &[StatePair]) -> Result<()> {
            Ok(())
        }
    }
    let storage = Arc::new(FaultyStorage::new());
    let log = Log::open(
        storage,
        DIR,
        LOG_UUID,
        options(64 * 1_024),
        Arc::new(Panics),
    )
    .unwrap();
    let (completion, mut pending) = Completion::pair();
    let append = partition_open(0).into_append(completion);
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        log.append(append, Run::Here);
    }));
    assert!(caught.is_err());
    assert!(pending.wait(None).is_err());
    let (completion, mut pending) = Completion::pair();
    log.sync(completion);
    assert_eq!(pending.wait(None).unwrap_err().kind(), ErrorKind::Storage);
    assert_eq!(log.close().unwrap_err().kind(), ErrorKind::Storage);
}

#[test]
fn more_than_the_queue_holds_is_refused_as_full() {
    let storage = FaultyStorage::new();
    let open = Arc::new(open(&storage));
    open.open_partition(0);
    // Nobody writes while this thread looks at the writer; the io thread waits for it.
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, is_started) = std::sync::mpsc::channel();
    let holder = Arc::clone(&open);
    let thread = std::thread::spawn(move || {
        holder.log.shared.with_writer(|_| {
            started.send(()).unwrap();
            held.recv().unwrap();
        });
    });
    is_started.recv().unwrap();
    let large = vec![0; 15 << 20];
    let mut pendings: Vec<_> = (0..6)
        .map(|_| open.submit(records(0, &[&large]), Run::Here))
        .collect();
    let error = pendings[5].wait(None).unwrap_err();
    assert_eq!(
        (error.code(), error.kind()),
        (ErrorCode::BufferFull, ErrorKind::Full)
    );
    assert!(error.message().contains("67108864"), "{error}");
    hold.send(()).unwrap();
    thread.join().unwrap();
    for pending in &mut pendings[..4] {
        pending.wait(None).unwrap();
    }
}

#[test]
fn more_answers_and_jobs_than_may_wait_are_refused_as_full() {
    use crate::limits::{IO_JOBS_MAX, SYNC_ACKS_MAX};
    let storage = FaultyStorage::new();
    let open = open(&storage);
    open.open_partition(0);
    storage.pause_syncs();
    let (counter, full) = (Arc::new(AtomicI64::new(0)), Arc::new(AtomicI64::new(0)));
    for _ in 0..SYNC_ACKS_MAX + 3 {
        let (counter, full) = (Arc::clone(&counter), Arc::clone(&full));
        open.log.sync(Completion::call(
            move |result: Result<()>, _: &mut Wakes| {
                let is_full = result.is_err_and(|error| error.code() == ErrorCode::BufferFull);
                full.fetch_add(i64::from(is_full), Ordering::SeqCst);
                counter.fetch_add(1, Ordering::SeqCst);
            },
        ));
    }
    assert_eq!(
        (counter.load(Ordering::SeqCst), full.load(Ordering::SeqCst)),
        (3, 3)
    );
    assert_eq!(
        open.append(records(0, &[b"a"])).unwrap_err().code(),
        ErrorCode::BufferFull
    );
    storage.resume_syncs();
    while counter.load(Ordering::SeqCst) < SYNC_ACKS_MAX as i64 + 3 {
        std::thread::yield_now();
    }
    open.append(records(0, &[b"a"])).unwrap();

    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (started, is_started) = std::sync::mpsc::channel();
    let job = move || {
        started.send(()).unwrap();
        held.recv().unwrap();
    };
    open.log.schedule(job).unwrap();
    is_started.recv().unwrap();
    (0..IO_JOBS_MAX).for_each(|_| open.log.schedule(|| ()).unwrap());
    assert_eq!(
        open.log.schedule(|| ()).unwrap_err().code(),
        ErrorCode::BufferFull
    );
    hold.send(()).unwrap();
    open.log.close().unwrap();
    assert_eq!(full.load(Ordering::SeqCst), 3);
}
