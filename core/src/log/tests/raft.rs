//! The log of a member of a group: what it takes, what it gives back, and what it refuses. `model` is the
//! same in a few lines of memory; `crash` cuts the power at every operation and compares.

mod crash;
mod model;

use bytes::Bytes;

use super::*;
use crate::ErrorCode;
use crate::log::raft::{EntryId, RaftEntry, RaftLog, RaftState, Vote};
use crate::log::segment;
use crate::log::storage::faulty;
use crate::log::storage::memory::MemoryStorage;

/// Two or three entries fill a segment.
const SEGMENT_BYTES: u64 = 4_096 + 700;

fn id(term: u32, index: u64) -> EntryId {
    EntryId { term, index }
}

fn try_open_raft(storage: &FaultyStorage) -> Result<RaftLog> {
    let storage = Arc::new(storage.clone());
    RaftLog::open(storage, DIR, LOG_UUID, options(SEGMENT_BYTES))
}

fn open_raft(storage: &FaultyStorage) -> RaftLog {
    try_open_raft(storage).unwrap()
}

/// A record batch as an entry.
fn entry(term: u32, index: u64, value: &[u8]) -> RaftEntry {
    RaftEntry {
        id: id(term, index),
        kind: Kind::Records,
        partition: PartitionId(7),
        payload: records(7, &[value]).payload.into(),
    }
}

fn blank(term: u32, index: u64) -> RaftEntry {
    RaftEntry {
        id: id(term, index),
        kind: Kind::Blank,
        partition: PartitionId(0),
        payload: Bytes::new(),
    }
}

fn blanks(log: &RaftLog, term: u32, indexes: std::ops::RangeInclusive<u64>) -> Result<()> {
    let entries: Vec<_> = indexes.map(|index| blank(term, index)).collect();
    log.append(log.state().last, &entries)
}

fn all(log: &RaftLog) -> Vec<RaftEntry> {
    log.read(0, u64::MAX, usize::MAX).unwrap()
}

fn ids(log: &RaftLog) -> Vec<(u32, u64)> {
    let all = all(log);
    all.iter()
        .map(|entry| (entry.id.term, entry.id.index))
        .collect()
}

#[test]
fn entries_come_back_as_they_were_given_also_after_an_open() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    let members = control::Membership {
        voters: vec![vec![1, 2, 3]],
        members: Vec::new(),
    };
    let membership = RaftEntry {
        kind: Kind::Membership,
        payload: control::encode(&members).unwrap().into(),
        ..blank(1, 1)
    };
    let entries = [
        membership,
        blank(1, 2),
        entry(1, 3, &[1; 300]),
        entry(4, 4, &[2; 3_000]),
        blank(4, 5),
    ];
    log.append(EntryId::default(), &entries).unwrap();
    assert_eq!(all(&log), entries, "before a sync");
    assert_eq!((log.state().synced, log.sync().unwrap()), (4, 5));
    assert!(log.segment_count() > 1);
    log.save_vote(6, 3, true).unwrap();
    log.save_committed(id(1, 3)).unwrap();
    drop(log);
    let log = open_raft(&storage);
    assert_eq!(all(&log), entries);
    let vote = Vote {
        term: 6,
        node: 3,
        is_committed: true,
        committed: id(1, 3),
        ..Vote::default()
    };
    let state = RaftState {
        last: id(4, 5),
        synced: 5,
        vote,
    };
    assert_eq!(log.state(), state);
    assert_eq!(log.read(2, 4, usize::MAX).unwrap(), entries[1..3]);
    assert_eq!(log.read(2, 5, 1).unwrap(), entries[1..3], "a blank is free");
    assert_eq!(log.read(6, 9, usize::MAX).unwrap(), []);
    log.close().unwrap();
    assert_eq!(log.sync().unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(all(&open_raft(&storage)), entries);
}

