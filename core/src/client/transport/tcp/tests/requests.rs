//! Requests and answers over one connection.

use std::time::Duration;

use super::{ask, ask_with, both_ends, error_of, options, produce, settle, with_peer};
use crate::client::transport::Transport;
use crate::client::transport::tcp::TcpOptions;
use crate::error::{Error, ErrorCode, ErrorKind, Outcome};
use crate::limits;
use crate::protocol::frame::FrameKind;
use crate::protocol::header::WireError;
use crate::protocol::request::Request;
use crate::protocol::response::{ProduceAck, Response};

fn produced(base_offset: i64) -> Response {
    Response::Produced(ProduceAck {
        base_offset,
        append_time_ms: -1,
        durability: crate::Durability::Os,
        is_duplicate: false,
    })
}

#[tokio::test(start_paused = true)]
async fn every_request_gets_its_own_answer_whatever_the_order() {
    let (client, _server, mut fake) = both_ends().await;
    let mut pendings = Vec::new();
    let mut asked = Vec::new();
    for number in 0..100 {
        pendings.push(ask_with(
            &client,
            produce(),
            format!("batch {number}").as_bytes(),
        ));
    }
    for _ in 0..100 {
        asked.push(fake.next().await);
    }
    for (number, asked) in asked.into_iter().enumerate().rev() {
        assert_eq!(asked.payload, format!("batch {number}"));
        let number = i64::try_from(number).unwrap();
        asked.answer(match number % 3 {
            0 => Err(Error::new(
                ErrorCode::InvalidRecord,
                format!("batch {number}"),
            )),
            _ => Ok(produced(number)),
        });
    }
    for (number, pending) in pendings.into_iter().enumerate() {
        let number = i64::try_from(number).unwrap();
        match number % 3 {
            0 => assert_eq!(error_of(pending).await.message(), format!("batch {number}")),
            _ => assert_eq!(pending.await, Ok(produced(number))),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_large_batch_arrives_whole_in_both_directions() {
    let (client, _server, mut fake) = both_ends().await;
    let batch = (0..limits::BATCH_BYTES_MAX)
        .map(|at| (at % 251) as u8)
        .collect::<Vec<_>>();
    let pending = ask_with(&client, produce(), &batch);
    let asked = fake.next().await;
    assert!(asked.payload == batch, "other bytes");
    asked.answer(Ok(produced(1)));
    assert_eq!(pending.await, Ok(produced(1)));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_answered_in_time_times_out_and_a_late_answer_is_dropped() {
    let (client, mut peer) = with_peer(&options(), super::BUFFER_BYTES).await;
    let begun = tokio::time::Instant::now();
    let (sending, reading) = (ask(&client, produce()), ask(&client, Request::ListTopics));
    let sent = error_of(sending).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    assert_eq!(
        (sent.kind(), sent.outcome()),
        (ErrorKind::Timeout, Outcome::Unknown)
    );
    assert_eq!(sent.message(), "a:9092 did not answer within 30000 ms");
    assert_eq!(error_of(reading).await.outcome(), Outcome::NotDone);
    peer.send(1, FrameKind::Response, &Response::Done).await;
    let late = WireError {
        code: 3,
        message: "late".to_owned(),
        outcome: Outcome::NotDone,
    };
    peer.send(2, FrameKind::Error, &late).await;
    let pending = ask(&client, Request::Ping);
    peer.send(3, FrameKind::Response, &Response::Done).await;
    assert_eq!(pending.await, Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn each_request_has_its_own_deadline() {
    let (client, _peer) = with_peer(&options(), super::BUFFER_BYTES).await;
    let begun = tokio::time::Instant::now();
    let first = ask(&client, Request::Ping);
    tokio::time::sleep(Duration::from_secs(10)).await;
    let second = ask(&client, Request::Ping);
    error_of(first).await;
    assert_eq!(begun.elapsed().as_secs(), 30);
    error_of(second).await;
    assert_eq!(begun.elapsed().as_secs(), 40);
}

#[tokio::test(start_paused = true)]
async fn what_is_larger_than_the_server_takes_is_refused_here_and_the_connection_goes_on() {
    let (client, mut peer) = with_peer(&options(), super::BUFFER_BYTES).await;
    let error = error_of(ask_with(&client, produce(), &[0; 1 << 20])).await;
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    assert!(error.message().contains("at most 1048576"), "{error}");
    let names = vec!["x".repeat(limits::FRAME_HEADER_BYTES_MAX)];
    let error = error_of(ask(&client, Request::DescribeTopics { names })).await;
    assert_eq!(error.code(), ErrorCode::MessageTooLarge);
    let pending = ask(&client, Request::Ping);
    let asked = peer.expect(FrameKind::Request).await;
    peer.send(asked.correlation_id, FrameKind::Response, &Response::Done)
        .await;
    assert_eq!(pending.await, Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn one_request_too_many_is_refused_as_full() {
    let (client, _peer) = with_peer(&options(), 100).await;
    let pendings = (0..limits::CLIENT_REQUESTS_MAX)
        .map(|_| ask(&client, Request::Ping))
        .collect::<Vec<_>>();
    let error = error_of(ask(&client, Request::Ping)).await;
    assert_eq!(error.kind(), ErrorKind::Full);
    drop(pendings);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_waits_for_any_more_harms_nobody() {
    let (client, _server, mut fake) = both_ends().await;
    drop(ask(&client, Request::Ping));
    fake.next().await.answer(Ok(Response::Done));
    let pending = ask(&client, Request::Ping);
    fake.next().await.answer(Ok(Response::Done));
    assert_eq!(pending.await, Ok(Response::Done));
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_asked_whether_it_lives_and_then_given_up() {
    let options = TcpOptions {
        keep_alive: Duration::from_secs(10),
        ..TcpOptions::default()
    };
    let (client, mut peer) = with_peer(&options, super::BUFFER_BYTES).await;
    for id in 1..=3 {
        let asked = peer.expect(FrameKind::Request).await;
        assert_eq!(asked.read_header::<Request>().unwrap(), Request::Ping);
        peer.send(id, FrameKind::Response, &Response::Done).await;
    }
    // From here on it says nothing.
    peer.expect(FrameKind::Request).await;
    tokio::time::sleep(Duration::from_secs(100)).await;
    let error = error_of(ask(&client, Request::Ping)).await;
    assert_eq!(error.code(), ErrorCode::NetworkException);
    assert!(error.message().contains("silent"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn requests_are_written_as_the_socket_takes_them() {
    let (client, mut peer) = with_peer(&options(), 64).await;
    let pendings = (0..200)
        .map(|number| ask_with(&client, produce(), &[number; 500]))
        .collect::<Vec<_>>();
    for number in 0..200_u8 {
        let asked = peer.expect(FrameKind::Request).await;
        assert_eq!(
            (asked.correlation_id, asked.payload.len()),
            (u64::from(number) + 1, 500)
        );
        assert!(asked.payload.iter().all(|byte| *byte == number));
        peer.send(asked.correlation_id, FrameKind::Response, &Response::Done)
            .await;
    }
    for pending in pendings {
        assert_eq!(pending.await, Ok(Response::Done));
    }
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_job_runs() {
    let (client, _server, _fake) = both_ends().await;
    let (sender, receiver) = tokio::sync::oneshot::channel();
    client.schedule(Box::new(move || sender.send(7).unwrap()));
    assert_eq!(receiver.await, Ok(7));
    assert_eq!(client.description(), "a:9092");
    settle().await;
}
