//! One connection: frames in, requests to its session, answers out.
//!
//! One task reads, and writes what the answering threads could not. It reads no further while too much is
//! in flight or unsent. However it ends, what was asked before is answered if the other side still
//! listens, its subscriptions end and its session is dropped.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tracing::Span;

use super::Inner;
use super::closing::Guest;
use super::door::Door;
use super::handshake::{self, HandshakeError};
use super::load::Load;
use super::options::ServerOptions;
use super::session::{Session, Taken};
use crate::error::{Error, ErrorCode, Result};
use crate::limits;
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{FrameError, FrameKind};
use crate::protocol::header::Goodbye;
use crate::protocol::link::{Flush, Link};
use crate::protocol::version::Opening;

/// Serves a connection from its first byte to its end. `whose` names it in lines of the log: the other end's
/// address, and the span that it runs in.
pub(super) async fn serve<R, W>(
    server: &Inner,
    mut reader: R,
    writer: W,
    first: &[u8],
    whose: (&str, &Span),
) where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + 'static,
{
    let (peer, span) = whose;
    let guest = server.closing.enter();
    let link = Link::new(writer, limits::FRAME_BYTES_MAX);
    let _guard = CloseOnDrop(Arc::clone(&link));
    let mut decoder = FrameDecoder::new(
        limits::FRAME_BYTES_BEFORE_HELLO_MAX,
        limits::FRAME_HEADER_BYTES_MAX,
    );
    decoder.extend(first);
    let end = match begin(server, &mut reader, &mut decoder, &link, span).await {
        Ok(door) => {
            let mut connection = Connection {
                decoder,
                session: Session::new(door, Arc::clone(&link), server),
                reads: AtomicU64::new(0),
                options: &server.options,
            };
            let end = connection.run(&mut reader, &link, &guest).await;
            connection.finish(&link, &end).await;
            end
        }
        Err(error) => {
            handshake::refuse(&link, &error);
            End::NoHandshake(error)
        }
    };
    if end.is_fault() {
        server.notices.closed(peer, &end);
    } else {
        tracing::debug!(peer, "connection closed: {end}");
    }
    last_words(&link, &mut reader, &end).await;
    drop(guest);
}

/// Tells a connection why it is not served, and ends it.
pub(super) async fn refuse<R, W>(mut reader: R, writer: W, reason: &Error)
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + 'static,
{
    let link = Link::new(writer, limits::FRAME_BYTES_MAX);
    let _guard = CloseOnDrop(Arc::clone(&link));
    handshake::say_goodbye(&link, reason);
    last_words(&link, &mut reader, &End::ServerClosing).await;
}

/// Reads until the first bytes say what is spoken there. None if they never do, which was told the log then.
pub(super) async fn preview<R: AsyncRead + Unpin>(
    server: &Inner,
    reader: &mut R,
    peer: &str,
) -> Option<(Opening, Vec<u8>)> {
    let within = server.options.handshake_timeout;
    let end = match timeout(within, handshake::preview(reader)).await {
        Ok(Ok(found)) => return Some(found),
        Ok(Err(error)) => End::NoHandshake(error),
        Err(_) => End::NoHandshake(HandshakeError::TimedOut {
            timeout_ms: within.as_millis(),
        }),
    };
    if end.is_fault() {
        server.notices.closed(peer, &end);
    } else {
        tracing::debug!(peer, "connection closed: {end}");
    }
    None
}

/// The handshake, and the session of who passed it.
async fn begin<R: AsyncRead + Unpin>(
    server: &Inner,
    reader: &mut R,
    decoder: &mut FrameDecoder,
    link: &Link,
    span: &Span,
) -> Result<Arc<dyn Door>, HandshakeError> {
    let options = &server.options;
    let mut door = None;
    let log_uuid = || door.insert((server.open)()).log_uuid();
    let shaken = handshake::shake_hands(reader, decoder, link, log_uuid, options);
    let hello = timeout(options.handshake_timeout, shaken)
        .await
        .map_err(|_| HandshakeError::TimedOut {
            timeout_ms: options.handshake_timeout.as_millis(),
        })??;
    let client = tracing::field::display(hello.client_name.escape_debug());
    span.record("client", client);
    tracing::debug!("connection open");
    door.ok_or(HandshakeError::Closed)
}

/// Why a connection ends.
#[derive(Debug)]
enum End {
    NoHandshake(HandshakeError),
    PeerClosed,
    HalfFrame { unread_bytes: usize },
    Lost(io::Error),
    Malformed(FrameError),
    ServerClosing,
    Idle { timeout: Duration },
}

impl End {
    /// Whether somebody should look at it.
    fn is_fault(&self) -> bool {
        match self {
            Self::NoHandshake(HandshakeError::Closed | HandshakeError::Io(_)) => false,
            Self::NoHandshake(_) | Self::Malformed(_) | Self::HalfFrame { .. } => true,
            Self::PeerClosed | Self::Lost(_) | Self::ServerClosing | Self::Idle { .. } => false,
        }
    }

    /// Whether the other side may still listen.
    fn is_heard(&self) -> bool {
        !matches!(self, Self::Lost(_))
    }

