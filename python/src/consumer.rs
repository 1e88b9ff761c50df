//! The consumer: core's leased blocks, read row by row.
//!
//! One thread reads at a time; `ack`, `commit`, `seek` and `close` may come from any. No lock is
//! held while the interpreter's lock is not: the cursor's is taken for a few instructions only.

use std::sync::Arc;
use std::time::Duration;

use headwater::ErrorCode;
use headwater::client;
use headwater::sync::Mutex;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::admin::offset_at;
use crate::block::{Block, Memory};
use crate::client::{Client, report_to_py};
use crate::config::{make, offsets_of, offsets_to_py, partitions_of, partitions_to_py};
use crate::cursor::Cursor;
use crate::error::{OrRaise, corrupt_block, raise};
use crate::pending::{PyPending, seconds, wait_until};
use crate::record::{Batch, Msg, PyRecordMetadata};
use crate::results::{commit_with, results_of};

/// Reads topics.
#[pyclass(frozen, subclass, module = "headwater._native")]
pub(crate) struct Consumer {
    shared: Arc<Shared>,
    exit_timeout: Duration,
}

/// What a consumer, its records and its client share.
pub(crate) struct Shared {
    inner: client::Consumer,
    reading: Mutex<Reading>,
}

struct Reading {
    cursor: Cursor,
    /// A thread waits for a block.
    is_waiting: bool,
    /// An event loop waits for a block, or was cancelled while it did: the block is not lost.
    fetch: Option<Py<PyPending>>,
}

#[pymethods]
impl Consumer {
    #[new]
    #[pyo3(signature = (client, topics, **options))]
    fn new(
        py: Python<'_>,
        client: &Client,
        topics: Vec<String>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let inner = client.consumer(py, &topics, options)?;
        let reading = Reading {
            cursor: Cursor::new(),
            is_waiting: false,
            fetch: None,
        };
        let shared = Arc::new(Shared {
            inner,
            reading: Mutex::new(reading),
        });
        client.remember(&shared);
        Ok(Self {
            shared,
            exit_timeout: client.inner.exit_timeout(),
        })
    }

    /// A loop begins: closing ends it, and does not fail it.
    fn _begin_loop(&self, py: Python<'_>) -> PyResult<()> {
        self.shared.inner.begin_loop().or_raise(py)
    }

    /// The records one by one, waiting for them unless told not to.
    #[pyo3(signature = (*, wait))]
    fn _records(slf: Py<Self>, py: Python<'_>, wait: bool) -> PyResult<Records> {
        slf.get()._begin_loop(py)?;
        Ok(Records {
            consumer: slf,
            wait,
        })
    }

    /// The next records, after waiting for them; None at the end, or when the timeout passed.
    #[pyo3(signature = (max_records=None, timeout=None))]
    fn _next_batch(
        &self,
        py: Python<'_>,
        max_records: Option<u32>,
        timeout: Option<f64>,
    ) -> PyResult<Option<Batch>> {
        let timeout = seconds(py, timeout)?;
        loop {
            if let Some(batch) = self.next_rows(py, max_records)? {
                return Ok(Some(batch));
            }
            if !self.wait_for_block(py, timeout)? {
                return Ok(None);
            }
        }
    }

    /// The next records that are here, None if there are none: never waits.
    #[pyo3(signature = (max_records=None))]
    fn _next_rows(&self, py: Python<'_>, max_records: Option<u32>) -> PyResult<Option<Batch>> {
        self.next_rows(py, max_records)
    }

    /// Fetches the next block; the answer is whether there is one. Asked again before the answer
    /// was taken it is the same fetch.
    fn _fetch(&self, py: Python<'_>) -> PyResult<Py<PyPending>> {
        let mut reading = self.shared.reading.lock();
        if let Some(fetch) = &reading.fetch {
            return Ok(fetch.clone_ref(py));
        }
        if reading.is_waiting {
            return Err(busy(py));
        }
        reading.cursor.leave();
        drop(reading);
        // Weak: the consumer holds the fetch.
        let (shared, pending) = (
            Arc::downgrade(&self.shared),
            self.shared.inner.next_block(None),
        );
        let fetch = PyPending::new("fetch", pending, move |py, block| {
            let Some(shared) = shared.upgrade() else {
                return Ok(py.None());
            };
            let taken = shared.reading.lock().fetch.take();
            drop(taken);
            let is_there = shared.start(py, block)?;
            Ok(is_there.into_pyobject(py)?.to_owned().into_any().unbind())
        });
        let fetch = Py::new(py, fetch)?;
        reading = self.shared.reading.lock();
        reading.fetch = Some(fetch.clone_ref(py));
        Ok(fetch)
    }

    /// The fetch failed: the next one is a new one.
    fn _forget_fetch(&self) {
        let fetch = self.shared.reading.lock().fetch.take();
        drop(fetch);
    }

