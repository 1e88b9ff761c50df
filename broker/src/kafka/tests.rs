//! The adapter against the independent codec of `kafka-protocol`, and against bytes that are no requests.

mod admin;
mod cold;
mod configs;
pub(super) mod damaged;
mod figures;
mod lookups;
mod produced;
mod records;
mod room;
mod simulation;
mod slow;

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use headwater::service::{Service, ServiceOptions};
use kafka_protocol::messages::{
    ApiVersionsRequest, ApiVersionsResponse, MetadataRequest, MetadataResponse, RequestHeader,
    ResponseHeader, TopicName,
};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, StrBytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::*;

/// A service in memory, and Kafka's protocol for it.
pub(super) fn kafka(auto_create_topics: bool) -> Kafka {
    let service_options = ServiceOptions {
        auto_create_topics,
        ..ServiceOptions::default()
    };
    kafka_of(Service::open_memory("", &service_options).unwrap())
}

/// Kafka's protocol for a service.
pub(super) fn kafka_of(service: Service) -> Kafka {
    kafka_within(Room::default(), service)
}

/// Kafka's protocol for a service, with room for record batches that others have too.
pub(super) fn kafka_within(room: Room, service: Service) -> Kafka {
    let options = Options {
        frame_bytes_max: usize::MAX,
        idle_timeout: Duration::from_secs(600),
        close_timeout: Duration::from_secs(30),
        advertise: Some(("broker.test".to_owned(), 9092)),
        address: None,
        room,
    };
    Kafka::new(service, options)
}

/// A client that asks one thing after the other.
pub(super) struct Client {
    stream: DuplexStream,
    next_id: i32,
}

impl Client {
    pub(super) fn of(kafka: &Kafka) -> Self {
        let (near, far) = tokio::io::duplex(1 << 20);
        let kafka = kafka.clone();
        tokio::spawn(async move {
            let halves = tokio::io::split(far);
            kafka.serve(halves, Vec::new(), None, "test").await;
        });
        Self {
            stream: near,
            next_id: 7,
        }
    }

    /// A request as `kafka-protocol` writes it, with its length.
    pub(super) fn frame<M: Encodable + HeaderVersion>(
        key: i16,
        version: i16,
        id: i32,
        message: &M,
    ) -> Vec<u8> {
        let header = RequestHeader::default()
            .with_request_api_key(key)
            .with_request_api_version(version)
            .with_correlation_id(id)
            .with_client_id(Some(StrBytes::from_static_str("tests")));
        let mut body = BytesMut::new();
        header
            .encode(&mut body, M::header_version(version))
            .unwrap();
        message.encode(&mut body, version).unwrap();
        let mut frame = BytesMut::new();
        frame.put_i32(i32::try_from(body.len()).unwrap());
        frame.extend_from_slice(&body);
        frame.to_vec()
    }

    /// Sends a request without waiting for the answer.
    pub(super) async fn request<Q: Encodable + HeaderVersion>(
        &mut self,
        key: i16,
        version: i16,
        message: &Q,
    ) {
        self.next_id += 1;
        let frame = Self::frame(key, version, self.next_id, message);
        self.send(&frame).await;
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// The next answer; none once the connection has ended.
    pub(super) async fn receive(&mut self) -> Option<Bytes> {
        let length = self.stream.read_i32().await.ok()?;
        let mut frame = vec![0; usize::try_from(length).unwrap()];
        self.stream.read_exact(&mut frame).await.unwrap();
        Some(frame.into())
    }

    /// The answer to a request, as `kafka-protocol` reads it.
    pub(super) async fn ask<Q, A>(&mut self, key: i16, version: i16, message: &Q) -> A
    where
        Q: Encodable + HeaderVersion,
        A: Decodable + HeaderVersion,
    {
        self.request(key, version, message).await;
        self.answer(version).await
    }

    /// The answer to what was asked last, as `kafka-protocol` reads it.
    pub(super) async fn answer<A: Decodable + HeaderVersion>(&mut self, version: i16) -> A {
        let mut frame = self.receive().await.expect("an answer");
        let header = ResponseHeader::decode(&mut frame, A::header_version(version)).unwrap();
        assert_eq!(header.correlation_id, self.next_id);
        let answer = A::decode(&mut frame, version).unwrap();
        assert!(!frame.has_remaining(), "{} bytes too many", frame.len());
        answer
    }
}

fn topic_name(name: &str) -> TopicName {
    TopicName(StrBytes::from_string(name.to_owned()))
}

#[tokio::test]
async fn api_versions_says_what_the_table_says_in_every_version() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    for version in 0..=4 {
        let mut request = ApiVersionsRequest::default();
        if version >= 3 {
            request.client_software_name = StrBytes::from_static_str("tests");
            request.client_software_version = StrBytes::from_static_str("1.0");
        }
        let answer: ApiVersionsResponse = client.ask(18, version, &request).await;
        assert_eq!(answer.error_code, 0);
        let said = answer
            .api_keys
            .iter()
            .map(|it| (it.api_key, it.min_version, it.max_version));
        let table = api::APIS.iter().map(|api| {
            let versions = api.versions();
            // Older clients compress only where Produce goes back to its first version.
            let first = if api.key == 0 { 0 } else { *versions.start() };
            (api.key, first, *versions.end())
        });
        assert!(said.eq(table));
    }
}

