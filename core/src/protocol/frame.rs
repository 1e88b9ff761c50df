//! Frames: how requests, responses and record batches are delimited on a connection.
//!
//! ```text
//!  0  u32  length: the bytes after this field
//!  4  u64  correlation id: a request's number, echoed by its answer; or a subscription's
//! 12  u8   kind
//! 13  u32  header length
//! 17  ...  header: postcard, append-only
//!     ...  payload: record batches, raw, to the end of the frame
//! ```
//!
//! Integers are little-endian. Every length is checked against a limit as soon as it is readable, before
//! the rest of the frame has come; nothing is allocated by what a length claims. A header that leaves
//! bytes over is malformed, except that of the two hellos, which precede the agreement on a version.
//!
//! This module is the layout; `header` has what stands in headers besides requests and responses,
//! `decoder` finds frames in a stream of bytes, `outbox` puts
//! them into one.

use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode};
use crate::limits;

/// Bytes of the length field, which does not count itself.
pub const LENGTH_BYTES: usize = 4;
/// Bytes before the header.
pub const HEAD_BYTES: usize = 17;

/// What a frame is. The numbers are on the wire and never change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum FrameKind {
    /// The client's first frame: [`ClientHello`](super::version::ClientHello).
    ClientHello = 1,
    /// The server's first frame: [`ServerHello`](super::version::ServerHello).
    ServerHello = 2,
    /// The sender is about to close: [`Goodbye`](super::header::Goodbye). It asks and pushes nothing more.
    Goodbye = 3,
    /// A [`Request`](super::request::Request); the payload is a `Produce`'s record batch.
    Request = 4,
    /// The [`Response`](super::response::Response) to the request of that correlation id.
    Response = 5,
    /// The request of that correlation id failed: [`WireError`](super::header::WireError).
    Error = 6,
    /// Opens a [`Subscribe`](super::request::Subscribe); its correlation id names the subscription.
    Subscribe = 7,
    /// Record batches of a subscription: [`Push`](super::header::Push).
    Push = 8,
    /// More may be pushed: [`Credit`](super::header::Credit).
    Credit = 9,
    /// Other partitions for a subscription: [`Reassign`](super::header::Reassign).
    Reassign = 10,
    /// Ends a subscription; no header.
    Unsubscribe = 11,
    /// A subscription has ended: [`WireError`](super::header::WireError).
    SubscriptionError = 12,
    /// From version 2 on, as [`Subscribe`](Self::Subscribe): a
    /// [`SubscribeAt`](super::request::SubscribeAt).
    SubscribeAt = 13,
    /// From version 2 on, as [`Reassign`](Self::Reassign): a [`ReassignAt`](super::header::ReassignAt).
    ReassignAt = 14,
    /// A subscription opened by [`SubscribeAt`](Self::SubscribeAt) has ended because of where it stood:
    /// [`OutOfRange`](super::out_of_range::OutOfRange).
    SubscriptionOutOfRange = 15,
}

impl FrameKind {
    /// Every kind, by number.
    pub const ALL: &'static [Self] = &[
        Self::ClientHello,
        Self::ServerHello,
        Self::Goodbye,
        Self::Request,
        Self::Response,
        Self::Error,
        Self::Subscribe,
        Self::Push,
        Self::Credit,
        Self::Reassign,
        Self::Unsubscribe,
        Self::SubscriptionError,
        Self::SubscribeAt,
        Self::ReassignAt,
        Self::SubscriptionOutOfRange,
    ];

    /// The kind of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| *kind as u8 == number)
    }
}

/// A frame that came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// The number of the request or the subscription it belongs to.
    pub correlation_id: u64,
    /// What it is.
    pub kind: FrameKind,
    /// Its header, encoded.
    pub header: Bytes,
    /// What follows the header.
    pub payload: Bytes,
}

impl Frame {
    /// The header, decoded.
    ///
    /// # Errors
    /// When it is not a `T`, or more than one.
    pub fn read_header<'a, T: Deserialize<'a>>(&'a self) -> Result<T, FrameError> {
        let kind = self.kind;
        match postcard::take_from_bytes(&self.header) {
            Ok((value, [])) => Ok(value),
            Ok((_, rest)) => Err(FrameError::TrailingBytes {
                kind,
                count: rest.len(),
            }),
            Err(source) => Err(FrameError::Malformed { kind, source }),
        }
    }