    /// Mark records as processed, in any order (ack="manual"). What is committed is always the first
    /// offset that is not done.
    fn ack(&self, py: Python<'_>, records: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(msg) = records.cast::<Msg>() {
            let msg = msg.get();
            return self.ack_rows(py, &msg.block, msg.row, msg.row + 1);
        }
        if let Ok(batch) = records.cast::<Batch>() {
            let batch = batch.get();
            return self.ack_rows(py, &batch.block, batch.first_row, batch.end_row);
        }
        let found = records.get_type().name()?;
        Err(PyTypeError::new_err(format!(
            "a Msg or a Batch expected, not {found}"
        )))
    }

    #[pyo3(signature = (offsets=None))]
    fn _commit(&self, offsets: Option<&Bound<'_, PyAny>>) -> PyResult<PyPending> {
        self.shared.report();
        let pending = match offsets {
            None => self.shared.inner.commit(),
            Some(offsets) => self.shared.inner.commit_offsets(offsets_of(offsets)?),
        };
        Ok(PyPending::done("commit", pending))
    }

    /// Sends `results`, (topic, value, key, headers, partition, timestamp) each, and commits what was handed out.
    fn _commit_with(&self, results: &Bound<'_, PyAny>) -> PyResult<PyPending> {
        let results = results_of(results)?;
        let handed_out = self.shared.reading.lock().cursor.handed_out();
        let rows = handed_out.as_ref().map_or(0, |(_, rows)| *rows);
        let pending = commit_with(&self.shared.inner, rows, &results);
        let shared = Arc::downgrade(&self.shared);
        Ok(PyPending::new("commit_with", pending, move |py, sent| {
            // What is in hand is committed now, and not handed out again; had it failed, it would be.
            if let (Some(shared), Some((block, rows))) = (shared.upgrade(), handed_out) {
                shared.reading.lock().cursor.pass_rows(&block, rows);
            }
            let sent = sent.into_iter();
            let made = sent.map(|it| Py::new(py, PyRecordMetadata(it)));
            let made = made.collect::<PyResult<Vec<_>>>()?;
            Ok(made.into_pyobject(py)?.into_any().unbind())
        }))
    }

    fn _committed(&self) -> PyPending {
        PyPending::new("committed", self.shared.inner.committed(), offsets_to_py)
    }

    fn _open(&self) -> PyPending {
        PyPending::done("open", self.shared.inner.open())
    }

    fn _seek(
        &self,
        py: Python<'_>,
        topic: &str,
        partition: i32,
        to: &Bound<'_, PyAny>,
    ) -> PyResult<PyPending> {
        self.shared.report();
        let pending = match to.extract::<i64>() {
            Ok(offset) => {
                self.shared
                    .inner
                    .seek(topic, partition, offset)
                    .or_raise(py)?;
                headwater::Pending::ready(Ok(()))
            }
            Err(_) => self.shared.inner.seek_to(topic, partition, offset_at(to)?),
        };
        self.shared
            .reading
            .lock()
            .cursor
            .skip_partition(topic, partition);
        Ok(PyPending::done("seek", pending))
    }

    /// For each partition the offset of the first record that does not count as processed.
    fn positions(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        self.shared.report();
        offsets_to_py(py, self.shared.inner.positions())
    }

    /// The partitions that are read, each with the offset of the next record to be given out.
    fn assignment(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        offsets_to_py(py, self.shared.inner.assignment())
    }

    fn _lag(&self) -> PyPending {
        self.shared.report();
        PyPending::new("lag", self.shared.inner.lag(), |py, lags| {
            let made = lags.into_iter().map(|it| lag_to_py(py, it));
            let made = made.collect::<PyResult<Vec<_>>>()?;
            Ok(made.into_pyobject(py)?.into_any().unbind())
        })
    }

    /// Give nothing more of these partitions, (topic, partition) each, until they are resumed; None: of all
    /// that are assigned. The rest of what is in hand is still given.
    #[pyo3(signature = (partitions=None))]
    fn pause(&self, py: Python<'_>, partitions: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let partitions = partitions.map(partitions_of).transpose()?;
        let inner = &self.shared.inner;
        py.detach(|| inner.pause(partitions.as_deref()))
            .or_raise(py)
    }

    /// Go on giving these partitions; None: all that are assigned.
    #[pyo3(signature = (partitions=None))]
    fn resume(&self, py: Python<'_>, partitions: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let partitions = partitions.map(partitions_of).transpose()?;
        let inner = &self.shared.inner;
        py.detach(|| inner.resume(partitions.as_deref()))
            .or_raise(py)
    }

    /// The partitions that are paused.
    fn paused(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        partitions_to_py(py, self.shared.inner.paused())
    }

    /// How long it may be closed for when somebody wants to leave, in seconds.
    #[getter]
    fn _exit_timeout(&self) -> f64 {
        self.exit_timeout.as_secs_f64()
    }

    /// Whether nothing more will come: `until` is reached, or it was closed.
    #[getter]
    fn finished(&self) -> bool {
        self.shared.inner.is_finished()
    }

    #[pyo3(signature = (timeout=None))]
    fn _close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<PyPending> {
        self.shared.report();
        let pending = self.shared.inner.close(seconds(py, timeout)?);
        Ok(PyPending::new("close", pending, |py, report| {
            report_to_py(py, &report)
        }))
    }
}

