//! The consumer over a transport that the tests answer for: groups, commits, ends.

use super::*;
use crate::client::options::{Ack, ConnectOptions};
use crate::client::producer::Record;
use crate::client::transport::Transport;
use crate::client::transport::fake::{Asked, Fake};
use crate::error::Outcome;
use crate::ids::Durability;
use crate::protocol::request::GroupHeartbeat;
use crate::protocol::response::{GroupAssignment, ProduceAck};
use crate::record::{BatchBuilder, RecordRef};

fn open(options: ConsumerOptions) -> (Arc<Fake>, Consumer) {
    let fake = Fake::new();
    let transport: Arc<dyn Transport> = Arc::clone(&fake) as _;
    let generation = fork::current().unwrap();
    let client = Shared::new(
        transport,
        "fake".to_owned(),
        generation,
        &ConnectOptions::default(),
    );
    let consumer = Consumer::new(client, vec!["t".to_owned()], &options).unwrap();
    (fake, consumer)
}

fn grouped() -> ConsumerOptions {
    ConsumerOptions {
        group: Some("g".to_owned()),
        ..Default::default()
    }
}

fn at(offset: i64) -> PartitionOffset {
    PartitionOffset {
        topic: "t".to_owned(),
        partition: 0,
        offset,
    }
}

/// The topic is there, and the group has assigned a partition.
fn joined(fake: &Fake, committed: i64) {
    fake.settle(1);
    // What was said to a membership before does not concern this one.
    while fake.heartbeats_waiting() > 1 {
        let unknown = Error::new(ErrorCode::UnknownMemberId, "it left");
        fake.heartbeat().unwrap().completion.finish(Err(unknown));
        fake.run_jobs();
    }
    assign(fake, 3, &[at(committed)]);
}

/// Answers the heartbeat that waits, and lets the consumer make of it what it does.
fn assign(fake: &Fake, generation: i32, assignment: &[PartitionOffset]) -> GroupHeartbeat {
    let asked = fake.heartbeat().unwrap();
    let Request::GroupHeartbeat(said) = asked.request else {
        unreachable!("the queue has nothing else");
    };
    asked
        .completion
        .finish(Ok(Response::GroupHeartbeat(GroupAssignment {
            member_id: said.member_id.clone(),
            generation,
            assignment: assignment.to_vec(),
        })));
    fake.run_jobs();
    said
}

/// An open consumer that has been given a block of ten records.
fn reading(options: ConsumerOptions) -> (Arc<Fake>, Consumer) {
    let (fake, consumer) = about_to_read(options);
    assert_eq!(consumer.next_block_wait(None).unwrap().unwrap().len(), 10);
    (fake, consumer)
}

/// An open consumer for which ten records have come.
fn about_to_read(options: ConsumerOptions) -> (Arc<Fake>, Consumer) {
    let (fake, consumer) = open(options);
    let mut opened = consumer.open();
    joined(&fake, 0);
    fake.settle(1);
    assert_eq!(opened.try_take(), Some(Ok(())));
    push_ten(&fake);
    (fake, consumer)
}

/// Ten records that can be read.
fn push_ten(fake: &Fake) {
    let mut builder = BatchBuilder::new(1_024);
    for _ in 0..10 {
        builder
            .push(&RecordRef {
                value: Some(b"x"),
                ..RecordRef::default()
            })
            .unwrap();
    }
    let batch = builder.finish(-1, -1, -1).unwrap();
    fake.feed().push(crate::protocol::fetched::FetchedBatch {
        topic: "t".into(),
        partition: 0,
        high_watermark: 10,
        batch: Bytes::from(batch),
        from_offset: 0,
    });
}

fn committed(asked: &Asked) -> Vec<i64> {
    match &asked.request {
        Request::CommitOffsets {
            group,
            member: by,
            offsets,
        } => {
            let generation = by.as_ref().map(|by| by.generation);
            assert_eq!((group.as_str(), generation), ("g", Some(3)));
            offsets.iter().map(|it| it.offset).collect()
        }
        other => panic!("{other:?}"),
    }
}

