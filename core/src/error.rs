//! The one error type that leaves this crate, in every language.
//!
//! Inside, each operation has its own `thiserror` enum that carries facts. At the edge they become an
//! [`Error`]: a coarse, prescriptive [`ErrorKind`] (what the caller does about it), a stable
//! [`ErrorCode`], a message for people, and an [`Outcome`] (may it have happened all the same?).
//! Messages are no API; kinds, codes and outcomes are.

use std::fmt;
use std::sync::Arc;

pub use crate::protocol::error_code::ErrorCode;

/// A result of Headwater.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as the caller must react to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Option, name, size, address or state of the call is wrong: fix the call.
    InvalidArgument,
    /// Topic, partition, group or folder is not there: create it or fix the name.
    NotFound,
    /// It is there already: ignore it, or rename.
    AlreadyExists,
    /// The offset was deleted or is past the end: choose a start.
    OffsetOutOfRange,
    /// Buffer, disk, quota or connection limit reached: wait, slow down, make room.
    Full,
    /// Broker, owner or leader cannot be reached, or leaves: wait; check the address.
    Unavailable,
    /// The folder is owned by another process that does not share it.
    Locked,
    /// The deadline of the call passed: read the outcome, then retry or raise the limit.
    Timeout,
    /// A newer producer, member or owner took over: the work belongs to another now.
    Fenced,
    /// Not authenticated or not allowed.
    Denied,
    /// Version, codec, feature or platform lacks it.
    Unsupported,
    /// Bytes on disk or wire fail their check.
    Corrupt,
    /// A write or sync failed and the log stopped: fix the disk, open again.
    Storage,
    /// The handle was closed, its process forked, or its fatal error is in `source`.
    Closed,
    /// A bug of ours, or a panic caught.
    Internal,
}

impl ErrorKind {
    /// Every kind, in the order of the documentation's table.
    pub const ALL: &'static [Self] = &[
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::OffsetOutOfRange,
        Self::Full,
        Self::Unavailable,
        Self::Locked,
        Self::Timeout,
        Self::Fenced,
        Self::Denied,
        Self::Unsupported,
        Self::Corrupt,
        Self::Storage,
        Self::Closed,
        Self::Internal,
    ];

    /// The name, the same in every language.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::InvalidArgument => "InvalidArgument",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::OffsetOutOfRange => "OffsetOutOfRange",
            Self::Full => "Full",
            Self::Unavailable => "Unavailable",
            Self::Locked => "Locked",
            Self::Timeout => "Timeout",
            Self::Fenced => "Fenced",
            Self::Denied => "Denied",
            Self::Unsupported => "Unsupported",
            Self::Corrupt => "Corrupt",
            Self::Storage => "Storage",
            Self::Closed => "Closed",
            Self::Internal => "Internal",
        }
    }

    /// Whether the same call may succeed later. The library has already retried until its deadline.
    #[must_use]
    pub const fn is_retriable(self) -> bool {
        matches!(
            self,
            Self::Full | Self::Unavailable | Self::Locked | Self::Timeout
        )
    }

    /// Whether the object that failed is of no further use.
    #[must_use]
    pub const fn is_fatal(self) -> bool {
        matches!(self, Self::Storage | Self::Fenced | Self::Closed)
    }
}

/// Whether what was asked may have happened although the call failed.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize,
)]
pub enum Outcome {
    /// Nothing happened.
    #[default]
    NotDone,
    /// A send or commit may have happened.
    Unknown,
}

impl Outcome {
    /// `not_done` or `unknown`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotDone => "not_done",
            Self::Unknown => "unknown",
        }
    }
}

/// A failure, as the application sees it. Cheap to clone: one allocation, shared.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    code: ErrorCode,
    message: String,
    outcome: Outcome,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error with this code and message; its kind is the code's, its outcome `not_done`.
    ///
    /// The message names the thing, what was found and what was expected.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Arc::new(Inner {
            code,
            message: message.into(),
            outcome: Outcome::NotDone,
            source: None,
        }))
    }

    /// The same error with another outcome.
    #[must_use]
    pub fn with_outcome(self, outcome: Outcome) -> Self {
        self.rebuild(|inner| inner.outcome = outcome)
    }

    /// The same error with its cause.
    #[must_use]
    pub fn with_source(self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let source = source.into();
        self.rebuild(|inner| inner.source = Some(source))
    }

    /// What the caller does about it.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind()
    }

    /// The stable code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The text for people. No API: it may change in any release.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether it may have happened all the same.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        self.0.outcome
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub fn is_retriable(&self) -> bool {
        self.kind().is_retriable()
    }

    /// Whether the object that failed is of no further use.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.kind().is_fatal()
    }

    fn rebuild(self, change: impl FnOnce(&mut Inner)) -> Self {
        // A shared error keeps its text but not its cause: a boxed cause cannot be cloned.
        let mut inner = Arc::try_unwrap(self.0).unwrap_or_else(|shared| Inner {
            code: shared.code,
            message: shared.message.clone(),
            outcome: shared.outcome,
            source: None,
        });
        change(&mut inner);
        Self(Arc::new(inner))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.kind())
            .field("code", &self.0.code.name())
            .field("message", &self.0.message)
            .field("outcome", &self.0.outcome)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

impl PartialEq for Error {
    fn eq(&self, other: &Self) -> bool {
        self.0.code == other.0.code
            && self.0.message == other.0.message
            && self.0.outcome == other.0.outcome
    }
}
