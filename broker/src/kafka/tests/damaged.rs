//! Requests that are none: every API in every version, with bytes of it changed. Whatever comes, nothing panics, and
//! what is started ends.

use headwater::fuzzing::Mutator;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use kafka_protocol::messages::{
    DescribeClusterRequest, FetchRequest, FindCoordinatorRequest, InitProducerIdRequest,
    ListOffsetsRequest, OffsetForLeaderEpochRequest,
};
use uuid::Uuid;

use super::records::{batch, produce};
use super::*;
use crate::kafka::answer::{Answer, Reply};
use crate::kafka::api::Arrived;
use crate::kafka::context::Context;

/// Enough to meet every check of every request, short enough for every test run.
const INPUTS: usize = 6_000;

/// Well-formed requests, without their lengths: one for each API and version.
pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for api in api::APIS {
        for version in api.versions() {
            let frame = seed(api.key, version);
            seeds.extend(frame.map(|frame| frame[4..].to_vec()));
        }
    }
    seeds
}

fn seed(key: i16, version: i16) -> Option<Vec<u8>> {
    let id = Uuid::from_bytes([7; 16]);
    Some(match key {
        0 => Client::frame(
            key,
            version,
            1,
            &produce(version, "orders", id, batch(&["a"], 0)),
        ),
        1 => {
            let row = FetchPartition::default().with_partition_max_bytes(9);
            let mut topic = FetchTopic::default().with_partitions(vec![row]);
            if version < 13 {
                topic.topic = topic_name("orders");
            } else {
                topic.topic_id = id;
            }
            Client::frame(
                key,
                version,
                1,
                &FetchRequest::default().with_topics(vec![topic]),
            )
        }
        2 => {
            let topic = ListOffsetsTopic::default()
                .with_name(topic_name("orders"))
                .with_partitions(vec![ListOffsetsPartition::default()]);
            let request = ListOffsetsRequest::default().with_topics(vec![topic]);
            Client::frame(key, version, 1, &request)
        }
        3 => {
            let topic = MetadataRequestTopic::default().with_name(Some(topic_name("orders")));
            let request = MetadataRequest::default().with_topics(Some(vec![topic]));
            Client::frame(key, version, 1, &request)
        }
        10 => {
            let mut request = FindCoordinatorRequest::default();
            if version >= 4 {
                request.coordinator_keys = vec![StrBytes::from_static_str("billing")];
            }
            Client::frame(key, version, 1, &request)
        }
        18 => Client::frame(key, version, 1, &ApiVersionsRequest::default()),
        22 => Client::frame(key, version, 1, &InitProducerIdRequest::default()),
        23 => {
            let topic = OffsetForLeaderTopic::default()
                .with_topic(topic_name("orders"))
                .with_partitions(vec![OffsetForLeaderPartition::default()]);
            let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
            Client::frame(key, version, 1, &request)
        }
        60 => Client::frame(key, version, 1, &DescribeClusterRequest::default()),
        // The APIs of groups and administration bring their own.
        _ => return admin::seed(key, version),
    })
}

pub(in crate::kafka) fn context(kafka: &Kafka) -> Context {
    let node = Node {
        host: "broker.test".to_owned(),
        port: 9092,
    };
    let context = Context::new(
        kafka.0.service.remote_session(),
        StrBytes::default(),
        node,
        "test",
        Arc::default(),
    );
    // Whoever would wait for something to happen is answered at once.
    context.end();
    context
}

/// Starts what these bytes ask for, and waits for the answer. None if they are no request.
pub(in crate::kafka) async fn carry_out(context: &Context, bytes: &[u8]) -> Option<Reply> {
    let arrived = Arrived::of(Bytes::copy_from_slice(bytes)).ok()?;
    let reply = match arrived.start(context, None).ok()? {
        Answer::Now(reply) => reply,
        Answer::Later(reply) => reply.await,
    };
    if let Reply::Unsayable(reason) = &reply {
        panic!("{}: {reason}", arrived.api.name);
    }
    Some(reply)
}

#[tokio::test]
async fn well_formed_requests_of_every_api_and_version_are_answered() {
    let kafka = kafka(true);
    let context = context(&kafka);
    for seed in seeds() {
        assert!(carry_out(&context, &seed).await.is_some(), "{seed:02x?}");
    }
}

#[tokio::test]
async fn damaged_requests_of_every_api_and_version_harm_nobody() {
    let kafka = kafka(true);
    let context = context(&kafka);
    let seeds = seeds();
    let mut mutator = Mutator::new(0x6B61_666B);
    let mut answered = 0;
    for _ in 0..INPUTS {
        let input = mutator.input(&seeds);
        answered += usize::from(carry_out(&context, &input).await.is_some());
    }
    // Neither did all of them fail at the first byte.
    assert!((INPUTS / 20..INPUTS).contains(&answered), "{answered}");
}

#[tokio::test]
async fn requests_that_are_cut_or_longer_than_they_are_end_their_connection() {
    let kafka = kafka(true);
    let context = context(&kafka);
    for seed in seeds() {
        let longer = [&seed[..], &[0]].concat();
        assert!(carry_out(&context, &longer).await.is_none(), "{seed:02x?}");
        for end in [8, seed.len() - 1] {
            // What has no fields is whole with its header.
            let is_cut = end < seed.len() - 1 || seed.len() > 20;
            let answered = carry_out(&context, &seed[..end]).await;
            assert!(answered.is_none() || !is_cut, "{end} of {seed:02x?}");
        }
    }
}

#[tokio::test]
async fn a_request_that_cannot_be_read_ends_its_connection_behind_the_answers_before_it() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let mut stream = Client::frame(18, 0, 1, &ApiVersionsRequest::default());
    let mut broken = Client::frame(3, 9, 2, &MetadataRequest::default());
    broken.extend([1, 2, 3]);
    let length = i32::try_from(broken.len() - 4).unwrap();
    broken[..4].copy_from_slice(&length.to_be_bytes());
    stream.extend(broken);
    stream.extend(Client::frame(18, 0, 3, &ApiVersionsRequest::default()));
    client.send(&stream).await;
    assert_eq!(client.receive().await.unwrap().get_i32(), 1);
    assert!(client.receive().await.is_none());
}