fn answer(asked: Asked) {
    asked.completion.finish(Ok(Response::Done));
}

#[test]
fn it_begins_where_its_group_has_committed() {
    let (fake, consumer) = open(grouped());
    let mut opened = consumer.open();
    joined(&fake, 17);
    assert_eq!(opened.try_take(), Some(Ok(())));
    assert_eq!(fake.feed().assigned(), [at(17).into()]);
    assert_eq!(consumer.positions(), [at(17)]);
}

#[test]
fn commits_go_one_at_a_time_and_the_last_says_where_the_host_is() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(2);
    let mut first = consumer.commit();
    let _ = consumer.progress(5);
    let mut second = consumer.commit();
    let mut third = consumer.commit();
    let asked = fake.next().unwrap();
    assert_eq!(committed(&asked), [2]);
    assert_eq!(fake.waiting(), 0, "the next waits for the answer");
    answer(asked);
    assert_eq!(first.try_take(), Some(Ok(())));
    fake.run_jobs();
    let asked = fake.next().unwrap();
    assert_eq!(committed(&asked), [5]);
    answer(asked);
    assert_eq!(
        (second.try_take(), third.try_take()),
        (Some(Ok(())), Some(Ok(())))
    );
    let mut nothing = consumer.commit();
    assert_eq!(nothing.try_take(), Some(Ok(())));
    assert_eq!(fake.waiting(), 0, "there is nothing new to commit");
}

#[test]
fn a_commit_that_failed_is_not_taken_for_done() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(2);
    let mut first = consumer.commit();
    let error = Error::new(ErrorCode::DiskFull, "full");
    fake.next().unwrap().fail(error.clone());
    assert_eq!(first.try_take(), Some(Err(error)));
    fake.run_jobs();
    let _again = consumer.commit();
    assert_eq!(committed(&fake.next().unwrap()), [2]);
}

/// Answers for the topics, and gives the request with the results.
fn with_results(fake: &Fake) -> (Vec<i64>, Vec<(String, i32)>, Asked) {
    fake.settle(1);
    let asked = fake.next().unwrap();
    let Request::ProduceAndCommit {
        batches,
        offsets,
        member: by,
        ..
    } = &asked.request
    else {
        panic!("{:?}", asked.request);
    };
    assert_eq!(by.as_ref().map(|by| by.generation), Some(3));
    let size: usize = batches.iter().map(|batch| batch.size_bytes as usize).sum();
    assert_eq!(size, asked.payload.len());
    let offsets = offsets.iter().map(|offset| offset.offset).collect();
    let batches = batches.iter().map(|it| (it.topic.clone(), it.partition));
    (offsets, batches.collect(), asked)
}

#[test]
fn results_are_sent_with_all_that_was_given_out_and_nothing_is_committed_unasked_then() {
    let (fake, consumer) = reading(grouped());
    let mut earlier = consumer.commit_offsets(vec![at(1)]);
    let results = [("u", Record::new(b"a")), ("v", Record::new(b"b"))];
    let mut sent = consumer.commit_with(&results);
    assert_eq!(fake.waiting(), 1, "its turn has not come");
    answer(fake.next().unwrap());
    assert_eq!(earlier.try_take(), Some(Ok(())));
    fake.run_jobs();
    let (offsets, batches, asked) = with_results(&fake);
    assert_eq!(offsets, [10]);
    assert_eq!(batches, [("u".to_owned(), 0), ("v".to_owned(), 0)]);
    let ack = |base_offset| ProduceAck {
        base_offset,
        append_time_ms: 9,
        durability: Durability::Os,
        is_duplicate: false,
    };
    let acks = vec![ack(4), ack(7)];
    asked.completion.finish(Ok(Response::ProducedAll(acks)));
    let sent = sent.try_take().unwrap().unwrap();
    let places: Vec<_> = sent
        .iter()
        .map(|it| (&*it.topic, it.offset, it.timestamp_ms))
        .collect();
    assert_eq!(places, [("u", 4, 9), ("v", 7, 9)]);
    let _closing = consumer.close(None);
    fake.run_jobs();
    assert!(fake.next().is_none(), "nothing is committed unasked");
    assert!(fake.farewell().is_some());
}

