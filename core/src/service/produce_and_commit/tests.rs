//! What is checked before anything happens, and that nothing happens then.

use super::*;
use crate::protocol::request::Request;
use crate::record::{BatchBuilder, RecordRef};
use crate::service::{Service, ServiceOptions, Session};

struct Fixture {
    service: Service,
    session: Session,
    member: Option<Member>,
}

impl Fixture {
    fn new() -> Self {
        let service = Service::open_memory("", &ServiceOptions::default()).unwrap();
        let session = service.remote_session();
        let mut fixture = Self {
            service,
            session,
            member: None,
        };
        for (name, option) in [
            ("in", None),
            ("out", None),
            (
                "stamped",
                Some(("message_timestamp_type", "log_append_time")),
            ),
            ("keyed", Some(("cleanup_policy", "compact"))),
        ] {
            let config = option.map(|(name, value)| (name.to_owned(), value.to_owned()));
            let create = Request::CreateTopic {
                name: name.to_owned(),
                config: config.into_iter().collect(),
                exist_ok: false,
            };
            fixture.ask(create, Bytes::new()).unwrap();
        }
        let join = Request::JoinGroup {
            group: "g".to_owned(),
            topics: vec!["in".to_owned()],
        };
        let Response::Joined { member, .. } = fixture.ask(join, Bytes::new()).unwrap() else {
            panic!("not joined");
        };
        fixture.member = Some(member);
        fixture
    }

    fn ask(&self, request: Request, payload: Bytes) -> Result<Response> {
        let (completion, mut pending) = Completion::pair();
        self.session.submit(request, payload, Run::Here, completion);
        pending.wait(None)
    }

    fn send(&self, batches: &[(&str, i32, Vec<u8>)], offset: i64) -> Result<Vec<ProduceAck>> {
        self.send_as(self.member.clone(), batches, offset)
    }

    fn send_as(
        &self,
        member: Option<Member>,
        batches: &[(&str, i32, Vec<u8>)],
        offset: i64,
    ) -> Result<Vec<ProduceAck>> {
        let payload: Vec<u8> = batches
            .iter()
            .flat_map(|(.., bytes)| bytes.clone())
            .collect();
        let batches = batches.iter().map(|(topic, partition, bytes)| SetBatch {
            topic: (*topic).to_owned(),
            partition: *partition,
            size_bytes: bytes.len() as u32,
        });
        let request = Request::ProduceAndCommit {
            batches: batches.collect(),
            group: "g".to_owned(),
            member,
            offsets: vec![PartitionOffset {
                topic: "in".to_owned(),
                partition: 0,
                offset,
            }],
        };
        match self.ask(request, payload.into())? {
            Response::ProducedAll(acks) => Ok(acks),
            other => panic!("{other:?}"),
        }
    }

    fn committed(&self) -> Vec<i64> {
        let group = "g".to_owned();
        let answer = self.ask(Request::DescribeGroup { group }, Bytes::new());
        let Response::Group(group) = answer.unwrap() else {
            panic!("no group");
        };
        group.offsets.iter().map(|offset| offset.offset).collect()
    }

    fn written(&self) -> u64 {
        self.service.inner.log.written()
    }
}

fn batch(producer_id: i64, sequence: i32) -> Vec<u8> {
    let mut builder = BatchBuilder::new(100);
    let record = RecordRef {
        value: Some(b"value"),
        ..RecordRef::default()
    };
    builder.push(&record).unwrap();
    let epoch = if producer_id < 0 { -1 } else { 0 };
    builder.finish(producer_id, epoch, sequence).unwrap()
}

