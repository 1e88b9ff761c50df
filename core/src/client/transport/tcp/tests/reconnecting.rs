//! From one connection to the next: what goes over again, in which order, and what does not.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::mpsc::UnboundedSender;

use super::*;
use crate::completion::Wake;
use crate::error::{Error, ErrorCode, Outcome};
use crate::protocol::header::Goodbye;
use crate::protocol::request::{FetchPosition, GroupHeartbeat, SubscribeAt, TopicPartitions};

/// A client, its peer, and where to send the next connections.
async fn client() -> (TcpTransport, Peer, UnboundedSender<Result<Opened>>) {
    let (opened, first) = peer(server_hello_of(2), &options(), BUFFER_BYTES).await;
    let (sender, connector) = next_connections();
    (
        TcpTransport::over(opened, connector, &options()),
        first,
        sender,
    )
}

async fn next_peer(sender: &UnboundedSender<Result<Opened>>) -> Peer {
    let (opened, next) = peer(server_hello_of(2), &options(), BUFFER_BYTES).await;
    sender
        .send(Ok(opened))
        .map_err(|_| "the client is gone")
        .unwrap();
    next
}

/// The request that comes next, and its number.
async fn asked(peer: &mut Peer) -> (u64, Request) {
    let frame = peer.expect(FrameKind::Request).await;
    (frame.correlation_id, frame.read_header().unwrap())
}

fn topics_named(name: &str) -> Request {
    Request::DescribeTopics {
        names: vec![name.to_owned()],
    }
}

fn subscribe() -> SubscribeAt {
    SubscribeAt {
        positions: vec![position(5)],
        credit_bytes: 1_000,
    }
}

fn position(offset: i64) -> FetchPosition {
    FetchPosition {
        topic: "orders".to_owned(),
        partition: 0,
        offset,
        last_epoch: 3,
    }
}

#[tokio::test(start_paused = true)]
async fn what_cannot_have_happened_is_asked_again_before_what_came_later() {
    let (client, mut first, sender) = client().await;
    let early = ask(&client, topics_named("early"));
    asked(&mut first).await;
    drop(first);
    settle().await;
    let later = ask(&client, topics_named("later"));
    let mut second = next_peer(&sender).await;
    for (number, name) in [(1, "early"), (2, "later")] {
        assert_eq!(asked(&mut second).await, (number, topics_named(name)));
        second
            .send(number, FrameKind::Response, &Response::Done)
            .await;
    }
    assert_eq!(
        (early.await, later.await),
        (Ok(Response::Done), Ok(Response::Done))
    );
}

fn heartbeat(member_id: &str, owned: &[i32]) -> Request {
    Request::GroupHeartbeat(GroupHeartbeat {
        group: "billing".to_owned(),
        member_id: member_id.to_owned(),
        generation: 2,
        instance_id: None,
        client_name: String::new(),
        topics: vec!["orders".to_owned()],
        assignor: "sticky".to_owned(),
        session_timeout_ms: 1_000,
        rebalance_timeout_ms: 1_000,
        heartbeat_ms: 100,
        owned: vec![TopicPartitions {
            topic: "orders".to_owned(),
            partitions: owned.to_vec(),
        }],
    })
}

#[tokio::test(start_paused = true)]
async fn heartbeat_behind_which_the_member_said_another_is_not_asked_again() {
    // A broker that had started since took the first for what the member holds, and two held partition 1.
    let (opened, mut first) = peer(server_hello_of(3), &options(), BUFFER_BYTES).await;
    let (sender, connector) = next_connections();
    let client = TcpTransport::over(opened, connector, &options());
    let holding = ask(&client, heartbeat("a", &[0, 1]));
    let other = ask(&client, heartbeat("b", &[2]));
    let released = ask(&client, heartbeat("a", &[0]));
    for _ in 0..3 {
        asked(&mut first).await;
    }
    drop(first);
    let (opened, mut second) = peer(server_hello_of(3), &options(), BUFFER_BYTES).await;
    assert!(sender.send(Ok(opened)).is_ok());
    for (number, said) in [(1, heartbeat("b", &[2])), (2, heartbeat("a", &[0]))] {
        assert_eq!(asked(&mut second).await, (number, said));
        second
            .send(number, FrameKind::Response, &Response::Done)
            .await;
    }
    let error = error_of(holding).await;
    assert_eq!(error.code(), ErrorCode::NetworkException);
    assert_eq!(
        (other.await, released.await),
        (Ok(Response::Done), Ok(Response::Done))
    );
}

