//! Requests and answers, and how connections end.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{ask, connect, connect_over, error_of, expect_goodbye, fake, options};
use crate::error::{Error, ErrorCode, Outcome};
use crate::limits;
use crate::protocol::frame::FrameKind;
use crate::protocol::header::{Credit, Goodbye};
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::tests::peer::{Peer, encode};
use crate::server::fake::Fake;

fn produce() -> Request {
    Request::Produce {
        topic: "orders".to_owned(),
        partition: 0,
        durability: None,
    }
}

async fn expect_done(peer: &mut Peer, id: u64) {
    let frame = peer.expect(FrameKind::Response).await;
    assert_eq!(frame.correlation_id, id);
    assert_eq!(frame.read_header::<Response>().unwrap(), Response::Done);
}

#[tokio::test(start_paused = true)]
async fn answers_go_out_in_the_order_they_come_with_the_number_of_their_request() {
    let (server, mut fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    peer.send_with(5, FrameKind::Request, &produce(), b"a batch")
        .await;
    ask(&mut peer, 6, &Request::ListTopics).await;
    let (first, second) = (fake.next().await, fake.next().await);
    assert_eq!(
        (&first.request, &first.payload[..]),
        (&produce(), &b"a batch"[..])
    );
    assert_eq!(second.request, Request::ListTopics);
    second.answer(Ok(Response::Topics(Vec::new())));
    let refused = Error::new(ErrorCode::UnknownTopicOrPartition, "no topic `orders`");
    first.answer(Err(refused.clone().with_outcome(Outcome::Unknown)));
    let topics = peer.expect(FrameKind::Response).await;
    assert_eq!(topics.correlation_id, 6);
    let error = peer.expect(FrameKind::Error).await;
    assert_eq!(error.correlation_id, 5);
    assert_eq!(error_of(&error), refused.with_outcome(Outcome::Unknown));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_unanswered_is_answered_closed() {
    let (server, mut fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    ask(&mut peer, 1, &Request::Ping).await;
    drop(fake.next().await);
    assert_eq!(
        error_of(&peer.expect(FrameKind::Error).await).code(),
        ErrorCode::Closed
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_too_large_for_a_frame_is_an_error_in_words() {
    let (server, mut fake) = fake();
    let (mut peer, _task) = connect(&server).await;
    ask(&mut peer, 1, &Request::ListGroups).await;
    let offsets = vec![i64::MIN; limits::RESPONSE_BYTES_MAX / 10 + 1];
    fake.next().await.answer(Ok(Response::Offsets(offsets)));
    let error = error_of(&peer.expect(FrameKind::Error).await);
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    ask(&mut peer, 2, &Request::Ping).await;
    fake.next().await.answer(Ok(Response::Done));
    expect_done(&mut peer, 2).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_malformed_ends_the_connection_in_words_after_answering_what_came_before() {
    let unknown_kind = {
        let mut bytes = encode(2, FrameKind::Request, &Request::Ping, b"");
        bytes[12] = 99;
        bytes
    };
    let cases = [
        (unknown_kind, "unknown kind 99"),
        (
            encode(2, FrameKind::Request, &200_u8, b""),
            "cannot be read",
        ),
        (
            encode(2, FrameKind::Request, &(Request::Ping, 7_u8), b""),
            "1 bytes after",
        ),
        (
            encode(2, FrameKind::Request, &Request::Ping, b"payload"),
            "payload of 7 bytes",
        ),
        (
            encode(1, FrameKind::Request, &Request::Ping, b""),
            "must be higher",
        ),
        (
            encode(2, FrameKind::Response, &Response::Done, b""),
            "Response",
        ),
        (
            encode(2, FrameKind::Credit, &Credit { bytes: 1 }, b"x"),
            "payload of 1 bytes",
        ),
        (u32::MAX.to_le_bytes().to_vec(), "at most 67108864"),
        (3_u32.to_le_bytes().to_vec(), "a frame of 7 bytes"),
    ];
    for (bytes, words) in cases {
        let (server, mut fake) = fake();
        let (mut peer, task) = connect(&server).await;
        ask(&mut peer, 1, &Request::Ping).await;
        let asked = fake.next().await;
        peer.say(&bytes).await;
        let goodbye = expect_goodbye(&mut peer).await;
        assert_eq!(goodbye.code, ErrorCode::CorruptFrame as u16);
        assert!(goodbye.message.contains(words), "{}", goodbye.message);
        assert_eq!(goodbye.last_correlation_id, 1);
        asked.answer(Ok(Response::Done));
        expect_done(&mut peer, 1).await;
        assert!(peer.next().await.is_none());
        drop(peer);
        task.await.unwrap();
        assert!(fake.is_door_dropped.load(Ordering::SeqCst));
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_ends_within_a_frame_ends_its_session() {
    let (server, fake) = fake();
    let (mut peer, task) = connect(&server).await;
    let frame = encode(1, FrameKind::Request, &produce(), &[0; 1_000]);
    peer.say(&frame[..500]).await;
    drop(peer);
    task.await.unwrap();
    assert!(fake.is_door_dropped.load(Ordering::SeqCst));
    assert_eq!(server.connection_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_gone_takes_its_session_with_it_and_its_answers_harm_nobody() {
    let (server, mut fake) = fake();
    let (mut peer, task) = connect(&server).await;
    peer.send_with(1, FrameKind::Request, &produce(), b"a batch")
        .await;
    let asked = fake.next().await;
    drop(peer);
    // The door goes at once, while the request is still being done.
    while !fake.is_door_dropped.load(Ordering::SeqCst) {
        tokio::task::yield_now().await;
    }
    asked.answer(Ok(Response::Done));
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_says_goodbye_is_answered_what_it_asked() {
    let (server, mut fake) = fake();
    let (mut peer, task) = connect(&server).await;
    ask(&mut peer, 1, &Request::Ping).await;
    let asked = fake.next().await;
    let goodbye = Goodbye {
        code: 0,
        message: String::new(),
        last_correlation_id: 0,
    };
    peer.send(0, FrameKind::Goodbye, &goodbye).await;
    asked.answer(Ok(Response::Done));
    expect_done(&mut peer, 1).await;
    assert!(peer.next().await.is_none());
    drop(peer);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_is_dropped_ends_its_session() {
    let (server, mut fake) = fake();
    let (mut peer, task) = connect(&server).await;
    ask(&mut peer, 1, &Request::Ping).await;
    let asked = fake.next().await;
    task.abort();
    assert!(task.await.unwrap_err().is_cancelled());
    assert!(fake.is_door_dropped.load(Ordering::SeqCst));
    asked.answer(Ok(Response::Done));
    assert!(peer.rest().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_closing_server_says_so_answers_what_was_asked_and_takes_nothing_more() {
    let (server, mut fake) = fake();
    let (mut peer, task) = connect(&server).await;
    ask(&mut peer, 1, &Request::Ping).await;
    let asked = fake.next().await;
    let closing = tokio::spawn({
        let server = server.clone();
        async move { server.close(Duration::from_secs(60)).await }
    });
    let goodbye = expect_goodbye(&mut peer).await;
    assert_eq!(
        (goodbye.code, goodbye.last_correlation_id),
        (ErrorCode::BrokerClosing as u16, 1)
    );
    ask(&mut peer, 2, &Request::Ping).await;
    asked.answer(Ok(Response::Done));
    expect_done(&mut peer, 1).await;
    assert!(peer.next().await.is_none());
    drop(peer);
    assert_eq!(closing.await.unwrap(), 0);
    task.await.unwrap();
    assert!(fake.asked.try_recv().is_err(), "taken in after the goodbye");
    let (mut late, _task) = connect(&server).await;
    assert_eq!(
        expect_goodbye(&mut late).await.code,
        ErrorCode::BrokerClosing as u16
    );
}

#[tokio::test(start_paused = true)]
async fn a_server_that_closes_does_not_wait_for_an_answer_that_never_comes() {
    let (server, mut fake) = fake();
    let (mut peer, task) = connect(&server).await;
    ask(&mut peer, 1, &Request::Ping).await;
    let never = fake.next().await;
    assert_eq!(
        server.close(Duration::from_secs(1)).await,
        1,
        "not yet: the connection waits 5 s"
    );
    assert_eq!(server.close(Duration::from_secs(60)).await, 0);
    task.await.unwrap();
    never.answer(Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_closed_and_one_with_something_in_flight_is_not() {
    let (server, mut fake) = Fake::server(crate::server::ServerOptions {
        idle_timeout: Duration::from_secs(100),
        ..options()
    });
    let (mut silent, _task) = connect(&server).await;
    let (mut waiting, _task) = connect(&server).await;
    ask(&mut waiting, 1, &Request::Ping).await;
    let asked = fake.next().await;
    let goodbye = expect_goodbye(&mut silent).await;
    assert!(
        goodbye.message.contains("nothing came for 100 s"),
        "{}",
        goodbye.message
    );
    tokio::time::sleep(Duration::from_secs(1_000)).await;
    asked.answer(Ok(Response::Done));
    expect_done(&mut waiting, 1).await;
}

#[tokio::test(start_paused = true)]
async fn answers_reach_a_client_that_reads_a_few_bytes_at_a_time() {
    let (server, mut fake) = fake();
    let (mut peer, _task) = connect_over(&server, 300).await;
    for id in 1..=50 {
        ask(&mut peer, id, &Request::ListTopics).await;
        let text = "x".repeat(usize::try_from(id).unwrap() * 20);
        fake.next()
            .await
            .answer(Err(Error::new(ErrorCode::InvalidRequest, text)));
    }
    for id in 1..=50 {
        let frame = peer.expect(FrameKind::Error).await;
        assert_eq!(frame.correlation_id, id);
        assert_eq!(error_of(&frame).message().len() as u64, id * 20);
    }
}
