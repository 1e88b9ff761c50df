//! The golden segment: one frame of every kind that this version writes, and a footer, byte for byte.

use std::io::IoSlice;
use std::path::PathBuf;

use super::*;
use crate::log::control::{
    CommittedOffset, Group, LogStart, OffsetCommit, ProducerExpire, ProducerIds, TopicAlter,
    TopicCreate, TopicDelete,
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

fn golden_path() -> PathBuf {
    let name = segment::file_name(1);
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden/segment/0000")
        .join(name)
}

#[test]
fn a_segment_with_every_kind_equals_the_golden_bytes() {
    let storage = one_of_every_kind();
    let file = storage.open(&segment::path(DIR, 1), true).unwrap();
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    let path = golden_path();
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

#[test]
fn the_golden_segment_opens_and_holds_every_kind_of_entry() {
    let storage = FaultyStorage::new();
    storage.create_dir(DIR).unwrap();
    let file = storage.create(&segment::path(DIR, 1)).unwrap();
    let golden = std::fs::read(golden_path()).unwrap();
    file.write_at(&[IoSlice::new(&golden)], 0).unwrap();
    let open = open(&storage);
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
