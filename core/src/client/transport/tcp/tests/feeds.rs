//! Subscriptions, client side.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{BUFFER_BYTES, both_ends, options, settle, with_peer};
use crate::client::transport::{Feed, Transport};
use crate::completion::Wake;
use crate::error::{Error, ErrorCode};
use crate::limits;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::frame::FrameKind;
use crate::protocol::header::{Credit, Push, PushedBatch, Reassign, WireError};
use crate::protocol::request::SubscribeAt;
use crate::protocol::tests::peer::Peer;
use crate::server::fake::{batch, from_start};

fn subscribe(credit_bytes: u64) -> SubscribeAt {
    SubscribeAt {
        positions: vec![from_start(0).into()],
        credit_bytes,
    }
}

async fn push(peer: &mut Peer, id: u64, assignment: u32, batches: &[FetchedBatch]) {
    let header = Push {
        assignment,
        batches: batches.iter().map(PushedBatch::of).collect(),
    };
    let payload = batches
        .iter()
        .flat_map(|batch| batch.batch.iter().copied())
        .collect::<Vec<_>>();
    peer.send_with(id, FrameKind::Push, &header, &payload).await;
}

/// Waits until there is something to take, or an end.
async fn take(feed: &Arc<dyn Feed>, max_bytes: usize) -> crate::Result<Vec<FetchedBatch>> {
    loop {
        let taken = feed.take(max_bytes)?;
        if !taken.is_empty() {
            return Ok(taken);
        }
        let notify = Arc::new(tokio::sync::Notify::new());
        let woken = Arc::clone(&notify);
        feed.watch(Wake::Hook(Arc::new(move || woken.notify_one())));
        notify.notified().await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_log_has_is_taken_in_order_through_both_ends_with_little_credit() {
    let (client, _server, fake) = both_ends().await;
    let expected = (0..100).map(|number| batch(number, 100 + 37 * number as usize));
    fake.feed.put(expected.clone());
    let feed = client.subscribe(subscribe(5_000)).unwrap();
    let mut found = Vec::new();
    while found.len() < 100 {
        found.extend(take(&feed, 1_000).await.unwrap());
    }
    assert_eq!(found, expected.collect::<Vec<_>>());
    assert!(feed.take(1_000).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_take_gives_about_what_was_asked_and_at_least_one_batch() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1 << 20)).unwrap();
    push(
        &mut peer,
        1,
        0,
        &[batch(0, 300), batch(1, 300), batch(2, 300)],
    )
    .await;
    settle().await;
    assert_eq!(feed.take(700).unwrap().len(), 2);
    assert_eq!(feed.take(1).unwrap().len(), 1);
    assert!(feed.take(1).unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn credit_is_given_back_a_quarter_of_the_window_at_a_time() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    peer.expect(FrameKind::Subscribe).await;
    push(
        &mut peer,
        1,
        0,
        &[batch(0, 200), batch(1, 100), batch(2, 700)],
    )
    .await;
    settle().await;
    feed.take(200).unwrap();
    feed.take(100).unwrap();
    let credit = peer.expect(FrameKind::Credit).await;
    assert_eq!(credit.correlation_id, 1);
    assert_eq!(
        credit.read_header::<Credit>().unwrap(),
        Credit { bytes: 300 }
    );
    feed.take(1_000).unwrap();
    let credit = peer
        .expect(FrameKind::Credit)
        .await
        .read_header::<Credit>()
        .unwrap();
    assert_eq!(credit, Credit { bytes: 700 });
}

#[tokio::test(start_paused = true)]
async fn what_is_held_keeps_its_credit_until_it_is_let_go() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    peer.expect(FrameKind::Subscribe).await;
    push(&mut peer, 1, 0, &[batch(0, 400), batch(1, 600)]).await;
    settle().await;
    feed.hold(u64::MAX);
    assert_eq!(feed.take(usize::MAX).unwrap().len(), 2);
    feed.hold(400);
    let credit = peer.expect(FrameKind::Credit).await;
    let given = credit.read_header::<Credit>().unwrap();
    assert_eq!(given, Credit { bytes: 600 });
    feed.hold(0);
    let credit = peer.expect(FrameKind::Credit).await;
    let given = credit.read_header::<Credit>().unwrap();
    assert_eq!(given, Credit { bytes: 400 });
}

#[tokio::test(start_paused = true)]
async fn a_watch_is_woken_once_and_at_once_if_something_is_there() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let wake = || {
        let count = Arc::clone(&count);
        Wake::Hook(Arc::new(move || {
            count.fetch_add(1, Ordering::SeqCst);
        }))
    };
    feed.watch(wake());
    push(&mut peer, 1, 0, &[batch(0, 10)]).await;
    push(&mut peer, 1, 0, &[batch(1, 10)]).await;
    settle().await;
    assert_eq!(count.load(Ordering::SeqCst), 1);
    feed.watch(wake());
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reassignment_drops_what_was_read_ahead_and_what_was_still_on_its_way() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    peer.expect(FrameKind::Subscribe).await;
    push(&mut peer, 1, 0, &[batch(0, 300)]).await;
    settle().await;
    feed.reassign(vec![from_start(5).into()]).unwrap();
    let reassign = peer
        .expect(FrameKind::Reassign)
        .await
        .read_header::<Reassign>()
        .unwrap();
    assert_eq!(
        reassign,
        Reassign {
            assignment: 1,
            partitions: vec![from_start(5)]
        }
    );
    let credit = peer
        .expect(FrameKind::Credit)
        .await
        .read_header::<Credit>()
        .unwrap();
    assert_eq!(credit, Credit { bytes: 300 });
    push(&mut peer, 1, 0, &[batch(0, 400)]).await;
    push(&mut peer, 1, 1, &[batch(5, 100)]).await;
    assert_eq!(take(&feed, 1_000).await.unwrap(), [batch(5, 100)]);
    let credit = peer
        .expect(FrameKind::Credit)
        .await
        .read_header::<Credit>()
        .unwrap();
    assert_eq!(credit, Credit { bytes: 400 });
}

