//! How connections begin, and how those end that do not.

use std::sync::atomic::Ordering;

use super::{BUFFER_BYTES, ask, connect, dial, expect_goodbye, fake, hello, options};
use crate::error::ErrorCode;
use crate::limits;
use crate::protocol::frame::FrameKind;
use crate::protocol::request::Request;
use crate::protocol::tests::peer::{Peer, encode};
use crate::protocol::version::{ClientHello, MAGIC, Opening, ServerHello};

#[tokio::test(start_paused = true)]
async fn a_client_is_told_version_log_and_limits() {
    let (server, _fake) = fake();
    let (mut peer, _task) = dial(&server, BUFFER_BYTES);
    // Byte by byte: nothing may depend on how the bytes are cut.
    for byte in hello(1, 7) {
        peer.say(&[byte]).await;
    }
    peer.expect_magic().await;
    let answer = peer
        .expect(FrameKind::ServerHello)
        .await
        .read_header::<ServerHello>()
        .unwrap();
    assert_eq!((answer.version, &answer.log_uuid), (3, b"a fake log's id."));
    assert_eq!(answer.frame_bytes_max as usize, options().frame_bytes_max);
    assert_eq!((answer.requests_max, answer.bytes_max), (1_024, 64 << 20));
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn bytes_that_were_read_to_find_out_the_protocol_count() {
    let (server, mut fake) = fake();
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    let (reader, writer) = tokio::io::split(far);
    let mut first = hello(1, 1);
    first.extend(encode(1, FrameKind::Request, &Request::Ping, b""));
    let rest = first.split_off(Opening::OPENING_BYTES);
    tokio::spawn(async move {
        server
            .serve_connection(reader, writer, &first, "a test")
            .await
    });
    let mut peer = Peer::new(near);
    peer.say(&rest).await;
    assert_eq!(fake.next().await.request, Request::Ping);
}

#[tokio::test(start_paused = true)]
async fn versions_too_new_and_too_old_are_refused_in_words() {
    for (version_min, version_max, words) in [
        (4, 9, "upgrade the server"),
        (0, 0, "upgrade the client"),
        (2, 1, "no range"),
    ] {
        let (server, fake) = fake();
        let (mut peer, task) = dial(&server, BUFFER_BYTES);
        peer.say(&hello(version_min, version_max)).await;
        peer.expect_magic().await;
        let goodbye = expect_goodbye(&mut peer).await;
        assert_eq!(goodbye.code, ErrorCode::UnsupportedVersion as u16);
        assert!(goodbye.message.contains(words), "{}", goodbye.message);
        assert!(peer.next().await.is_none());
        task.await.unwrap();
        assert!(
            !fake.is_door_dropped.load(Ordering::SeqCst),
            "a door was opened for a stranger"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn an_http_request_is_answered_in_http() {
    let (server, _fake) = fake();
    let (mut peer, task) = dial(&server, BUFFER_BYTES);
    peer.say(b"GET / HTTP/1.1\r\nHost: localhost:9092\r\n\r\n")
        .await;
    let answer = String::from_utf8(peer.rest().await.to_vec()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 400 Bad Request\r\n"), "{head}");
    assert!(
        head.contains(&format!("Content-Length: {}\r\n", body.len())),
        "{head}"
    );
    assert!(body.contains("native protocol"), "{body}");
    drop(peer);
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_preview_reads_no_more_than_says_who_is_there() {
    let (server, _fake) = fake();
    let hello = hello(1, 1);
    for (said, opening, read_bytes) in [
        (&hello[..], Opening::Native, 8),
        (b"GET /metrics HTTP/1.1\r\n", Opening::Http, 8),
        (b"HEAD /healthz", Opening::Http, 8),
        (b"GET ", Opening::Http, 4),
        (&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc], Opening::Tls, 8),
        (b"\xff", Opening::Unknown, 1),
    ] {
        let mut reader = said;
        let (found, first) = server.preview(&mut reader, "a test").await.unwrap();
        assert_eq!((found, &*first), (opening, &said[..read_bytes]));
        assert_eq!(reader, &said[read_bytes..]);
    }
    // What was read goes before the rest.
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    let mut peer = Peer::new(near);
    peer.say(&hello).await;
    let (mut reader, writer) = tokio::io::split(far);
    let (_, first) = server.preview(&mut reader, "a test").await.unwrap();
    tokio::spawn(async move {
        server
            .serve_connection(reader, writer, &first, "a test")
            .await
    });
    peer.expect_magic().await;
    peer.expect(FrameKind::ServerHello).await;
}

#[tokio::test(start_paused = true)]
async fn who_says_too_little_or_nothing_has_no_preview() {
    let (server, _fake) = fake();
    for said in [&b""[..], b"GE", b"\x89HW"] {
        let mut gone = said;
        assert_eq!(server.preview(&mut gone, "a test").await, None);
        let (mut near, mut silent) = tokio::io::duplex(BUFFER_BYTES);
        tokio::io::AsyncWriteExt::write_all(&mut near, said)
            .await
            .unwrap();
        assert_eq!(server.preview(&mut silent, "a test").await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_are_closed_and_others_are_not_disturbed() {
    let (server, mut fake) = fake();
    let (mut neighbour, _task) = connect(&server).await;
    let kafka: &[u8] = &[0, 0, 0, 35, 0, 18, 0, 3, 0, 0, 0, 1];
    let tls: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00];
    for stranger in [
        kafka,
        tls,
        b"hello, is this on?\n",
        &[0xFF; 100],
        &MAGIC[..5],
    ] {
        let (mut peer, task) = dial(&server, BUFFER_BYTES);
        peer.say(stranger).await;
        // The shortened magic waits for more until the deadline of the handshake.
        assert!(peer.rest().await.is_empty(), "{stranger:?}");
        drop(peer);
        task.await.unwrap();
    }
    ask(&mut neighbour, 1, &Request::Ping).await;
    assert_eq!(fake.next().await.request, Request::Ping);
    assert_eq!(server.connection_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_closed_at_the_deadline() {
    let (server, _fake) = fake();
    let begun = tokio::time::Instant::now();
    let (mut peer, task) = dial(&server, BUFFER_BYTES);
    assert!(peer.rest().await.is_empty());
    drop(peer);
    task.await.unwrap();
    assert!(begun.elapsed() >= options().handshake_timeout);
}

#[tokio::test(start_paused = true)]
async fn a_frame_over_the_small_limit_of_the_handshake_is_refused() {
    let (server, _fake) = fake();
    let (mut peer, _task) = dial(&server, BUFFER_BYTES);
    peer.say(&MAGIC).await;
    let claimed = u32::try_from(limits::FRAME_BYTES_BEFORE_HELLO_MAX).unwrap();
    peer.say(&claimed.to_le_bytes()).await;
    peer.expect_magic().await;
    let goodbye = expect_goodbye(&mut peer).await;
    assert!(
        goodbye.message.contains("at most 65536"),
        "{}",
        goodbye.message
    );
}

#[tokio::test(start_paused = true)]
async fn a_first_frame_that_is_no_hello_is_refused() {
    for (frame, words) in [
        (
            encode(1, FrameKind::Request, &Request::Ping, b""),
            "Request",
        ),
        (
            encode(0, FrameKind::ClientHello, &1_u8, b""),
            "cannot be read",
        ),
    ] {
        let (server, _fake) = fake();
        let (mut peer, _task) = dial(&server, BUFFER_BYTES);
        peer.say(&MAGIC).await;
        peer.say(&frame).await;
        peer.expect_magic().await;
        let goodbye = expect_goodbye(&mut peer).await;
        assert_eq!(goodbye.code, ErrorCode::CorruptFrame as u16);
        assert!(goodbye.message.contains(words), "{}", goodbye.message);
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_client_that_says_more_in_its_hello_is_understood() {
    let (server, _fake) = fake();
    let (mut peer, _task) = dial(&server, BUFFER_BYTES);
    let hello = ClientHello {
        version_max: 9,
        ..ClientHello::ours("a later one")
    };
    peer.say(&MAGIC).await;
    peer.send(0, FrameKind::ClientHello, &(hello, "what version 9 added"))
        .await;
    peer.expect_magic().await;
    peer.expect(FrameKind::ServerHello).await;
}
