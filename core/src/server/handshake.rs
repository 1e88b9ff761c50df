//! The beginning of a connection: who is there, and which version do we speak?

use std::fmt;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::options::ServerOptions;
use crate::error::Error;
use crate::limits;
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{Frame, FrameError, FrameKind};
use crate::protocol::header::Goodbye;
use crate::protocol::link::{Flush, Link};
use crate::protocol::version::{
    ClientHello, MAGIC, NegotiationError, Opening, SOFTWARE_VERSION, ServerHello, VERSIONS,
    negotiate,
};

/// Why a connection did not begin.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandshakeError {
    #[error("nothing was said within {timeout_ms} ms")]
    TimedOut { timeout_ms: u128 },
    #[error("it closed before the handshake")]
    Closed,
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error("it speaks {0}")]
    NotNative(Stranger),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Version(#[from] NegotiationError),
    #[error("it did not present the token that the folder's OWNER file holds")]
    Token,
}

/// Somebody who speaks something else.
#[derive(Clone, Copy, Debug)]
pub(super) enum Stranger {
    Http,
    Tls,
    Kafka,
    Unknown,
}

impl fmt::Display for Stranger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Kafka => "Kafka's protocol",
            Self::Unknown => "no protocol known here",
        })
    }
}

const HTTP_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 56\r\nConnection: close\r\n\r\n\
    This port speaks Headwater's native protocol, not HTTP.\n";

/// Reads and answers the client's hello.
pub(super) async fn shake_hands<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut FrameDecoder,
    link: &Link,
    log_uuid: impl FnOnce() -> [u8; 16],
    options: &ServerOptions,
) -> Result<ClientHello, HandshakeError> {
    loop {
        match Opening::of(decoder.unread()) {
            Opening::Undecided => read_more(reader, decoder).await?,
            Opening::Native => break,
            Opening::Http => return Err(HandshakeError::NotNative(Stranger::Http)),
            Opening::Tls => return Err(HandshakeError::NotNative(Stranger::Tls)),
            Opening::Kafka => return Err(HandshakeError::NotNative(Stranger::Kafka)),
            Opening::Unknown => return Err(HandshakeError::NotNative(Stranger::Unknown)),
        }
    }
    decoder.skip(MAGIC.len());
    let frame = loop {
        match decoder.next_frame()? {
            Some(frame) => break frame,
            None => read_more(reader, decoder).await?,
        }
    };
    let hello = read_hello(&frame)?;
    if let Some(token) = &options.token
        && !token.is(read_token(&frame))
    {
        return Err(HandshakeError::Token);
    }
    let answer = ServerHello {
        version: negotiate(&hello, &VERSIONS)?,
        server_version: SOFTWARE_VERSION.to_owned(),
        log_uuid: log_uuid(),
        frame_bytes_max: u32::try_from(options.frame_bytes_max).unwrap_or(u32::MAX),
        requests_max: u32::try_from(options.requests_max).unwrap_or(u32::MAX),
        bytes_max: options.bytes_max as u64,
    };
    // A connection that has ended is noticed by who reads from it.
    link.cork();
    let _ = link.send_raw(&MAGIC, Flush::Here);
    let _ = link.send(
        frame.correlation_id,
        FrameKind::ServerHello,
        &answer,
        [],
        Flush::Here,
    );
    link.uncork();
    decoder.set_limits(options.frame_bytes_max, limits::FRAME_HEADER_BYTES_MAX);
    Ok(hello)
}

/// Reads no more than what says who is there: the rest is for who speaks it.
pub(super) async fn preview<R: AsyncRead + Unpin>(
    reader: &mut R,
) -> Result<(Opening, Vec<u8>), HandshakeError> {
    let mut first = [0; Opening::OPENING_BYTES];
    let mut len = 0;
    loop {
        let (read, room) = first.split_at_mut(len);
        match Opening::of(read) {
            Opening::Undecided if !room.is_empty() => {}
            opening => return Ok((opening, read.to_vec())),
        }
        match reader.read(room).await? {
            0 => return Err(HandshakeError::Closed),
            count => len += count,
        }
    }
}

/// The answer to who cannot be served, in what is most likely the other side's language.
pub(super) fn refuse(link: &Link, error: &HandshakeError) {
    let error = match error {
        HandshakeError::NotNative(Stranger::Http) => {
            let _ = link.send_raw(HTTP_ANSWER, Flush::Task);
            return;
        }
        HandshakeError::Version(error) => Error::from(*error),
        HandshakeError::Frame(error) => Error::new(
            crate::ErrorCode::CorruptFrame,
            format!("in the handshake: {error}"),
        ),
        HandshakeError::Token => Error::new(
            crate::ErrorCode::SaslAuthenticationFailed,
            "the token is not this owner's; another has taken over the folder",
        ),
        _ => return,
    };
    say_goodbye(link, &error);
}

/// Refuses a connection with the reason, in place of the server's hello.
pub(super) fn say_goodbye(link: &Link, error: &Error) {
    let goodbye = Goodbye {
        code: error.code() as u16,
        message: error.message().to_owned(),
        last_correlation_id: 0,
    };
    let _ = link.send_raw(&MAGIC, Flush::Task);
    let _ = link.send(0, FrameKind::Goodbye, &goodbye, [], Flush::Task);
}

fn read_hello(frame: &Frame) -> Result<ClientHello, FrameError> {
    match frame.kind {
        FrameKind::ClientHello => frame.read_hello(),
        kind => Err(FrameError::Unexpected {
            kind,
            expected: "a ClientHello",
        }),
    }
}

/// What a client presents behind its hello; empty if nothing that can be one.
fn read_token(frame: &Frame) -> &[u8] {
    let presented = frame.read_hello::<(ClientHello, &[u8])>();
    presented.map_or(&[], |(_, token)| token)
}

async fn read_more<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut FrameDecoder,
) -> Result<(), HandshakeError> {
    let count = reader.read_buf(decoder.room()).await?;
    decoder.received(count);
    if count == 0 {
        Err(HandshakeError::Closed)
    } else {
        Ok(())
    }
}
