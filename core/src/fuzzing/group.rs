//! Opening the log of a member of a group on any bytes: frames whose checksums were put right.

use std::sync::Arc;

use super::segments::{self, DIR, LOG_UUID};
use super::{Target, log};
use crate::error::{ErrorKind, Result};
use crate::ids::PartitionId;
use crate::log::raft::{EntryId, RaftEntry, RaftLog};
use crate::log::storage::faulty::{CrashMode, FaultyStorage};
use crate::log::{Kind, control};

pub(super) const GROUP_FRAMES: Target = Target {
    name: "group_frames",
    run: |bytes| check(&segments::framed(bytes)),
    seeds: || vec![segments::frames_of(&log_of_a_group()), voted_back()],
};

/// Opens a log of these files. It must open or be refused, change nothing if it is refused, serve the same
/// after a power cut, take an entry and a vote, and serve all of that at the next open.
fn check(files: &[Vec<u8>]) {
    let storage = segments::open(files);
    let before = storage.now();
    let group = match open(&storage) {
        Ok(group) => group,
        Err(error) => {
            let kinds = [
                ErrorKind::Corrupt,
                ErrorKind::Unsupported,
                ErrorKind::Storage,
            ];
            assert!(kinds.contains(&error.kind()), "{error:?}");
            assert_eq!(storage.now(), before, "refused, and changed all the same");
            return;
        }
    };
    let (state, entries) = (group.state(), all(&group));
    let crashed = storage.crash_image(CrashMode::OnlySynced);
    let survivor = open(&crashed).expect("what was served is on the disk");
    assert_eq!((survivor.state(), all(&survivor)), (state, entries.clone()));

    // Its term is not known where the log begins behind what was purged.
    let term = state.last.term.max(1).max(state.vote.term);
    let id = EntryId {
        term,
        index: state.last.index + 1,
    };
    let blank = RaftEntry {
        id,
        kind: Kind::Blank,
        partition: PartitionId(0),
        payload: Vec::new().into(),
    };
    if group.append(state.last, &[blank]).is_err() {
        // A mark of a log of its own may be of a higher term than the last entry.
        return;
    }
    let vote = group.save_vote(term.saturating_add(1), 9, true);
    drop(group);
    let again = open(&storage).expect("nothing fails here");
    let found = all(&again);
    let (last, others) = found.split_last().expect("one was appended");
    assert_eq!((last.id, others), (id, &entries[..]));
    assert!(vote.is_err() || again.state().vote.node == 9);
}

fn open(storage: &FaultyStorage) -> Result<RaftLog> {
    RaftLog::open(Arc::new(storage.clone()), DIR, LOG_UUID, log::options())
}

fn all(group: &RaftLog) -> Vec<RaftEntry> {
    let read = group.read(0, u64::MAX, usize::MAX);
    read.expect("it was just opened")
}

/// A log with a vote, and behind it a segment that takes the vote back and ends in damage. Opening cut that
/// segment, and at the next open the vote before it was there again.
fn voted_back() -> Vec<u8> {
    let storage = segments::open(&[]);
    let group = open(&storage).expect("it is new");
    let done = group
        .append(EntryId::default(), &[entry(1, 1, Kind::Blank, Vec::new())])
        .and_then(|()| group.save_vote(3, 1, true));
    done.expect("nothing fails here");
    let files = segments::files_of(&storage);

    let vote = control::encode(&control::Vote::default()).expect("it is short");
    // Of a frame: its length, index and term, kind and version.
    let mut frame = vec![48 + vote.len() as u8, 0, 0, 0, 0, 0, 0, 0, 1];
    frame.resize(32, 0);
    frame.extend_from_slice(&[1, 0, 0, 0, 0, 0, 0, 0, Kind::Vote.number(), 0, 1]);
    frame.resize(48, 0);
    frame.extend_from_slice(&vote);
    frame.resize(frame.len().next_multiple_of(8), 0);
    // Previous index 1 of term 1, durable 0.
    let mut description = [0; 20];
    (description[0], description[16]) = (1, 1);
    let damage = [9; 8];
    let segment = [&description[..], &frame, &damage].concat();
    [segments::frames_of(&files), segment].join(&b"|segment"[..])
}

fn entry(term: u32, index: u64, kind: Kind, payload: Vec<u8>) -> RaftEntry {
    RaftEntry {
        id: EntryId { term, index },
        kind,
        partition: PartitionId(0),
        payload: payload.into(),
    }
}

/// The files of a log with every kind of frame of a group, a truncation and a purge.
fn log_of_a_group() -> Vec<Vec<u8>> {
    let storage = segments::open(&[]);
    let group = open(&storage).expect("it is new");
    let members = control::Membership {
        voters: vec![vec![1, 2], vec![1]],
        members: Vec::new(),
    };
    let members = control::encode(&members).expect("it is short");
    let entries = [
        entry(1, 1, Kind::Membership, members),
        entry(2, 2, Kind::Blank, Vec::new()),
        entry(2, 3, Kind::Blank, Vec::new()),
    ];
    let done = group
        .append(EntryId::default(), &entries)
        .and_then(|()| group.save_vote(3, 1, true))
        .and_then(|()| group.truncate(EntryId { term: 2, index: 2 }))
        .and_then(|()| {
            group.append(
                EntryId { term: 2, index: 2 },
                &[entry(3, 3, Kind::Blank, Vec::new())],
            )
        })
        .and_then(|()| group.save_committed(EntryId { term: 2, index: 2 }))
        .and_then(|()| group.purge(EntryId { term: 1, index: 1 }))
        .and_then(|()| group.close());
    done.expect("nothing fails here");
    segments::files_of(&storage)
}
