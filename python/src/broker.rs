//! The broker and the command line, from the broker's library.

use pyo3::prelude::*;

/// Runs the command line and returns its exit code.
#[pyfunction]
pub(crate) fn cli_main(arguments: Vec<String>) -> i32 {
    let _ = arguments;
    2
}
