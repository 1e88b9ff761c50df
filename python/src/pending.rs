//! Answers that are on their way, for threads that block and for event loops.
//!
//! A blocking wait detaches from the interpreter and comes back every 100 ms to look at signals, so
//! Ctrl-C works everywhere. An event loop gets a future from [`crate::waker`].

use std::time::{Duration, Instant};

use headwater::sync::Mutex;
use headwater::{ErrorCode, NotifyQueue};
use pyo3::prelude::*;
use std::sync::Arc;

use crate::error::{OrRaise, raise};
use crate::waker::future_for;

/// How long a wait may last before signals are looked at.
const SIGNAL_SLICE: Duration = Duration::from_millis(100);

/// A timeout as Python gives it: seconds, none for no limit.
pub(crate) fn seconds(py: Python<'_>, timeout: Option<f64>) -> PyResult<Option<Duration>> {
    match timeout {
        None => Ok(None),
        Some(seconds) if seconds.is_nan() => Err(raise(
            py,
            ErrorCode::InvalidArgument,
            "timeout is not a number",
        )),
        // Beyond what a duration holds is as good as no limit.
        Some(seconds) => Ok(Duration::try_from_secs_f64(seconds.max(0.0)).ok()),
    }
}

/// Waits detached, in slices, until `is_done` or the timeout; whether it is done.
pub(crate) fn wait_until(
    py: Python<'_>,
    timeout: Option<Duration>,
    mut is_done: impl FnMut(Duration) -> headwater::Result<bool> + Send,
) -> PyResult<bool> {
    let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let slice = left.map_or(SIGNAL_SLICE, |left| left.min(SIGNAL_SLICE));
        if py.detach(|| is_done(slice)).or_raise(py)? {
            return Ok(true);
        }
        py.check_signals()?;
        if left.is_some_and(|left| left <= slice) {
            return Ok(false);
        }
    }
}

/// The error of a wait that ended before the answer came.
pub(crate) fn timed_out(py: Python<'_>, what: &str, timeout: Option<Duration>) -> PyErr {
    let seconds = timeout.unwrap_or_default().as_secs_f64();
    let message = format!("{what}: no answer within {seconds} s; it may still come");
    let error = headwater::Error::new(ErrorCode::RequestTimedOut, message);
    crate::error::to_py(py, &error.with_outcome(headwater::Outcome::Unknown))
}

/// An answer of core, whatever its type.
trait Answer: Send + Sync {
    fn is_ready(&self) -> bool;
    fn wait_ready(&self, slice: Duration) -> headwater::Result<bool>;
    fn notify(&self, queue: &Arc<NotifyQueue>, ticket: u64);
    fn take(self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>>;
}

struct Typed<T, F> {
    pending: headwater::Pending<T>,
    convert: F,
}

impl<T, F> Answer for Typed<T, F>
where
    T: Send + 'static,
    F: FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync,
{
    fn is_ready(&self) -> bool {
        self.pending.is_ready()
    }

    fn wait_ready(&self, slice: Duration) -> headwater::Result<bool> {
        self.pending.wait_ready(Some(slice))
    }

    fn notify(&self, queue: &Arc<NotifyQueue>, ticket: u64) {
        self.pending.notify(queue, ticket);
    }

    fn take(mut self: Box<Self>, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.pending.try_take() {
            Some(result) => (self.convert)(py, result.or_raise(py)?),
            None => Err(raise(
                py,
                ErrorCode::InvalidState,
                "the answer is not there yet",
            )),
        }
    }
}

/// An answer that is on its way: taken once, by `result()` or by an event loop.
#[pyclass(frozen, module = "headwater._native", name = "Pending")]
pub(crate) struct PyPending {
    /// What was asked, for the message of a timeout.
    what: &'static str,
    /// None when it was taken, and while a thread waits for it.
    answer: Mutex<Option<Box<dyn Answer>>>,
}

impl PyPending {
    /// The pending answer to `what`; `convert` makes the Python object of it.
    pub(crate) fn new<T: Send + 'static>(
        what: &'static str,
        pending: headwater::Pending<T>,
        convert: impl FnOnce(Python<'_>, T) -> PyResult<Py<PyAny>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            what,
            answer: Mutex::new(Some(Box::new(Typed { pending, convert }))),
        }
    }

    /// One without a value.
    pub(crate) fn done(what: &'static str, pending: headwater::Pending<()>) -> Self {
        Self::new(what, pending, |py, ()| Ok(py.None()))
    }

    fn out(&self, py: Python<'_>) -> PyResult<Box<dyn Answer>> {
        let taken = self.answer.lock().take();
        taken.ok_or_else(|| {
            let message = format!(
                "{}: the answer was taken, or another thread waits",
                self.what
            );
            raise(py, ErrorCode::InvalidState, message)
        })
    }
}

#[pymethods]
impl PyPending {
    /// Waits for the answer and takes it.
    #[pyo3(signature = (timeout=None))]
    pub(crate) fn result(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<Py<PyAny>> {
        let timeout = seconds(py, timeout)?;
        let answer = self.out(py)?;
        let waited = if answer.is_ready() {
            Ok(true)
        } else {
            wait_until(py, timeout, |slice| answer.wait_ready(slice))
        };
        match waited {
            Ok(true) => answer.take(py),
            Ok(false) => {
                *self.answer.lock() = Some(answer);
                Err(timed_out(py, self.what, timeout))
            }
            Err(interrupted) => {
                *self.answer.lock() = Some(answer);
                Err(interrupted)
            }
        }
    }

    /// Whether the answer is there.
    #[pyo3(name = "done")]
    fn is_done(&self) -> bool {
        self.answer
            .lock()
            .as_ref()
            .is_none_or(|answer| answer.is_ready())
    }

    /// The answer, which must be there.
    fn _take(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.out(py)?.take(py)
    }

    /// A future of the running event loop, done when the answer is there; the answer stays here.
    fn _future<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        future_for(py, |queue, ticket| {
            if let Some(answer) = self.answer.lock().as_ref() {
                answer.notify(queue, ticket);
            } else {
                queue.push(ticket);
            }
        })
    }
}
