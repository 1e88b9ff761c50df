//! The producer. Sending tries first and keeps the interpreter's lock; it detaches only to wait for
//! room.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use headwater::client::{self, DeliveryFailure, Record};
use headwater::sync::Mutex;
use headwater::{Error, ErrorCode};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::client::{Client, report_to_py};
use crate::config::make;
use crate::data::{Data, Headers, Parts, PerRecord, timestamp_of};
use crate::delivery::{Deliveries, Delivery};
use crate::error::{OrRaise, to_py};
use crate::pending::{PyPending, seconds, wait_until};
use crate::waker::call_soon;

/// Sends records to any topic.
#[pyclass(frozen, subclass, module = "headwater._native")]
pub(crate) struct Producer {
    inner: client::Producer,
    max_block: Duration,
    exit_timeout: Duration,
    /// What keeps a record that found no room, for producers of an event loop:
    /// `on_full(producer, topic, value, key, headers, partition, timestamp)`.
    on_full: Option<Py<PyAny>>,
    /// Whether records are kept, so that what comes later waits behind them.
    is_keeping: AtomicBool,
}

#[pymethods]
impl Producer {
    #[new]
    #[pyo3(signature = (client, on_failure=None, on_full=None, **options))]
    fn new(
        py: Python<'_>,
        client: &Client,
        on_failure: Option<Py<PyAny>>,
        on_full: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let (inner, max_block_ms) = client.producer(py, options)?;
        if let Some(hook) = on_failure {
            let hook = std::sync::Arc::new(hook);
            inner.on_failure(move |failure| {
                let (hook, failure) = (std::sync::Arc::clone(&hook), failure.clone());
                call_soon(move |py| report_failure(py, &hook, &failure));
            });
        }
        let max_block = Duration::from_millis(max_block_ms);
        Ok(Self {
            inner,
            max_block,
            exit_timeout: client.inner.exit_timeout(),
            on_full,
            is_keeping: AtomicBool::new(false),
        })
    }

