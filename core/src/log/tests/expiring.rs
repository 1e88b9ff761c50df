//! Producers that are idle, and those that are too many, are forgotten by entries.

use super::*;
use crate::error::ErrorCode;
use crate::limits::PRODUCERS_EXPIRED_PER_SET_MAX;
use crate::log::{Expired, ProducerExpiry};

const IDLE_MS: i64 = 1_000;

/// A log whose clock a test sets.
struct Timed {
    storage: FaultyStorage,
    now_ms: Arc<AtomicI64>,
    open: Open,
}

impl Timed {
    fn new() -> Self {
        let storage = FaultyStorage::new();
        let now_ms = Arc::new(AtomicI64::new(START_MS));
        let open = Self::opened(&storage, &now_ms);
        (0..3).for_each(|partition| open.open_partition(partition));
        Self {
            storage,
            now_ms,
            open,
        }
    }

    fn opened(storage: &FaultyStorage, now_ms: &Arc<AtomicI64>) -> Open {
        let now_ms = Arc::clone(now_ms);
        let options = LogOptions {
            clock: Arc::new(move || now_ms.load(Ordering::Relaxed)),
            snapshot_least_bytes: 0,
            checkpoint_least_bytes: 1,
            ..options(8_192)
        };
        try_open_with(Arc::new(storage.clone()), options).unwrap()
    }

    fn at(&self, after_ms: i64) -> &Self {
        self.now_ms.store(START_MS + after_ms, Ordering::Relaxed);
        self
    }

    fn send(&self, partition: u32, producer_id: i64, sequence: i32) -> Result<Appended> {
        let request = produced(partition, &[&[3; 300]], producer_id, 0, sequence);
        self.open.append(request)
    }

    fn expire(&self, producers_max: usize, expired_max: usize) -> Expired {
        let expiry = ProducerExpiry {
            now_ms: self.now_ms.load(Ordering::Relaxed),
            idle_ms: IDLE_MS,
            producers_max,
            expired_max,
        };
        self.open.log.expire_producers(&expiry).unwrap()
    }

    fn pairs(&self) -> Vec<StatePair> {
        let shared = &self.open.log.shared;
        let mut pairs = shared.with_writer(|writer| writer.pairs(Scope::All));
        pairs.sort();
        pairs
    }

    fn producers(&self) -> usize {
        self.open.log.producer_count()
    }
}

const ALL: usize = 1_000;

#[test]
fn who_is_idle_too_long_is_forgotten_and_told_so_when_it_comes_back() {
    let log = Timed::new();
    log.send(0, 7, 0).unwrap();
    log.send(1, 7, 0).unwrap();
    log.at(600).send(0, 8, 0).unwrap();
    assert_eq!(log.at(IDLE_MS).expire(ALL, ALL), Expired::default());
    // Producer 7 goes on in partition 1: there it stays.
    log.send(1, 7, 1).unwrap();
    let written = log.open.log.written();
    let expired = log.at(IDLE_MS + 1).expire(ALL, ALL);
    assert_eq!((expired.count, expired.has_more), (1, false));
    assert_eq!((log.producers(), log.open.log.written()), (2, written + 1));
    let error = log.send(0, 7, 1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::UnknownProducerId);
    assert!(error.message().contains("idle too long"), "{error}");
    log.send(0, 8, 1).unwrap();
    log.send(1, 7, 2).unwrap();
    // It may begin anew.
    log.send(0, 7, 0).unwrap();
    assert_eq!(log.expire(ALL, ALL), Expired::default());
}

#[test]
fn the_oldest_of_too_many_go_early_and_no_more_than_so_many_at_once() {
    let log = Timed::new();
    for producer_id in 0..10 {
        log.send(producer_id as u32 % 3, producer_id, 0).unwrap();
    }
    log.send(0, 0, 1).unwrap();
    let first = log.expire(4, 5);
    assert_eq!((first.count, first.has_more), (5, true));
    let second = log.expire(4, 5);
    assert_eq!((second.count, second.has_more), (1, false));
    assert_eq!(log.producers(), 4);
    for (producer_id, sequence, is_known) in
        [(0, 2, true), (1, 1, false), (6, 1, false), (7, 1, true)]
    {
        let sent = log.send(producer_id as u32 % 3, producer_id, sequence);
        assert_eq!(sent.is_ok(), is_known, "{producer_id}");
    }
}

#[test]
fn a_clock_that_was_ahead_keeps_nobody_for_ever() {
    let log = Timed::new();
    log.at(1_000_000).send(0, 7, 0).unwrap();
    log.at(0).send(0, 8, 0).unwrap();
    assert_eq!(log.at(IDLE_MS).expire(ALL, ALL).count, 0);
    assert_eq!(log.at(IDLE_MS + 1).expire(ALL, ALL).count, 2);
}

#[test]
fn replaying_and_restoring_give_the_same_producers_whatever_the_clock_says() {
    let mut log = Timed::new();
    for step in 0..40 {
        let producer_id = i64::from(step % 8);
        log.at(i64::from(step) * 40)
            .send(step as u32 % 3, producer_id, 0)
            .ok();
        if step % 10 == 9 {
            log.expire(6, 3);
        }
    }
    assert!(log.producers() > 0);
    let expected = log.pairs();
    for round in 0..3 {
        log.open.sync().unwrap();
        if round > 0 {
            log.open.log.close().unwrap();
        }
        log.open = Timed::opened(&log.storage, &log.now_ms);
        log.at(1_000_000_000);
        assert_eq!(log.pairs(), expected, "{round}");
    }
    assert!(*log.open.memory.restored.lock() > 0, "nothing was kept");
}

#[test]
fn a_log_that_is_closed_or_has_stopped_forgets_nobody() {
    let log = Timed::new();
    log.send(0, 7, 0).unwrap();
    log.at(IDLE_MS + 1);
    log.open.log.close().unwrap();
    let expiry = ProducerExpiry {
        now_ms: START_MS * 2,
        idle_ms: IDLE_MS,
        producers_max: 0,
        expired_max: ALL,
    };
    let error = log.open.log.expire_producers(&expiry).unwrap_err();
    assert_eq!(error.code(), ErrorCode::Closed);
}

#[test]
fn more_than_one_entry_takes_are_forgotten_by_several() {
    let log = Timed::new();
    let count = PRODUCERS_EXPIRED_PER_SET_MAX as i64 + 1;
    for producer_id in 0..count {
        let request = produced(0, &[b"x"], producer_id, 0, 0);
        log.open.append(request).unwrap();
    }
    let written = log.open.log.written();
    let expired = log.expire(0, ALL * 10);
    assert_eq!((expired.count, expired.has_more), (count as usize, false));
    assert_eq!((log.producers(), log.open.log.written()), (0, written + 2));
}
