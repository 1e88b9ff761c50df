//! How connections end, and what is known then of what was in flight.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{
    BUFFER_BYTES, ask, ask_with, both_ends, error_of, options, produce, settle, with_peer,
};
use crate::client::transport::Transport;
use crate::error::{ErrorCode, ErrorKind, Outcome};
use crate::protocol::frame::FrameKind;
use crate::protocol::header::Goodbye;
use crate::protocol::request::{Request, Subscribe};
use crate::protocol::response::Response;
use crate::protocol::tests::peer::encode;
use crate::server::fake::from_start;

#[tokio::test(start_paused = true)]
async fn a_lost_connection_fails_what_may_have_happened_and_nothing_else() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let (sending, reading) = (ask(&client, produce()), ask(&client, Request::ListTopics));
    peer.expect(FrameKind::Request).await;
    drop(peer);
    let sent = error_of(sending).await;
    assert_eq!(
        (sent.code(), sent.outcome()),
        (ErrorCode::NetworkException, Outcome::Unknown)
    );
    assert!(
        sent.message().contains("the connection to a:9092 was lost"),
        "{sent}"
    );
    let later = ask(&client, produce());
    // There is no other broker: both wait as long as a request may, and say for what.
    for waiting in [reading, later] {
        let error = error_of(waiting).await;
        assert_eq!(
            (error.kind(), error.outcome()),
            (ErrorKind::Unavailable, Outcome::NotDone)
        );
        let words = "no connection to a:9092 for 30000 ms: the connection to a:9092 was lost";
        assert!(error.message().starts_with(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_not_handed_to_the_socket_was_not_done() {
    let (client, peer) = with_peer(&options(), 1_000).await;
    let partly = ask_with(&client, produce(), &[1; 10_000]);
    let not_at_all = ask_with(&client, produce(), &[2; 10_000]);
    settle().await;
    drop(peer);
    assert_eq!(error_of(partly).await.outcome(), Outcome::Unknown);
    assert_eq!(error_of(not_at_all).await.outcome(), Outcome::NotDone);
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_tells_which_requests_were_not_taken_in() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let (first, second) = (ask(&client, produce()), ask(&client, produce()));
    peer.expect(FrameKind::Request).await;
    let goodbye = Goodbye {
        code: ErrorCode::BrokerClosing as u16,
        message: "the broker is closing".to_owned(),
        last_correlation_id: 1,
    };
    peer.send(0, FrameKind::Goodbye, &goodbye).await;
    // What was taken in is still answered.
    peer.send(1, FrameKind::Response, &Response::Done).await;
    assert_eq!(first.await, Ok(Response::Done));
    // What was not, and what comes later, is for another broker.
    let later = ask(&client, Request::ListTopics);
    let refused = error_of(second).await;
    assert_eq!(
        (refused.code(), refused.outcome()),
        (ErrorCode::NetworkException, Outcome::NotDone)
    );
    assert!(refused.message().contains("goodbye"), "{refused}");
    assert_eq!(error_of(later).await.outcome(), Outcome::NotDone);
}

#[tokio::test(start_paused = true)]
async fn a_closing_server_and_its_client_part_in_order() {
    let (client, server, mut fake) = both_ends().await;
    let pending = ask(&client, produce());
    let asked = fake.next().await;
    let closing = tokio::spawn(async move { server.close(Duration::from_secs(60)).await });
    settle().await;
    let later = ask(&client, produce());
    settle().await;
    asked.answer(Ok(Response::Done));
    assert_eq!(pending.await, Ok(Response::Done));
    assert_eq!(closing.await.unwrap(), 0);
    assert_eq!(error_of(later).await.outcome(), Outcome::NotDone);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_read_ends_the_connection() {
    for (bytes, words) in [
        (
            encode(9, FrameKind::Response, &Response::Done, b""),
            "nothing was asked",
        ),
        (
            encode(1, FrameKind::Response, &200_u8, b""),
            "cannot be read",
        ),
        (
            encode(1, FrameKind::Response, &Response::Done, b"x"),
            "payload of 1 bytes",
        ),
        (
            encode(1, FrameKind::Request, &Request::Ping, b""),
            "Request",
        ),
        (vec![0xFF; 20], "at most 67108864"),
    ] {
        let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
        let pending = ask(&client, produce());
        peer.say(&bytes).await;
        let error = error_of(pending).await;
        assert_eq!(
            (error.code(), error.outcome()),
            (ErrorCode::CorruptFrame, Outcome::Unknown)
        );
        assert!(error.message().contains(words), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_client_says_goodbye_and_its_session_ends() {
    let (client, _server, mut fake) = both_ends().await;
    let pending = ask(&client, produce());
    let asked = fake.next().await;
    drop(client);
    let error = error_of(pending).await;
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::Closed, Outcome::Unknown)
    );
    while !fake.is_door_dropped.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    asked.answer(Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_the_goodbye_arrives_before_it() {
    let (client, mut peer) = with_peer(&options(), 100).await;
    let pending = ask_with(&client, produce(), &[1; 5_000]);
    drop(client);
    assert_eq!(peer.expect(FrameKind::Request).await.payload.len(), 5_000);
    let goodbye = peer
        .expect(FrameKind::Goodbye)
        .await
        .read_header::<Goodbye>()
        .unwrap();
    assert_eq!(goodbye.code, 0);
    assert!(peer.next().await.is_none());
    assert_eq!(error_of(pending).await.outcome(), Outcome::Unknown);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_waits_for_what_is_in_flight_and_refuses_what_comes_later() {
    let (client, _server, mut fake) = both_ends().await;
    let client = Arc::new(client);
    let pending = ask(&client, produce());
    let asked = fake.next().await;
    let closer = Arc::clone(&client);
    let closing = std::thread::spawn(move || closer.close(Duration::MAX));
    // What is asked before the other thread closes is answered like the rest.
    let refused = loop {
        let mut later = ask(&client, Request::Ping);
        match later.try_take() {
            Some(refused) => break refused.unwrap_err(),
            None => fake.next().await.answer(Ok(Response::Done)),
        }
    };
    assert_eq!(refused.code(), ErrorCode::Closed);
    asked.answer(Ok(Response::Done));
    assert_eq!(pending.await, Ok(Response::Done));
    assert_eq!(closing.join().unwrap(), Ok(()));
    assert_eq!(client.close(Duration::MAX), Ok(()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_without_an_answer_says_how_many_are_missing() {
    let (client, _server, mut fake) = both_ends().await;
    let pending = ask(&client, produce());
    let _never = fake.next().await;
    let error = client.close(Duration::ZERO).unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Timeout, Outcome::Unknown)
    );
    assert!(error.message().contains("1 requests"), "{error}");
    assert_eq!(error_of(pending).await.code(), ErrorCode::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_forked_child_leaves_its_parents_connection_alone() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let subscribe = Subscribe {
        partitions: vec![from_start(0)],
        credit_bytes: 1_000,
    };
    let feed = client.subscribe(subscribe.clone().into()).unwrap();
    peer.expect(FrameKind::Subscribe).await;
    // As a child would see it: made by another process.
    let parent = client.line.process.swap(0, Ordering::SeqCst);
    assert_eq!(
        error_of(ask(&client, produce())).await.code(),
        ErrorCode::Forked
    );
    assert_eq!(
        client.subscribe(subscribe.into()).unwrap_err().code(),
        ErrorCode::Forked
    );
    assert_eq!(feed.take(1).unwrap_err().code(), ErrorCode::Forked);
    assert_eq!(
        feed.reassign(Vec::new()).unwrap_err().code(),
        ErrorCode::Forked
    );
    assert_eq!(
        client.close(Duration::ZERO).unwrap_err().code(),
        ErrorCode::Forked
    );
    feed.close();
    client.line.hang_up();
    // The parent's next request is the next thing the server sees.
    client.line.process.store(parent, Ordering::SeqCst);
    let _pending = ask(&client, Request::Ping);
    let asked = peer.expect(FrameKind::Request).await;
    assert_eq!(asked.read_header::<Request>().unwrap(), Request::Ping);
}
