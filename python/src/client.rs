//! The client: an open log.

use std::sync::{Arc, Weak};

use headwater::client::{
    self, CloseReport, ConnectOptions, ConsumerOptions, Health, MemberHealth, ProducerOptions,
};
use headwater::sync::Mutex;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::admin::Admin;
use crate::config::{make, options_of};
use crate::consumer::Shared;
use crate::error::{OrRaise, to_py};
use crate::pending::{PyPending, seconds};

/// Opens the log at an address; the answer is a `Client`.
#[pyfunction]
#[pyo3(signature = (address, **options))]
pub(crate) fn connect(
    py: Python<'_>,
    address: &str,
    options: Option<&Bound<'_, PyDict>>,
) -> PyResult<PyPending> {
    let options = options_of::<ConnectOptions>(py, options)?;
    let pending = client::connect_with(address, options);
    Ok(PyPending::new("connect", pending, |py, inner| {
        let client = Client {
            inner,
            consumers: Mutex::default(),
        };
        Ok(Py::new(py, client)?.into_any())
    }))
}

/// An address as core prints it, for the tests of the grammar.
#[pyfunction]
pub(crate) fn parse_address(py: Python<'_>, text: &str) -> PyResult<String> {
    client::parse_address(text)
        .map(|address| address.to_string())
        .or_raise(py)
}

/// An open log.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct Client {
    pub(crate) inner: client::Client,
    /// They know better than core how far their loops are.
    consumers: Mutex<Vec<Weak<Shared>>>,
}

#[pymethods]
impl Client {
    #[getter]
    fn address(&self) -> &str {
        self.inner.address()
    }

    #[getter]
    fn closed(&self) -> bool {
        self.inner.is_closed()
    }

    /// How long `close` waits unless told, in seconds.
    #[getter]
    fn close_timeout(&self) -> f64 {
        self.inner.close_timeout().as_secs_f64()
    }

    /// How long it may be closed for when somebody wants to leave, in seconds.
    #[getter]
    fn exit_timeout(&self) -> f64 {
        self.inner.exit_timeout().as_secs_f64()
    }

    fn admin(&self) -> Admin {
        Admin {
            inner: self.inner.admin(),
        }
    }

    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = PyDict::new(py);
        for (name, value) in self.inner.metrics().entries() {
            figures.set_item(name, value)?;
        }
        Ok(figures)
    }

    /// How it is, and why it does not work if it does not.
    fn health(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        health_to_py(py, self.inner.health())
    }

    #[pyo3(signature = (timeout=None))]
    fn close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<PyPending> {
        let timeout = seconds(py, timeout)?;
        let open = std::mem::take(&mut *self.consumers.lock());
        open.iter()
            .filter_map(Weak::upgrade)
            .for_each(|consumer| consumer.report());
        let pending = self.inner.close(timeout);
        Ok(PyPending::new("close", pending, |py, report| {
            report_to_py(py, &report)
        }))
    }
}

impl Client {
    /// A producer with the options that `keywords` set, and how long it waits for room.
    pub(crate) fn producer(
        &self,
        py: Python<'_>,
        keywords: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<(client::Producer, u64)> {
        let options = options_of::<ProducerOptions>(py, keywords)?;
        let max_block_ms = options.max_block_ms();
        Ok((self.inner.producer(options).or_raise(py)?, max_block_ms))
    }

    /// A consumer of `topics` with the options that `keywords` set.
    pub(crate) fn consumer(
        &self,
        py: Python<'_>,
        topics: &[String],
        keywords: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<client::Consumer> {
        let options = options_of::<ConsumerOptions>(py, keywords)?;
        self.inner.consumer(topics, options).or_raise(py)
    }

    /// Has the consumer asked, when the client is closed, how far it is.
    pub(crate) fn remember(&self, consumer: &Arc<Shared>) {
        let mut consumers = self.consumers.lock();
        consumers.retain(|one| one.strong_count() > 0);
        consumers.push(Arc::downgrade(consumer));
    }
}

/// `headwater.CloseReport`.
pub(crate) fn report_to_py(py: Python<'_>, report: &CloseReport) -> PyResult<Py<PyAny>> {
    let first_error = report
        .first_error
        .as_ref()
        .map(|error| to_py(py, error).into_value(py));
    make(
        py,
        "CloseReport",
        (report.unsent_records, report.failed_records, first_error),
    )
}

fn health_to_py(py: Python<'_>, health: Health) -> PyResult<Py<PyAny>> {
    let last_error = health.last_error.as_ref();
    let last_error = last_error.map(|error| to_py(py, error).into_value(py));
    let members = health.members.into_iter();
    let members = members.map(|member| member_to_py(py, member));
    let arguments = (
        health.is_healthy,
        health.reason,
        health.is_closed,
        health.address,
        health.is_connected,
        health.since_ms,
        last_error,
        members.collect::<PyResult<Vec<_>>>()?,
        health.buffered_bytes,
        health.buffered_records,
        health.oldest_unsent_ms,
    );
    make(py, "Health", arguments)
}

fn member_to_py(py: Python<'_>, member: MemberHealth) -> PyResult<Py<PyAny>> {
    let arguments = (
        member.group,
        member.member_id,
        member.generation,
        member.state.name(),
        member.partitions,
        member.last_heartbeat_ms,
        member.reason,
    );
    make(py, "MemberHealth", arguments)
}

/// Closes what is still open when the interpreter ends; the report of all of it.
#[pyfunction]
pub(crate) fn at_exit(py: Python<'_>) -> PyResult<Py<PyAny>> {
    let report = py.detach(|| client::exit(None));
    crate::waker::end(py);
    report_to_py(py, &report)
}

/// To be called in the child after a fork.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    headwater::after_fork_in_child();
    crate::waker::after_fork_in_child();
}