#[test]
fn a_truncation_begins_a_segment_and_the_log_goes_on_behind_it() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    for index in 1..=20 {
        log.append(log.state().last, &[entry(1, index, b"old")])
            .unwrap();
    }
    log.save_vote(5, 2, false).unwrap();
    let before = segment::list(&storage, DIR).unwrap();
    assert!(before.len() > 3);
    log.truncate(id(1, 6)).unwrap();
    let after = segment::list(&storage, DIR).unwrap();
    assert_eq!(after.last(), Some(&(before.last().unwrap() + 1)));
    assert!(after.len() < before.len());
    assert_eq!(log.state().last, id(1, 6));
    log.append(id(1, 6), &[entry(5, 7, b"new")]).unwrap();
    log.truncate(id(5, 7)).unwrap();
    assert_eq!(
        segment::list(&storage, DIR).unwrap(),
        after,
        "nothing to cut"
    );
    for log in [log, open_raft(&storage)] {
        let all = all(&log);
        assert_eq!(all.len(), 7);
        assert_eq!(all[6], entry(5, 7, b"new"));
        assert_eq!((log.state().vote.term, log.state().vote.node), (5, 2));
    }
    let log = open_raft(&storage);
    log.truncate(EntryId::default()).unwrap();
    assert_eq!(log.state().last, EntryId::default());
    blanks(&log, 5, 1..=3).unwrap();
    assert_eq!(ids(&open_raft(&storage)), [(5, 1), (5, 2), (5, 3)]);
}

#[test]
fn a_purge_is_remembered_and_takes_whole_segments_from_the_front() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    blanks(&log, 1, 1..=100).unwrap();
    let before = log.segment_count();
    log.purge(id(1, 60)).unwrap();
    assert!(log.segment_count() < before);
    log.purge(id(1, 9)).unwrap();
    log.truncate(id(1, 80)).unwrap();
    drop(log);
    let log = open_raft(&storage);
    let state = log.state();
    assert_eq!((state.vote.purged, state.last), (id(1, 60), id(1, 80)));
    let left: Vec<_> = (61..=80).map(|index| (1, index)).collect();
    assert_eq!(ids(&log), left);
    log.truncate(id(1, 60)).unwrap();
    assert_eq!(log.state().last, id(1, 60));
    blanks(&log, 2, 61..=61).unwrap();
    log.purge(id(2, 61)).unwrap();
    assert_eq!(ids(&log), []);
    assert_eq!(open_raft(&storage).state().last, id(2, 61));
}

#[test]
fn a_purge_beyond_the_end_goes_on_behind_it() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    blanks(&log, 1, 1..=30).unwrap();
    log.purge(id(3, 500)).unwrap();
    assert_eq!((log.segment_count(), log.state().last), (1, id(3, 500)));
    blanks(&log, 3, 501..=502).unwrap();
    drop(log);
    let log = open_raft(&storage);
    assert_eq!(log.state().vote.purged, id(3, 500));
    assert_eq!(ids(&log), [(3, 501), (3, 502)]);
    // A term that is not known, and then is.
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    log.purge(id(0, 1)).unwrap();
    blanks(&log, 1, 2..=3).unwrap();
    log.purge(id(1, 1)).unwrap();
    drop(log);
    let log = open_raft(&storage);
    assert_eq!(log.state().vote.purged, id(1, 1));
    assert_eq!(ids(&log), [(1, 2), (1, 3)]);
}

#[test]
fn what_does_not_follow_is_refused_and_changes_nothing() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    blanks(&log, 3, 1..=5).unwrap();
    log.save_vote(4, 1, false).unwrap();
    log.save_committed(id(3, 2)).unwrap();
    let (state, now) = (log.state(), storage.now());
    let code = |result: Result<()>| result.unwrap_err().code();
    let append = |previous, entry| code(log.append(previous, &[entry]));
    let last = id(3, 5);
    let invalid = ErrorCode::InvalidRequest;
    assert_eq!(append(id(3, 4), blank(3, 5)), invalid);
    assert_eq!(append(id(2, 5), blank(3, 6)), invalid);
    assert_eq!(append(last, blank(3, 7)), invalid);
    assert_eq!(append(last, blank(2, 6)), invalid, "the term falls");
    assert_eq!(append(last, blank(1 << 31, 6)), invalid);
    let with = |kind, payload: &[u8]| RaftEntry {
        kind,
        payload: Bytes::copy_from_slice(payload),
        ..blank(3, 6)
    };
    assert_eq!(append(last, with(Kind::Vote, &[])), invalid);
    assert_eq!(append(last, with(Kind::Txn, &[])), invalid);
    let torn = ErrorCode::CorruptMessage;
    assert_eq!(append(last, with(Kind::Records, &[1; 70])), torn);
    assert_eq!(append(last, with(Kind::PartitionOpen, &[0xff; 9])), torn);
    let long = append(last, with(Kind::Blank, &vec![0; 2 << 20]));
    assert_eq!(long, ErrorCode::MessageTooLarge);
    assert_eq!(code(log.truncate(id(2, 4))), invalid, "not its term");
    assert_eq!(code(log.truncate(id(3, 1))), invalid, "committed");
    assert_eq!(code(log.save_vote(3, 1, true)), invalid);
    assert_eq!(code(log.save_vote(4, 2, false)), invalid);
    assert_eq!(code(log.save_vote(1 << 31, 2, false)), invalid);
    assert_eq!((log.state(), storage.now()), (state, now));
    log.save_vote(4, 2, true).unwrap();
}

