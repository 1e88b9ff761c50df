//! Errors on their way to the host: kind, code, message, outcome, and what follows from them.

use std::error::Error as _;

use headwater::{Error, ErrorCode, Outcome};

/// An error as plain fields; the facade makes its own error type of it.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ErrorFacts {
    /// What the caller does about it, such as `NotFound`.
    pub kind: String,
    /// The stable code, such as `UNKNOWN_TOPIC_OR_PARTITION`.
    pub code: String,
    /// The text for people.
    pub text: String,
    /// Whether it may have happened all the same: outcome `unknown`, else `not_done`.
    pub is_unknown: bool,
    /// Whether the same call may succeed later.
    pub retriable: bool,
    /// Whether the object that failed is of no further use.
    pub fatal: bool,
    /// What caused it, as text.
    pub cause: Option<String>,
}

/// What a call of this module fails with.
#[derive(Debug, thiserror::Error, uniffi::Error)]
pub enum NativeError {
    /// The one variant: facts instead of cases, so that a new code changes no signature.
    #[error("{}", facts.text)]
    Failed {
        /// What is known.
        facts: ErrorFacts,
    },
}

impl From<Error> for NativeError {
    fn from(error: Error) -> Self {
        Self::Failed {
            facts: ErrorFacts::from(&error),
        }
    }
}

impl From<&Error> for ErrorFacts {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name().into(),
            code: error.code().name().into(),
            text: error.message().into(),
            is_unknown: error.outcome() == Outcome::Unknown,
            retriable: error.is_retriable(),
            fatal: error.is_fatal(),
            cause: error.source().map(ToString::to_string),
        }
    }
}

/// A row of the table of errors, for the tests that pin it in every language.
#[derive(Clone, Debug, uniffi::Record)]
pub struct ErrorRow {
    /// The number in completion rows and on the wire.
    pub number: i32,
    /// The stable name.
    pub code: String,
    /// What the caller does about it.
    pub kind: String,
    /// Whether the same call may succeed later.
    pub retriable: bool,
    /// Whether the object that failed is of no further use.
    pub fatal: bool,
}

/// Every error code.
#[uniffi::export]
#[must_use]
pub fn error_table() -> Vec<ErrorRow> {
    let row = |code: &ErrorCode| ErrorRow {
        number: i32::from(*code as u16),
        code: code.name().into(),
        kind: code.kind().name().into(),
        retriable: code.kind().is_retriable(),
        fatal: code.kind().is_fatal(),
    };
    ErrorCode::ALL.iter().map(row).collect()
}

/// An error of the table, for what a facade itself refuses.
#[uniffi::export]
#[must_use]
pub fn make_error(code: String, text: String, is_unknown: bool) -> ErrorFacts {
    let known = ErrorCode::ALL.iter().find(|known| known.name() == code);
    let error = Error::new(*known.unwrap_or(&ErrorCode::UnknownServerError), text);
    let outcome = if is_unknown {
        Outcome::Unknown
    } else {
        Outcome::NotDone
    };
    ErrorFacts::from(&error.with_outcome(outcome))
}
