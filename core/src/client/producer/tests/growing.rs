//! Topics that have more partitions than the producer knows of.

use super::*;
use crate::protocol::response::Response;

fn in_partition(partition: i32) -> Record<'static> {
    Record {
        partition: Some(partition),
        ..Record::new(b"x")
    }
}

/// The partition of the batch that is sent, which is acknowledged.
fn sent_to(fake: &Fake) -> i32 {
    fake.run_jobs();
    let asked = fake.next().unwrap();
    let Request::Produce { partition, .. } = asked.request else {
        panic!("{asked:?}");
    };
    asked.acknowledge(0);
    partition
}

/// Packed rows of one record, with ticket 7.
fn row_in_partition(producer: &Producer, partition: i32) -> Vec<u8> {
    let mut rows = Vec::new();
    let row = SendRow {
        row_len: 0,
        topic_id: producer.topic("t").unwrap(),
        partition,
        key: None,
        value: Some(b"x"),
        headers_packed: &[],
        timestamp_ms: -1,
        ticket: 7,
    };
    write_send_row(&mut rows, &row).unwrap();
    rows
}

#[test]
fn a_record_for_a_partition_that_is_not_known_is_kept_until_that_is_asked() {
    // Over a connection the first record that named a new partition was refused.
    let (fake, producer) = ready();
    let delivery = producer.try_send("t", &in_partition(2)).unwrap();
    producer.enqueue("t", &in_partition(2)).unwrap();
    assert_eq!(fake.waiting(), 1, "that is asked once");
    fake.settle(3);
    assert_eq!(sent_to(&fake), 2);
    assert_eq!(delivery.wait(None).unwrap().partition, 2);
    assert_eq!(fake.waiting(), 0, "both were in one batch");
    // The same for packed rows.
    let rows = row_in_partition(&producer, 3);
    assert_eq!(producer.send_rows(&rows).unwrap(), rows.len());
    fake.settle(4);
    assert_eq!(sent_to(&fake), 3);
    let ended = tickets(&producer);
    assert_eq!((ended[0].first_ticket, ended[0].error_id), (7, 0));
}

#[test]
fn records_for_partitions_that_are_known_do_not_wait_for_one_that_is_not() {
    let (fake, producer) = ready();
    producer.enqueue("t", &in_partition(2)).unwrap();
    producer.enqueue("t", &in_partition(0)).unwrap();
    let asked = fake.next().unwrap();
    assert!(matches!(asked.request, Request::DescribeTopics { .. }));
    assert_eq!(sent_to(&fake), 0);
    let topics = vec![crate::client::transport::fake::topic("t", 3)];
    asked.completion.finish(Ok(Response::Topics(topics)));
    assert_eq!(sent_to(&fake), 2);
}

#[test]
fn a_record_for_a_partition_that_is_not_there_fails_once_that_is_known() {
    let (fake, producer) = ready();
    let delivery = producer.try_send("t", &in_partition(3)).unwrap();
    let rows = row_in_partition(&producer, 4);
    assert_eq!(producer.send_rows(&rows).unwrap(), rows.len());
    fake.settle(3);
    let refused = delivery.wait(None).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
    assert!(refused.message().contains("0 to 2"), "{refused}");
    let ended = tickets(&producer);
    assert_eq!(ended[0].first_ticket, 7);
    let told = producer.take_error(ended[0].error_id).unwrap();
    assert_eq!(told.code(), ErrorCode::UnknownTopicOrPartition);
    producer.flush().wait(None).unwrap();
    // It may be there when it is named again.
    producer.enqueue("t", &in_partition(3)).unwrap();
    fake.settle(4);
    assert_eq!(sent_to(&fake), 3);
}

#[test]
fn a_look_at_a_topic_that_fails_leaves_what_was_known_of_it() {
    let (fake, producer) = ready();
    let delivery = producer.try_send("t", &in_partition(2)).unwrap();
    let asked = fake.next().unwrap();
    assert!(matches!(asked.request, Request::DescribeTopics { .. }));
    asked.fail(Error::new(ErrorCode::NetworkException, "lost"));
    let lost = delivery.wait(None).unwrap_err();
    assert_eq!(lost.code(), ErrorCode::NetworkException);
    assert_eq!(lost.outcome(), Outcome::NotDone);
    producer.enqueue("t", &in_partition(0)).unwrap();
    assert_eq!(sent_to(&fake), 0);
    assert_eq!(fake.waiting(), 0);
}