#[test]
fn batches_and_offsets_are_one_entry_and_a_repetition_is_answered_as_before() {
    let fixture = Fixture::new();
    let written = fixture.written();
    let batches = [
        ("out", 0, batch(7, 0)),
        ("stamped", 0, batch(7, 0)),
        ("out", 0, batch(7, 1)),
    ];
    let acks = fixture.send(&batches, 5).unwrap();
    let offsets: Vec<_> = acks.iter().map(|ack| ack.base_offset).collect();
    assert_eq!(offsets, [0, 0, 1]);
    assert!(acks[0].append_time_ms == -1 && acks[1].append_time_ms > 0);
    assert_eq!(
        (fixture.written(), fixture.committed()),
        (written + 1, vec![5])
    );
    let again = fixture.send(&batches, 5).unwrap();
    assert!(again.iter().all(|ack| ack.is_duplicate));
    let offsets: Vec<_> = again.iter().map(|ack| ack.base_offset).collect();
    assert_eq!((offsets, fixture.written()), (vec![0, 0, 1], written + 1));
    // Without a batch it is a commit.
    assert_eq!(fixture.send(&[], 6).unwrap(), []);
    assert_eq!(fixture.committed(), [6]);
}

#[test]
fn batches_of_a_set_are_counted_once() {
    let fixture = Fixture::new();
    let batches = [("out", 0, batch(7, 0)), ("stamped", 0, batch(7, 0))];
    for _ in 0..2 {
        fixture.send(&batches, 5).unwrap();
    }
    let counts = fixture.service.inner.log.counts();
    assert_eq!((counts.batches, counts.records), (2, 2));
    assert!(counts.bytes > 0, "{counts:?}");
}

#[test]
fn what_is_wrong_with_one_is_refused_for_all_and_names_it() {
    let fixture = Fixture::new();
    let written = fixture.written();
    let good = || ("out", 0, batch(-1, -1));
    let mut damaged = batch(-1, -1);
    *damaged.last_mut().unwrap() ^= 1;
    let cases = [
        (
            ("out", 9, batch(-1, -1)),
            ErrorCode::UnknownTopicOrPartition,
            "partition 9",
        ),
        (
            ("none", 0, batch(-1, -1)),
            ErrorCode::UnknownTopicOrPartition,
            "`none`",
        ),
        (
            ("out", 0, damaged),
            ErrorCode::CorruptMessage,
            "`out`, partition 0",
        ),
        (
            ("keyed", 0, batch(-1, -1)),
            ErrorCode::InvalidRecord,
            "`keyed`, partition 0",
        ),
        (
            ("out", 0, batch(7, 3)),
            ErrorCode::UnknownProducerId,
            "`out`, partition 0",
        ),
    ];
    for (bad, code, words) in cases {
        let error = fixture.send(&[good(), bad], 5).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(error.message().contains(words), "{error}");
    }
    let mut stale = fixture.member.clone().unwrap();
    stale.generation -= 1;
    let error = fixture.send_as(Some(stale), &[good()], 5).unwrap_err();
    assert_eq!(error.code(), ErrorCode::IllegalGeneration);
    let error = fixture.send_as(None, &[good()], 5).unwrap_err();
    assert_eq!(error.code(), ErrorCode::NonEmptyGroup);
    let error = fixture.send(&[good()], -1).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidArgument);
    let many = vec![good(); limits::SET_BATCHES_MAX + 1];
    let error = fixture.send(&many, 5).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidRequest);
    assert_eq!((fixture.written(), fixture.committed()), (written, vec![]));
}

#[test]
fn sizes_that_do_not_add_up_are_refused() {
    let fixture = Fixture::new();
    let bytes = batch(-1, -1);
    for (size_bytes, code) in [
        (bytes.len() as u32 + 1, ErrorCode::InvalidRequest),
        (bytes.len() as u32 - 1, ErrorCode::CorruptMessage),
        (u32::MAX, ErrorCode::InvalidRequest),
    ] {
        let request = Request::ProduceAndCommit {
            batches: vec![SetBatch {
                topic: "out".to_owned(),
                partition: 0,
                size_bytes,
            }],
            group: "g".to_owned(),
            member: fixture.member.clone(),
            offsets: Vec::new(),
        };
        let error = fixture
            .ask(request, Bytes::from(bytes.clone()))
            .unwrap_err();
        assert_eq!(error.code(), code, "{error}");
    }
}