    /// Send a record and return its Delivery: wait for it, await it, or ignore it.
    ///
    /// The value and the key are bytes, any buffer of bytes, or str (as UTF-8); a value of None is a
    /// tombstone. They are copied before this returns. Headers are a mapping, or pairs where a key may
    /// repeat. The timestamp is a datetime or ms since 1970 UTC, by default now.
    ///
    /// Without room it waits up to max_block_ms, then raises Full. A Delivery that is dropped unread is
    /// reported by flush, close and on_failure if it fails.
    #[pyo3(signature = (topic, value, *, key=None, headers=None, partition=None, timestamp=None))]
    fn send<'py>(
        slf: &Bound<'py, Self>,
        topic: &str,
        value: Option<Data<'_>>,
        key: Option<Data<'_>>,
        headers: Option<Bound<'py, PyAny>>,
        partition: Option<i32>,
        timestamp: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let (py, this) = (slf.py(), slf.get());
        let parts = parts_of(value, key, headers.as_ref(), partition, timestamp.as_ref())?;
        let sent = match &this.on_full {
            Some(keep) => match this.send_or_full(topic, &parts) {
                Err(error) if error.code() == ErrorCode::BufferFull => {
                    return this.keep(slf, keep, topic, &parts);
                }
                other => other.or_raise(py)?,
            },
            None => parts.with(|record| this.send_waiting(py, topic, record))?,
        };
        Ok(Bound::new(py, Delivery::from(sent))?.into_any())
    }

    /// Send a record and return nothing. Never waits: without room it raises Full at once.
    ///
    /// Arguments are those of send. Failures come out of flush, close and on_failure.
    #[pyo3(signature = (topic, value, *, key=None, headers=None, partition=None, timestamp=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are Python's keyword arguments"
    )]
    fn enqueue(
        &self,
        py: Python<'_>,
        topic: &str,
        value: Option<Data<'_>>,
        key: Option<Data<'_>>,
        headers: Option<Bound<'_, PyAny>>,
        partition: Option<i32>,
        timestamp: Option<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let parts = parts_of(value, key, headers.as_ref(), partition, timestamp.as_ref())?;
        if self.is_keeping.load(Ordering::Acquire) {
            return Err(to_py(py, &behind_kept()));
        }
        parts
            .with(|record| self.inner.enqueue(topic, record))
            .or_raise(py)
    }

    /// Send many records: the same as as many sends, and quicker. Returns their Deliveries.
    ///
    /// keys and timestamps are sequences as long as values, headers too, or one mapping for all. If a
    /// record is refused, those before it are sent: they are the error's `sent`.
    #[pyo3(signature = (topic, values, keys=None, headers=None, *, partition=None, timestamps=None))]
    #[expect(
        clippy::too_many_arguments,
        reason = "they are Python's keyword arguments"
    )]
    fn send_many<'py>(
        &self,
        py: Python<'py>,
        topic: &str,
        values: &Bound<'py, PyAny>,
        keys: Option<Bound<'py, PyAny>>,
        headers: Option<Bound<'py, PyAny>>,
        partition: Option<i32>,
        timestamps: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Deliveries> {
        let many = Many::of(values, keys, headers, partition, timestamps)?;
        let mut sent = Vec::with_capacity(many.values.len());
        let stopped = many.send_from(&mut sent, |parts| {
            parts
                .with(|record| self.send_waiting(py, topic, record))
                .map(Some)
        });
        match stopped {
            Ok(()) => Ok(Deliveries { inner: sent }),
            Err(error) => Err(stopped_at(py, error, sent)),
        }
    }

    /// Sends those of many records that are not in `sent` yet, until there is no more room.
    #[expect(clippy::too_many_arguments, reason = "they are Python's arguments")]
    fn _send_rest<'py>(
        &self,
        py: Python<'py>,
        topic: &str,
        values: &Bound<'py, PyAny>,
        keys: Option<Bound<'py, PyAny>>,
        headers: Option<Bound<'py, PyAny>>,
        partition: Option<i32>,
        timestamps: Option<Bound<'py, PyAny>>,
        sending: &Sending,
    ) -> PyResult<()> {
        let many = Many::of(values, keys, headers, partition, timestamps)?;
        let mut sent = std::mem::take(&mut *sending.sent.lock());
        let stopped = many.send_from(&mut sent, |parts| match self.send_or_full(topic, parts) {
            Err(error) if error.code() == ErrorCode::BufferFull => Ok(None),
            other => other.or_raise(py).map(Some),
        });
        match stopped {
            Ok(()) => {
                *sending.sent.lock() = sent;
                Ok(())
            }
            Err(error) => Err(stopped_at(py, error, sent)),
        }
    }

    /// How long it may be closed for when somebody wants to leave, in seconds.
    #[getter]
    fn _exit_timeout(&self) -> f64 {
        self.exit_timeout.as_secs_f64()
    }

    /// Answers when there is room.
    fn _ready(&self) -> PyPending {
        PyPending::done("ready", self.inner.ready())
    }

    /// Answers when everything is acknowledged or failed.
    fn _flush(&self) -> PyPending {
        PyPending::done("flush", self.inner.flush())
    }

    /// Closes; the answer is the report.
    #[pyo3(signature = (timeout=None))]
    fn _close(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<PyPending> {
        let pending = self.inner.close(seconds(py, timeout)?);
        let producer = self.inner.clone();
        Ok(PyPending::new("close", pending, move |py, report| {
            // The hook may hold this producer: let go of it, or neither is ever freed.
            producer.on_failure(|_| ());
            report_to_py(py, &report)
        }))
    }

    /// Whether records are kept because there was no room: until that is over, `enqueue` is full.
    fn _set_keeping(&self, is_keeping: bool) {
        self.is_keeping.store(is_keeping, Ordering::Release);
    }

    /// Sends a record that was kept: never waits and passes the others that are kept.
    #[expect(clippy::too_many_arguments, reason = "they are Python's arguments")]
    fn _send_kept(
        &self,
        py: Python<'_>,
        topic: &str,
        value: Option<Data<'_>>,
        key: Option<Data<'_>>,
        headers: Option<Bound<'_, PyAny>>,
        partition: Option<i32>,
        timestamp: Option<i64>,
    ) -> PyResult<Delivery> {
        let headers = headers
            .as_ref()
            .map(|headers| Headers::of(Some(headers)))
            .transpose()?;
        let parts = Parts {
            value,
            key,
            headers,
            partition,
            timestamp_ms: timestamp,
        };
        let sent = parts.with(|record| self.inner.try_send(topic, record));
        Ok(sent.or_raise(py)?.into())
    }
}

impl Producer {
    /// Sends; waits detached for room, at most `max_block`.
    #[inline]
    fn send_waiting(
        &self,
        py: Python<'_>,
        topic: &str,
        record: &Record<'_>,
    ) -> PyResult<client::Delivery> {
        match self.inner.try_send(topic, record) {
            Ok(delivery) => Ok(delivery),
            Err(error) => self.send_after_waiting(py, topic, record, error),
        }
    }

    #[cold]
    fn send_after_waiting(
        &self,
        py: Python<'_>,
        topic: &str,
        record: &Record<'_>,
        mut error: Error,
    ) -> PyResult<client::Delivery> {
        let deadline = Instant::now() + self.max_block;
        loop {
            if error.code() != ErrorCode::BufferFull {
                return Err(to_py(py, &error));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let room = self.inner.ready();
            if !wait_until(py, Some(left), |slice| room.wait_ready(Some(slice)))? {
                return Err(to_py(py, &error));
            }
            match self.inner.try_send(topic, record) {
                Ok(delivery) => return Ok(delivery),
                Err(again) => error = again,
            }
        }
    }

    /// Sends without waiting; full too while earlier records are kept.
    fn send_or_full(&self, topic: &str, parts: &Parts<'_>) -> headwater::Result<client::Delivery> {
        if self.is_keeping.load(Ordering::Acquire) {
            return Err(behind_kept());
        }
        parts.with(|record| self.inner.try_send(topic, record))
    }

    /// Has the event loop's side keep a copy of the record until there is room.
    fn keep<'py>(
        &self,
        slf: &Bound<'py, Self>,
        keep: &Py<PyAny>,
        topic: &str,
        parts: &Parts<'_>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let value = parts.value.as_ref().map(Data::bytes);
        let key = parts.key.as_ref().map(Data::bytes);
        let headers = parts.headers.as_ref().map(Headers::owned);
        let (partition, timestamp) = (parts.partition, parts.timestamp_ms);
        let arguments = (slf, topic, value, key, headers, partition, timestamp);
        keep.bind(py).call1(arguments)
    }
}

