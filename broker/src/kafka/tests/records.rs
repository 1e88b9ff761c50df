//! Produce and Fetch.

use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::fetch_response::PartitionData;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    FetchRequest, FetchResponse, ProduceRequest, ProduceResponse, TransactionalId,
};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};
use uuid::Uuid;

use super::*;

/// A batch as `kafka-protocol` makes it: a record for each value, 1 ms apart.
pub(super) fn batch(values: &[&str], timestamp_ms: i64) -> Bytes {
    let records: Vec<_> = (0..)
        .zip(values)
        .map(|(index, value)| Record {
            transactional: false,
            control: false,
            delete_horizon: false,
            partition_leader_epoch: -1,
            producer_id: -1,
            producer_epoch: -1,
            timestamp_type: TimestampType::Creation,
            offset: index,
            // Without a producer id they mean nothing, but the encoder wants them in a row.
            sequence: i32::try_from(index).unwrap() - 1,
            timestamp: timestamp_ms + index,
            key: Some(Bytes::from_static(b"key")),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
            headers: Default::default(),
        })
        .collect();
    let options = RecordEncodeOptions {
        version: 2,
        compression: Compression::None,
    };
    let mut bytes = BytesMut::new();
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();
    bytes.freeze()
}

/// A topic that is there, and its id.
pub(super) async fn topic(client: &mut Client, name: &str) -> Uuid {
    let wanted = MetadataRequestTopic::default().with_name(Some(topic_name(name)));
    let request = MetadataRequest::default().with_topics(Some(vec![wanted]));
    let answer: MetadataResponse = client.ask(3, 12, &request).await;
    assert_eq!(answer.topics[0].error_code, 0);
    answer.topics[0].topic_id
}

pub(super) fn produce(version: i16, name: &str, id: Uuid, records: Bytes) -> ProduceRequest {
    let partition = PartitionProduceData::default().with_records(Some(records));
    let mut topic = TopicProduceData::default().with_partition_data(vec![partition]);
    if version >= 13 {
        topic.topic_id = id;
    } else {
        topic.name = topic_name(name);
    }
    ProduceRequest::default()
        .with_acks(-1)
        .with_timeout_ms(1_000)
        .with_topic_data(vec![topic])
}

fn only(answer: ProduceResponse) -> PartitionProduceResponse {
    let [topic] = <[_; 1]>::try_from(answer.responses).unwrap();
    let [partition] = <[_; 1]>::try_from(topic.partition_responses).unwrap();
    partition
}

fn fetch(version: i16, name: &str, id: Uuid, partitions: Vec<FetchPartition>) -> FetchRequest {
    let mut topic = FetchTopic::default().with_partitions(partitions);
    if version >= 13 {
        topic.topic_id = id;
    } else {
        topic.topic = topic_name(name);
    }
    FetchRequest::default()
        .with_max_wait_ms(600_000)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

fn from(offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

fn partitions(answer: FetchResponse) -> Vec<PartitionData> {
    assert_eq!((answer.error_code, answer.session_id), (0, 0));
    let topics = answer.responses.into_iter();
    topics.flat_map(|topic| topic.partitions).collect()
}

fn one(answer: FetchResponse) -> PartitionData {
    let [partition] = <[_; 1]>::try_from(partitions(answer)).unwrap();
    partition
}

fn values(partition: &PartitionData) -> Vec<String> {
    let mut records = partition.records.clone().unwrap();
    let sets = RecordBatchDecoder::decode_all(&mut records).unwrap();
    let records = sets.into_iter().flat_map(|set| set.records);
    let text = |record: Record| String::from_utf8(record.value.unwrap().to_vec()).unwrap();
    records.map(text).collect()
}

#[tokio::test]
async fn what_is_produced_in_every_version_is_fetched_in_every_version() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let mut expected = Vec::new();
    for version in 3..=13 {
        let (first, second) = (format!("a{version}"), format!("b{version}"));
        let records = batch(&[&first, &second], 1_000);
        let request = produce(version, "orders", id, records);
        let answer: ProduceResponse = client.ask(0, version, &request).await;
        let partition = only(answer);
        let base_offset = i64::try_from(expected.len()).unwrap();
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (0, base_offset)
        );
        assert_eq!(partition.log_append_time_ms, -1);
        assert_eq!(
            partition.log_start_offset,
            if version >= 5 { 0 } else { -1 }
        );
        expected.extend([first, second]);
    }
    let end = i64::try_from(expected.len()).unwrap();
    for version in 4..=17 {
        for offset in [0, 7, end - 2] {
            let request = fetch(version, "orders", id, vec![from(offset)]);
            let answer: FetchResponse = client.ask(1, version, &request).await;
            let partition = one(answer);
            assert_eq!((partition.error_code, partition.high_watermark), (0, end));
            assert_eq!(partition.last_stable_offset, end);
            // Whole batches come: the one that holds the offset first.
            let begin = usize::try_from(offset / 2 * 2).unwrap();
            assert_eq!(values(&partition), expected[begin..]);
        }
    }
}

