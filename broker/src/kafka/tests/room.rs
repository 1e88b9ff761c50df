//! Record batches wait for room that all connections share, and none of it stays with who does not deserve it.

use headwater::limits;
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse};
use tokio::io::{ReadHalf, SimplexStream, WriteHalf, simplex};
use uuid::Uuid;

use super::records::{batch, produce, topic};
use super::*;

/// What the small batches of these tests need, and the large ones do not find.
const LITTLE_BYTES: usize = 4_096;

fn parts() -> (Room, Kafka) {
    let room = Room::default();
    let options = ServiceOptions {
        auto_create_topics: true,
        ..ServiceOptions::default()
    };
    let service = Service::open_memory("", &options).unwrap();
    (room.clone(), kafka_within(room, service))
}

fn end_offset(kafka: &Kafka) -> i64 {
    let topic = kafka.0.service.topic("orders").unwrap();
    topic.partition(0).unwrap().status().end_offset
}

/// Waits until it is so.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    for _ in 0..60_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("never: {what}");
}

/// Lets every task go as far as it can by itself.
async fn settle() {
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
}

fn large(acks: i16) -> ProduceRequest {
    let value = "x".repeat(2 * LITTLE_BYTES);
    produce(9, "orders", Uuid::nil(), batch(&[&value], 0)).with_acks(acks)
}

/// A poll that ends with the first record of the topic.
fn long_poll() -> FetchRequest {
    let partition = FetchPartition::default().with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default()
        .with_topic(topic_name("orders"))
        .with_partitions(vec![partition]);
    FetchRequest::default()
        .with_max_wait_ms(i32::MAX)
        .with_min_bytes(1)
        .with_max_bytes(1 << 20)
        .with_topics(vec![topic])
}

#[tokio::test]
async fn record_batches_wait_for_room_that_others_have() {
    let (room, kafka) = parts();
    let mut client = Client::of(&kafka);
    topic(&mut client, "orders").await;
    for (acks, end) in [(-1, 1), (0, 2)] {
        let taken = room.try_take(usize::MAX).unwrap();
        client.request(0, 9, &large(acks)).await;
        // What carries none is served.
        let mut other = Client::of(&kafka);
        let _: ApiVersionsResponse = other.ask(18, 0, &ApiVersionsRequest::default()).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert_eq!(end_offset(&kafka), end - 1, "acks {acks}");
        drop(taken);
        if acks != 0 {
            let answer: ProduceResponse = client.answer(9).await;
            assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
        }
        until("it is appended", || end_offset(&kafka) == end).await;
        until("the room is whole", || room.try_take(usize::MAX).is_some()).await;
    }
}

#[tokio::test]
async fn more_than_there_is_room_for_is_taken_in_one_after_the_other() {
    let (room, kafka) = parts();
    let mut clients: Vec<_> = (0..4).map(|_| Client::of(&kafka)).collect();
    topic(&mut clients[0], "orders").await;
    let taken = room.try_take(usize::MAX).unwrap();
    for client in &mut clients {
        for _ in 0..4 {
            client.request(0, 9, &large(1)).await;
        }
    }
    drop(taken);
    for client in &mut clients {
        for _ in 0..4 {
            assert!(client.receive().await.is_some());
        }
    }
    assert_eq!(end_offset(&kafka), 16);
    until("the room is whole", || room.try_take(usize::MAX).is_some()).await;
}

#[tokio::test]
async fn batches_that_are_refused_keep_no_room() {
    let (room, kafka) = parts();
    let mut client = Client::of(&kafka);
    let nowhere = produce(9, "nowhere", Uuid::nil(), batch(&["a"], 0));
    let answer: ProduceResponse = client.ask(0, 9, &nowhere).await;
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 3);
    assert!(room.try_take(usize::MAX).is_some());
    let mut broken = Client::frame(0, 9, 1, &nowhere);
    let last = broken.len() - 1;
    broken[last] = 1;
    client.send(&broken).await;
    assert!(client.receive().await.is_none());
    assert!(room.try_take(usize::MAX).is_some());
}

#[tokio::test]
async fn who_waits_for_something_else_takes_no_room_meanwhile() {
    let (room, kafka) = parts();
    let mut client = Client::of(&kafka);
    topic(&mut client, "orders").await;
    client.request(1, 12, &long_poll()).await;
    client.request(0, 9, &large(1)).await;
    settle().await;
    assert!(room.try_take(usize::MAX).is_some());
}

/// A connection whose other side can be written to, and takes only a few bytes of what is answered.
fn unread(kafka: &Kafka) -> (WriteHalf<SimplexStream>, ReadHalf<SimplexStream>) {
    let (reader, requests) = simplex(1 << 20);
    let (answers, writer) = simplex(16);
    let kafka = kafka.clone();
    tokio::spawn(async move {
        kafka
            .serve((reader, writer), Vec::new(), None, "test")
            .await;
    });
    (requests, answers)
}

#[tokio::test]
async fn who_does_not_read_its_answers_keeps_no_room_from_others() {
    let (room, kafka) = parts();
    let mut other = Client::of(&kafka);
    let id = topic(&mut other, "orders").await;
    let (mut requests, _answers) = unread(&kafka);
    let mut stream = Client::frame(1, 12, 1, &long_poll());
    stream.extend(Client::frame(0, 9, 2, &large(1)));
    requests.write_all(&stream).await.unwrap();
    settle().await;
    let all = usize::try_from(limits::SERVER_BATCH_BYTES_MAX).unwrap();
    let taken = room.try_take(all - LITTLE_BYTES).unwrap();
    // It ends the poll: what is said of it is not read, and the batch behind it is next, for which there is no room.
    let small = produce(9, "orders", id, batch(&["a"], 0));
    let _: ProduceResponse = other.ask(0, 9, &small).await;
    settle().await;
    assert_eq!(end_offset(&kafka), 1);
    drop(taken);
    until("it is appended", || end_offset(&kafka) == 2).await;
    until("the room is whole", || room.try_take(usize::MAX).is_some()).await;
}
