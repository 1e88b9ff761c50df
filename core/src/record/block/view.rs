//! Reads a receive block: what every language does, in Rust.
//!
//! [`BlockView::parse`] checks every position, end, run and topic once; after that any row can be
//! read. The packed headers of a row are checked when they are read.

use super::{
    BlockError, FLAG_CONTIGUOUS, HEADER_BYTES, MAGIC, RUN_BYTES, RUN_FLAG_APPEND_TIME, bytes_at,
    field, u32_at,
};
use crate::limits::NAME_BYTES_MAX;
use crate::record::PackedHeaders;

/// A checked receive block.
#[derive(Debug, Clone, Copy)]
pub struct BlockView<'a> {
    len: u32,
    run_count: u32,
    runs: &'a [u8],
    /// Empty when offsets are contiguous.
    offset_deltas: &'a [u8],
    timestamps: &'a [u8],
    keys: Option<Column<'a>>,
    values: Column<'a>,
    headers: Option<Column<'a>>,
    block: &'a [u8],
}

/// A record of a block.
#[derive(Debug, Clone, Copy)]
pub struct BlockRecord<'a> {
    /// Its topic.
    pub topic: &'a str,
    /// Its partition.
    pub partition: i32,
    /// Leader epoch of its batch, -1 unknown.
    pub leader_epoch: i32,
    /// Its offset.
    pub offset: i64,
    /// Milliseconds since 1970 UTC.
    pub timestamp_ms: i64,
    /// Whether the timestamp is that of the append.
    pub is_append_time: bool,
    /// The key, none if absent.
    pub key: Option<&'a [u8]>,
    /// The value, none for a tombstone.
    pub value: Option<&'a [u8]>,
    headers: PackedHeaders<'a>,
}

impl<'a> BlockRecord<'a> {
    /// The headers, checked while they are read.
    #[must_use]
    pub const fn headers(&self) -> PackedHeaders<'a> {
        self.headers
    }
}

/// A column of byte strings.
#[derive(Debug, Clone, Copy)]
struct Column<'a> {
    /// Empty: every row is present.
    present: &'a [u8],
    ends: &'a [u8],
    bytes: &'a [u8],
}

/// A run, decoded.
#[derive(Debug, Clone, Copy)]
struct Run<'a> {
    base_offset: i64,
    first_row: u32,
    row_count: u32,
    partition: i32,
    leader_epoch: i32,
    topic: &'a str,
    is_append_time: bool,
}

impl<'a> BlockView<'a> {
    /// The block that `bytes` begin with, after checking all of it but the content of headers.
    ///
    /// # Errors
    /// [`BlockError`], which names the part; `Magic` is a format that this version does not know.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let sections = Sections::of(bytes)?;
        let n = sections.number(field::RECORDS) as usize;
        let r = sections.number(field::RUNS) as usize;
        let flags = u16::from_le_bytes(bytes_at(bytes, field::FLAGS).unwrap_or_default());

