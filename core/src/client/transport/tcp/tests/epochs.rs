//! Positions with leader epochs, and what is said about one that is not held.

use super::{BUFFER_BYTES, ask, both_ends, error_of, options, settle, with_peer, with_peer_of};
use crate::client::transport::{Feed, Transport};
use crate::error::{Error, ErrorCode};
use crate::protocol::frame::FrameKind;
use crate::protocol::header::ReassignAt;
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::{FetchPosition, Request, Subscribe, SubscribeAt};
use crate::protocol::version::VERSION_WITH_EPOCHS;

fn position(offset: i64, last_epoch: i32) -> FetchPosition {
    FetchPosition {
        topic: "orders".to_owned(),
        partition: 0,
        offset,
        last_epoch,
    }
}

fn subscribe(offset: i64, last_epoch: i32) -> SubscribeAt {
    SubscribeAt {
        positions: vec![position(offset, last_epoch)],
        credit_bytes: 1_000,
    }
}

fn truncated() -> OutOfRange {
    OutOfRange {
        topic: "orders".to_owned(),
        partition: 0,
        offset: 100,
        last_epoch: 3,
        epoch_end_offset: Some(80),
        log_start_offset: 20,
        high_watermark: 95,
        log_end_offset: 96,
    }
}

async fn end_of(feed: &dyn Feed) -> Error {
    loop {
        settle().await;
        if let Err(error) = feed.take(1_000) {
            return error;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn positions_carry_epochs_to_whoever_knows_them() {
    let (client, mut peer) = with_peer_of(VERSION_WITH_EPOCHS, &options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(100, 3)).unwrap();
    let frame = peer.expect(FrameKind::SubscribeAt).await;
    assert_eq!(
        frame.read_header::<SubscribeAt>().unwrap(),
        subscribe(100, 3)
    );
    feed.reassign(vec![position(7, -1)]).unwrap();
    let frame = peer.expect(FrameKind::ReassignAt).await;
    let expected = ReassignAt {
        assignment: 1,
        positions: vec![position(7, -1)],
    };
    assert_eq!(frame.read_header::<ReassignAt>().unwrap(), expected);

    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let _feed = client.subscribe(subscribe(100, 3)).unwrap();
    let frame = peer.expect(FrameKind::Subscribe).await;
    let expected = Subscribe::from(subscribe(100, 3));
    assert_eq!(frame.read_header::<Subscribe>().unwrap(), expected);
}

#[tokio::test(start_paused = true)]
async fn what_is_said_about_a_position_arrives_as_facts() {
    let (client, _server, fake) = both_ends().await;
    for facts in [
        truncated(),
        OutOfRange {
            epoch_end_offset: None,
            ..truncated()
        },
    ] {
        let error = Error::from(facts.clone());
        fake.feed.fail(error.clone());
        let feed = client.subscribe(subscribe(100, 3)).unwrap();
        let ended = end_of(&*feed).await;
        assert_eq!((&ended, OutOfRange::of(&ended)), (&error, Some(&facts)));
        assert_eq!(feed.take(1).unwrap_err(), error);
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_server_says_it_in_words_alone() {
    let (client, mut peer) = with_peer(&options(), BUFFER_BYTES).await;
    let feed = client.subscribe(subscribe(100, 3)).unwrap();
    let error = Error::new(ErrorCode::OffsetOutOfRange, "offset 100 is not in 0..=80");
    let header = crate::protocol::header::WireError::from(&error);
    peer.send(1, FrameKind::SubscriptionError, &header).await;
    let ended = end_of(&*feed).await;
    assert_eq!((&ended, OutOfRange::of(&ended)), (&error, None));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_an_old_server_does_not_know_is_refused_here() {
    let (client, _peer) = with_peer(&options(), BUFFER_BYTES).await;
    let request = Request::DeleteRecords { before: Vec::new() };
    let error = error_of(ask(&client, request)).await;
    assert_eq!(error.code(), ErrorCode::UnsupportedVersion);
    assert!(error.message().contains("upgrade the broker"), "{error}");
}

#[test]
fn a_truncation_says_where_to_go_on_and_both_ends() {
    let error = Error::from(truncated());
    assert_eq!(error.code(), ErrorCode::LogTruncated);
    let message = error.message();
    for part in ["100", "`orders`", "epoch 3", "at offset 80", "20 to 96"] {
        assert!(message.contains(part), "{part}: {message}");
    }
    let deleted = OutOfRange {
        log_start_offset: 90,
        ..truncated()
    };
    assert_eq!(
        (truncated().safe_offset(), deleted.safe_offset()),
        (Some(80), Some(90))
    );
}