#[tokio::test]
async fn api_versions_in_a_version_of_the_future_is_answered_in_the_oldest_form() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let mut frame = Client::frame(18, 4, 99, &ApiVersionsRequest::default());
    frame[6..8].copy_from_slice(&9_i16.to_be_bytes());
    client.send(&frame).await;
    let mut answer = client.receive().await.unwrap();
    assert_eq!(answer.get_i32(), 99);
    let answer = ApiVersionsResponse::decode(&mut answer, 0).unwrap();
    assert_eq!(answer.error_code, 35);
    assert!(answer.api_keys.iter().any(|it| it.api_key == 18));
    // The connection goes on.
    let again: ApiVersionsResponse = client.ask(18, 0, &ApiVersionsRequest::default()).await;
    assert_eq!(again.error_code, 0);
}

#[tokio::test]
async fn a_client_without_a_proper_name_is_told_so() {
    let kafka = kafka(false);
    let mut client = Client::of(&kafka);
    let nameless = ApiVersionsRequest::default();
    let answer: ApiVersionsResponse = client.ask(18, 3, &nameless).await;
    assert_eq!(answer.error_code, 42);
}

#[tokio::test]
async fn an_api_that_is_not_in_the_table_ends_the_connection() {
    let kafka = kafka(false);
    for (key, version) in [(3, 14), (99, 0), (-1, 0), (18, -1)] {
        let mut client = Client::of(&kafka);
        let mut frame = Client::frame(18, 0, 99, &ApiVersionsRequest::default());
        frame[4..6].copy_from_slice(&i16::to_be_bytes(key));
        frame[6..8].copy_from_slice(&i16::to_be_bytes(version));
        client.send(&frame).await;
        let answer = client.receive().await;
        // A negative version of ApiVersions is one that is not spoken, like any other.
        assert_eq!(answer.is_some(), key == 18, "{key} {version}");
    }
}

#[tokio::test]
async fn metadata_tells_every_version_the_same() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let ask = |topics: Option<&[&str]>| {
        let topics = topics.map(|names| {
            let topic = |name: &&str| {
                kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
                    .with_name(Some(topic_name(name)))
            };
            names.iter().map(topic).collect()
        });
        MetadataRequest::default().with_topics(topics)
    };
    for version in 0..=13 {
        let request = ask(Some(&["orders", "or/ders", "orders"]));
        let answer: MetadataResponse = client.ask(3, version, &request).await;
        let [broker] = answer.brokers.as_slice() else {
            panic!("{answer:?}")
        };
        assert_eq!(
            (&*broker.host, broker.port, *broker.node_id),
            ("broker.test", 9092, 0)
        );
        let names: Vec<_> = answer
            .topics
            .iter()
            .map(|it| (it.name.clone(), it.error_code))
            .collect();
        let expected = [
            (Some(topic_name("orders")), 0),
            (Some(topic_name("or/ders")), 17),
        ];
        assert_eq!(names, expected);
        let [partition] = answer.topics[0].partitions.as_slice() else {
            panic!("{answer:?}")
        };
        assert_eq!((partition.error_code, *partition.leader_id), (0, 0));
        assert_eq!(partition.isr_nodes.len(), 1);
        assert_eq!(answer.topics[0].topic_id.is_nil(), version < 10);
        // All of them.
        let all = if version == 0 { Some(&[][..]) } else { None };
        let answer: MetadataResponse = client.ask(3, version, &ask(all)).await;
        assert_eq!(answer.topics.len(), 1);
        if version > 0 {
            let answer: MetadataResponse = client.ask(3, version, &ask(Some(&[]))).await;
            assert_eq!(answer.topics.len(), 0);
        }
    }
}