        let runs = sections.required("runs", field::RUNS_POS, r, RUN_BYTES)?;
        let timestamps = sections.required("timestamps", field::TIMESTAMPS_POS, n, 8)?;
        let offset_deltas = sections.column("offset_deltas", field::OFFSET_DELTAS_POS, n, 4)?;
        if offset_deltas.is_none() && flags & FLAG_CONTIGUOUS == 0 {
            return Err(BlockError::Absent {
                column: "offset_deltas",
            });
        }
        let keys = sections.strings(n, &KEYS)?;
        let values = sections.strings(n, &VALUES)?;
        let headers = sections.strings(n, &HEADERS)?;
        let view = Self {
            len: n as u32,
            run_count: r as u32,
            runs,
            offset_deltas: offset_deltas.unwrap_or_default(),
            timestamps,
            keys,
            values: values.ok_or(BlockError::Absent {
                column: VALUES.name,
            })?,
            headers,
            block: sections.block,
        };
        view.check_runs()?;
        Ok(view)
    }

    /// Records of the block.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether the block has no record.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Runs of the block.
    #[must_use]
    pub const fn run_count(&self) -> usize {
        self.run_count as usize
    }

    /// Row `row` of the block, none at `len` and beyond.
    #[must_use]
    pub fn record(&self, row: usize) -> Option<BlockRecord<'a>> {
        if row >= self.len() {
            return None;
        }
        let (mut low, mut high) = (0, self.run_count());
        while low < high {
            let middle = usize::midpoint(low, high);
            let first_row = u32_at(self.runs, middle * RUN_BYTES + 8)?;
            if first_row as usize <= row {
                low = middle + 1
            } else {
                high = middle
            }
        }
        self.record_of(&self.run(low.checked_sub(1)?)?, row)
    }

    /// All records, in order.
    #[must_use]
    pub const fn records(&self) -> BlockRecords<'a> {
        BlockRecords {
            block: *self,
            run: None,
            next_run: 0,
            row: 0,
        }
    }

    fn record_of(&self, run: &Run<'a>, row: usize) -> Option<BlockRecord<'a>> {
        Some(BlockRecord {
            topic: run.topic,
            partition: run.partition,
            leader_epoch: run.leader_epoch,
            offset: self.offset(run, row)?,
            timestamp_ms: i64::from_le_bytes(bytes_at(self.timestamps, 8 * row)?),
            is_append_time: run.is_append_time,
            key: self.keys.and_then(|keys| keys.get(row)),
            value: self.values.get(row),
            headers: PackedHeaders::new(
                self.headers
                    .and_then(|headers| headers.get(row))
                    .unwrap_or_default(),
            ),
        })
    }

    fn offset(&self, run: &Run<'_>, row: usize) -> Option<i64> {
        let delta = if self.offset_deltas.is_empty() {
            row as i64 - i64::from(run.first_row)
        } else {
            i64::from(u32_at(self.offset_deltas, 4 * row)?)
        };
        run.base_offset.checked_add(delta)
    }

    fn run(&self, index: usize) -> Option<Run<'a>> {
        let bytes = self
            .runs
            .get(index * RUN_BYTES..)?
            .first_chunk::<RUN_BYTES>()?;
        let topic_pos = u32_at(bytes, 24)? as usize;
        let topic_len = u32_at(bytes, 28)? as usize;
        if topic_len > NAME_BYTES_MAX {
            return None;
        }
        let topic = self.block.get(topic_pos..)?.get(..topic_len)?;
        Some(Run {
            base_offset: i64::from_le_bytes(bytes_at(bytes, 0)?),
            first_row: u32_at(bytes, 8)?,
            row_count: u32_at(bytes, 12)?,
            partition: u32_at(bytes, 16)?.cast_signed(),
            leader_epoch: u32_at(bytes, 20)?.cast_signed(),
            topic: str::from_utf8(topic).ok()?,
            is_append_time: u32_at(bytes, 32)? & RUN_FLAG_APPEND_TIME != 0,
        })
    }

    /// Runs cover all rows, in order, and offsets rise inside a run.
    fn check_runs(&self) -> Result<(), BlockError> {
        let mut expected = 0;
        for index in 0..self.run_count() {
            let run = self.run(index).ok_or(BlockError::Topic { run: index })?;
            let end_row = u64::from(run.first_row) + u64::from(run.row_count);
            if run.first_row != expected || run.row_count == 0 || end_row > u64::from(self.len) {
                let first_row = run.first_row;
                return Err(BlockError::RunRows {
                    run: index,
                    first_row,
                    end_row,
                    expected,
                });
            }
            let mut previous = None;
            for row in run.first_row..end_row as u32 {
                let offset = self.offset(&run, row as usize);
                if offset <= previous {
                    return Err(BlockError::Offset { row });
                }
                previous = offset;
            }
            expected = end_row as u32;
        }
        if expected != self.len {
            let (run, end_row) = (self.run_count(), u64::from(self.len));
            return Err(BlockError::RunRows {
                run,
                first_row: self.len,
                end_row,
                expected,
            });
        }
        Ok(())
    }
}

/// The records of a block, in order.
#[derive(Debug, Clone)]
pub struct BlockRecords<'a> {
    block: BlockView<'a>,
    run: Option<Run<'a>>,
    next_run: usize,
    row: u32,
}

impl<'a> Iterator for BlockRecords<'a> {
    type Item = BlockRecord<'a>;

    fn next(&mut self) -> Option<BlockRecord<'a>> {
        if self.row >= self.block.len {
            return None;
        }
        let run = match self.run {
            Some(run) if self.row - run.first_row < run.row_count => run,
            _ => {
                self.next_run += 1;
                *self.run.insert(self.block.run(self.next_run - 1)?)
            }
        };
        let record = self.block.record_of(&run, self.row as usize)?;
        self.row += 1;
        Some(record)
    }
}

