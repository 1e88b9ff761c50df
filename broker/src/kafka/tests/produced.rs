//! What becomes of record batches that only a strange client sends.

use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use uuid::Uuid;

use super::records::{batch, topic};
use super::*;

/// Batches of these values for partition 0, each in a place of its own.
fn partitions(values: &[&str]) -> Vec<PartitionProduceData> {
    let partitions = values
        .iter()
        .map(|value| PartitionProduceData::default().with_records(Some(batch(&[value], 0))));
    partitions.collect()
}

fn topic_of(version: i16, name: &str, id: Uuid, values: &[&str]) -> TopicProduceData {
    let topic = TopicProduceData::default().with_partition_data(partitions(values));
    if version >= 13 {
        return topic.with_topic_id(id);
    }
    topic.with_name(topic_name(name))
}

/// All of them were appended, and each was answered.
#[tokio::test]
async fn of_a_partition_that_is_named_more_than_once_the_last_batch_is_taken() {
    let kafka = kafka(true);
    let mut client = Client::of(&kafka);
    let id = topic(&mut client, "orders").await;
    let other = topic(&mut client, "others").await;
    let end_offset = |name: &str| {
        let topic = kafka.0.service.topic(name).unwrap();
        topic.partition(0).unwrap().status().end_offset
    };
    for (version, times) in [(3, 1), (9, 2), (13, 3)] {
        let topics = vec![
            topic_of(version, "orders", id, &["a", "b"]),
            topic_of(version, "others", other, &["c"]),
            topic_of(version, "orders", id, &["d", "last"]),
        ];
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_topic_data(topics);
        let answer: ProduceResponse = client.ask(0, version, &request).await;
        let found = answer.responses.iter().map(|topic| {
            let [partition] = topic.partition_responses.as_slice() else {
                panic!("{topic:?}")
            };
            (partition.error_code, partition.base_offset)
        });
        let at = times - 1;
        assert_eq!(found.collect::<Vec<_>>(), [(0, at), (0, at)], "{version}");
        assert_eq!((end_offset("orders"), end_offset("others")), (times, times));
        let topic = kafka.0.service.topic("orders").unwrap();
        let partition = topic.partition(0).unwrap();
        let found = kafka.0.service.fetch(partition, at, 1).unwrap().unwrap();
        let taken = &found.batches[0].bytes;
        assert!(taken.windows(4).any(|bytes| bytes == b"last"), "{taken:?}");
    }
}
