//! Subscriptions: pushed while there is credit, reassigned, ended.

use std::sync::atomic::Ordering;

use super::{connect, connect_over, error_of, fake};
use crate::error::{Error, ErrorCode};
use crate::limits;
use crate::protocol::frame::{Frame, FrameKind};
use crate::protocol::header::{Credit, Push, Reassign};
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::Subscribe;
use crate::protocol::tests::peer::Peer;
use crate::server::fake::{batch, from_start};

async fn subscribe(peer: &mut Peer, id: u64, credit_bytes: u64) {
    let subscribe = Subscribe {
        partitions: vec![from_start(0)],
        credit_bytes,
    };
    peer.send(id, FrameKind::Subscribe, &subscribe).await;
}

/// The partitions of the batches of a push, having checked that its bytes are theirs.
fn partitions(frame: &Frame) -> (u32, Vec<i32>) {
    let push = frame.read_header::<Push<'_>>().unwrap();
    let mut payload = &frame.payload[..];
    let mut found = Vec::new();
    for batch in &push.batches {
        let (bytes, rest) = payload.split_at(batch.batch_bytes as usize);
        assert!(bytes.iter().all(|byte| i32::from(*byte) == batch.partition));
        assert_eq!((batch.topic, batch.high_watermark), ("orders", 100));
        payload = rest;
        found.push(batch.partition);
    }
    assert!(payload.is_empty());
    (push.assignment, found)
}

async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_becomes_readable_is_pushed_without_being_asked_for() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    subscribe(&mut peer, 1, 1 << 20).await;
    for partition in 0..5 {
        settle().await;
        fake.feed
            .put([batch(partition, 100), batch(partition + 1, 50_000)]);
        let frame = peer.expect(FrameKind::Push).await;
        assert_eq!(frame.correlation_id, 1);
        assert_eq!(partitions(&frame), (0, vec![partition, partition + 1]));
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_recent_and_small_is_pushed_by_who_has_made_it_readable() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    subscribe(&mut peer, 1, 1 << 20).await;
    settle().await;
    let jobs = || fake.jobs.load(Ordering::Relaxed);
    let before = jobs();
    fake.feed.put([batch(1, 100), batch(2, 100)]);
    assert_eq!((jobs(), fake.feed.left()), (before, 0));
    assert_eq!(partitions(&peer.expect(FrameKind::Push).await).1, [1, 2]);
    fake.feed.put([batch(3, 100_000)]);
    assert_eq!((jobs(), fake.feed.left()), (before + 1, 1), "it is long");
    assert_eq!(partitions(&peer.expect(FrameKind::Push).await).1, [3]);
}

#[tokio::test(start_paused = true)]
async fn pushing_stops_when_the_credit_is_used_up_and_goes_on_when_there_is_more() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    fake.feed.put((0..6).map(|partition| batch(partition, 100)));
    subscribe(&mut peer, 1, 250).await;
    assert_eq!(partitions(&peer.expect(FrameKind::Push).await).1, [0, 1]);
    // 50 bytes are left: one batch may exceed them.
    assert_eq!(partitions(&peer.expect(FrameKind::Push).await).1, [2]);
    settle().await;
    assert_eq!(fake.feed.left(), 3);
    peer.send(1, FrameKind::Credit, &Credit { bytes: 50 }).await;
    settle().await;
    assert_eq!(fake.feed.left(), 3, "the credit was 50 below zero");
    peer.send(1, FrameKind::Credit, &Credit { bytes: 1 }).await;
    assert_eq!(partitions(&peer.expect(FrameKind::Push).await).1, [3]);
    peer.send(1, FrameKind::Credit, &Credit { bytes: u64::MAX })
        .await;
    peer.send(1, FrameKind::Credit, &Credit { bytes: u64::MAX })
        .await;
    assert_eq!(partitions(&peer.expect(FrameKind::Push).await).1, [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_not_pushed_to_without_bound() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect_over(&server, 4_096).await;
    let len = 1 << 20;
    fake.feed
        .put((0..40).map(|partition| batch(partition, len)));
    subscribe(&mut peer, 1, u64::MAX).await;
    settle().await;
    let pushed = 40 - fake.feed.left();
    assert!(
        pushed <= limits::CONNECTION_UNSENT_BYTES_MAX / len + 1,
        "{pushed} batches"
    );
    for partition in 0..40 {
        assert_eq!(
            partitions(&peer.expect(FrameKind::Push).await).1,
            [partition]
        );
    }
}

#[tokio::test(start_paused = true)]
async fn many_small_batches_are_split_over_frames() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    let count = limits::PUSH_BATCHES_MAX * 2 + 10;
    fake.feed.put((0..count).map(|_| batch(7, 10)));
    subscribe(&mut peer, 1, u64::MAX).await;
    let mut found = Vec::new();
    while found.iter().sum::<usize>() < count {
        found.push(partitions(&peer.expect(FrameKind::Push).await).1.len());
    }
    assert_eq!(
        found,
        [limits::PUSH_BATCHES_MAX, limits::PUSH_BATCHES_MAX, 10]
    );
}