    /// What it is told.
    fn goodbye(&self) -> Option<ErrorCode> {
        match self {
            Self::Malformed(_) => Some(ErrorCode::CorruptFrame),
            Self::ServerClosing => Some(ErrorCode::BrokerClosing),
            Self::Idle { .. } => Some(ErrorCode::NetworkException),
            Self::NoHandshake(_) | Self::PeerClosed | Self::HalfFrame { .. } | Self::Lost(_) => {
                None
            }
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoHandshake(error) => error.fmt(f),
            Self::PeerClosed => f.write_str("the client closed it"),
            Self::HalfFrame { unread_bytes } => {
                write!(f, "the client closed it {unread_bytes} bytes into a frame")
            }
            Self::Lost(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::ServerClosing => f.write_str("the broker is closing"),
            Self::Idle { timeout } => write!(f, "nothing came for {} s", timeout.as_secs()),
        }
    }
}

struct Connection<'a> {
    decoder: FrameDecoder,
    session: Session,
    /// Counts reads, for whoever looks whether there were any.
    reads: AtomicU64,
    options: &'a ServerOptions,
}

impl Connection<'_> {
    /// Reads and answers until there is a reason to end.
    async fn run<R: AsyncRead + Unpin>(
        &mut self,
        reader: &mut R,
        link: &Link,
        guest: &Guest,
    ) -> End {
        let Self {
            decoder,
            session,
            reads,
            options,
        } = self;
        let load = Arc::clone(&session.load);
        let receiving = pin!(receive(reader, decoder, session, reads));
        let idle = pin!(silence(reads, &load, options.idle_timeout));
        tokio::select! {
            biased;
            failed = drive(link) => End::Lost(failed),
            end = receiving => end,
            () = guest.told() => End::ServerClosing,
            () = idle => End::Idle { timeout: options.idle_timeout },
        }
    }

    /// Says goodbye, ends the session, and waits for what is in flight.
    async fn finish(self, link: &Link, end: &End) {
        if let Some(code) = end.goodbye() {
            let goodbye = Goodbye {
                code: code as u16,
                message: end.to_string(),
                last_correlation_id: self.session.last_correlation_id,
            };
            let _ = link.send(0, FrameKind::Goodbye, &goodbye, [], Flush::Task);
        }
        let load = Arc::clone(&self.session.load);
        drop(self.session);
        if end.is_heard() {
            let answered = poll_fn(|context| load.poll_below(1, usize::MAX, context));
            let answered = timeout(self.options.close_timeout, answered);
            tokio::select! {
                biased;
                _ = drive(link) => {}
                _ = answered => {}
            }
        }
    }
}

/// Takes in frames; never ends but for a reason.
async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut FrameDecoder,
    session: &mut Session,
    reads: &AtomicU64,
) -> End {
    loop {
        session.link.cork();
        let taken = session.take_in(decoder);
        session.link.uncork();
        match taken {
            Ok(Taken::All) => {}
            Ok(Taken::UpToLimit) => {
                poll_fn(|context| session.poll_room(context)).await;
                session.take_place().await;
                continue;
            }
            Ok(Taken::Goodbye) => return End::PeerClosed,
            Err(error) => return End::Malformed(error),
        }
        match reader.read_buf(decoder.room()).await {
            Ok(0) if decoder.unread().is_empty() => return End::PeerClosed,
            Ok(0) => {
                return End::HalfFrame {
                    unread_bytes: decoder.unread().len(),
                };
            }
            Ok(count) => decoder.received(count),
            Err(error) => return End::Lost(error),
        }
        reads.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ends when nothing was read for so long while nothing was in flight.
async fn silence(reads: &AtomicU64, load: &Load, idle_timeout: Duration) {
    loop {
        let seen = reads.load(Ordering::Relaxed);
        tokio::time::sleep(idle_timeout).await;
        if reads.load(Ordering::Relaxed) == seen && load.is_idle() {
            return;
        }
    }
}

/// Writes what others could not; ends when the connection fails.
async fn drive(link: &Link) -> io::Error {
    match poll_fn(|context| link.poll_drive(context)).await {
        Ok(()) => io::ErrorKind::NotConnected.into(),
        Err(error) => error,
    }
}

/// Sends what is unsent, and gives the other side the time to read it before the connection is gone.
async fn last_words<R: AsyncRead + Unpin>(link: &Link, reader: &mut R, end: &End) {
    if !end.is_heard() {
        return;
    }
    link.finish();
    let spoken = async {
        if poll_fn(|context| link.poll_drive(context)).await.is_err() {
            return;
        }
        // Closing with unread bytes would reset the connection and take our last words with it.
        let mut dropped_bytes = 0;
        let mut buffer = bytes::BytesMut::with_capacity(limits::READ_CHUNK_BYTES_MIN);
        while let Ok(count @ 1..) = reader.read_buf(&mut buffer).await {
            buffer.clear();
            dropped_bytes += count;
            if dropped_bytes > limits::LINGER_BYTES_MAX {
                break;
            }
        }
    };
    // Whoever has not listened until then will not.
    let _ = timeout(Duration::from_millis(limits::LINGER_TIMEOUT_MS), spoken).await;
}

struct CloseOnDrop(Arc<Link>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.close();
    }
}