#[tokio::test]
async fn batches_that_kafka_does_not_take_are_refused_by_its_codes() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let good = batch(&["a"], 0);
    let changed = |at: usize, byte: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = byte;
        Bytes::from(bytes)
    };
    let twice = Bytes::from([&good[..], &good[..]].concat());
    let huge = batch(&[&"x".repeat(2 << 20)], 0);
    for (what, version, records, code) in [
        ("magic 1", 9, changed(16, 1), 87),
        ("magic 0", 3, changed(16, 0), 87),
        ("two of them", 9, twice, 87),
        ("none", 9, Bytes::new(), 87),
        ("half of one", 9, good.slice(..40), 2),
        ("another checksum", 9, changed(30, 9), 2),
        ("zstd before its time", 6, changed(22, 4), 76),
        ("the time of its append", 9, changed(22, 8), 32),
        ("too large", 9, huge, 10),
    ] {
        let request = produce(version, "orders", id, records);
        let answer: ProduceResponse = client.ask(0, version, &request).await;
        let partition = only(answer);
        assert_eq!(
            (partition.error_code, partition.base_offset),
            (code, -1),
            "{what}"
        );
        assert_eq!(partition.error_message.is_some(), version >= 8, "{what}");
    }
    let mut transactional = produce(9, "orders", id, good.clone());
    transactional.transactional_id = Some(TransactionalId(StrBytes::from_static_str("t")));
    let answer: ProduceResponse = client.ask(0, 9, &transactional).await;
    assert_eq!(only(answer).error_code, 53);
    let strange = produce(9, "orders", id, good.clone()).with_acks(7);
    let answer: ProduceResponse = client.ask(0, 9, &strange).await;
    assert_eq!(only(answer).error_code, 21);
    let answer: ProduceResponse = client
        .ask(0, 9, &produce(9, "none", id, good.clone()))
        .await;
    assert_eq!(only(answer).error_code, 3);
    let nobody = Uuid::from_bytes([9; 16]);
    let answer: ProduceResponse = client.ask(0, 13, &produce(13, "", nobody, good)).await;
    assert_eq!(only(answer).error_code, 100);
}

#[tokio::test]
async fn who_wants_no_acknowledgement_gets_none() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let silent = produce(9, "orders", id, batch(&["a"], 0)).with_acks(0);
    client.request(0, 9, &silent).await;
    // The next answer is to the next request.
    let answer: FetchResponse = client
        .ask(1, 12, &fetch(12, "orders", id, vec![from(0)]))
        .await;
    assert_eq!(values(&one(answer)), ["a"]);
}

#[tokio::test]
async fn who_wants_no_acknowledgement_is_told_of_a_failure_by_the_end_of_the_connection() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let silent = produce(9, "none", id, batch(&["a"], 0)).with_acks(0);
    client.request(0, 9, &silent).await;
    assert!(client.receive().await.is_none());
}

/// The topic was watched once for each time it was named, and each time all that watch it were looked through.
#[tokio::test]
async fn a_partition_that_is_named_over_and_over_is_watched_once() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let rows = vec![from(0); 200_000];
    let request = fetch(12, "orders", id, rows).with_max_wait_ms(1);
    let answer: FetchResponse = client.ask(1, 12, &request).await;
    assert_eq!(partitions(answer).len(), 200_000);
}

#[tokio::test]
async fn batches_behind_each_other_are_in_the_log_in_their_order() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let mut stream = Vec::new();
    for number in 0..600 {
        let records = batch(&[&number.to_string()], 0);
        stream.extend(Client::frame(
            0,
            9,
            number,
            &produce(9, "orders", id, records),
        ));
    }
    let (mut reader, mut writer) = tokio::io::split(client.stream);
    let writing = async { writer.write_all(&stream).await.unwrap() };
    let reading = async {
        for number in 0..600 {
            let length = reader.read_i32().await.unwrap();
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            reader.read_exact(&mut frame).await.unwrap();
            let mut frame = Bytes::from(frame);
            assert_eq!(
                ResponseHeader::decode(&mut frame, 1)
                    .unwrap()
                    .correlation_id,
                number
            );
            let partition = only(ProduceResponse::decode(&mut frame, 9).unwrap());
            assert_eq!(
                (partition.error_code, partition.base_offset),
                (0, i64::from(number))
            );
        }
    };
    tokio::join!(writing, reading);
}

