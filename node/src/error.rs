//! Errors on their way to JavaScript: a `HeadwaterError` made by the factory that `lib/hub.cjs` hands in.

use std::error::Error as _;
use std::panic::{AssertUnwindSafe, catch_unwind};

use headwater::{Error, ErrorCode, Outcome};
use napi::bindgen_prelude::{FnArgs, FunctionRef, ToNapiValue, Unknown};
use napi::{Env, Status};
use napi_derive::napi;

use crate::hub::Host;

/// `(kind, code, message, outcome, retriable, fatal, cause)` of a new error.
pub(crate) type ErrorArgs = FnArgs<(
    &'static str,
    &'static str,
    String,
    &'static str,
    bool,
    bool,
    Option<String>,
)>;

/// The JavaScript function that makes an error.
pub(crate) type ErrorFactory = FunctionRef<ErrorArgs, Unknown<'static>>;

/// A row of the table of errors, for the tests that pin it in every language.
#[napi(object)]
#[derive(Debug)]
pub struct ErrorRow {
    /// The number in completion rows and on the wire.
    pub number: u32,
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
#[napi(catch_unwind)]
pub fn error_table() -> Vec<ErrorRow> {
    let row = |code: &ErrorCode| ErrorRow {
        number: u32::from(*code as u16),
        code: code.name().into(),
        kind: code.kind().name().into(),
        retriable: code.kind().is_retriable(),
        fatal: code.kind().is_fatal(),
    };
    ErrorCode::ALL.iter().map(row).collect()
}

/// An error of the table, for what JavaScript itself refuses.
#[napi(catch_unwind)]
pub fn make_error<'env>(
    env: &'env Env,
    code: String,
    message: String,
    outcome: String,
) -> napi::Result<Unknown<'env>> {
    let known = ErrorCode::ALL.iter().find(|known| known.name() == code);
    let error = Error::new(*known.unwrap_or(&ErrorCode::UnknownServerError), message);
    let is_unknown = outcome == Outcome::Unknown.name();
    let outcome = if is_unknown {
        Outcome::Unknown
    } else {
        Outcome::NotDone
    };
    to_js(env, &error.with_outcome(outcome))
}

/// Runs `call`; what it refuses, and a panic in it, is thrown as a `HeadwaterError`.
pub(crate) fn guard<T>(env: &Env, call: impl FnOnce() -> Result<T, Error>) -> napi::Result<T> {
    catch_unwind(AssertUnwindSafe(call))
        .unwrap_or_else(|panic| Err(of_panic(panic.as_ref())))
        .map_err(|error| thrown(env, &error))
}

/// The error as JavaScript throws it.
pub(crate) fn thrown(env: &Env, error: &Error) -> napi::Error {
    match to_js(env, error) {
        Ok(value) => napi::Error::from(value),
        Err(failed) => failed,
    }
}

/// The error as a value.
pub(crate) fn to_js<'env>(env: &'env Env, error: &Error) -> napi::Result<Unknown<'env>> {
    let arguments = ErrorArgs::from((
        error.kind().name(),
        error.code().name(),
        error.message().to_owned(),
        error.outcome().name(),
        error.is_retriable(),
        error.is_fatal(),
        error.source().map(ToString::to_string),
    ));
    let host = Host::of(env)?;
    host.make_error
        .borrow_back(env)?
        .call(arguments)?
        .into_unknown(env)
}

/// What the module itself could not do, such as making an array.
pub(crate) fn internal(reason: impl Into<String>) -> napi::Error {
    napi::Error::new(Status::GenericFailure, reason.into())
}

fn of_panic(panic: &(dyn std::any::Any + Send)) -> Error {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    Error::new(
        ErrorCode::UnknownServerError,
        format!("a bug in Headwater, please report it: {text}"),
    )
    .with_outcome(Outcome::Unknown)
}
