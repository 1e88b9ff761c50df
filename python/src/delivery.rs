//! What becomes of records that were sent: one, or many.

use std::sync::Arc;

use headwater::ErrorCode;
use headwater::client;
use headwater::completion::NotifyQueue;
use pyo3::exceptions::{PyIndexError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyList;

use crate::error::{OrRaise, to_py};
use crate::pending::{seconds, timed_out, wait_until};
use crate::record::PyRecordMetadata;
use crate::waker::future_for;

/// A record on its way. Dropped unread, its failure comes out of flush and close.
#[pyclass(frozen, module = "headwater", name = "Delivery")]
pub(crate) struct Delivery {
    of: Of,
}

/// Whose the delivery is: a copy would be dropped unread on its own account.
enum Of {
    One(client::Delivery),
    Many(Py<Deliveries>, usize),
}

impl From<client::Delivery> for Delivery {
    fn from(inner: client::Delivery) -> Self {
        Self { of: Of::One(inner) }
    }
}

impl Delivery {
    fn inner(&self) -> &client::Delivery {
        match &self.of {
            Of::One(inner) => inner,
            Of::Many(deliveries, index) => &deliveries.get().inner[*index],
        }
    }
}

#[pymethods]
impl Delivery {
    /// Wait for the answer (seconds; None: for ever) and return where the record went.
    #[pyo3(signature = (timeout=None))]
    fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<PyRecordMetadata> {
        let timeout = seconds(py, timeout)?;
        wait_for(py, "delivery", timeout, self.inner())
    }

    /// Whether the record is acknowledged or failed.
    fn done(&self) -> bool {
        self.inner().is_done()
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        match slf.get().inner().peek() {
            Some(result) => {
                let value = Py::new(py, PyRecordMetadata(result.or_raise(py)?))?.into_any();
                Ok(Bound::new(py, Answered { value })?.into_any())
            }
            None => await_in_loop(slf.as_any()),
        }
    }

    /// A future of the running event loop, done when this is.
    fn _future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        future_for(py, |queue, ticket| self.inner().notify(queue, ticket))
    }

    /// The answer, which must be there.
    fn _take(&self, py: Python<'_>) -> PyResult<PyRecordMetadata> {
        wait_for(
            py,
            "delivery",
            Some(std::time::Duration::ZERO),
            self.inner(),
        )
    }

    fn __repr__(&self) -> &'static str {
        // Not the answer: whoever looks at it has been told of a failure.
        if self.inner().is_done() {
            "<Delivery, done>"
        } else {
            "<Delivery, on its way>"
        }
    }
}

/// Records on their way, in the order they were sent: a sequence of `Delivery`.
#[pyclass(frozen, sequence, module = "headwater", name = "Deliveries")]
pub(crate) struct Deliveries {
    pub(crate) inner: Vec<client::Delivery>,
}

#[pymethods]
impl Deliveries {
    /// Wait for all (seconds; None: for ever) and return where the records went, or raise the first
    /// failure.
    #[pyo3(signature = (timeout=None))]
    fn result<'py>(&self, py: Python<'py>, timeout: Option<f64>) -> PyResult<Bound<'py, PyList>> {
        let timeout = seconds(py, timeout)?;
        let deadline = timeout.and_then(|timeout| std::time::Instant::now().checked_add(timeout));
        let mut found = Vec::with_capacity(self.inner.len());
        for delivery in &self.inner {
            let left = deadline
                .map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
            found.push(wait_for(py, "deliveries", left, delivery)?);
        }
        PyList::new(py, found)
    }

    /// Whether every record is acknowledged or failed.
    fn done(&self) -> bool {
        self.inner.iter().all(client::Delivery::is_done)
    }

    fn __await__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        await_in_loop(slf.as_any())
    }

    /// A future of the running event loop, done when every record is acknowledged or failed.
    fn _future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        future_for(py, |queue, ticket| notify_last(&self.inner, queue, ticket))
    }

    /// The answers, which must be there.
    fn _take<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.result(py, Some(0.0))
    }

    fn __len__(&self) -> usize {
        self.inner.len()
    }

    fn __getitem__(slf: &Bound<'_, Self>, index: isize) -> PyResult<Delivery> {
        let len = slf.get().inner.len();
        let place = if index < 0 {
            index + len as isize
        } else {
            index
        };
        match usize::try_from(place) {
            Ok(place) if place < len => Ok(Delivery {
                of: Of::Many(slf.clone().unbind(), place),
            }),
            _ => Err(PyIndexError::new_err(format!(
                "{len} deliveries have no {index}"
            ))),
        }
    }

    fn __repr__(&self) -> String {
        format!("<Deliveries of {} records>", self.inner.len())
    }
}

/// Notifies once, when the last of them is done: each is watched after the one before.
fn notify_last(deliveries: &[client::Delivery], queue: &Arc<NotifyQueue>, ticket: u64) {
    let open = deliveries.iter().rev().find(|delivery| !delivery.is_done());
    match open {
        // The caller looks again when woken: another partition's batch may still be on its way.
        Some(delivery) => delivery.notify(queue, ticket),
        None => queue.push(ticket),
    }
}

fn wait_for(
    py: Python<'_>,
    what: &str,
    timeout: Option<std::time::Duration>,
    delivery: &client::Delivery,
) -> PyResult<PyRecordMetadata> {
    let mut answer = delivery.peek();
    if answer.is_none() {
        wait_until(py, timeout, |slice| {
            // A wait that timed out is not an answer; what peek finds is.
            match (delivery.wait(Some(slice)), delivery.peek()) {
                (_, Some(_)) => Ok(true),
                (Err(error), None) if error.code() == ErrorCode::InvalidState => Err(error),
                (_, None) => Ok(false),
            }
        })?;
        answer = delivery.peek();
    }
    match answer {
        Some(Ok(metadata)) => Ok(PyRecordMetadata(metadata)),
        Some(Err(error)) => Err(to_py(py, &error)),
        None => Err(timed_out(py, what, timeout)),
    }
}

fn await_in_loop<'py>(awaited: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    static WAIT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let wait = WAIT.import(awaited.py(), "headwater._wait", "wait")?;
    wait.call1((awaited,))?.call_method0("__await__")
}

/// What `await` gets from a delivery that is done: it answers without a turn of the event loop.
#[pyclass(frozen, module = "headwater._native")]
struct Answered {
    value: Py<PyAny>,
}

#[pymethods]
impl Answered {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Err(PyStopIteration::new_err((self.value.clone_ref(py),)))
    }
}
