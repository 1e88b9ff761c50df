//! Records that are not in memory any more, and more of them than an answer has a place for.

use headwater::Completion;
use headwater::protocol::request::Request as NativeRequest;
use headwater::service::Run;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{FetchRequest, FetchResponse};

use super::records::batch;
use super::*;

const PARTITIONS: i32 = 20;

/// A topic whose partitions have a batch of 1,000 bytes each, in files alone.
async fn cold() -> Kafka {
    let options = ServiceOptions {
        tail_cache_bytes: 0,
        ..ServiceOptions::default()
    };
    let service = Service::open_memory("", &options).unwrap();
    let session = service.session();
    let submit = async |request: NativeRequest, payload: Bytes| {
        let (completion, pending) = Completion::pair();
        session.submit(request, payload, Run::Io, completion);
        pending.await.unwrap();
    };
    let create = NativeRequest::CreateTopic {
        name: "orders".to_owned(),
        config: vec![("partitions".to_owned(), PARTITIONS.to_string())],
        exist_ok: false,
    };
    submit(create, Bytes::new()).await;
    for partition in 0..PARTITIONS {
        let produce = NativeRequest::Produce {
            topic: "orders".to_owned(),
            partition,
            durability: None,
        };
        submit(produce, batch(&[&"x".repeat(900)], 0)).await;
    }
    kafka_of(service)
}

/// All partitions from their beginning, in this order, with a place for two batches.
fn fetch(partitions: impl Iterator<Item = i32>) -> FetchRequest {
    let partitions = partitions.map(|partition| {
        FetchPartition::default()
            .with_partition(partition)
            .with_partition_max_bytes(1 << 20)
    });
    let topic = FetchTopic::default()
        .with_topic(topic_name("orders"))
        .with_partitions(partitions.collect());
    FetchRequest::default()
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(2_500)
        .with_topics(vec![topic])
}

/// The partitions of which there is something in an answer.
async fn given(client: &mut Client, request: &FetchRequest) -> Vec<i32> {
    let answer: FetchResponse = client.ask(1, 12, request).await;
    let [topic] = answer.responses.as_slice() else {
        panic!("{answer:?}")
    };
    let asked = request.topics[0].partitions.iter().map(|it| it.partition);
    let answered = topic.partitions.iter().map(|it| it.partition_index);
    assert!(answered.eq(asked), "in the order in which it was asked for");
    let given = topic.partitions.iter();
    let given = given.filter(|it| it.records.as_ref().is_some_and(|it| !it.is_empty()));
    given.map(|it| it.partition_index).collect()
}

/// One batch of each partition was read, and most of them for nothing.
#[tokio::test]
async fn no_more_is_read_than_there_is_a_place_for() {
    let kafka = cold().await;
    let mut client = Client::of(&kafka);
    let request = fetch(0..PARTITIONS);
    assert_eq!(given(&mut client, &request).await, [0, 1]);
    // The third was read to find that it has no place.
    assert_eq!(kafka.0.figures.file_reads(), 3);
}

#[tokio::test]
async fn every_partition_has_its_turn_however_a_client_orders_them() {
    let kafka = cold().await;
    // Always in the same order.
    let mut client = Client::of(&kafka);
    let mut seen = BTreeSet::new();
    for _ in 0..PARTITIONS / 2 {
        seen.extend(given(&mut client, &fetch(0..PARTITIONS)).await);
    }
    assert!(seen.iter().copied().eq(0..PARTITIONS), "{seen:?}");
    // Those that were given something last, as Java's consumer does it.
    let mut client = Client::of(&kafka);
    let mut order: Vec<_> = (0..PARTITIONS).collect();
    let mut seen = BTreeSet::new();
    for _ in 0..PARTITIONS / 2 {
        let given = given(&mut client, &fetch(order.iter().copied())).await;
        order.retain(|partition| !given.contains(partition));
        order.extend(&given);
        seen.extend(given);
    }
    assert!(seen.iter().copied().eq(0..PARTITIONS), "{seen:?}");
}

/// It waited for bytes for which there was no place.
#[tokio::test]
async fn a_full_answer_does_not_wait_for_more() {
    let kafka = cold().await;
    let mut client = Client::of(&kafka);
    let request = fetch(0..PARTITIONS)
        .with_min_bytes(2_500)
        .with_max_wait_ms(i32::MAX);
    assert_eq!(given(&mut client, &request).await, [0, 1]);
}

/// It waited for more bytes of a partition than it may be given of it.
#[tokio::test]
async fn what_is_cut_does_not_wait_for_more() {
    let kafka = cold().await;
    let session = kafka.0.service.session();
    let (completion, pending) = Completion::pair();
    let produce = NativeRequest::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    };
    session.submit(produce, batch(&["more"], 0), Run::Io, completion);
    pending.await.unwrap();
    let mut client = Client::of(&kafka);
    let mut request = fetch(0..1).with_min_bytes(2_000).with_max_wait_ms(i32::MAX);
    request.topics[0].partitions[0].partition_max_bytes = 1_000;
    assert_eq!(given(&mut client, &request).await, [0]);
}