#[test]
fn a_commit_that_the_group_could_not_take_now_is_sent_again_before_what_comes_later() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(2);
    let mut first = consumer.commit();
    let busy = Error::new(ErrorCode::CoordinatorLoadInProgress, "starting");
    fake.next().unwrap().fail(busy);
    let mut second = consumer.commit_offsets(vec![at(7)]);
    let mut sent = Vec::new();
    while sent.len() < 2 {
        fake.run_jobs();
        match fake.next() {
            Some(asked) => {
                sent.push(committed(&asked));
                answer(asked);
            }
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert_eq!(sent, [[2], [7]]);
    assert_eq!(first.try_take(), Some(Ok(())));
    assert_eq!(second.try_take(), Some(Ok(())));
}

#[test]
fn results_that_fail_leave_their_positions_uncommitted_and_an_unknown_outcome_ends_the_consumer() {
    let (fake, consumer) = reading(grouped());
    let mut sent = consumer.commit_with(&[("u", Record::new(b"a"))]);
    let (.., asked) = with_results(&fake);
    asked.fail(Error::new(ErrorCode::DiskFull, "full"));
    assert!(sent.try_take().unwrap().is_err());
    fake.run_jobs();
    assert_eq!(fake.waiting(), 0);
    let mut sent = consumer.commit_with(&[("u", Record::new(b"a"))]);
    let (offsets, _, asked) = with_results(&fake);
    assert_eq!(offsets, [10]);
    let lost = Error::new(ErrorCode::NetworkException, "lost").with_outcome(Outcome::Unknown);
    asked.fail(lost.clone());
    assert_eq!(sent.try_take(), Some(Err(lost.clone())));
    let mut again = consumer.commit_with(&[("u", Record::new(b"a"))]);
    assert_eq!(again.try_take(), Some(Err(lost.clone())));
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), lost);
    assert_eq!(fake.waiting(), 0);
}

#[test]
fn results_need_a_group_an_open_consumer_and_automatic_acknowledgement() {
    let manual = ConsumerOptions {
        ack: Some(Ack::Manual),
        ..grouped()
    };
    for (options, is_open) in [
        (grouped(), false),
        (ConsumerOptions::default(), false),
        (manual, true),
    ] {
        let (fake, consumer) = if is_open {
            reading(options)
        } else {
            open(options)
        };
        let mut refused = consumer.commit_with(&[("u", Record::new(b"a"))]);
        let error = refused.try_take().unwrap().unwrap_err();
        assert_eq!(error.code(), ErrorCode::InvalidState, "{error}");
        assert_eq!(fake.waiting(), 0);
    }
}

