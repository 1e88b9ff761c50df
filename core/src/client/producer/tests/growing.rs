//! Topics that have more partitions than the producer knows of.

use super::*;

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

#[test]
fn a_partition_that_is_not_known_is_asked_for_once_more_before_it_is_refused() {
    // A producer that was told of one partition refused the others for as long as it lived.
    let (fake, producer) = ready();
    let refused = producer.try_send("t", &in_partition(2)).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
    // Not again while that is under way.
    assert!(producer.try_send("t", &in_partition(2)).is_err());
    assert_eq!(fake.waiting(), 1);
    fake.settle(3);
    producer.enqueue("t", &in_partition(2)).unwrap();
    assert_eq!(sent_to(&fake), 2);
    // The same for packed rows, of which none is taken meanwhile.
    let topic_id = producer.topic("t").unwrap();
    let mut rows = Vec::new();
    let row = SendRow {
        row_len: 0,
        topic_id,
        partition: 3,
        key: None,
        value: Some(b"x"),
        headers_packed: &[],
        timestamp_ms: -1,
        ticket: 0,
    };
    write_send_row(&mut rows, &row).unwrap();
    let refused = producer.send_rows(&rows).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::UnknownTopicOrPartition);
    fake.settle(3);
    assert!(producer.send_rows(&rows).is_err(), "there are three still");
    fake.settle(4);
    assert_eq!(producer.send_rows(&rows).unwrap(), rows.len());
    assert_eq!(sent_to(&fake), 3);
}

#[test]
fn a_look_at_a_topic_that_fails_leaves_what_was_known_of_it() {
    let (fake, producer) = ready();
    assert!(producer.try_send("t", &in_partition(2)).is_err());
    let asked = fake.next().unwrap();
    assert!(matches!(asked.request, Request::DescribeTopics { .. }));
    asked.fail(Error::new(ErrorCode::NetworkException, "lost"));
    producer.enqueue("t", &in_partition(0)).unwrap();
    assert_eq!(sent_to(&fake), 0);
    assert_eq!(fake.waiting(), 0);
}