#[tokio::test]
async fn a_poll_waits_until_there_is_enough() {
    let kafka = kafka(true);
    let (mut reader, mut writer) = (Client::of(&kafka), Client::of(&kafka));
    let id = topic(&mut writer, "orders").await;
    let first = batch(&["a"], 0);
    let enough = i32::try_from(first.len() + 1).unwrap();
    let request = fetch(12, "orders", id, vec![from(0)]).with_min_bytes(enough);
    reader.request(1, 12, &request).await;
    for records in [first, batch(&["b"], 0)] {
        let answer: ProduceResponse = writer.ask(0, 9, &produce(9, "orders", id, records)).await;
        assert_eq!(only(answer).error_code, 0);
    }
    let answer: FetchResponse = reader.answer(12).await;
    assert_eq!(values(&one(answer)), ["a", "b"]);
}

#[tokio::test]
async fn a_poll_without_time_is_answered_at_once_with_nothing() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    for max_wait_ms in [0, -1, 1] {
        let request = fetch(12, "orders", id, vec![from(0)]).with_max_wait_ms(max_wait_ms);
        let answer: FetchResponse = client.ask(1, 12, &request).await;
        let partition = one(answer);
        assert_eq!(partition.error_code, 0);
        assert_eq!(partition.records, Some(Bytes::new()));
    }
}

#[tokio::test]
async fn a_poll_ends_with_its_topic_and_with_its_broker() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    for version in [12, 13] {
        let id = if version == 12 {
            id
        } else {
            topic(&mut client, "orders").await
        };
        let request = fetch(version, "orders", id, vec![from(0)]);
        client.request(1, version, &request).await;
        let (completion, deleted) = headwater::Completion::pair();
        let delete = headwater::protocol::request::Request::DeleteTopic {
            name: "orders".to_owned(),
        };
        let session = kafka.0.service.remote_session();
        let run = headwater::service::Run::Io;
        session.submit(delete, Bytes::new(), run, completion);
        deleted.await.unwrap();
        let answer: FetchResponse = client.answer(version).await;
        let code = if version == 12 { 3 } else { 100 };
        assert_eq!(one(answer).error_code, code);
    }
    let id = topic(&mut client, "orders").await;
    client
        .request(1, 12, &fetch(12, "orders", id, vec![from(0)]))
        .await;
    let closing = kafka.close(Duration::from_secs(600));
    let answering = async {
        let answer: FetchResponse = client.answer(12).await;
        assert_eq!(one(answer).error_code, 0);
        drop(client);
    };
    tokio::join!(closing, answering);
}

#[tokio::test]
async fn a_budget_holds_but_for_the_first_batch() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    for value in ["a", "b"] {
        let request = produce(9, "orders", id, batch(&[value], 0));
        let _: ProduceResponse = client.ask(0, 9, &request).await;
    }
    // Named twice, a partition is read twice.
    let rows = vec![
        from(0).with_partition_max_bytes(1),
        from(1).with_partition_max_bytes(1),
    ];
    let answer: FetchResponse = client.ask(1, 12, &fetch(12, "orders", id, rows)).await;
    let found: Vec<_> = partitions(answer).iter().map(values).collect();
    assert_eq!(found, [vec!["a"], vec![]]);
    let request = fetch(12, "orders", id, vec![from(0), from(0)]).with_max_bytes(1);
    let answer: FetchResponse = client.ask(1, 12, &request).await;
    let found: Vec<_> = partitions(answer).iter().map(values).collect();
    assert_eq!(found, [vec!["a"], vec![]]);
}

#[tokio::test]
async fn a_reader_learns_what_is_wrong_with_where_it_stands() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let _: ProduceResponse = client
        .ask(0, 9, &produce(9, "orders", id, batch(&["a"], 0)))
        .await;
    let epoch = kafka.0.service.leader_epoch().0;
    let beyond = |offset: i64, epoch: i32| from(offset).with_last_fetched_epoch(epoch);
    for (row, code) in [
        (from(2), 1),
        (from(-1), 1),
        (from(0).with_partition(1), 3),
        (from(0).with_current_leader_epoch(epoch), 0),
        (from(0).with_current_leader_epoch(epoch - 1), 74),
        (from(0).with_current_leader_epoch(epoch + 1), 75),
        (beyond(1, epoch + 1), 1),
        (beyond(0, epoch), 0),
    ] {
        let what = format!("{row:?}");
        let answer: FetchResponse = client.ask(1, 12, &fetch(12, "orders", id, vec![row])).await;
        assert_eq!(one(answer).error_code, code, "{what}");
    }
    // What it has read of the epoch is more than there is of it.
    let request = fetch(12, "orders", id, vec![beyond(5, epoch)]);
    let answer: FetchResponse = client.ask(1, 12, &request).await;
    let diverging = one(answer).diverging_epoch;
    assert_eq!((diverging.epoch, diverging.end_offset), (epoch, 1));
    let in_session = fetch(12, "orders", id, vec![from(0)]).with_session_id(7);
    let answer: FetchResponse = client.ask(1, 12, &in_session).await;
    assert_eq!((answer.error_code, answer.responses.len()), (70, 0));
}
