//! Making a connection: names to addresses, addresses to sockets, a socket to an agreed version.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use super::TcpOptions;
use super::connection::{Connection, in_words};
use crate::client::HostPort;
use crate::error::{Error, ErrorCode, Result};
use crate::limits;
use crate::log::owner::Token;
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{Frame, FrameKind};
use crate::protocol::header::Goodbye;
use crate::protocol::link::{Flush, Link};
use crate::protocol::version::{ClientHello, MAGIC, ServerHello, VERSIONS};
use crate::server::quiet::Quiet;

/// A connection that has shaken hands, and what is read from it.
pub(super) struct Opened {
    pub(super) connection: Arc<Connection>,
    pub(super) reader: Box<dyn AsyncRead + Send + Unpin>,
    pub(super) decoder: FrameDecoder,
    /// Of the log that is served there.
    pub(super) log_uuid: [u8; 16],
}

impl fmt::Debug for Opened {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Opened").field(&self.connection).finish()
    }
}

/// Connects to the first of these that answers.
pub(super) async fn connect(hosts: &[HostPort], options: &TcpOptions) -> Result<Opened> {
    let deadline = Instant::now() + options.connect_timeout;
    let mut tried = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        let addresses = match resolve(host, deadline).await {
            Ok(addresses) => addresses,
            Err(reason) => {
                tried.push(format!("{host}: {reason}"));
                continue;
            }
        };
        for (nth, address) in addresses.iter().enumerate() {
            let left = (addresses.len() - nth) + (hosts.len() - index - 1);
            let share = share_of(deadline, left);
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return open(stream, host.to_string(), options, deadline).await,
                Ok(Err(error)) => tried.push(format!("{address}: {}", in_words(&error))),
                Err(_) => {
                    tried.push(format!(
                        "{address}: no answer within {} ms",
                        share.as_millis()
                    ));
                }
            }
        }
    }
    let names = hosts
        .iter()
        .map(HostPort::to_string)
        .collect::<Vec<_>>()
        .join(",");
    Err(Error::new(
        ErrorCode::NetworkException,
        format!("cannot reach a broker at {names} ({})", tried.join("; ")),
    ))
}

/// Shakes hands over a connection that is made already; with the token that a folder's owner asks for.
///
/// # Errors
/// As [`connect`], for this one connection.
pub(super) async fn shake<R, W>(
    mut reader: R,
    writer: W,
    description: String,
    options: &TcpOptions,
    token: Option<Token>,
) -> Result<Opened>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + 'static,
{
    let link = Link::new(writer, limits::FRAME_BYTES_BEFORE_HELLO_MAX);
    let mut decoder = FrameDecoder::new(
        limits::FRAME_BYTES_BEFORE_HELLO_MAX,
        limits::FRAME_HEADER_BYTES_MAX,
    );
    let hello = ClientHello::ours(&options.client_name);
    link.cork();
    let _ = link.send_raw(&MAGIC, Flush::Here);
    let _ = match &token {
        None => link.send(0, FrameKind::ClientHello, &hello, [], Flush::Here),
        Some(Token(token)) => {
            let hello = (hello, &token[..]);
            link.send(0, FrameKind::ClientHello, &hello, [], Flush::Here)
        }
    };
    link.uncork();
    let answer = tokio::select! {
        biased;
        driven = std::future::poll_fn(|context| link.poll_drive(context)) => {
            let reason = driven.err().map_or_else(String::new, |error| in_words(&error));
            return Err(closed_early(&description, &reason));
        }
        answer = read_answer(&mut reader, &mut decoder, &description) => answer?,
    };
    link.set_frame_bytes_max((answer.frame_bytes_max as usize).min(limits::FRAME_BYTES_MAX));
    decoder.set_limits(limits::FRAME_BYTES_MAX, limits::RESPONSE_BYTES_MAX);
    Ok(Opened {
        connection: Connection::new(link, description, answer.version, options),
        reader: Box::new(reader),
        decoder,
        log_uuid: answer.log_uuid,
    })
}

async fn open(
    stream: TcpStream,
    description: String,
    options: &TcpOptions,
    deadline: Instant,
) -> Result<Opened> {
    // Frames are gathered by us; what is handed over is to go out at once.
    if let Err(error) = stream.set_nodelay(true) {
        return Err(closed_early(&description, &in_words(&error)));
    }
    let (reader, writer) = stream.into_split();
    let halves = (reader, Quiet::new(writer));
    shake_by(halves, description, options, None, deadline).await
}

