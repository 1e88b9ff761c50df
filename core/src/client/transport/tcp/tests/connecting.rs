//! What a client makes of who answers.

use std::time::Duration;

use tokio::io::split;

use super::{BUFFER_BYTES, options, server_hello};
use crate::client::HostPort;
use crate::client::transport::tcp::{Endpoint, TcpOptions, TcpTransport, connect};
use crate::error::{Error, ErrorCode, ErrorKind};
use crate::protocol::frame::FrameKind;
use crate::protocol::header::Goodbye;
use crate::protocol::tests::peer::{Peer, encode};
use crate::protocol::version::{MAGIC, ServerHello};

/// What connecting fails with when the other side answers like this, and then closes.
async fn refused_by(answer: &[u8]) -> Error {
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    let (reader, writer) = split(near);
    let mut peer = Peer::new(far);
    let answering = async {
        peer.expect_magic().await;
        peer.expect(FrameKind::ClientHello).await;
        peer.say(answer).await;
        drop(peer);
    };
    let options = TcpOptions::default();
    let speaking = connect::shake(reader, writer, "a:9092".to_owned(), &options, None);
    let (client, ()) = tokio::join!(speaking, answering);
    client.unwrap_err()
}

fn with_magic(kind: FrameKind, header: &impl serde::Serialize) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(encode(0, kind, header, b""));
    bytes
}

#[tokio::test(start_paused = true)]
async fn who_answers_in_another_protocol_is_quoted() {
    let error = refused_by(b"HTTP/1.1 400 Bad Request\r\n").await;
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert!(error.message().contains("a:9092 does not speak"), "{error}");
    assert!(error.message().contains("`HTTP/1.1 400 Bad`"), "{error}");
    let error = refused_by(&[0, 0, 0, 9]).await;
    assert!(error.message().contains(r"`\x00\x00\x00\t`"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn who_closes_in_the_handshake_is_asked_to_be_a_broker() {
    for answer in [&b""[..], &MAGIC[..3], &MAGIC] {
        let error = refused_by(answer).await;
        assert_eq!(error.code(), ErrorCode::NetworkException);
        assert!(
            error.message().contains("is it a Headwater broker?"),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_servers_refusal_is_passed_on_in_its_words() {
    let goodbye = Goodbye {
        code: ErrorCode::UnsupportedVersion as u16,
        message: "upgrade the client".to_owned(),
        last_correlation_id: 0,
    };
    let error = refused_by(&with_magic(FrameKind::Goodbye, &goodbye)).await;
    assert_eq!(error.code(), ErrorCode::UnsupportedVersion);
    assert_eq!(error.message(), "a:9092 refused: upgrade the client");
}

#[tokio::test(start_paused = true)]
async fn a_version_that_was_not_offered_is_refused() {
    for version in [0, 4] {
        let hello = ServerHello {
            version,
            ..server_hello()
        };
        let error = refused_by(&with_magic(FrameKind::ServerHello, &hello)).await;
        assert_eq!(error.code(), ErrorCode::UnsupportedVersion);
        assert!(
            error
                .message()
                .contains(&format!("chose version {version}")),
            "{error}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_are_no_hello_are_refused() {
    for answer in [
        with_magic(FrameKind::ServerHello, &1_u8),
        with_magic(FrameKind::Response, &0_u8),
        [&MAGIC[..], &u32::MAX.to_le_bytes()].concat(),
    ] {
        let error = refused_by(&answer).await;
        assert_eq!(error.code(), ErrorCode::CorruptFrame, "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_later_server_that_says_more_in_its_hello_is_understood() {
    let (near, far) = tokio::io::duplex(BUFFER_BYTES);
    let (reader, writer) = split(near);
    let mut peer = Peer::new(far);
    let answer = with_magic(
        FrameKind::ServerHello,
        &(server_hello(), "what version 9 added"),
    );
    peer.say(&answer).await;
    assert!(
        connect::shake(reader, writer, "a:9092".to_owned(), &options(), None)
            .await
            .is_ok()
    );
}

#[test]
fn a_port_where_nobody_listens_is_named_with_every_address_tried() {
    // Bound and dropped: nobody listens there, and nobody else was given it meanwhile.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let host = |host: &str| HostPort {
        host: host.to_owned(),
        port,
    };
    let hosts = vec![host("127.0.0.1"), host("no-such-host.invalid")];
    let error = TcpTransport::connect(Endpoint::Hosts(hosts), TcpOptions::default())
        .wait(None)
        .unwrap_err();
    assert_eq!(
        (error.code(), error.is_retriable()),
        (ErrorCode::NetworkException, true)
    );
    let message = error.message();
    assert!(
        message.contains(&format!("127.0.0.1:{port}: connection refused")),
        "{message}"
    );
    assert!(message.contains("no-such-host.invalid"), "{message}");
}

#[test]
fn a_port_that_accepts_and_says_nothing_is_given_up() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let options = TcpOptions {
        connect_timeout: Duration::from_millis(50),
        ..TcpOptions::default()
    };
    let hosts = vec![HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    }];
    let error = TcpTransport::connect(Endpoint::Hosts(hosts), options)
        .wait(None)
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::NetworkException);
    assert!(error.message().contains("says nothing"), "{error}");
    drop(listener);
}
