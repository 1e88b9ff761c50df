//! Records on their way to Python: a batch of them, one of them, and where a sent one went.
//!
//! A [`Batch`] is rows of one block, a [`Msg`] one row; both hold the block and read from it when
//! they are asked, so handing a record over costs one small object. A batch has the buffer
//! protocol: `memoryview(batch)` is the whole block in the layout that every language reads.

use std::ffi::c_int;
use std::sync::Arc;

use headwater::ErrorCode;
use headwater::client::RecordMetadata;
use headwater::record::block::BlockError;
use pyo3::exceptions::PyIndexError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList, PySlice, PyString, PyTuple};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::block::{Block, Memory};
use crate::error::raise;

/// One record, read from its block when an attribute is asked for.
#[pyclass(frozen, module = "headwater", name = "Msg")]
pub(crate) struct Msg {
    pub(crate) block: Arc<Block>,
    pub(crate) row: u32,
    pub(crate) run: u32,
}

#[pymethods]
impl Msg {
    /// The topic.
    #[getter]
    fn topic(&self, py: Python<'_>) -> Option<Py<PyString>> {
        Some(self.block.runs.get(self.run as usize)?.topic.clone_ref(py))
    }

    /// The partition.
    #[getter]
    pub(crate) fn partition(&self) -> i32 {
        self.block
            .runs
            .get(self.run as usize)
            .map_or(-1, |run| run.partition)
    }

    /// The offset in the partition.
    #[getter]
    pub(crate) fn offset(&self) -> i64 {
        let run = self.block.runs.get(self.run as usize);
        run.map_or(-1, |run| self.block.offset(run, self.row))
    }

    /// Milliseconds since 1970 UTC.
    #[getter]
    fn timestamp(&self) -> i64 {
        self.block.timestamp_ms(self.row)
    }

    /// The key, None if there is none.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.block.key(self.row).map(|key| PyBytes::new(py, key))
    }

    /// The value, None for a tombstone.
    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        self.block
            .value(self.row)
            .map(|value| PyBytes::new(py, value))
    }

    /// The headers, as pairs of a str and bytes or None.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let mut headers = Vec::new();
        for header in self.block.headers(self.row) {
            let header = header.map_err(|error| {
                let offset = self.offset();
                let message = format!("headers of the record at offset {offset}: {error}");
                raise(py, ErrorCode::CorruptFrame, message)
            })?;
            headers.push((
                header.key,
                header.value.map(|value| PyBytes::new(py, value)),
            ));
        }
        PyTuple::new(py, headers)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let topic = self.topic(py).into_pyobject(py)?.repr()?.to_string();
        let (key, value) = (
            self.key(py).into_pyobject(py)?,
            self.value(py).into_pyobject(py)?,
        );
        let (partition, offset) = (self.partition(), self.offset());
        let (key, value) = (key.repr()?, value.repr()?);
        Ok(format!(
            "Msg({topic}, {partition}, {offset}, key={key}, value={value})"
        ))
    }
}

/// Records of a block, in order: a sequence of [`Msg`], and a buffer.
#[pyclass(frozen, sequence, module = "headwater", name = "Batch")]
pub(crate) struct Batch {
    pub(crate) block: Arc<Block>,
    pub(crate) first_row: u32,
    pub(crate) end_row: u32,
}

impl Batch {
    /// Every row of `block`.
    pub(crate) fn whole(block: Arc<Block>) -> Self {
        let end_row = block.len;
        Self {
            block,
            first_row: 0,
            end_row,
        }
    }

    fn column<'a, 'py>(
        &'a self,
        py: Python<'py>,
        get: impl Fn(&'a Block, u32) -> Option<&'a [u8]>,
    ) -> PyResult<Bound<'py, PyList>> {
        let rows = self.first_row..self.end_row;
        let values = rows.map(|row| get(&self.block, row).map(|bytes| PyBytes::new(py, bytes)));
        PyList::new(py, values.collect::<Vec<_>>())
    }

    fn msg(&self, row: u32) -> Msg {
        Msg {
            block: Arc::clone(&self.block),
            row,
            run: self.block.run_of(row),
        }
    }
}

#[pymethods]
impl Batch {
    /// The batch in the bytes of a block.
    #[staticmethod]
    fn from_block(py: Python<'_>, data: &[u8]) -> PyResult<Self> {
        let mut words = vec![0_u64; data.len().div_ceil(8)];
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
        if let Some(bytes) = bytes.get_mut(..data.len()) {
            bytes.copy_from_slice(data);
        }
        // The last word may have bytes that were not given: the block must not count them in.
        let said = data.get(8..).and_then(|rest| rest.first_chunk());
        if said.is_some_and(|said| u32::from_le_bytes(*said) as usize > data.len()) {
            let expected = said.map_or(0, |said| u32::from_le_bytes(*said) as usize);
            let error = BlockError::Truncated {
                found: data.len(),
                expected,
            };
            return Err(not_a_block(py, &error));
        }
        Block::new(py, Memory::Copied(words))
            .map(Self::whole)
            .map_err(|error| not_a_block(py, &error))
    }

