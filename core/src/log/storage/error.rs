//! What a storage's errors carry: the file and what was tried with it.
//!
//! An [`io::Error`] of a storage keeps the kind of its cause, so that `NotFound`, `StorageFull` and so on
//! can be told apart, and holds a [`PathError`] for the message and the operating system's number.

use std::io::{self, ErrorKind};

use crate::error::{Error, ErrorCode};

/// What was tried, with which file, and what came of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot {operation} {path}: {cause}")]
pub struct PathError {
    operation: &'static str,
    path: String,
    // Not the `source`: the message already holds its text, and a chain would print it twice.
    cause: io::Error,
}

impl PathError {
    /// Wraps `cause`; the outer error has the same kind.
    pub(crate) fn wrap(operation: &'static str, path: &str, cause: io::Error) -> io::Error {
        let path = if path.is_empty() { "." } else { path }.to_owned();
        io::Error::new(
            cause.kind(),
            Self {
                operation,
                path,
                cause,
            },
        )
    }

    /// The path error inside an error of a storage.
    #[must_use]
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// What was tried: a verb with its object's preposition, such as `sync` or `rename`.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    /// The file or folder, as the storage was asked for it (on disk: with the root in front).
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The operating system's error number, if it came from there.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.cause.raw_os_error()
    }
}

/// A storage's error as the application sees it: the disk is full, or the log cannot go on.
pub(crate) fn error_of(error: &io::Error) -> Error {
    let code = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => ErrorCode::DiskFull,
        _ => ErrorCode::KafkaStorageError,
    };
    Error::new(code, error.to_string())
}
