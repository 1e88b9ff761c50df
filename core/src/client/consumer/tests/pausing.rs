//! Partitions that are paused and resumed, and what was read ahead of them.

use super::*;
use crate::ids::TopicPartition;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::request::FetchPosition;

fn partition(partition: i32) -> TopicPartition {
    TopicPartition {
        topic: "t".into(),
        partition,
    }
}

/// An open consumer of two partitions, without a group.
fn of_two(options: ConsumerOptions) -> (Arc<Fake>, Consumer) {
    let (fake, consumer) = open(options);
    let mut opened = consumer.open();
    fake.settle(2);
    assert_eq!(opened.try_take(), Some(Ok(())));
    (fake, consumer)
}

/// Three records, of `value_bytes` each.
fn push(fake: &Fake, partition: i32, base_offset: i64, value_bytes: usize) {
    let mut builder = BatchBuilder::new(1_024);
    let value = vec![b'x'; value_bytes];
    for _ in 0..3 {
        let record = RecordRef {
            value: Some(&value),
            ..RecordRef::default()
        };
        builder.push(&record).unwrap();
    }
    let mut batch = builder.finish(-1, -1, -1).unwrap();
    crate::record::batch::stamp(&mut batch, base_offset, 5);
    fake.feed().push(FetchedBatch {
        topic: "t".into(),
        partition,
        high_watermark: 100,
        batch: Bytes::from(batch),
        from_offset: base_offset,
    });
}

fn from(partition: i32, offset: i64, last_epoch: i32) -> FetchPosition {
    FetchPosition {
        topic: "t".to_owned(),
        partition,
        offset,
        last_epoch,
    }
}

/// Where the next batch is, if there is one.
fn next(consumer: &Consumer) -> Option<(i32, i64)> {
    let batch = consumer.next_batch_wait(Some(Duration::ZERO)).unwrap()?;
    Some((batch.partition(), batch.records().next()?.unwrap().offset))
}

#[test]
fn what_was_read_ahead_of_a_paused_partition_is_kept_and_given_out_when_it_is_resumed() {
    let (fake, consumer) = of_two(ConsumerOptions::default());
    push(&fake, 0, 0, 10);
    push(&fake, 1, 0, 10);
    push(&fake, 0, 3, 10);
    push(&fake, 1, 3, 10);
    consumer.pause(Some(&[partition(0)])).unwrap();
    assert_eq!(consumer.paused(), [partition(0)]);
    assert_eq!(fake.feed().assigned(), [from(1, 6, 5)]);
    assert_eq!(next(&consumer), Some((1, 0)));
    assert_eq!(next(&consumer), Some((1, 3)));
    assert_eq!(next(&consumer), None);
    consumer.resume(Some(&[partition(0)])).unwrap();
    assert_eq!(consumer.paused(), []);
    let behind = [from(0, 6, 5), from(1, 6, 5)];
    assert_eq!(fake.feed().assigned(), behind);
    assert_eq!(next(&consumer), Some((0, 0)));
    assert_eq!(next(&consumer), Some((0, 3)));
    assert_eq!(next(&consumer), None);
}

#[test]
fn no_more_is_kept_than_half_of_what_may_be_read_ahead_and_the_rest_is_read_again() {
    let (fake, consumer) = of_two(ConsumerOptions {
        read_ahead_bytes: Some(64 << 10),
        ..ConsumerOptions::default()
    });
    // Half of it is for blocks; half of what is left is 16 KiB.
    for number in 0..4 {
        push(&fake, 0, 3 * number, 2_000);
    }
    consumer.pause(None).unwrap();
    assert_eq!(fake.feed().assigned(), []);
    assert!((1..=16 << 10).contains(&fake.feed().held()));
    consumer.resume(None).unwrap();
    // Two batches were kept; what is behind them is asked for again.
    assert_eq!(fake.feed().assigned()[0], from(0, 6, 5));
    assert_eq!(next(&consumer), Some((0, 0)));
    assert_eq!(next(&consumer), Some((0, 3)));
    assert_eq!(next(&consumer), None);
    assert_eq!(fake.feed().held(), 0);
}

#[test]
fn what_is_read_ahead_keeps_its_credit_however_often_something_is_paused() {
    // With each call all that had been read ahead was taken from the feed, which then read ahead anew.
    let (fake, consumer) = of_two(ConsumerOptions::default());
    for number in 0..4 {
        push(&fake, 0, 3 * number, 100);
        push(&fake, 1, 3 * number, 100);
        consumer.pause(Some(&[partition(0)])).unwrap();
        consumer.resume(None).unwrap();
    }
    consumer.pause(Some(&[partition(0)])).unwrap();
    let all = fake.feed().held();
    for number in 0..4 {
        assert_eq!(next(&consumer), Some((1, 3 * number)));
    }
    assert_eq!(
        fake.feed().held(),
        all,
        "it is given back when all is given out"
    );
    assert_eq!(next(&consumer), None);
    assert_eq!(fake.feed().held(), all / 2, "the other half is kept");
}