#[tokio::test]
async fn metadata_creates_no_topic_that_neither_side_wants_created() {
    let wanted = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name("orders")));
    for (broker_creates, client_allows) in [(false, true), (true, false)] {
        let kafka = kafka(broker_creates);
        let mut client = Client::of(&kafka);
        let request = MetadataRequest::default()
            .with_topics(Some(vec![wanted.clone()]))
            .with_allow_auto_topic_creation(client_allows);
        let answer: MetadataResponse = client.ask(3, 12, &request).await;
        assert_eq!(answer.topics[0].error_code, 3);
        assert!(kafka.0.service.topics().is_empty());
    }
}

#[tokio::test]
async fn a_topic_is_found_by_its_id() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default();
    let named = topic.clone().with_name(Some(topic_name("orders")));
    let request = MetadataRequest::default().with_topics(Some(vec![named]));
    let answer: MetadataResponse = client.ask(3, 12, &request).await;
    let known = topic
        .clone()
        .with_name(None)
        .with_topic_id(answer.topics[0].topic_id);
    let unknown = topic
        .with_name(None)
        .with_topic_id(uuid::Uuid::from_bytes([9; 16]));
    let request = MetadataRequest::default().with_topics(Some(vec![known, unknown]));
    let answer: MetadataResponse = client.ask(3, 12, &request).await;
    assert_eq!(answer.topics[0].name, Some(topic_name("orders")));
    assert_eq!(
        (answer.topics[1].error_code, &answer.topics[1].name),
        (100, &None)
    );
}

#[tokio::test]
async fn answers_come_in_the_order_of_their_requests() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let topic = kafka_protocol::messages::metadata_request::MetadataRequestTopic::default()
        .with_name(Some(topic_name("orders")));
    let slow = MetadataRequest::default().with_topics(Some(vec![topic]));
    let mut stream = Client::frame(3, 12, 1, &slow);
    stream.extend(Client::frame(18, 0, 2, &ApiVersionsRequest::default()));
    stream.extend(Client::frame(3, 12, 3, &slow));
    client.send(&stream).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(client.receive().await.unwrap().get_i32());
    }
    assert_eq!(ids, [1, 2, 3]);
}

#[tokio::test]
async fn a_broker_that_closes_ends_its_connections() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let _: ApiVersionsResponse = client.ask(18, 0, &ApiVersionsRequest::default()).await;
    let closing = kafka.close(Duration::from_secs(30));
    let (answer, ()) = tokio::join!(client.receive(), closing);
    assert!(answer.is_none());
    assert_eq!(kafka.connection_count(), 0);
}

#[test]
fn each_key_of_the_table_is_one_of_kafkas() {
    let mut seen = BTreeSet::new();
    for api in api::APIS {
        let known = kafka_protocol::messages::ApiKey::try_from(api.key).unwrap();
        assert_eq!(format!("{known:?}"), api.name);
        assert!(seen.insert(api.key));
        let spoken = known.valid_versions();
        assert!(spoken.min <= *api.versions().start() && *api.versions().end() <= spoken.max);
    }
}

#[tokio::test]
async fn librdkafka_is_told_of_all_topics_however_it_asks() {
    // It was taken for damage: confluent-kafka's `list_topics` failed.
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    records::topic(&mut client, "orders").await;
    for version in 9..=13 {
        // Null in four bytes; may create; of version 9 and 10 the cluster's operations; the topics'; no tags.
        let mut body = vec![0, 0, 0, 0, 1];
        body.extend(vec![0; if version <= 10 { 3 } else { 2 }]);
        let head = Client::frame(
            3,
            version,
            99,
            &MetadataRequest::default().with_topics(None),
        );
        let own = if version <= 10 { 5 } else { 4 };
        let frame = [&head[4..head.len() - own], &body].concat();
        client.send(&(frame.len() as u32).to_be_bytes()).await;
        client.send(&frame).await;
        let mut answer = client.receive().await.expect("an answer");
        ResponseHeader::decode(&mut answer, 1).unwrap();
        let answer = MetadataResponse::decode(&mut answer, version).unwrap();
        assert_eq!(answer.topics.len(), 1, "{version}");
    }
}