    /// The header of a hello, decoded: bytes that a later version added are passed over.
    ///
    /// # Errors
    /// When it does not begin with a `T`.
    pub fn read_hello<'a, T: Deserialize<'a>>(&'a self) -> Result<T, FrameError> {
        postcard::take_from_bytes(&self.header)
            .map(|(value, _)| value)
            .map_err(|source| FrameError::Malformed {
                kind: self.kind,
                source,
            })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        HEAD_BYTES + self.header.len() + self.payload.len()
    }

    /// Checks that nothing follows the header.
    ///
    /// # Errors
    /// When something does.
    pub fn check_no_payload(&self) -> Result<(), FrameError> {
        match self.payload.len() {
            0 => Ok(()),
            found => Err(FrameError::PayloadLength {
                kind: self.kind,
                found,
                expected: 0,
            }),
        }
    }
}

/// The fixed part of a frame, as read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of the whole frame, the length field included.
    pub frame_len: usize,
    /// The number of the request or the subscription it belongs to.
    pub correlation_id: u64,
    /// What it is.
    pub kind: FrameKind,
    /// Bytes of the header.
    pub header_len: usize,
}

impl FrameHead {
    /// Reads the head of the frame that `bytes` begin with: `None` when more bytes are needed to know.
    ///
    /// # Errors
    /// When it cannot be a frame, or one larger than the limits. As early as the bytes tell.
    pub fn read(
        bytes: &[u8],
        frame_bytes_max: usize,
        header_bytes_max: usize,
    ) -> Result<Option<Self>, FrameError> {
        let Some(length) = bytes.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*length);
        // A length that does not fit in memory's terms is certainly over the limit.
        let frame_len = usize::try_from(length)
            .unwrap_or(usize::MAX)
            .saturating_add(LENGTH_BYTES);
        if frame_len < HEAD_BYTES {
            return Err(FrameError::TooShort { found: frame_len });
        }
        if frame_len > frame_bytes_max {
            return Err(FrameError::TooLong {
                found: frame_len,
                limit: frame_bytes_max,
            });
        }
        let Some(head) = bytes.first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let [_, _, _, _, id @ .., kind, h0, h1, h2, h3] = *head;
        let kind = FrameKind::from_number(kind).ok_or(FrameError::UnknownKind { found: kind })?;
        let header_len = u32::from_le_bytes([h0, h1, h2, h3]) as usize;
        if header_len > header_bytes_max {
            return Err(FrameError::HeaderTooLong {
                kind,
                found: header_len,
                limit: header_bytes_max,
            });
        }
        if header_len > frame_len - HEAD_BYTES {
            return Err(FrameError::HeaderBeyondFrame {
                kind,
                header_len,
                frame_len,
            });
        }
        let correlation_id = u64::from_le_bytes(id);
        Ok(Some(Self {
            frame_len,
            correlation_id,
            kind,
            header_len,
        }))
    }
}

/// Appends the head and the header of a frame to `buffer`; a payload of `payload_len` bytes must follow.
/// Returns the length of the whole frame. On error the buffer is as it was.
///
/// # Errors
/// When the header or the frame is larger than its limit.
pub fn encode<H: Serialize + ?Sized>(
    buffer: &mut BytesMut,
    correlation_id: u64,
    kind: FrameKind,
    header: &H,
    payload_len: usize,
    frame_bytes_max: usize,
) -> Result<usize, FrameError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; HEAD_BYTES]);
    let encoded = postcard::serialize_with_flavor(header, AppendTo(buffer));
    let header_len = buffer.len() - start - HEAD_BYTES;
    let frame_len = (HEAD_BYTES + header_len).saturating_add(payload_len);
    let limit = header_bytes_max(kind);
    let checked = match encoded {
        Err(source) => Err(FrameError::Malformed { kind, source }),
        Ok(()) if header_len > limit => Err(FrameError::HeaderTooLong {
            kind,
            found: header_len,
            limit,
        }),
        Ok(()) if frame_len > frame_bytes_max => Err(FrameError::TooLong {
            found: frame_len,
            limit: frame_bytes_max,
        }),
        Ok(()) => Ok(frame_len),
    };
    let Ok(frame_len) = checked else {
        buffer.truncate(start);
        return checked;
    };
    // Both fit in 32 bits: they are within limits, which do.
    let head = &mut buffer[start..];
    head[..4].copy_from_slice(&((frame_len - LENGTH_BYTES) as u32).to_le_bytes());
    head[4..12].copy_from_slice(&correlation_id.to_le_bytes());
    head[12] = kind as u8;
    head[13..HEAD_BYTES].copy_from_slice(&(header_len as u32).to_le_bytes());
    Ok(frame_len)
}

