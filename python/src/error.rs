//! Core's errors as Python's exceptions: one class per kind, made in `headwater._errors`.
//!
//! The classes are Python's, because they have built-in bases too; this module fills in what core
//! says: `code`, `outcome`, `message`, and the cause as `__cause__`.

use headwater::record::block::BlockError;
use headwater::{Error, ErrorCode, ErrorKind, Outcome};
use pyo3::exceptions::{PyException, PyOSError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyType;

/// The exception for `error`.
pub(crate) fn to_py(py: Python<'_>, error: &Error) -> PyErr {
    match instance(py, error) {
        Ok(exception) => PyErr::from_value(exception),
        // The classes cannot be had (the interpreter is going down): that error says more.
        Err(broken) => broken,
    }
}

/// The exception for a code and a message of this binding itself.
pub(crate) fn raise(py: Python<'_>, code: ErrorCode, message: impl Into<String>) -> PyErr {
    to_py(py, &Error::new(code, message))
}

/// The exception for a block that is none.
pub(crate) fn corrupt_block(py: Python<'_>, error: &BlockError) -> PyErr {
    raise(py, ErrorCode::CorruptFrame, format!("not a block: {error}"))
}

/// Turns core's result into Python's.
pub(crate) trait OrRaise<T> {
    /// The value, or the exception for the error.
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for headwater::Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| to_py(py, &error))
    }
}

/// `(number, kind, code, retriable, fatal)` of every code, for the tests of the classes.
#[pyfunction]
pub(crate) fn error_table() -> Vec<(u16, &'static str, &'static str, bool, bool)> {
    let row = |code: &ErrorCode| {
        let kind = code.kind();
        (
            *code as u16,
            kind.name(),
            code.name(),
            kind.is_retriable(),
            kind.is_fatal(),
        )
    };
    ErrorCode::ALL.iter().map(row).collect()
}

/// The exception that core's error of this code becomes, for the tests of the classes.
#[pyfunction]
pub(crate) fn make_error(py: Python<'_>, code: &str, message: &str) -> PyResult<Py<PyAny>> {
    let known = ErrorCode::ALL.iter().find(|known| known.name() == code);
    let Some(code) = known else {
        return Err(raise(
            py,
            ErrorCode::InvalidArgument,
            format!("no code is named `{code}`"),
        ));
    };
    instance(py, &Error::new(*code, message)).map(Bound::unbind)
}

fn instance<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let exception = class_of(py, error.kind())?
        .bind(py)
        .call1((error.message(),))?;
    exception.setattr(intern!(py, "code"), error.code().name())?;
    if error.outcome() == Outcome::Unknown {
        exception.setattr(intern!(py, "outcome"), error.outcome().name())?;
    }
    if let Some(source) = std::error::Error::source(error) {
        exception.setattr(intern!(py, "__cause__"), cause(py, source).into_value(py))?;
    }
    Ok(exception)
}

fn cause(py: Python<'_>, source: &(dyn std::error::Error + 'static)) -> PyErr {
    if let Some(error) = source.downcast_ref::<Error>() {
        return to_py(py, error);
    }
    let number = source
        .downcast_ref::<std::io::Error>()
        .and_then(std::io::Error::raw_os_error);
    match number {
        Some(number) => PyOSError::new_err((number, source.to_string())),
        None => PyException::new_err(source.to_string()),
    }
}

fn class_of(py: Python<'_>, kind: ErrorKind) -> PyResult<&'static Py<PyType>> {
    static CLASSES: PyOnceLock<Vec<(ErrorKind, Py<PyType>)>> = PyOnceLock::new();
    let classes = CLASSES.get_or_try_init(py, || {
        let module = py.import("headwater._errors")?;
        let class = |kind: &ErrorKind| {
            let class = module.getattr(kind.name())?.cast_into::<PyType>()?;
            Ok((*kind, class.unbind()))
        };
        ErrorKind::ALL
            .iter()
            .map(class)
            .collect::<PyResult<Vec<_>>>()
    })?;
    let found = classes.iter().find(|(known, _)| *known == kind);
    let (_, class) = found.ok_or_else(|| PyException::new_err("an error of an unknown kind"))?;
    Ok(class)
}