#[test]
fn a_failed_write_or_sync_ends_the_log_until_it_is_opened_anew() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    blanks(&log, 1, 1..=3).unwrap();
    log.sync().unwrap();
    blanks(&log, 1, 4..=5).unwrap();
    storage.fail_next_sync();
    let error = log.save_vote(2, 1, false).unwrap_err();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    assert_eq!(error.outcome(), crate::Outcome::Unknown);
    let error = log.sync().unwrap_err();
    assert_eq!(error.code(), ErrorCode::KafkaStorageError);
    drop(log);
    let state = open_raft(&storage).state();
    // The page cache still had it, and now the disk has it too.
    assert_eq!((state.last, state.vote.term), (id(1, 5), 2));
    let cut = storage.crash_image(faulty::CrashMode::OnlySynced);
    assert_eq!(open_raft(&cut).state(), state);
}

#[test]
fn a_log_of_its_own_may_become_a_groups_and_not_the_other_way() {
    let storage = FaultyStorage::new();
    let own = open(&storage);
    own.open_partition(0);
    own.append(records(0, &[b"a"]).disk()).unwrap();
    own.log.close().unwrap();
    let log = open_raft(&storage);
    assert_eq!(log.state().last, id(1, 2));
    let all = all(&log);
    let kinds: Vec<_> = all.iter().map(|entry| entry.kind).collect();
    assert_eq!(kinds, [Kind::PartitionOpen, Kind::Records]);
    log.save_vote(2, 1, true).unwrap();
    blanks(&log, 2, 3..=3).unwrap();
    log.close().unwrap();
    // The same where a term was raised in an empty segment.
    let raised = FaultyStorage::new();
    for _ in 0..2 {
        drop(open(&raised));
    }
    open_raft(&raised).save_vote(7, 1, true).unwrap();
    for _ in 0..2 {
        assert_eq!(open_raft(&raised).state().vote.term, 7);
    }
    let error = try_open(&storage).map(|_| ()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::FolderTooNew, "{error}");
    assert_eq!(ids(&open_raft(&storage)), [(1, 1), (1, 2), (2, 3)]);
}

#[test]
fn crash_after_crash_leaves_one_empty_segment() {
    let storage = FaultyStorage::new();
    drop(open_raft(&storage));
    let log = open_raft(&storage);
    assert_eq!(log.segment_count(), 1);
    log.save_vote(3, 1, true).unwrap();
    blanks(&log, 3, 1..=2).unwrap();
    drop(log);
    for _ in 0..5 {
        let log = open_raft(&storage);
        assert_eq!((log.segment_count(), ids(&log).len()), (2, 2));
        assert_eq!(log.state().vote.term, 3);
    }
    let names = storage.list(DIR).unwrap();
    assert_eq!(names.len(), 2);
    // After a clean close it goes on in the same one.
    open_raft(&storage).close().unwrap();
    let log = open_raft(&storage);
    blanks(&log, 3, 3..=3).unwrap();
    log.close().unwrap();
    assert_eq!(open_raft(&storage).segment_count(), 2);
}