    /// The values, None for a tombstone.
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Block::value)
    }

    /// The keys, None where there is none.
    fn keys<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        self.column(py, Block::key)
    }

    /// The batch as a pyarrow.RecordBatch, values and keys without a copy.
    fn to_arrow<'py>(slf: Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let module = slf.py().import("headwater._arrow")?;
        module.call_method1("record_batch", (slf,))
    }

    /// The rows of the block that this batch is: the first, and the one behind the last.
    #[getter]
    fn rows(&self) -> (u32, u32) {
        (self.first_row, self.end_row)
    }

    fn __len__(&self) -> usize {
        (self.end_row - self.first_row) as usize
    }

    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let len = self.__len__() as isize;
        if let Ok(slice) = index.cast::<PySlice>() {
            let at = slice.indices(len)?;
            if at.step != 1 {
                let message = format!("a slice of a batch has no step; this one has {}", at.step);
                return Err(raise(py, ErrorCode::InvalidArgument, message));
            }
            let first_row = self.first_row + at.start as u32;
            let end_row = first_row + at.slicelength as u32;
            let batch = Self {
                block: Arc::clone(&self.block),
                first_row,
                end_row,
            };
            return Ok(Bound::new(py, batch)?.into_any());
        }
        let index: isize = index.extract()?;
        let place = if index < 0 { index + len } else { index };
        if !(0..len).contains(&place) {
            return Err(PyIndexError::new_err(format!(
                "batch of {len} records has no {index}"
            )));
        }
        Ok(Bound::new(py, self.msg(self.first_row + place as u32))?.into_any())
    }

    fn __iter__(&self) -> BatchIterator {
        BatchIterator {
            block: Arc::clone(&self.block),
            next_row: AtomicU32::new(self.first_row),
            end_row: self.end_row,
        }
    }

    fn __repr__(&self) -> String {
        format!("<Batch of {} records>", self.__len__())
    }

    #[expect(unsafe_code, reason = "the buffer protocol is C's")]
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = slf.get().block.bytes();
        // SAFETY: `view` is the interpreter's; the view keeps `slf` alive, which keeps the block
        // alive, and a block never changes. Read only is set.
        let filled = unsafe {
            ffi::PyBuffer_FillInfo(
                view,
                slf.as_ptr(),
                bytes.as_ptr().cast_mut().cast(),
                bytes.len() as ffi::Py_ssize_t,
                1,
                flags,
            )
        };
        if filled == -1 {
            Err(PyErr::fetch(slf.py()))
        } else {
            Ok(())
        }
    }
}

fn not_a_block(py: Python<'_>, error: &BlockError) -> PyErr {
    let code = match error {
        BlockError::Magic { .. } => ErrorCode::UnsupportedVersion,
        _ => ErrorCode::CorruptFrame,
    };
    raise(py, code, format!("not a block: {error}"))
}

/// The records of a batch, one by one.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct BatchIterator {
    block: Arc<Block>,
    next_row: AtomicU32,
    end_row: u32,
}

#[pymethods]
impl BatchIterator {
    fn __iter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    fn __next__(&self) -> Option<Msg> {
        let row = self.next_row.fetch_add(1, Ordering::Relaxed);
        if row >= self.end_row {
            self.next_row.store(self.end_row, Ordering::Relaxed);
            return None;
        }
        let run = self.block.run_of(row);
        Some(Msg {
            block: Arc::clone(&self.block),
            row,
            run,
        })
    }
}

/// Where a record went, and how safe it is there.
#[pyclass(frozen, module = "headwater", name = "RecordMetadata")]
pub(crate) struct PyRecordMetadata(pub(crate) RecordMetadata);

#[pymethods]
impl PyRecordMetadata {
    /// The topic.
    #[getter]
    fn topic(&self) -> &str {
        &self.0.topic
    }

    /// The partition.
    #[getter]
    fn partition(&self) -> i32 {
        self.0.partition
    }

    /// The offset in the partition.
    #[getter]
    fn offset(&self) -> i64 {
        self.0.offset
    }

    /// Milliseconds since 1970 UTC: the log's where the topic says so, else the record's own.
    #[getter]
    fn timestamp(&self) -> i64 {
        self.0.timestamp_ms
    }

    /// The level reached: os, disk or quorum.
    #[getter]
    fn durability(&self) -> &'static str {
        self.0.durability.name()
    }

    fn __repr__(&self) -> String {
        let RecordMetadata {
            topic,
            partition,
            offset,
            durability,
            ..
        } = &self.0;
        format!("RecordMetadata({topic}-{partition} @ {offset}, {durability})")
    }
}
