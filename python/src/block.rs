//! A receive block in Python's memory: where its columns are, checked once, read row by row.
//!
//! Layout: `headwater::record::block`. The block stays as core built it (or as it was given, for
//! bytes that come from elsewhere); a record is read when it is asked for, nothing is decoded ahead.

use std::sync::Arc;

use headwater::client::Block as CoreBlock;
use headwater::record::PackedHeaders;
use headwater::record::block::{BlockError, BlockView, RUN_BYTES};
use pyo3::prelude::*;
use pyo3::types::PyString;

/// Where the header names the positions of columns.
const RUNS_POS: usize = 20;

/// The memory of a block: core's, or a copy of bytes from elsewhere.
pub(crate) enum Memory {
    /// As core built it.
    Core(CoreBlock),
    /// Copied, so that it is aligned.
    Copied(Vec<u64>),
}

impl Memory {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Core(block) => block.bytes(),
            Self::Copied(words) => bytemuck::cast_slice(words),
        }
    }
}

/// A block and where its columns are.
pub(crate) struct Block {
    memory: Memory,
    block_len: usize,
    pub(crate) len: u32,
    /// 0: offsets are contiguous within a run.
    offset_deltas: usize,
    timestamps: usize,
    keys: Strings,
    values: Strings,
    headers: Strings,
    pub(crate) runs: Vec<Run>,
}

/// Rows of one partition, offsets rising.
pub(crate) struct Run {
    pub(crate) topic: Py<PyString>,
    /// The same, without the interpreter.
    pub(crate) topic_name: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) base_offset: i64,
    pub(crate) first_row: u32,
    pub(crate) end_row: u32,
}

/// A column of byte strings: positions of its parts, 0 for a part that is absent.
#[derive(Clone, Copy)]
struct Strings {
    present: usize,
    ends: usize,
    bytes: usize,
}

impl Block {
    /// The block in `memory`, checked as a whole.
    pub(crate) fn new(py: Python<'_>, memory: Memory) -> Result<Arc<Self>, BlockError> {
        let bytes = memory.bytes();
        let view = BlockView::parse(bytes)?;
        let runs = runs_of(py, bytes, view.run_count());
        let position = |at: usize| number(bytes, at).unwrap_or_default() as usize;
        Ok(Arc::new(Self {
            block_len: position(8),
            len: view.len() as u32,
            offset_deltas: position(24),
            timestamps: position(28),
            keys: Strings {
                present: position(32),
                ends: position(36),
                bytes: position(52),
            },
            values: Strings {
                present: position(40),
                ends: position(44),
                bytes: position(56),
            },
            headers: Strings {
                present: 0,
                ends: position(48),
                bytes: position(60),
            },
            runs,
            memory,
        }))
    }

    /// The block's bytes, as laid out.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory
            .bytes()
            .get(..self.block_len)
            .unwrap_or_default()
    }

    /// The index of the run that `row` is in.
    pub(crate) fn run_of(&self, row: u32) -> u32 {
        self.runs.partition_point(|run| run.end_row <= row) as u32
    }

    /// The offset of `row`, which is in `run`.
    pub(crate) fn offset(&self, run: &Run, row: u32) -> i64 {
        let delta = if self.offset_deltas == 0 {
            row - run.first_row
        } else {
            number(self.bytes(), self.offset_deltas + 4 * row as usize).unwrap_or_default()
        };
        run.base_offset + i64::from(delta)
    }

    /// Milliseconds since 1970 UTC.
    pub(crate) fn timestamp_ms(&self, row: u32) -> i64 {
        let at = self.timestamps + 8 * row as usize;
        let bytes = self.bytes().get(at..).and_then(|rest| rest.first_chunk());
        bytes.map_or(0, |bytes| i64::from_le_bytes(*bytes))
    }

    /// The key of `row`, none if it has none.
    pub(crate) fn key(&self, row: u32) -> Option<&[u8]> {
        self.keys.get(self.bytes(), row)
    }

    /// The value of `row`, none for a tombstone.
    pub(crate) fn value(&self, row: u32) -> Option<&[u8]> {
        self.values.get(self.bytes(), row)
    }

    /// The headers of `row`, checked while they are read.
    pub(crate) fn headers(&self, row: u32) -> PackedHeaders<'_> {
        PackedHeaders::new(self.headers.get(self.bytes(), row).unwrap_or_default())
    }
}

impl Strings {
    #[inline]
    fn get<'a>(&self, bytes: &'a [u8], row: u32) -> Option<&'a [u8]> {
        let row = row as usize;
        if self.ends == 0 {
            return None;
        }
        if self.present != 0 && bytes.get(self.present + row / 8)? >> (row % 8) & 1 == 0 {
            return None;
        }
        let start = number(bytes, self.ends + 4 * row)? as usize;
        let end = number(bytes, self.ends + 4 * row + 4)? as usize;
        bytes.get(self.bytes + start..self.bytes + end)
    }
}

/// The runs of a block that was checked.
fn runs_of(py: Python<'_>, bytes: &[u8], count: usize) -> Vec<Run> {
    let position = number(bytes, RUNS_POS).unwrap_or_default() as usize;
    let mut runs = Vec::<Run>::with_capacity(count);
    for index in 0..count {
        let run = bytes
            .get(position + index * RUN_BYTES..)
            .unwrap_or_default();
        let field = |at| number(run, at).unwrap_or_default();
        let (topic_pos, topic_len) = (field(24) as usize, field(28) as usize);
        let topic = bytes
            .get(topic_pos..topic_pos + topic_len)
            .unwrap_or_default();
        let topic = str::from_utf8(topic).unwrap_or_default();
        // Runs of one topic share its name: comparing texts is cheaper than making one.
        let (topic, topic_name) = match runs.last() {
            Some(last) if *last.topic_name == *topic => {
                (last.topic.clone_ref(py), Arc::clone(&last.topic_name))
            }
            _ => (PyString::intern(py, topic).unbind(), Arc::from(topic)),
        };
        let first_row = field(8);
        runs.push(Run {
            topic,
            topic_name,
            partition: field(16).cast_signed(),
            base_offset: run
                .first_chunk()
                .map_or(0, |bytes| i64::from_le_bytes(*bytes)),
            first_row,
            end_row: first_row + field(12),
        });
    }
    runs
}

#[inline]
fn number(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