#[tokio::test(start_paused = true)]
async fn what_a_goodbye_did_not_take_in_is_asked_of_the_next_broker_though_it_changes_something() {
    let (client, mut first, sender) = client().await;
    let (taken, refused) = (
        ask(&client, produce()),
        ask_with(&client, produce(), b"batch"),
    );
    let goodbye = Goodbye {
        code: ErrorCode::BrokerClosing as u16,
        message: "the broker is closing".to_owned(),
        last_correlation_id: 1,
    };
    asked(&mut first).await;
    first.send(0, FrameKind::Goodbye, &goodbye).await;
    first.send(1, FrameKind::Response, &Response::Done).await;
    assert_eq!(taken.await, Ok(Response::Done));
    drop(first);
    let mut second = next_peer(&sender).await;
    let frame = second.expect(FrameKind::Request).await;
    assert_eq!(frame.payload, "batch");
    second.send(1, FrameKind::Response, &Response::Done).await;
    assert_eq!(refused.await, Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_says_goodbye_and_does_not_go_is_left() {
    let (client, mut first, sender) = client().await;
    let goodbye = Goodbye {
        code: ErrorCode::BrokerClosing as u16,
        message: "the broker is closing".to_owned(),
        last_correlation_id: 0,
    };
    first.send(0, FrameKind::Goodbye, &goodbye).await;
    settle().await;
    let mut second = next_peer(&sender).await;
    // What waits for the first to go is asked of the second, though the first never closes.
    let pending = ask(&client, Request::ListTopics);
    let (number, _) = asked(&mut second).await;
    second
        .send(number, FrameKind::Response, &Response::Done)
        .await;
    assert_eq!(pending.await, Ok(Response::Done));
    drop(first);
}

#[tokio::test(start_paused = true)]
async fn what_may_have_happened_over_a_connection_that_was_lost_is_unknown_though_it_can_be_repeated()
 {
    let (client, mut first, _sender) = client().await;
    let commit = Request::CommitOffsets {
        group: "g".to_owned(),
        member: None,
        offsets: Vec::new(),
    };
    let pending = ask(&client, commit);
    asked(&mut first).await;
    drop(first);
    let error = error_of(pending).await;
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::NetworkException, Outcome::Unknown)
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_ends_with_its_connection_and_the_next_waits_for_another() {
    let (client, mut first, sender) = client().await;
    let feed = client.subscribe(subscribe()).unwrap();
    first.expect(FrameKind::SubscribeAt).await;
    drop(first);
    settle().await;
    assert_eq!(
        feed.take(1).unwrap_err().code(),
        ErrorCode::NetworkException
    );
    let feed = client.subscribe(subscribe()).unwrap();
    assert_eq!(feed.take(1).unwrap().len(), 0);
    // Where it stands may change before there is anybody to tell.
    feed.reassign(vec![position(9)]).unwrap();
    let woken = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&woken);
    feed.watch(Wake::Hook(Arc::new(move || {
        mark.store(true, Ordering::SeqCst)
    })));
    let mut second = next_peer(&sender).await;
    let frame = second.expect(FrameKind::SubscribeAt).await;
    let found: SubscribeAt = frame.read_header().unwrap();
    assert_eq!(found.positions, [position(9)]);
    assert!(!woken.load(Ordering::SeqCst));
    drop(second);
    settle().await;
    assert!(woken.load(Ordering::SeqCst));
    assert_eq!(
        feed.take(1).unwrap_err().code(),
        ErrorCode::NetworkException
    );
}

#[tokio::test(start_paused = true)]
async fn attempts_go_on_with_pauses_until_one_succeeds() {
    let (client, first, sender) = client().await;
    drop(first);
    settle().await;
    let began = tokio::time::Instant::now();
    for _ in 0..10 {
        let refused = Error::new(ErrorCode::NetworkException, "connection refused");
        sender
            .send(Err(refused))
            .map_err(|_| "the client is gone")
            .unwrap();
    }
    let pending = ask(&client, Request::ListTopics);
    let mut second = next_peer(&sender).await;
    let (number, _) = asked(&mut second).await;
    // 0, then 50, 100, 200, 400, 800 ms and five times a second, each a fifth off at most.
    let waited_ms = began.elapsed().as_millis();
    assert!((5_200..=7_900).contains(&waited_ms), "{waited_ms} ms");
    second
        .send(number, FrameKind::Response, &Response::Done)
        .await;
    assert_eq!(pending.await, Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn a_broker_with_another_log_ends_it_all() {
    let (client, first, sender) = client().await;
    drop(first);
    settle().await;
    let pending = ask(&client, produce());
    let feed = client.subscribe(subscribe()).unwrap();
    let other = ServerHello {
        log_uuid: [8; 16],
        ..server_hello_of(2)
    };
    let (opened, _second) = peer(other, &options(), BUFFER_BYTES).await;
    sender
        .send(Ok(opened))
        .map_err(|_| "the client is gone")
        .unwrap();
    let error = error_of(pending).await;
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::InconsistentClusterId, Outcome::NotDone)
    );
    assert!(error.is_fatal());
    assert_eq!(
        feed.take(1).unwrap_err().code(),
        ErrorCode::InconsistentClusterId
    );
    let later = error_of(ask(&client, Request::Ping)).await;
    assert_eq!(later.code(), ErrorCode::InconsistentClusterId);
}

#[tokio::test(start_paused = true)]
async fn closing_without_a_connection_does_not_wait_for_one() {
    let (client, first, _sender) = client().await;
    drop(first);
    settle().await;
    let pending = ask(&client, produce());
    let feed = client.subscribe(subscribe()).unwrap();
    assert_eq!(client.close(Duration::MAX), Ok(()));
    let error = error_of(pending).await;
    assert_eq!(
        (error.code(), error.outcome()),
        (ErrorCode::Closed, Outcome::NotDone)
    );
    assert_eq!(feed.take(1).unwrap_err().code(), ErrorCode::Closed);
}

#[tokio::test(start_paused = true)]
async fn its_health_says_for_how_long_it_has_been_connected_or_not_and_why() {
    let (client, first, sender) = client().await;
    tokio::time::advance(Duration::from_secs(7)).await;
    let health = client.health();
    assert!(health.is_connected && health.last_error.is_none());
    assert_eq!(health.since, Duration::from_secs(7));
    drop(first);
    settle().await;
    tokio::time::advance(Duration::from_secs(3)).await;
    let refused = Error::new(ErrorCode::NetworkException, "a:9092 refuses");
    sender.send(Err(refused.clone())).ok().unwrap();
    settle().await;
    let health = client.health();
    assert!(!health.is_connected);
    assert_eq!(health.since, Duration::from_secs(3));
    assert_eq!(health.last_error, Some(refused));
    let _second = next_peer(&sender).await;
    tokio::time::advance(Duration::from_secs(1)).await;
    settle().await;
    let health = client.health();
    assert!(health.is_connected && health.last_error.is_none());
    client.close(Duration::ZERO).unwrap();
    let health = client.health();
    assert!(!health.is_connected);
    assert_eq!(health.last_error.unwrap().code(), ErrorCode::Closed);
}