#[test]
fn close_commits_what_was_passed_leaves_and_ends_the_stream() {
    let (fake, consumer) = reading(grouped());
    let _ = consumer.progress(4);
    let mut waiting = consumer.next_block(None);
    // Asking for more has passed the block.
    fake.run_jobs();
    assert!(waiting.try_take().is_none());
    let mut closed = consumer.close(None);
    assert!(waiting.try_take().unwrap().unwrap().is_none());
    let asked = fake.next().unwrap();
    assert_eq!(committed(&asked), [10]);
    answer(asked);
    let asked = fake.farewell().unwrap();
    assert!(closed.try_take().is_none());
    answer(asked);
    assert_eq!(closed.try_take(), Some(Ok(CloseReport::default())));
    assert!(consumer.is_finished());
    let again = consumer.next_block(None).try_take().unwrap();
    assert_eq!(again.unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(
        consumer.commit().try_take().unwrap().unwrap_err().code(),
        ErrorCode::Closed
    );
}

/// It depended on the language whether a loop that was closed ended or failed, and one that began after that.
#[test]
fn closing_ends_the_loop_that_reads_and_fails_the_one_after_it() {
    let (fake, consumer) = reading(grouped());
    consumer.close(None).try_take();
    let read = |what: &str| match what {
        "later" => consumer.next_block(None).try_take().unwrap(),
        _ => consumer.next_block_wait(None),
    };
    assert!(read("later").unwrap().is_none());
    assert_eq!(read("here").unwrap_err().code(), ErrorCode::Closed);
    assert_eq!(read("later").unwrap_err().code(), ErrorCode::Closed);
    drop(fake);

    let (_fake, unread) = open(grouped());
    unread.begin_loop().unwrap();
    unread.close(None).try_take();
    assert!(unread.next_block_wait(None).unwrap().is_none());
    assert_eq!(unread.begin_loop().unwrap_err().code(), ErrorCode::Closed);

    let (_fake, unread) = open(grouped());
    unread.close(None).try_take();
    assert_eq!(
        unread
            .next_block(None)
            .try_take()
            .unwrap()
            .unwrap_err()
            .code(),
        ErrorCode::Closed
    );
}

#[test]
fn a_loop_goes_on_beside_a_call_that_is_refused_and_over_a_time_in_which_nothing_came() {
    let (_fake, consumer) = reading(grouped());
    let nothing = consumer.next_block_wait(Some(Duration::ZERO)).unwrap();
    assert!(nothing.is_none() && !consumer.is_finished());
    let waiting = consumer.next_block(None);
    let refused = consumer.next_block_wait(None).unwrap_err();
    assert_eq!(refused.code(), ErrorCode::InvalidState);
    drop(waiting);
    consumer.close(None).try_take();
    assert!(
        consumer
            .next_block(None)
            .try_take()
            .unwrap()
            .unwrap()
            .is_none()
    );
}

#[test]
fn close_answers_at_its_deadline_whatever_the_group_does() {
    let (_fake, consumer) = reading(grouped());
    let _ = consumer.progress(4);
    // The shorter time counts, whichever was said first.
    let _first = consumer.close(Some(Duration::from_secs(3_600)));
    let report = consumer
        .close(Some(Duration::from_millis(5)))
        .wait(Some(Duration::from_secs(60)))
        .unwrap();
    assert_eq!(
        report.first_error.unwrap().code(),
        ErrorCode::RequestTimedOut
    );
}

#[test]
fn a_stream_that_ended_is_begun_anew_by_a_seek() {
    let (fake, consumer) = reading(grouped());
    let error = Error::new(ErrorCode::OffsetOutOfRange, "0 to 10");
    fake.feed().end(error.clone());
    assert_eq!(consumer.next_block_wait(None).unwrap_err(), error);
    consumer.seek("t", 0, 3).unwrap();
    assert_eq!(fake.feed().assigned(), [at(3).into()]);
    let nothing = consumer.next_block_wait(Some(Duration::ZERO)).unwrap();
    assert!(nothing.is_none());
}

#[test]
fn too_many_commits_that_wait_are_refused() {
    let (fake, consumer) = reading(ConsumerOptions {
        ack: Some(Ack::Manual),
        ..grouped()
    });
    let by_hand = |offset| consumer.commit_offsets(vec![at(offset)]);
    let waiting: Vec<_> = (0..crate::limits::COMMIT_WAITERS_MAX as i64)
        .map(by_hand)
        .collect();
    let error = by_hand(1).try_take().unwrap().unwrap_err();
    assert_eq!(error.code(), ErrorCode::BufferFull);
    for mut commit in waiting {
        answer(fake.next().unwrap());
        assert_eq!(commit.try_take(), Some(Ok(())));
        fake.run_jobs();
    }
}

mod groups;
mod health;
mod pausing;
#[cfg(feature = "tcp")]
mod positions;
