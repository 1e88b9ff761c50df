//! Why a log cannot be opened, read or written, with the facts; and what the caller is told.

use std::io;
use std::sync::Arc;

use thiserror::Error as ThisError;

use crate::error::{Error, ErrorCode, Outcome};

use super::cold::ColdError;
use super::frame::FrameError;
use super::segment::SegmentError;

/// Why a log cannot be opened.
#[derive(Debug, ThisError)]
#[non_exhaustive]
pub(super) enum OpenError {
    /// A file or folder cannot be read or written; the storage's error names it.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Promised data is damaged. Nothing was changed.
    #[error("{0}")]
    Corrupt(Box<Damage>),
    /// The first segment does not begin with the first entry.
    #[error(
        "{path} begins behind index {previous_index}: the segments before it are missing, and no snapshot \
         or checkpoint makes up for them"
    )]
    FrontMissing {
        /// The first file there is.
        path: String,
        /// The last index before it.
        previous_index: u64,
    },
    /// A newer version wrote a segment.
    #[error("{path}: {source}")]
    SegmentTooNew {
        /// The file.
        path: String,
        /// What is too new.
        source: SegmentError,
    },
    /// A cold segment cannot be used.
    #[error("{path}: {source}")]
    Cold {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: ColdError,
    },
    /// A newer version wrote a frame.
    #[error("{path}, position {position}: {source}")]
    FrameTooNew {
        /// The file.
        path: String,
        /// Position of the frame.
        position: u64,
        /// What is too new.
        source: FrameError,
    },
    /// Numbers end.
    #[error("{path}: there is no {what} after {last}")]
    Exhausted {
        /// The log's folder.
        path: String,
        /// What has run out.
        what: &'static str,
        /// The last one.
        last: u64,
    },
}

/// Damage to promised data: where, what, and why it counts as promised.
#[derive(Debug)]
pub(super) struct Damage {
    /// The file.
    pub(super) path: String,
    /// Position of the first bad byte's frame.
    pub(super) position: u64,
    /// What is wrong there.
    pub(super) problem: Problem,
    /// The index that should stand there.
    pub(super) index: u64,
    /// The largest index known to have been synced.
    pub(super) durable: u64,
    /// The partition and base offset that the damaged bytes speak of, if they can be read.
    pub(super) about: Option<(u32, Option<i64>)>,
}

/// What is wrong at a place of the log.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub(super) enum Problem {
    /// A frame.
    #[error("{0}")]
    Frame(#[from] FrameError),
    /// A segment's header.
    #[error("{0}")]
    Segment(#[from] SegmentError),
    /// A segment does not go on where the one before ends.
    #[error(
        "the segment goes on after index {index} of term {term}, the log before it ends at index {last_index} of term {last_term}"
    )]
    Chain {
        /// The header's previous index.
        index: u64,
        /// The header's previous term.
        term: u32,
        /// The last index found.
        last_index: u64,
        /// Its term.
        last_term: u32,
    },
    /// The frames of a segment end before an entry that the segments behind it go on from.
    #[error("the frames end before index {index}")]
    End {
        /// The entry.
        index: u64,
    },
}

impl Problem {
    /// Whether a power cut can have left this. A header that is intact and says something else never is.
    pub(super) fn may_be_torn(&self) -> bool {
        match self {
            Self::Frame(_) | Self::Chain { .. } | Self::End { .. } => true,
            Self::Segment(error) => error.may_be_torn(),
        }
    }
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}, position {}: {}; index {} was to stand there, and everything up to index {} had been \
             synced",
            self.path, self.position, self.problem, self.index, self.durable
        )?;
        match self.about {
            None => Ok(()),
            Some((partition, None)) => write!(f, " (partition id {partition})"),
            Some((partition, Some(offset))) => {
                write!(f, " (partition id {partition}, offset {offset})")
            }
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        let code = match &error {
            OpenError::Io(source) if is_full(source) => ErrorCode::DiskFull,
            OpenError::Io(_) | OpenError::Exhausted { .. } => ErrorCode::KafkaStorageError,
            OpenError::Corrupt(_) | OpenError::FrontMissing { .. } => ErrorCode::CorruptSegment,
            OpenError::SegmentTooNew { .. }
            | OpenError::FrameTooNew { .. }
            | OpenError::Cold {
                source: ColdError::TooNew { .. },
                ..
            } => ErrorCode::FolderTooNew,
            OpenError::Cold { .. } => ErrorCode::CorruptSegment,
        };
        let found = Self::new(code, error.to_string());
        match error {
            OpenError::Io(source) => found.with_source(source),
            _ => found,
        }
    }
}

/// What an appender is told whose batch or payload is not one.
pub(super) fn invalid(error: &dyn std::error::Error) -> Error {
    Error::new(
        ErrorCode::CorruptMessage,
        format!("what is to be appended is malformed: {error}"),
    )
}

/// Whether an error of a storage says that there is no space.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// What stopped a log: told to everyone who asks it for anything from then on. The storage's error, which
/// names the file and what was tried with it.
#[derive(Clone, Debug, ThisError)]
#[error("{0}")]
pub(super) struct Fault(Arc<io::Error>);

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self(Arc::new(error))
    }
}

impl From<OpenError> for Fault {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Io(error) => error.into(),
            other => io::Error::other(other).into(),
        }
    }
}

impl Fault {
    /// What the caller is told; `outcome` is `Unknown` where bytes may have reached the file.
    pub(super) fn error(&self, outcome: Outcome) -> Error {
        Error::new(
            ErrorCode::KafkaStorageError,
            format!("{self}; the log has stopped: close it and open it again"),
        )
        .with_outcome(outcome)
        .with_source(self.clone())
    }
}
