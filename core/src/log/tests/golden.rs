//! The golden segment: one frame of every kind that this version writes, and a footer, byte for byte.

use std::io::IoSlice;
use std::path::PathBuf;

use super::*;
use crate::log::control::{
    CommitDetails, CommittedOffset, DetailedOffsetCommit, Group, LogStart, NO_OFFSET,
    OFFSET_COMMIT_VERSION, OffsetCommit, ProducerExpire, ProducerIds, TopicAlter, TopicCreate,
    TopicDelete, decode_offset_commit,
};
use crate::log::frame::{CrcSeed, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_VERSION, seal};
use crate::log::{SetPart, encode_set, segment};

/// A log with one entry of every kind that this version writes, closed, opened and closed.
fn one_of_every_kind() -> FaultyStorage {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    for request in requests() {
        first.append(request.disk()).unwrap();
    }
    first.log.close().unwrap();
    let second = open(&storage);
    second
        .append(records(2, &[b"after the close"]).disk())
        .unwrap();
    second.log.close().unwrap();
    add_footer(&storage);
    storage
}

/// One entry of every kind; the SET creates a topic with a partition.
fn requests() -> Vec<Request> {
    let topic = |uuid: u8| TopicCreate {
        uuid: [uuid; 16],
        name: format!("topic-{uuid}"),
        config: vec![
            ("durability".into(), "os".into()),
            ("partitions".into(), "1".into()),
        ],
    };
    let part = |request: Request| {
        let Request {
            kind,
            partition,
            payload,
            ..
        } = request;
        SetPart::control(kind, partition, payload)
    };
    let alter = TopicAlter {
        uuid: TOPIC,
        config: vec![("retention_ms".into(), "60000".into())],
    };
    let parts = [
        part(control(Kind::TopicCreate, 0, &topic(7))),
        part(partition_open(1)),
    ];
    let offsets = vec![CommittedOffset {
        topic: TOPIC,
        partition: 1,
        offset: 2,
    }];
    let commit = OffsetCommit {
        group: "readers".into(),
        generation: 4,
        offsets,
    };
    let group = Group {
        group: "readers".into(),
        generation: 5,
        members: vec!["member-1".into()],
        is_deleted: false,
    };
    vec![
        control(Kind::TopicCreate, 0, &topic(9)),
        Request {
            kind: Kind::Set,
            payload: encode_set(&parts),
            ..partition_open(0)
        },
        control(Kind::TopicAlter, 0, &alter),
        partition_open(2),
        control(
            Kind::ProducerIds,
            0,
            &ProducerIds {
                first: 0,
                count: 1_000,
            },
        ),
        produced(1, &[b"first", b"second"], 3, 0, 0),
        control(Kind::LogStart, 1, &LogStart { offset: 1 }),
        control(Kind::OffsetCommit, 0, &commit),
        control(Kind::Group, 0, &group),
        control(Kind::ProducerExpire, 1, &ProducerExpire { producer_id: 3 }),
        control(Kind::TopicDelete, 0, &TopicDelete { uuid: [9; 16] }),
    ]
}

/// This version writes no footers yet; a reader that knows none passes over one.
fn add_footer(storage: &FaultyStorage) {
    let file = storage.open(&segment::path(DIR, 1), false).unwrap();
    let position = file.length().unwrap();
    let payload = [b"a footer of the future, 40 bytes in all ".as_slice()].concat();
    let header = FrameHeader {
        len: (FRAME_HEADER_BYTES + payload.len()) as u32,
        crc: 0,
        index: 12,
        durable: 12,
        time_ms: START_MS,
        term: 1,
        partition: 0,
        kind: Kind::Footer.number(),
        flags: 0,
        version: PAYLOAD_VERSION,
        reserved: 0,
    };
    let bytes = seal(header, CrcSeed::new(&LOG_UUID, 1), position, &payload);
    file.write_at(&[IoSlice::new(&bytes), IoSlice::new(&payload)], position)
        .unwrap();
}

fn golden_path(folder: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(folder)
        .join("0000")
        .join(segment::file_name(1))
}

fn assert_is_golden(storage: &FaultyStorage, folder: &str) {
    let file = storage.open(&segment::path(DIR, 1), true).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let path = golden_path(folder);
    if std::env::var_os("HEADWATER_BLESS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &bytes).unwrap();
    }
    let golden = std::fs::read(&path).unwrap();
    let differs = bytes
        .iter()
        .zip(&golden)
        .position(|(found, expected)| found != expected);
    assert_eq!((differs, bytes.len()), (None, golden.len()));
}

