//! What is in flight is bounded: the server stops reading, and reads on.

use super::{ask, connect, connect_over, error_of, options};
use crate::error::{Error, ErrorCode};
use crate::limits;
use crate::protocol::frame::FrameKind;
use crate::protocol::request::{Request, Subscribe};
use crate::protocol::response::Response;
use crate::server::ServerOptions;
use crate::server::fake::{Asked, Fake, batch, from_start};

/// Lets everything happen that can happen now.
async fn settle() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn no_more_requests_than_allowed_are_taken_in_at_a_time() {
    let (server, mut fake) = Fake::server(ServerOptions {
        requests_max: 3,
        ..options()
    });
    let (mut peer, _task) = connect(&server).await;
    for id in 1..=10 {
        ask(&mut peer, id, &Request::Ping).await;
    }
    let mut taken = Vec::new();
    for round in 0..8 {
        settle().await;
        while let Ok(asked) = fake.asked.try_recv() {
            taken.push(asked);
        }
        assert_eq!(taken.len(), 3, "in round {round}");
        taken.remove(1).answer(Ok(Response::Done));
        peer.expect(FrameKind::Response).await;
    }
    settle().await;
    assert!(fake.asked.try_recv().is_err(), "an eleventh");
}

fn produce() -> Request {
    Request::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    }
}

#[tokio::test(start_paused = true)]
async fn batches_of_all_connections_wait_for_room_in_turn_and_hold_up_nobody_else() {
    let (server, mut fake) = Fake::server(options());
    let half = vec![0; limits::SERVER_BATCH_BYTES_MAX as usize / 2];
    let mut peers = Vec::new();
    for _ in 0..4 {
        let (mut peer, task) = connect(&server).await;
        peer.send_with(1, FrameKind::Request, &produce(), &half)
            .await;
        // Behind it, and so after it.
        ask(&mut peer, 2, &Request::ListTopics).await;
        peers.push((peer, task));
    }
    settle().await;
    let mut taken = Vec::new();
    while let Ok(asked) = fake.asked.try_recv() {
        taken.push(asked);
    }
    let is_batch = |asked: &&Asked| !asked.payload.is_empty();
    assert_eq!(taken.iter().filter(is_batch).count(), 2);
    assert_eq!(taken.len(), 4);

    let (mut other, _task) = connect(&server).await;
    ask(&mut other, 1, &Request::Ping).await;
    assert_eq!(fake.next().await.request, Request::Ping);

    // One that goes before its turn makes room for the next.
    let (peer, task) = peers.remove(2);
    drop(peer);
    task.abort();
    for asked in taken {
        asked.answer(Ok(Response::Done));
    }
    let last = fake.next().await;
    assert_eq!(last.payload.len(), half.len());
    assert_eq!(fake.next().await.request, Request::ListTopics);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_keeps_no_room_from_others() {
    let (server, mut fake) = Fake::server(options());
    let all = vec![0; limits::SERVER_BATCH_BYTES_MAX as usize];
    let (mut first, _first) = connect(&server).await;
    first
        .send_with(1, FrameKind::Request, &produce(), &all)
        .await;
    let first = fake.next().await;

    // It waits for room, and meanwhile more is pushed to it than it reads.
    let (mut second, _second) = connect_over(&server, 4_096).await;
    let subscribe = Subscribe {
        partitions: vec![from_start(0)],
        credit_bytes: u64::MAX,
    };
    second.send(1, FrameKind::Subscribe, &subscribe).await;
    second
        .send_with(2, FrameKind::Request, &produce(), &all[..1_000_000])
        .await;
    settle().await;
    let unsent = limits::CONNECTION_UNSENT_BYTES_MAX;
    fake.feed
        .put((0..10).map(|_| batch(0, unsent / 4)).collect::<Vec<_>>());
    settle().await;
    first.answer(Ok(Response::Done));
    settle().await;
    assert!(fake.asked.try_recv().is_err(), "it has no room for answers");

    let (mut third, _third) = connect(&server).await;
    third
        .send_with(1, FrameKind::Request, &produce(), &all)
        .await;
    assert_eq!(fake.next().await.payload.len(), all.len());
}

#[tokio::test(start_paused = true)]
async fn no_more_bytes_than_allowed_are_taken_in_beyond_the_last_request() {
    let (server, mut fake) = Fake::server(ServerOptions {
        bytes_max: 1_000,
        ..options()
    });
    let (mut peer, _task) = connect(&server).await;
    for id in 1..=4 {
        peer.send_with(id, FrameKind::Request, &produce(), &[0; 600])
            .await;
    }
    let first = fake.next().await;
    let second = fake.next().await;
    settle().await;
    assert!(fake.asked.try_recv().is_err(), "1,200 bytes are in flight");
    first.answer(Ok(Response::Done));
    let third = fake.next().await;
    settle().await;
    assert!(fake.asked.try_recv().is_err());
    second.answer(Ok(Response::Done));
    third.answer(Ok(Response::Done));
    fake.next().await;
}

#[tokio::test(start_paused = true)]
async fn nothing_more_is_read_from_a_client_that_does_not_read_its_answers() {
    let (server, mut fake) = Fake::server(options());
    let (mut peer, _task) = connect_over(&server, 4_096).await;
    let large = limits::WIRE_MESSAGE_BYTES_MAX;
    let mut answered = 0;
    // Each answer is a thousand times its request: what is unsent must stay bounded.
    for id in 1..=2_000 {
        let frame =
            crate::protocol::tests::peer::encode(id, FrameKind::Request, &Request::ListTopics, b"");
        tokio::select! {
            biased;
            () = peer.say(&frame) => {}
            () = settle() => break,
        }
        settle().await;
        while let Ok(asked) = fake.asked.try_recv() {
            asked.answer(Err(Error::new(
                ErrorCode::InvalidRequest,
                "x".repeat(large),
            )));
            answered += 1;
        }
    }
    let bound = limits::CONNECTION_UNSENT_BYTES_MAX / large + 2;
    assert!(
        (bound / 2..=bound).contains(&answered),
        "{answered} answers, bound {bound}"
    );
    for _ in 0..answered {
        peer.expect(FrameKind::Error).await;
    }
    let next = fake.next().await;
    assert_eq!(next.request, Request::ListTopics);
}

#[tokio::test(start_paused = true)]
async fn one_subscription_too_many_is_refused_and_an_ended_one_makes_room() {
    let (server, _fake) = Fake::server(ServerOptions {
        subscriptions_max: 2,
        ..options()
    });
    let (mut peer, _task) = connect(&server).await;
    let subscribe = Subscribe {
        partitions: vec![from_start(0)],
        credit_bytes: 0,
    };
    for id in 1..=3 {
        peer.send(id, FrameKind::Subscribe, &subscribe).await;
    }
    let refused = peer.expect(FrameKind::SubscriptionError).await;
    assert_eq!(refused.correlation_id, 3);
    assert_eq!(error_of(&refused).code(), ErrorCode::QuotaExceeded);
    peer.send(1, FrameKind::Unsubscribe, &()).await;
    peer.send(4, FrameKind::Subscribe, &subscribe).await;
    ask(&mut peer, 4, &Request::Ping).await;
    // The next word is about the number that was used twice, not about the subscription.
    peer.expect(FrameKind::Goodbye).await;
}