#[tokio::test(start_paused = true)]
async fn after_a_reassignment_pushes_carry_its_number() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    fake.feed.put([batch(0, 10)]);
    fake.feed.put_after_assign([batch(1, 10)]);
    subscribe(&mut peer, 1, 1_000).await;
    assert_eq!(
        partitions(&peer.expect(FrameKind::Push).await),
        (0, vec![0])
    );
    let reassign = Reassign {
        assignment: 1,
        partitions: vec![from_start(1)],
    };
    peer.send(1, FrameKind::Reassign, &reassign).await;
    assert_eq!(
        partitions(&peer.expect(FrameKind::Push).await),
        (1, vec![1])
    );
    assert_eq!(fake.feed.assigned(), [from_start(1).into()]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_fails_says_why_after_what_was_found_before() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    fake.feed.put([batch(0, 10)]);
    let error = Error::new(ErrorCode::OffsetOutOfRange, "offset 9 is not in 10..=20");
    fake.feed.fail(error.clone());
    subscribe(&mut peer, 1, 1_000).await;
    peer.expect(FrameKind::Push).await;
    let ended = peer.expect(FrameKind::SubscriptionError).await;
    assert_eq!((ended.correlation_id, error_of(&ended)), (1, error));
    // The connection goes on, and what is still said about the ended one is passed over.
    peer.send(1, FrameKind::Credit, &Credit { bytes: 5 }).await;
    peer.send(
        2,
        FrameKind::Subscribe,
        &Subscribe {
            partitions: Vec::new(),
            credit_bytes: 0,
        },
    )
    .await;
    let refused = peer.expect(FrameKind::SubscriptionError).await;
    assert_eq!(error_of(&refused).code(), ErrorCode::InvalidRequest);
}

#[tokio::test(start_paused = true)]
async fn an_ended_subscription_is_pushed_nothing_more() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    subscribe(&mut peer, 1, 1_000).await;
    settle().await;
    peer.send(1, FrameKind::Unsubscribe, &()).await;
    settle().await;
    fake.feed.put([batch(0, 10)]);
    settle().await;
    assert_eq!(fake.feed.left(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_knows_no_epochs_is_told_in_words_that_its_position_is_not_held() {
    let (server, fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    let error = Error::from(OutOfRange {
        topic: "orders".to_owned(),
        partition: 0,
        offset: 9,
        last_epoch: -1,
        epoch_end_offset: None,
        log_start_offset: 10,
        high_watermark: 20,
        log_end_offset: 20,
    });
    fake.feed.fail(error.clone());
    subscribe(&mut peer, 1, 1_000).await;
    let ended = peer.expect(FrameKind::SubscriptionError).await;
    assert_eq!(error_of(&ended), error);
}