#[tokio::test(start_paused = true)]
async fn a_reassignment_through_both_ends_reads_elsewhere() {
    let (client, _server, fake) = both_ends().await;
    fake.feed.put((0..10).map(|_| batch(0, 100)));
    fake.feed.put_after_assign([batch(1, 100)]);
    let feed = client.subscribe(subscribe(300)).unwrap();
    assert_eq!(take(&feed, 1).await.unwrap(), [batch(0, 100)]);
    feed.reassign(vec![from_start(1).into()]).unwrap();
    assert_eq!(take(&feed, 1_000).await.unwrap(), [batch(1, 100)]);
}

#[tokio::test(start_paused = true)]
async fn an_end_comes_after_what_was_pushed_before_and_stays() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    push(&mut peer, 1, 0, &[batch(0, 10)]).await;
    let error = Error::new(ErrorCode::OffsetOutOfRange, "offset 9 is not in 10..=20");
    peer.send(1, FrameKind::SubscriptionError, &WireError::from(&error))
        .await;
    assert_eq!(take(&feed, 100).await.unwrap().len(), 1);
    assert_eq!(take(&feed, 100).await.unwrap_err(), error);
    assert_eq!(feed.take(100).unwrap_err(), error);
    assert_eq!(
        feed.reassign(vec![from_start(1).into()]).unwrap_err(),
        error
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_ends_every_feed_and_wakes_who_watches() {
    let (client, peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    let (error, ()) = tokio::join!(take(&feed, 100), async {
        settle().await;
        drop(peer);
    });
    assert_eq!(error.unwrap_err().code(), ErrorCode::NetworkException);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_feed_is_unsubscribed_and_late_pushes_are_passed_over() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    peer.expect(FrameKind::Subscribe).await;
    drop(feed);
    assert_eq!(peer.expect(FrameKind::Unsubscribe).await.correlation_id, 1);
    push(&mut peer, 1, 0, &[batch(0, 10)]).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    assert_eq!(peer.expect(FrameKind::Subscribe).await.correlation_id, 2);
    push(&mut peer, 2, 0, &[batch(3, 10)]).await;
    assert_eq!(take(&feed, 100).await.unwrap(), [batch(3, 10)]);
    feed.close();
    assert_eq!(feed.take(100).unwrap_err().code(), ErrorCode::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_push_whose_lengths_do_not_add_up_ends_the_connection() {
    for claimed in [9, 11, u32::MAX] {
        let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
        let feed = client.subscribe(subscribe(1_000)).unwrap();
        let batch = batch(0, 10);
        let mut pushed = PushedBatch::of(&batch);
        pushed.batch_bytes = claimed;
        let header = Push {
            assignment: 0,
            batches: vec![pushed],
        };
        peer.send_with(1, FrameKind::Push, &header, &batch.batch)
            .await;
        assert_eq!(
            take(&feed, 100).await.unwrap_err().code(),
            ErrorCode::CorruptFrame
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_pushes_without_credit_is_left() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(1_000)).unwrap();
    let large = batch(0, limits::BATCH_BYTES_MAX);
    let pushing = async {
        // Ends when nobody reads any more.
        for _ in 0..10 {
            let header = Push {
                assignment: 0,
                batches: vec![PushedBatch::of(&large)],
            };
            let bytes =
                crate::protocol::tests::peer::encode(1, FrameKind::Push, &header, &large.batch);
            if tokio::io::AsyncWriteExt::write_all(&mut peer.stream, &bytes)
                .await
                .is_err()
            {
                return;
            }
        }
        panic!("160 MiB were taken for a credit of 1,000 bytes");
    };
    pushing.await;
    let mut queued = 0;
    let error = loop {
        match feed.take(1) {
            Ok(batches) => queued += batches.len(),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), ErrorCode::CorruptFrame);
    assert!(error.message().contains("beyond the credit"), "{error}");
    assert!(queued <= 5, "{queued} batches of 16 MiB");
}
