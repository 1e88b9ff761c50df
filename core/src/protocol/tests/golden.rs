//! The bytes of every frame, agreed once and kept in `tests/golden/protocol`.

use bytes::Bytes;

use super::frame;
use crate::error::{Error, ErrorCode, Outcome};
use crate::ids::Durability;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::frame::FrameKind;
use crate::protocol::header::{
    Credit, Goodbye, Push, PushedBatch, Reassign, ReassignAt, WireError,
};
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::{
    FetchPosition, GroupHeartbeat, Member, OffsetAt, OffsetQuery, PartitionOffset, Request,
    SetBatch, Subscribe, SubscribeAt, TopicPartitions,
};
use crate::protocol::response::{
    GroupAssignment, GroupDescription, GroupDetails, GroupMember, PartitionDescription, ProduceAck,
    Response, TopicDescription,
};
use crate::protocol::version::{ClientHello, ServerHello};

fn offset_of(topic: &str, partition: i32, offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: topic.to_owned(),
        partition,
        offset,
    }
}

fn config() -> Vec<(String, String)> {
    vec![("durability".to_owned(), "os".to_owned())]
}

pub(super) fn requests() -> Vec<(&'static str, Request)> {
    let name = || "orders".to_owned();
    vec![
        ("ping", Request::Ping),
        (
            "create_topic",
            Request::CreateTopic {
                name: name(),
                config: config(),
                exist_ok: true,
            },
        ),
        ("delete_topic", Request::DeleteTopic { name: name() }),
        (
            "alter_topic",
            Request::AlterTopic {
                name: name(),
                config: config(),
            },
        ),
        ("list_topics", Request::ListTopics),
        (
            "describe_topics",
            Request::DescribeTopics {
                names: vec![name()],
            },
        ),
        ("init_producer", Request::InitProducer),
        (
            "produce",
            Request::Produce {
                topic: name(),
                partition: 1,
                durability: Some(Durability::Disk),
            },
        ),
        (
            "list_offsets",
            Request::ListOffsets {
                queries: [
                    OffsetAt::Earliest,
                    OffsetAt::Latest,
                    OffsetAt::Time(1_700_000_000_000),
                ]
                .map(|at| OffsetQuery {
                    topic: name(),
                    partition: 0,
                    at,
                })
                .to_vec(),
            },
        ),
    ]
    .into_iter()
    .chain(group_requests())
    .collect()
}

fn group_requests() -> Vec<(&'static str, Request)> {
    let group = || "billing".to_owned();
    let member = || Member {
        id: "m-1".to_owned(),
        generation: 3,
    };
    vec![
        (
            "join_group",
            Request::JoinGroup {
                group: group(),
                topics: vec!["orders".to_owned()],
            },
        ),
        (
            "leave_group",
            Request::LeaveGroup {
                group: group(),
                member: member(),
            },
        ),
        (
            "commit_offsets",
            Request::CommitOffsets {
                group: group(),
                member: Some(member()),
                offsets: vec![offset_of("orders", 2, 1_000)],
            },
        ),
        ("describe_group", Request::DescribeGroup { group: group() }),
        ("list_groups", Request::ListGroups),
        ("delete_group", Request::DeleteGroup { group: group() }),
        (
            "delete_records",
            Request::DeleteRecords {
                before: vec![offset_of("orders", 0, 1_000), offset_of("orders", 1, -1)],
            },
        ),
        (
            "produce_and_commit",
            Request::ProduceAndCommit {
                batches: vec![SetBatch {
                    topic: "bills".to_owned(),
                    partition: 1,
                    size_bytes: 300,
                }],
                group: group(),
                member: Some(member()),
                offsets: vec![offset_of("orders", 2, 1_000)],
            },
        ),
        ("group_heartbeat", Request::GroupHeartbeat(heartbeat())),
        (
            "describe_group_details",
            Request::DescribeGroupDetails { group: group() },
        ),
    ]
}

