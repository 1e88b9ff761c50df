//! The processor: records to handlers, and what became of them back. The loops are Python's.

use headwater::Finish;
use headwater::client::{self, ProcessOptions};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::block::{Block, Memory};
use crate::config::options_of;
use crate::consumer::Consumer;
use crate::error::{OrRaise, corrupt_block};
use crate::pending::PyPending;
use crate::record::Batch;

/// What `process` takes records from.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct Processor {
    inner: client::Processor,
    concurrency: u32,
}

#[pymethods]
impl Processor {
    #[new]
    #[pyo3(signature = (consumer, **options))]
    fn new(
        py: Python<'_>,
        consumer: &Consumer,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let options = options_of::<ProcessOptions>(py, options)?;
        let inner = consumer.hand_over(py)?.processor(&options).or_raise(py)?;
        Ok(Self {
            inner,
            concurrency: options.concurrency(),
        })
    }

    /// How many handlers may run at the same time.
    #[getter]
    fn concurrency(&self) -> u32 {
        self.concurrency
    }

    /// The next records, as the ticket of the first and a batch: the tickets of the others follow.
    /// None at the end.
    fn take(&self) -> PyPending {
        PyPending::new("process", self.inner.take(usize::MAX), |py, taken| {
            let Some(taken) = taken else {
                return Ok(py.None());
            };
            let block = Block::new(py, Memory::Core(taken.block))
                .map_err(|error| corrupt_block(py, &error))?;
            let taken = (taken.first_ticket, Batch::whole(block));
            Ok(taken.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// The handler of this record has ended, by this error if there is one. Whether that stops
    /// everything.
    #[pyo3(signature = (ticket, error=None))]
    fn finish(&self, py: Python<'_>, ticket: u64, error: Option<String>) -> bool {
        let finish = error.map_or(Finish::Done, Finish::Retry);
        let stopped_by = py.detach(|| self.inner.finish(vec![(ticket, finish)]));
        stopped_by == Some(ticket)
    }

    /// The handler of `count` records has ended, the first of which has this ticket. Which of them stops
    /// everything, counted from 0.
    #[pyo3(signature = (first_ticket, count, error=None))]
    fn finish_batch(
        &self,
        py: Python<'_>,
        first_ticket: u64,
        count: u64,
        error: Option<String>,
    ) -> Option<u64> {
        let finish = error.map_or(Finish::Done, Finish::Retry);
        let tickets = first_ticket..first_ticket.saturating_add(count);
        let results = tickets.map(|ticket| (ticket, finish.clone())).collect();
        let stopped_by = py.detach(|| self.inner.finish(results))?;
        stopped_by.checked_sub(first_ticket)
    }

    /// Gives out nothing more.
    fn stop(&self, py: Python<'_>) {
        py.detach(|| self.inner.stop());
    }

    /// What was not done is read again.
    fn close(&self) -> PyPending {
        PyPending::done("process", self.inner.close())
    }
}