/// The records of a consumer, one by one.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct Records {
    consumer: Py<Consumer>,
    /// Whether the end of a block is waited over; if not, it is an end.
    wait: bool,
}

#[pymethods]
impl Records {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Msg>> {
        let consumer = self.consumer.get();
        loop {
            if consumer.shared.inner.is_closed() {
                return Ok(None);
            }
            if let Some(msg) = consumer.next_row() {
                return Ok(Some(msg));
            }
            if !self.wait || !consumer.wait_for_block(py, None)? {
                return Ok(None);
            }
        }
    }
}

impl Consumer {
    /// The consumer for `process`: what was handed out and not passed is read again.
    pub(crate) fn hand_over(&self, py: Python<'_>) -> PyResult<&client::Consumer> {
        self.shared.report();
        let mut reading = self.shared.reading.lock();
        if reading.is_waiting {
            return Err(busy(py));
        }
        reading.cursor.leave();
        let fetch = reading.fetch.take();
        drop(reading);
        drop(fetch);
        Ok(&self.shared.inner)
    }

    #[inline]
    fn next_row(&self) -> Option<Msg> {
        let mut reading = self.shared.reading.lock();
        let cursor = &mut reading.cursor;
        cursor.pass(|rows| self.shared.inner.progress(rows));
        cursor.next()
    }

    fn next_rows(&self, py: Python<'_>, max_records: Option<u32>) -> PyResult<Option<Batch>> {
        if max_records == Some(0) {
            return Err(raise(
                py,
                ErrorCode::InvalidArgument,
                "max_records is 0; it must be 1 or more",
            ));
        }
        if self.shared.inner.is_closed() {
            return Ok(None);
        }
        let mut reading = self.shared.reading.lock();
        reading.cursor.pass(|rows| self.shared.inner.progress(rows));
        Ok(reading.cursor.next_batch(max_records.unwrap_or(u32::MAX)))
    }

    /// Waits for the next block, detached; false at the end, or when the timeout passed.
    fn wait_for_block(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<bool> {
        self.begin_waiting(py)?;
        let inner = &self.shared.inner;
        let mut found = None;
        let waited = wait_until(py, timeout, |slice| {
            found = inner.next_block_wait(Some(slice))?;
            Ok(found.is_some() || inner.is_finished())
        });
        self.shared.reading.lock().is_waiting = false;
        // A block that came with the signal is kept: the host asks again, or closes.
        let is_there = self.shared.start(py, found)?;
        waited?;
        Ok(is_there)
    }

    fn begin_waiting(&self, py: Python<'_>) -> PyResult<()> {
        let mut reading = self.shared.reading.lock();
        if reading.is_waiting || reading.fetch.is_some() {
            return Err(busy(py));
        }
        reading.is_waiting = true;
        // Core is about to lease the next block: nothing more may be told about this one.
        reading.cursor.leave();
        Ok(())
    }

    fn ack_rows(&self, py: Python<'_>, block: &Arc<Block>, first: u32, end: u32) -> PyResult<()> {
        if self.shared.reading.lock().cursor.is_at(block) {
            return self.shared.inner.ack_rows(first..end).or_raise(py);
        }
        for row in first..end {
            let Some(run) = block.runs.get(block.run_of(row) as usize) else {
                continue;
            };
            let topic = &run.topic_name;
            self.shared
                .inner
                .ack(topic, run.partition, block.offset(run, row))
                .or_raise(py)?;
        }
        Ok(())
    }
}

impl Shared {
    /// Tells core which rows are passed.
    pub(crate) fn report(&self) {
        let mut reading = self.reading.lock();
        let Some(passed) = reading.cursor.passed() else {
            return;
        };
        if let client::Progress::Skip(run) = self.inner.progress(passed) {
            reading.cursor.skip_run(run);
        }
    }

    /// Goes to the first row of a block that came; false without one.
    fn start(&self, py: Python<'_>, block: Option<client::Block>) -> PyResult<bool> {
        let Some(block) = block else { return Ok(false) };
        let block =
            Block::new(py, Memory::Core(block)).map_err(|error| corrupt_block(py, &error))?;
        self.reading.lock().cursor.start(block);
        Ok(true)
    }
}

fn lag_to_py(py: Python<'_>, lag: client::PartitionLag) -> PyResult<Py<PyAny>> {
    let client::PartitionLag {
        topic,
        partition,
        position,
        committed,
        high_watermark,
        lag,
    } = lag;
    let arguments = (topic, partition, position, committed, high_watermark, lag);
    make(py, "PartitionLag", arguments)
}

fn busy(py: Python<'_>) -> PyErr {
    raise(
        py,
        ErrorCode::InvalidState,
        "another thread or task reads this consumer",
    )
}