fn heartbeat() -> GroupHeartbeat {
    GroupHeartbeat {
        group: "billing".to_owned(),
        member_id: "4f1c".to_owned(),
        generation: 3,
        instance_id: Some("rack-1".to_owned()),
        client_name: "headwater".to_owned(),
        topics: vec!["orders".to_owned(), "bills".to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 45_000,
        rebalance_timeout_ms: 60_000,
        heartbeat_ms: 3_000,
        owned: orders(&[0, 2]),
    }
}

fn orders(partitions: &[i32]) -> Vec<TopicPartitions> {
    vec![TopicPartitions {
        topic: "orders".to_owned(),
        partitions: partitions.to_vec(),
    }]
}

fn group_responses() -> Vec<(&'static str, Response)> {
    let member = GroupMember {
        member_id: "4f1c".to_owned(),
        instance_id: Some("rack-1".to_owned()),
        client_name: "headwater".to_owned(),
        host: None,
        generation: 3,
        partitions: orders(&[0, 2]),
    };
    let details = GroupDetails {
        group: "billing".to_owned(),
        state: "Reconciling".to_owned(),
        generation: 4,
        members: vec![member],
        offsets: vec![offset_of("orders", 2, 1_000)],
    };
    let assignment = GroupAssignment {
        member_id: "4f1c".to_owned(),
        generation: 4,
        assignment: vec![offset_of("orders", 0, -1), offset_of("orders", 2, 1_000)],
    };
    vec![
        ("group_heartbeat", Response::GroupHeartbeat(assignment)),
        ("group_details", Response::GroupDetails(details)),
    ]
}

pub(super) fn responses() -> Vec<(&'static str, Response)> {
    let group = GroupDescription {
        group: "billing".to_owned(),
        state: "Stable".to_owned(),
        generation: 3,
        members: vec!["m-1".to_owned()],
        offsets: vec![offset_of("orders", 2, 1_000)],
    };
    let topic = TopicDescription {
        name: "orders".to_owned(),
        uuid: *b"0123456789abcdef",
        config: config(),
        notes: vec!["retention_ms is not enforced yet".to_owned()],
        partitions: vec![PartitionDescription {
            partition: 0,
            log_start_offset: 0,
            high_watermark: 10,
            log_end_offset: 12,
            leader_epoch: 1,
            size_bytes: 4_096,
        }],
    };
    let ack = ProduceAck {
        base_offset: 42,
        append_time_ms: -1,
        durability: Durability::Disk,
        is_duplicate: false,
    };
    let joined = Response::Joined {
        member: Member {
            id: "m-1".to_owned(),
            generation: 3,
        },
        assignment: vec![offset_of("orders", 0, -1)],
    };
    vec![
        ("done", Response::Done),
        ("topics", Response::Topics(vec![topic])),
        (
            "producer",
            Response::Producer {
                producer_id: 1_000,
                producer_epoch: 0,
            },
        ),
        ("produced", Response::Produced(ack)),
        ("offsets", Response::Offsets(vec![0, 12])),
        ("joined", joined),
        ("group", Response::Group(group.clone())),
        ("groups", Response::Groups(vec![group])),
        ("produced_all", Response::ProducedAll(vec![ack, ack])),
    ]
    .into_iter()
    .chain(group_responses())
    .collect()
}

/// Every kind of frame, and every request and response.
pub(super) fn golden_frames() -> Vec<(String, Vec<u8>)> {
    let mut frames = beginnings_and_ends();
    frames.extend(subscription_frames());
    frames.extend(frames_with_epochs());
    for (name, request) in requests() {
        let payload: &[u8] = if name == "produce" {
            b"a record batch"
        } else {
            b""
        };
        let bytes = frame(7, FrameKind::Request, &request, payload);
        frames.push((format!("request_{name}"), bytes));
    }
    for (name, response) in responses() {
        let bytes = frame(7, FrameKind::Response, &response, b"");
        frames.push((format!("response_{name}"), bytes));
    }
    frames
}

fn beginnings_and_ends() -> Vec<(String, Vec<u8>)> {
    let client_hello = ClientHello {
        version_min: 1,
        version_max: 1,
        client_name: "headwater".to_owned(),
        client_version: "0.1.0".to_owned(),
    };
    let server_hello = ServerHello {
        version: 1,
        server_version: "0.1.0".to_owned(),
        log_uuid: *b"0123456789abcdef",
        frame_bytes_max: 67_108_864,
        requests_max: 1_024,
        bytes_max: 67_108_864,
    };
    let goodbye = Goodbye {
        code: 1_021,
        message: "the broker is closing".to_owned(),
        last_correlation_id: 9,
    };
    let error = frame(7, FrameKind::Error, &sample_error(), b"");
    vec![
        (
            "client_hello".to_owned(),
            frame(0, FrameKind::ClientHello, &client_hello, b""),
        ),
        (
            "server_hello".to_owned(),
            frame(0, FrameKind::ServerHello, &server_hello, b""),
        ),
        (
            "goodbye".to_owned(),
            frame(0, FrameKind::Goodbye, &goodbye, b""),
        ),
        ("error".to_owned(), error),
    ]
}

fn subscription_frames() -> Vec<(String, Vec<u8>)> {
    let subscribe = Subscribe {
        partitions: vec![offset_of("orders", 0, 5)],
        credit_bytes: 8_388_608,
    };
    let batches = [sample_batch(0, b"first batch"), sample_batch(1, b"second")];
    let push = Push {
        assignment: 2,
        batches: batches.iter().map(PushedBatch::of).collect(),
    };
    let reassign = Reassign {
        assignment: 2,
        partitions: vec![offset_of("orders", 1, 7)],
    };
    let credit = Credit { bytes: 2_097_152 };
    vec![
        (
            "subscribe".to_owned(),
            frame(8, FrameKind::Subscribe, &subscribe, b""),
        ),
        (
            "push".to_owned(),
            frame(8, FrameKind::Push, &push, b"first batchsecond"),
        ),
        (
            "credit".to_owned(),
            frame(8, FrameKind::Credit, &credit, b""),
        ),
        (
            "reassign".to_owned(),
            frame(8, FrameKind::Reassign, &reassign, b""),
        ),
        (
            "unsubscribe".to_owned(),
            frame(8, FrameKind::Unsubscribe, &(), b""),
        ),
        (
            "subscription_error".to_owned(),
            frame(8, FrameKind::SubscriptionError, &sample_error(), b""),
        ),
    ]
}

/// What version 2 has added.
fn frames_with_epochs() -> Vec<(String, Vec<u8>)> {
    let positions = vec![
        FetchPosition {
            topic: "orders".to_owned(),
            partition: 0,
            offset: 100,
            last_epoch: 3,
        },
        FetchPosition::from(offset_of("orders", 1, 7)),
    ];
    let subscribe = SubscribeAt {
        positions: positions.clone(),
        credit_bytes: 8_388_608,
    };
    let reassign = ReassignAt {
        assignment: 2,
        positions,
    };
    let out_of_range = OutOfRange {
        topic: "orders".to_owned(),
        partition: 0,
        offset: 100,
        last_epoch: 3,
        epoch_end_offset: Some(80),
        log_start_offset: 20,
        high_watermark: 95,
        log_end_offset: 96,
    };
    let ended = FrameKind::SubscriptionOutOfRange;
    vec![
        (
            "subscribe_at".to_owned(),
            frame(8, FrameKind::SubscribeAt, &subscribe, b""),
        ),
        (
            "reassign_at".to_owned(),
            frame(8, FrameKind::ReassignAt, &reassign, b""),
        ),
        (
            "subscription_out_of_range".to_owned(),
            frame(8, ended, &out_of_range, b""),
        ),
    ]
}

fn sample_error() -> WireError {
    let error = Error::new(
        ErrorCode::UnknownTopicOrPartition,
        "topic `orders` does not exist",
    );
    WireError::from(&error.with_outcome(Outcome::Unknown))
}

fn sample_batch(partition: i32, bytes: &'static [u8]) -> FetchedBatch {
    FetchedBatch {
        topic: "orders".into(),
        partition,
        high_watermark: 100,
        batch: Bytes::from_static(bytes),
        from_offset: 5,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes
        .chunks(16)
        .map(|row| {
            row.iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" ")
                + "\n"
        })
        .collect()
}

/// With `HEADWATER_WRITE_GOLDEN` set, files that are missing are written; none is ever changed.
#[test]
fn the_bytes_of_every_frame_are_the_golden_ones() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/protocol");
    let frames = golden_frames();
    for (name, bytes) in &frames {
        let path = folder.join(format!("{name}.hex"));
        if !path.exists() && std::env::var_os("HEADWATER_WRITE_GOLDEN").is_some() {
            std::fs::write(&path, hex(bytes)).unwrap();
        }
        let golden = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; found\n{}", path.display(), hex(bytes)));
        assert_eq!(hex(bytes), golden, "{name}");
    }
    let kinds = frames
        .iter()
        .map(|(_, bytes)| bytes[12])
        .collect::<std::collections::HashSet<_>>();
    assert_eq!(
        kinds.len(),
        FrameKind::ALL.len(),
        "a kind without golden bytes"
    );
    assert_eq!(std::fs::read_dir(&folder).unwrap().count(), frames.len());
}