/// The deliveries of a `send_many` that waits for room in between.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct Sending {
    sent: Mutex<Vec<client::Delivery>>,
}

#[pymethods]
impl Sending {
    #[new]
    fn new() -> Self {
        Self {
            sent: Mutex::new(Vec::new()),
        }
    }

    fn __len__(&self) -> usize {
        self.sent.lock().len()
    }

    /// The deliveries, which are no longer here.
    fn take(&self) -> Deliveries {
        Deliveries {
            inner: std::mem::take(&mut *self.sent.lock()),
        }
    }
}

/// The arguments of `send_many`.
struct Many<'py> {
    values: Bound<'py, PyList>,
    keys: PerRecord<'py>,
    headers: PerRecord<'py>,
    timestamps: PerRecord<'py>,
    partition: Option<i32>,
}

impl<'py> Many<'py> {
    fn of(
        values: &Bound<'py, PyAny>,
        keys: Option<Bound<'py, PyAny>>,
        headers: Option<Bound<'py, PyAny>>,
        partition: Option<i32>,
        timestamps: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Self> {
        let values = match values.cast::<PyList>() {
            Ok(values) => values.clone(),
            Err(_) => PyList::new(
                values.py(),
                values.try_iter()?.collect::<PyResult<Vec<_>>>()?,
            )?,
        };
        let count = values.len();
        let keys = PerRecord::each("keys", keys, count)?;
        let headers = PerRecord::headers(headers, count)?;
        let timestamps = PerRecord::each("timestamps", timestamps, count)?;
        Ok(Self {
            values,
            keys,
            headers,
            timestamps,
            partition,
        })
    }

    /// Sends the records behind those that are in `sent`, until `send` takes no more.
    fn send_from(
        &self,
        sent: &mut Vec<client::Delivery>,
        send: impl Fn(&Parts<'_>) -> PyResult<Option<client::Delivery>>,
    ) -> PyResult<()> {
        for (index, value) in self.values.iter().enumerate().skip(sent.len()) {
            let value = if value.is_none() {
                None
            } else {
                Some(value.extract()?)
            };
            let key = self.keys.get(index).map(|key| key.extract()).transpose()?;
            let (headers, timestamp) = (self.headers.get(index), self.timestamps.get(index));
            match send(&parts_of(value, key, headers, self.partition, timestamp)?)? {
                Some(delivery) => sent.push(delivery),
                None => break,
            }
        }
        Ok(())
    }
}

#[inline]
fn parts_of<'a>(
    value: Option<Data<'a>>,
    key: Option<Data<'a>>,
    headers: Option<&Bound<'_, PyAny>>,
    partition: Option<i32>,
    timestamp: Option<&Bound<'_, PyAny>>,
) -> PyResult<Parts<'a>> {
    let headers = headers
        .map(|headers| Headers::of(Some(headers)))
        .transpose()?;
    let timestamp_ms = timestamp_of(timestamp)?;
    Ok(Parts {
        value,
        key,
        headers,
        partition,
        timestamp_ms,
    })
}

/// The error of a `send_many` that stopped: what was sent before stays sent, and is in `sent`.
fn stopped_at(py: Python<'_>, error: PyErr, sent: Vec<client::Delivery>) -> PyErr {
    let attached = Py::new(py, Deliveries { inner: sent })
        .and_then(|sent| error.value(py).setattr(intern!(py, "sent"), sent));
    attached.err().unwrap_or(error)
}

fn behind_kept() -> Error {
    Error::new(
        ErrorCode::BufferFull,
        "earlier records wait for room; this one has none either",
    )
}

/// Runs the user's hook. What it raises goes to `sys.unraisablehook`: nobody else can take it.
fn report_failure(py: Python<'_>, hook: &Py<PyAny>, failure: &DeliveryFailure) {
    let error = to_py(py, &failure.error).into_value(py);
    let arguments = (&*failure.topic, failure.partition, failure.records, error);
    let hook = hook.bind(py);
    let called = make(py, "DeliveryFailure", arguments).and_then(|failure| hook.call1((failure,)));
    if let Err(raised) = called {
        raised.write_unraisable(py, Some(hook));
    }
}
