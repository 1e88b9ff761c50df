//! Answers: what is said to a request, now or later.

use std::fmt;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::Encodable;

use super::outcome::Outcome;

/// What an API makes of a request.
pub(crate) enum Answer {
    /// It is there.
    Now(Reply),
    /// It comes: polled only once all answers before it have been given.
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

impl Answer {
    /// This message.
    pub(crate) fn now(message: &(impl Encodable + Outcome), version: i16) -> Self {
        Self::Now(Reply::of(message, version))
    }

    /// What comes of this. What is to be asked before others have their turn is asked before the future is
    /// made: it is first polled when the answer is due.
    pub(crate) fn later(reply: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self::Later(Box::pin(reply))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(reply) => f.debug_tuple("Now").field(reply).finish(),
            Self::Later(_) => f.write_str("Later"),
        }
    }
}

/// An answer, encoded, without its header.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nothing is said.
    Nothing,
    /// Nothing may be said, though something went wrong: the end of the connection is what tells it.
    End,
    /// These bytes, one piece after the other.
    Pieces(Vec<Bytes>),
    /// The same, where they say that something went wrong.
    Failed(Vec<Bytes>),
    /// A bug of ours: it cannot be said in this version. The connection ends.
    Unsayable(String),
}

impl Reply {
    /// This message in this version.
    pub(crate) fn of(message: &(impl Encodable + Outcome), version: i16) -> Self {
        let mut buffer = BytesMut::new();
        match message.encode(&mut buffer, version) {
            Ok(()) => Self::pieces(vec![buffer.freeze()], message.has_failed()),
            Err(error) => Self::Unsayable(error.to_string()),
        }
    }

    /// These bytes.
    pub(crate) const fn pieces(pieces: Vec<Bytes>, has_failed: bool) -> Self {
        if has_failed {
            Self::Failed(pieces)
        } else {
            Self::Pieces(pieces)
        }
    }

    /// Whether something went wrong.
    pub(super) const fn has_failed(&self) -> bool {
        !matches!(self, Self::Nothing | Self::Pieces(_))
    }
}