/// A log of its own, as this version writes it from the golden bytes.
fn open_golden(folder: &str) -> Open {
    let storage = FaultyStorage::new();
    storage.create_dir(DIR).unwrap();
    let file = storage.create(&segment::path(DIR, 1)).unwrap();
    let golden = std::fs::read(golden_path(folder)).unwrap();
    file.write_at(&[IoSlice::new(&golden)], 0).unwrap();
    open(&storage)
}

#[test]
fn a_segment_with_every_kind_equals_the_golden_bytes() {
    assert_is_golden(&one_of_every_kind(), "segment");
}

#[test]
fn the_golden_segment_opens_and_holds_every_kind_of_entry() {
    let open = open_golden("segment");
    let kinds: Vec<_> = open.memory.seen().iter().map(|seen| seen.kind).collect();
    for kind in Kind::ALL {
        let is_entry = kind.is_supported() && kind.takes_index() && *kind != Kind::Set;
        assert_eq!(kinds.contains(kind), is_entry, "{kind:?}");
    }
    assert_eq!(
        (open.log.written(), open.log.next_offset(PartitionId(1))),
        (12, Some(2))
    );
    assert_eq!(
        open.log.term().0,
        2,
        "a footer stands behind the mark of the close"
    );
}

/// What OFFSET_COMMIT says since version 2: by itself, and as a part of a SET.
fn noted_commits() -> [DetailedOffsetCommit; 2] {
    let offset = |partition, offset| CommittedOffset {
        topic: TOPIC,
        partition,
        offset,
    };
    let details = |leader_epoch, metadata: &str| CommitDetails {
        leader_epoch,
        metadata: metadata.to_owned(),
    };
    let commit = |offsets| OffsetCommit {
        group: "readers".to_owned(),
        generation: 4,
        offsets,
    };
    [
        DetailedOffsetCommit {
            commit: commit(vec![offset(0, 2), offset(1, 300), offset(2, 1)]),
            details: vec![details(7, "at noon"), details(-1, ""), details(0, "")],
        },
        DetailedOffsetCommit::from(commit(vec![offset(0, NO_OFFSET)])),
    ]
}

#[test]
fn a_segment_with_noted_commits_equals_the_golden_bytes() {
    let storage = FaultyStorage::new();
    let first = open(&storage);
    let [noted, taken_back] = noted_commits();
    let version = OFFSET_COMMIT_VERSION;
    let request = Request {
        version,
        ..control(Kind::OffsetCommit, 0, &noted)
    };
    first.append(request.disk()).unwrap();
    let part = SetPart {
        version,
        ..SetPart::control(
            Kind::OffsetCommit,
            PartitionId(0),
            control::encode(&taken_back).unwrap(),
        )
    };
    let set = Request {
        kind: Kind::Set,
        payload: encode_set(&[part]),
        ..partition_open(0)
    };
    first.append(set.disk()).unwrap();
    first.log.close().unwrap();
    assert_is_golden(&storage, "segment_commits");
}

#[test]
fn the_golden_segment_of_noted_commits_says_what_was_committed() {
    let open = open_golden("segment_commits");
    let seen = open.memory.seen();
    let commits = seen.iter().map(|seen| {
        assert_eq!(seen.kind, Kind::OffsetCommit);
        decode_offset_commit(OFFSET_COMMIT_VERSION, &seen.payload).unwrap()
    });
    assert_eq!(commits.collect::<Vec<_>>(), noted_commits());
}

#[test]
fn a_version_that_is_not_known_is_not_appended() {
    let storage = FaultyStorage::new();
    let open = open(&storage);
    let [noted, _] = noted_commits();
    let newer = Request {
        version: OFFSET_COMMIT_VERSION + 1,
        ..control(Kind::OffsetCommit, 0, &noted)
    };
    let refused = open.append(newer).unwrap_err();
    assert_eq!(refused.code(), crate::ErrorCode::InvalidRequest);
    let other = Request {
        version: OFFSET_COMMIT_VERSION,
        ..partition_open(1)
    };
    let refused = open.append(other).unwrap_err();
    assert_eq!(refused.code(), crate::ErrorCode::InvalidRequest);
}