/// Shakes hands, up to a deadline.
pub(super) async fn shake_by<R, W>(
    (reader, writer): (R, W),
    description: String,
    options: &TcpOptions,
    token: Option<Token>,
    deadline: Instant,
) -> Result<Opened>
where
    R: AsyncRead + Send + Unpin + 'static,
    W: AsyncWrite + Send + 'static,
{
    let left = share_of(deadline, 1);
    let shaken = shake(reader, writer, description.clone(), options, token);
    let shaken = timeout(left, shaken).await;
    shaken.unwrap_or_else(|_| Err(silent(&description, left)))
}

/// Somebody listens, and does not answer.
pub(super) fn silent(description: &str, within: Duration) -> Error {
    Error::new(
        ErrorCode::NetworkException,
        format!(
            "{description} accepts connections but says nothing (within {} ms)",
            within.as_millis()
        ),
    )
}

async fn resolve(host: &HostPort, deadline: Instant) -> Result<Vec<SocketAddr>, String> {
    let looked_up = tokio::net::lookup_host((host.host.as_str(), host.port));
    match timeout(share_of(deadline, 1), looked_up).await {
        Ok(Ok(addresses)) => {
            let addresses = addresses.collect::<Vec<_>>();
            if addresses.is_empty() {
                Err("the name has no address".to_owned())
            } else {
                Ok(addresses)
            }
        }
        Ok(Err(error)) => Err(format!("the name is not found ({error})")),
        Err(_) => Err("the name is not found in time".to_owned()),
    }
}

/// The time for one of `count` attempts that are left.
fn share_of(deadline: Instant, count: usize) -> Duration {
    let left = deadline.saturating_duration_since(Instant::now());
    left / u32::try_from(count).unwrap_or(u32::MAX).max(1)
}

async fn read_answer<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut FrameDecoder,
    description: &str,
) -> Result<ServerHello> {
    while decoder.unread().len() < MAGIC.len() {
        if !MAGIC.starts_with(decoder.unread()) {
            return Err(not_native(description, decoder.unread()));
        }
        read_more(reader, decoder, description).await?;
    }
    if !decoder.unread().starts_with(&MAGIC) {
        return Err(not_native(description, decoder.unread()));
    }
    decoder.skip(MAGIC.len());
    loop {
        let next = decoder
            .next_frame()
            .map_err(|error| unreadable(description, &error))?;
        match next {
            Some(frame) => return read_hello(&frame, description),
            None => read_more(reader, decoder, description).await?,
        }
    }
}

fn read_hello(frame: &Frame, description: &str) -> Result<ServerHello> {
    match frame.kind {
        FrameKind::ServerHello => {
            let hello = frame
                .read_hello::<ServerHello>()
                .map_err(|error| unreadable(description, &error))?;
            if VERSIONS.contains(&hello.version) {
                return Ok(hello);
            }
            Err(Error::new(
                ErrorCode::UnsupportedVersion,
                format!(
                    "{description} chose version {} of the native protocol; this client speaks {} to {}",
                    hello.version,
                    VERSIONS.start(),
                    VERSIONS.end()
                ),
            ))
        }
        FrameKind::Goodbye => {
            let goodbye = frame
                .read_hello::<Goodbye>()
                .map_err(|error| unreadable(description, &error))?;
            let code = ErrorCode::from_number(goodbye.code).unwrap_or(ErrorCode::NetworkException);
            Err(Error::new(
                code,
                format!("{description} refused: {}", goodbye.message),
            ))
        }
        kind => Err(unreadable(
            description,
            &format!("a {kind:?} frame before its hello"),
        )),
    }
}

async fn read_more<R: AsyncRead + Unpin>(
    reader: &mut R,
    decoder: &mut FrameDecoder,
    description: &str,
) -> Result<()> {
    match reader.read_buf(decoder.room()).await {
        Ok(0) => Err(closed_early(description, "it closed the connection")),
        Ok(count) => {
            decoder.received(count);
            Ok(())
        }
        Err(error) => Err(closed_early(description, &in_words(&error))),
    }
}

fn closed_early(description: &str, reason: &str) -> Error {
    Error::new(
        ErrorCode::NetworkException,
        format!(
            "{description} accepted the connection but not the handshake ({reason}); is it a Headwater broker?"
        ),
    )
}

fn not_native(description: &str, found: &[u8]) -> Error {
    let found = found.get(..16).unwrap_or(found).escape_ascii();
    Error::new(
        ErrorCode::UnsupportedVersion,
        format!("{description} does not speak Headwater's protocol: its first bytes are `{found}`"),
    )
}

fn unreadable(description: &str, error: &dyn fmt::Display) -> Error {
    Error::new(
        ErrorCode::CorruptFrame,
        format!("{description} sent what cannot be read: {error}"),
    )
}