#[test]
fn a_front_that_is_missing_and_not_purged_is_refused() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    blanks(&log, 1, 1..=100).unwrap();
    log.close().unwrap();
    let first = segment::list(&storage, DIR).unwrap()[0];
    storage.unlink(&segment::path(DIR, first)).unwrap();
    let error = try_open_raft(&storage).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CorruptSegment, "{error}");
}

#[test]
fn damage_to_what_was_synced_is_refused() {
    let storage = FaultyStorage::new();
    let log = open_raft(&storage);
    blanks(&log, 1, 1..=4).unwrap();
    log.close().unwrap();
    let first = segment::list(&storage, DIR).unwrap()[0];
    let file = storage.open(&segment::path(DIR, first), false).unwrap();
    file.write_at(&[std::io::IoSlice::new(&[9; 8])], 4_096 + 48 * 2)
        .unwrap();
    let error = try_open_raft(&storage).unwrap_err();
    assert_eq!(error.code(), ErrorCode::CorruptSegment, "{error}");
    assert!(error.message().contains("index 3"), "{error}");
}

#[test]
fn memory_keeps_a_groups_log_too() {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
    let open = || RaftLog::open(Arc::clone(&storage), DIR, LOG_UUID, options(SEGMENT_BYTES));
    let log = open().unwrap();
    blanks(&log, 1, 1..=40).unwrap();
    log.save_vote(2, 1, false).unwrap();
    log.truncate(id(1, 30)).unwrap();
    log.purge(id(1, 20)).unwrap();
    log.close().unwrap();
    let log = open().unwrap();
    assert_eq!(ids(&log).len(), 10);
    assert_eq!(log.state().vote.purged, id(1, 20));
}

#[test]
fn the_vote_has_its_golden_bytes() {
    let vote = Vote {
        term: 300,
        node: 3,
        is_committed: true,
        purged: id(2, 5),
        committed: id(300, 1_000),
    };
    let golden = [0xac, 0x02, 0x03, 0x01, 0x02, 0x05, 0xac, 0x02, 0xe8, 0x07];
    assert_eq!(control::encode(&vote).unwrap(), golden);
    assert_eq!(control::decode::<Vote>(&golden).unwrap(), vote);
    let membership = control::Membership {
        voters: vec![vec![1, 2], vec![1]],
        members: vec![control::Member {
            node: 1,
            address: "a:1".to_owned(),
        }],
    };
    let golden = [2, 2, 1, 2, 1, 1, 1, 1, 3, b'a', b':', b'1'];
    assert_eq!(control::encode(&membership).unwrap(), golden);
    let decoded = control::decode::<control::Membership>(&golden);
    assert_eq!(decoded.unwrap(), membership);
}

/// The purge began a segment with its vote, and the power went before the one behind the gap was begun. The open
/// began that one, and removed the empty one with the vote before those in front of it; and the power went again.
#[test]
fn a_gap_is_allowed_by_its_vote_until_nothing_is_left_before_it() {
    use crate::log::storage::faulty::CrashMode;

    let fill = |len: usize| {
        let storage = FaultyStorage::new();
        let log = open_raft(&storage);
        let entries: Vec<_> = (1..=3).map(|index| entry(1, index, &[7; 200])).collect();
        log.append(EntryId::default(), &entries).unwrap();
        log.append(id(1, 3), &[entry(1, 4, &vec![7; len])]).unwrap();
        log.sync().unwrap();
        (storage, log)
    };
    for len in (0..600).step_by(60) {
        let (storage, log) = fill(len);
        let first = storage.now();
        log.purge(id(3, 40)).unwrap();
        for cut in first..=storage.now() {
            let (storage, log) = fill(len);
            storage.power_off_at(cut);
            drop(log.purge(id(3, 40)));
            drop(log);
            let image = storage.crash_image(CrashMode::AllWritten);
            let whole = image.fork();
            drop(open_raft(&whole));
            for again in image.now()..=whole.now() {
                let opening = image.fork();
                opening.power_off_at(again);
                drop(try_open_raft(&opening));
                for mode in [CrashMode::OnlySynced, CrashMode::AllWritten] {
                    let opened = try_open_raft(&opening.crash_image(mode));
                    opened.unwrap_or_else(|error| panic!("{len}, {cut}, {again}: {error}"));
                }
            }
        }
    }
}
