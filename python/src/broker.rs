//! The broker and the command line, from the broker's library.

use headwater::ServeOptions;
use headwater_broker::cli::{self, Io};
use headwater_broker::{Config, Data, signals};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::config::options_of;
use crate::pending::{PyPending, seconds};

/// Starts a broker in this process: of a folder, or (without one) in memory. The answer is a `Broker`.
#[pyfunction]
#[pyo3(signature = (data=None, *, allow_remote=false, **options))]
pub(crate) fn start_broker(
    py: Python<'_>,
    data: Option<std::path::PathBuf>,
    allow_remote: bool,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyPending> {
    let asked = options_of::<ServeOptions>(py, options)?;
    let mut config = data.map_or_else(Config::memory, Config::folder);
    config.allow_remote = allow_remote;
    config.options = asked.or(&config.options);
    if let Some(data) = config.options.data.take() {
        config.data = Data::Folder(data.into());
    }
    let pending = headwater_broker::Broker::start(config);
    Ok(PyPending::new("start", pending, |py, inner| {
        Ok(Py::new(py, Broker { inner })?.into_any())
    }))
}

/// A broker that is running.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct Broker {
    inner: headwater_broker::Broker,
}

#[pymethods]
impl Broker {
    #[getter]
    fn addresses<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        PyList::new(py, self.inner.addresses().iter().map(ToString::to_string))
    }

    #[getter]
    fn connection_count(&self) -> usize {
        self.inner.connection_count()
    }

    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<PyPending> {
        Ok(PyPending::done(
            "close",
            self.inner.close(seconds(py, timeout)?),
        ))
    }
}

/// Runs the command line, program name first, and returns its exit code.
///
/// For a process that does nothing else: it listens to signals, and a second Ctrl-C ends the process.
#[pyfunction]
pub(crate) fn cli_main(py: Python<'_>, arguments: Vec<std::ffi::OsString>) -> u8 {
    py.detach(|| {
        let stop = signals::stop_on_interrupt(|| std::process::exit(130));
        cli::run_code(arguments, Io::standard(), &stop)
    })
}