/// What a header of this kind may take.
#[must_use]
pub const fn header_bytes_max(kind: FrameKind) -> usize {
    match kind {
        FrameKind::Response => limits::RESPONSE_BYTES_MAX,
        _ => limits::FRAME_HEADER_BYTES_MAX,
    }
}

struct AppendTo<'a>(&'a mut BytesMut);

impl postcard::ser_flavors::Flavor for AppendTo<'_> {
    type Output = ();

    fn try_extend(&mut self, data: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(data);
        Ok(())
    }

    fn try_push(&mut self, data: u8) -> postcard::Result<()> {
        self.0.extend_from_slice(&[data]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Why bytes are not a frame, or not one that is allowed here.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// Shorter than its fixed part.
    #[error("a frame of {found} bytes; the shortest has {HEAD_BYTES}")]
    TooShort {
        /// Bytes claimed.
        found: usize,
    },
    /// Longer than allowed.
    #[error("a frame of {found} bytes; at most {limit} are allowed")]
    TooLong {
        /// Bytes claimed.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// No kind of frame has this number.
    #[error("a frame of unknown kind {found}")]
    UnknownKind {
        /// The number.
        found: u8,
    },
    /// The header is longer than allowed.
    #[error("a {kind:?} frame with a header of {found} bytes; at most {limit} are allowed")]
    HeaderTooLong {
        /// The frame's kind.
        kind: FrameKind,
        /// Bytes claimed.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// The header is longer than the frame.
    #[error("a {kind:?} frame of {frame_len} bytes with a header of {header_len} bytes")]
    HeaderBeyondFrame {
        /// The frame's kind.
        kind: FrameKind,
        /// Bytes of the header.
        header_len: usize,
        /// Bytes of the frame.
        frame_len: usize,
    },
    /// The header is not what its kind says.
    #[error("a {kind:?} frame with a header that cannot be read: {source}")]
    Malformed {
        /// The frame's kind.
        kind: FrameKind,
        /// What postcard found.
        source: postcard::Error,
    },
    /// The header goes on after its end.
    #[error("a {kind:?} frame with {count} bytes after its header's end")]
    TrailingBytes {
        /// The frame's kind.
        kind: FrameKind,
        /// How many.
        count: usize,
    },
    /// The payload is not as long as the header says, or there is one where none belongs.
    #[error("a {kind:?} frame with a payload of {found} bytes; its header says {expected}")]
    PayloadLength {
        /// The frame's kind.
        kind: FrameKind,
        /// Bytes found.
        found: usize,
        /// Bytes expected.
        expected: usize,
    },
    /// This side is never sent such a frame, or not now.
    #[error("a {kind:?} frame where {expected} was expected")]
    Unexpected {
        /// The frame's kind.
        kind: FrameKind,
        /// What was expected.
        expected: &'static str,
    },
    /// More was pushed than there was credit for.
    #[error("{excess} bytes pushed beyond the credit of subscription {subscription}")]
    BeyondCredit {
        /// The subscription.
        subscription: u64,
        /// How many bytes too many.
        excess: u64,
    },
    /// A number that belongs to no request or subscription, or to more than one.
    #[error("a {kind:?} frame with correlation id {found}; {expected}")]
    CorrelationId {
        /// The frame's kind.
        kind: FrameKind,
        /// The number.
        found: u64,
        /// Which would do.
        expected: &'static str,
    },
}

impl From<FrameError> for Error {
    fn from(error: FrameError) -> Self {
        Self::new(ErrorCode::CorruptFrame, error.to_string()).with_source(error)
    }
}