#[test]
fn a_seek_drops_what_was_kept() {
    let (fake, consumer) = of_two(ConsumerOptions::default());
    push(&fake, 0, 0, 10);
    consumer.pause(Some(&[partition(0)])).unwrap();
    assert!(fake.feed().held() > 0);
    consumer.seek("t", 0, 50).unwrap();
    assert_eq!(fake.feed().held(), 0);
    assert_eq!(consumer.paused(), [partition(0)]);
    consumer.resume(None).unwrap();
    assert_eq!(fake.feed().assigned()[0], from(0, 50, -1));
    assert_eq!(next(&consumer), None);
}

#[test]
fn a_stream_that_has_ended_is_begun_anew_when_something_is_resumed() {
    let (fake, consumer) = of_two(ConsumerOptions::default());
    consumer.pause(Some(&[partition(0)])).unwrap();
    push(&fake, 1, 0, 10);
    fake.feed()
        .end(Error::new(ErrorCode::NetworkException, "lost"));
    consumer.resume(None).unwrap();
    let anew = [from(0, 0, -1), from(1, 0, -1)];
    assert_eq!(fake.feed().assigned(), anew);
}

#[test]
fn only_what_is_assigned_can_be_paused_and_only_of_an_open_consumer() {
    let (_fake, consumer) = open(ConsumerOptions::default());
    let error = consumer.pause(None).unwrap_err();
    assert_eq!(error.code(), ErrorCode::InvalidState);
    let (fake, consumer) = of_two(ConsumerOptions::default());
    let wanted = [partition(0), partition(7)];
    for (refused, verb) in [
        (consumer.pause(Some(&wanted)), "paused"),
        (consumer.resume(Some(&wanted)), "resumed"),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.code(), ErrorCode::UnknownTopicOrPartition);
        let told = format!("t-7 cannot be {verb}: it is not assigned to this consumer");
        assert_eq!(error.message(), told);
    }
    assert_eq!(consumer.paused(), [], "all of them, or none");
    consumer.pause(Some(&[])).unwrap();
    assert_eq!(consumer.paused(), []);
    let mut closed = consumer.close(None);
    fake.settle(2);
    assert!(closed.try_take().is_some());
    for refused in [consumer.pause(None), consumer.resume(None)] {
        assert_eq!(refused.unwrap_err().code(), ErrorCode::Closed);
    }
}

#[test]
fn a_paused_member_commits_and_a_partition_that_is_lost_is_paused_no_more() {
    let (fake, consumer) = reading(grouped());
    consumer.pause(None).unwrap();
    let _ = consumer.progress(4);
    let mut commit = consumer.commit();
    let asked = fake.next().unwrap();
    assert_eq!(committed(&asked), [4], "the block in hand is the host's");
    answer(asked);
    assert_eq!(commit.try_take(), Some(Ok(())));
    // One that is revoked is paused while it is held, and not listed.
    assign(&fake, 4, &[]);
    assert_eq!(consumer.paused(), []);
    assign(&fake, 5, &[at(4)]);
    assert_eq!(consumer.paused(), [partition(0)], "it was never let go");
    assert_eq!(fake.feed().assigned(), []);
    assign(&fake, 6, &[]);
    let mut next = consumer.next_block(None);
    fake.run_jobs();
    answer(fake.next().unwrap());
    fake.run_jobs();
    // The first waits since before; the second says that nothing is held.
    drop(fake.heartbeat().unwrap());
    assign(&fake, 7, &[at(10)]);
    assert_eq!(consumer.paused(), []);
    assert_eq!(fake.feed().assigned(), [at(10).into()]);
    assert!(next.try_take().is_none());
}

#[test]
fn the_lag_is_counted_from_what_was_processed_and_asked_for_once() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(4);
    let mut lag = consumer.lag();
    let asked = fake.next().unwrap();
    let queries = vec![OffsetQuery {
        topic: "t".to_owned(),
        partition: 0,
        at: OffsetAt::Latest,
    }];
    assert_eq!(asked.request, Request::ListOffsets { queries });
    asked.completion.finish(Ok(Response::Offsets(vec![60])));
    let found = lag.try_take().unwrap().unwrap().remove(0);
    let mut wanted = PartitionLag {
        topic: "t".to_owned(),
        partition: 0,
        position: 4,
        committed: Some(0),
        high_watermark: 60,
        lag: 56,
    };
    assert_eq!(found, wanted);
    let _commit = consumer.commit();
    answer(fake.next().unwrap());
    let mut lag = consumer.lag();
    let asked = fake.next().unwrap();
    asked.completion.finish(Ok(Response::Offsets(vec![3])));
    wanted = PartitionLag {
        committed: Some(4),
        high_watermark: 3,
        lag: 0,
        ..wanted
    };
    assert_eq!(lag.try_take(), Some(Ok(vec![wanted])), "never below 0");
}

#[test]
fn what_reads_nothing_has_no_lag_and_asks_nobody() {
    let (fake, consumer) = open(grouped());
    assert_eq!(consumer.lag().try_take(), Some(Ok(Vec::new())));
    assert_eq!(fake.waiting(), 0);
    drop(consumer.close(None));
    let error = consumer.lag().try_take().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::Closed);
}