impl<'a> Column<'a> {
    fn get(&self, row: usize) -> Option<&'a [u8]> {
        if !self.present.is_empty() && self.present.get(row / 8)? >> (row % 8) & 1 == 0 {
            return None;
        }
        let start = u32_at(self.ends, 4 * row)? as usize;
        let end = u32_at(self.ends, 4 * row + 4)? as usize;
        self.bytes.get(start..end)
    }
}

/// Where the three parts of a column of byte strings are named in the header.
struct Strings {
    name: &'static str,
    present_pos: Option<usize>,
    ends_pos: usize,
    bytes_pos: usize,
}

const KEYS: Strings = Strings {
    name: "keys",
    present_pos: Some(field::KEY_PRESENT_POS),
    ends_pos: field::KEY_ENDS_POS,
    bytes_pos: field::KEYS_POS,
};
const VALUES: Strings = Strings {
    name: "values",
    present_pos: Some(field::VALUE_PRESENT_POS),
    ends_pos: field::VALUE_ENDS_POS,
    bytes_pos: field::VALUES_POS,
};
const HEADERS: Strings = Strings {
    name: "headers",
    present_pos: None,
    ends_pos: field::HEADER_ENDS_POS,
    bytes_pos: field::HEADERS_POS,
};

/// A block whose lengths are right, cut to `block_len`.
struct Sections<'a> {
    block: &'a [u8],
    header_len: u16,
}

impl<'a> Sections<'a> {
    fn of(bytes: &'a [u8]) -> Result<Self, BlockError> {
        let too_short = BlockError::Truncated {
            found: bytes.len(),
            expected: HEADER_BYTES,
        };
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return Err(too_short);
        };
        let found = bytes_at(header, 0).unwrap_or_default();
        if found != MAGIC {
            return Err(BlockError::Magic { found });
        }
        let block_len = u32_at(header, field::BLOCK_LEN).unwrap_or_default() as usize;
        let Some(block) = bytes.get(..block_len) else {
            return Err(BlockError::Truncated {
                found: bytes.len(),
                expected: block_len,
            });
        };
        let found = u16::from_le_bytes(bytes_at(header, field::HEADER_LEN).unwrap_or_default());
        if usize::from(found) < HEADER_BYTES || usize::from(found) > block_len {
            return Err(BlockError::HeaderLen { found });
        }
        Ok(Self {
            block,
            header_len: found,
        })
    }

    /// A number of the header.
    fn number(&self, at: usize) -> u32 {
        u32_at(self.block, at).unwrap_or_default()
    }

    /// A column of `count` numbers of `width` bytes whose position is named at `at`.
    fn column(
        &self,
        column: &'static str,
        at: usize,
        count: usize,
        width: usize,
    ) -> Result<Option<&'a [u8]>, BlockError> {
        let position = self.number(at);
        if position == 0 {
            return Ok(None);
        }
        let bytes = count as u64 * width as u64;
        let start = position as usize;
        let found = usize::try_from(bytes)
            .ok()
            .and_then(|bytes| self.block.get(start..)?.get(..bytes))
            .filter(|_| start.is_multiple_of(8) && start >= usize::from(self.header_len));
        found.map(Some).ok_or(BlockError::Position {
            column,
            position,
            bytes,
        })
    }

    fn required(
        &self,
        column: &'static str,
        at: usize,
        count: usize,
        width: usize,
    ) -> Result<&'a [u8], BlockError> {
        self.column(column, at, count, width)?
            .ok_or(BlockError::Absent { column })
    }

    /// A column of `n` byte strings, none if it has no ends.
    fn strings(&self, n: usize, names: &Strings) -> Result<Option<Column<'a>>, BlockError> {
        let Some(ends) = self.column(names.name, names.ends_pos, n + 1, 4)? else {
            return Ok(None);
        };
        let mut least = 0;
        for (index, end) in ends.as_chunks::<4>().0.iter().enumerate() {
            let found = u32::from_le_bytes(*end);
            if found < least || (index == 0 && found != 0) {
                return Err(BlockError::End {
                    column: names.name,
                    index,
                    found,
                    least,
                });
            }
            least = found;
        }
        // Position 0 is "absent", which an empty column may be.
        let bytes = match self.column(names.name, names.bytes_pos, least as usize, 1)? {
            None if least > 0 => return Err(BlockError::Absent { column: names.name }),
            bytes => bytes.unwrap_or_default(),
        };
        let present = match names.present_pos {
            Some(at) => self
                .column(names.name, at, n.div_ceil(8), 1)?
                .unwrap_or_default(),
            None => &[],
        };
        Ok(Some(Column {
            present,
            ends,
            bytes,
        }))
    }
}
