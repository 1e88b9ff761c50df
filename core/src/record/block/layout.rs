//! Lays the columns of a [`BlockBuilder`] out as one block.
//!
//! The block is written as 64-bit words from front to back, each column from a word of its own, so
//! that nothing is written twice: neither zeroed first nor padded later. The order is runs, topic
//! names, then that of the header's fields; readers go by the positions alone.

use super::builder::{Block, BlockBuilder, Run};
use super::{FLAG_CONTIGUOUS, HEADER_BYTES, MAGIC, RUN_BYTES};

const HEADER_WORDS: usize = HEADER_BYTES / 8;

/// The finished block of what `columns` hold.
pub(super) fn lay_out(columns: &BlockBuilder) -> Block {
    let records = columns.len();
    let has_keys = columns.keyless_rows.len() < records;
    let has_headers = !columns.headers.is_empty();

    let mut out = Words::with_capacity(columns.size_bytes());
    let runs_pos = out.position();
    let topics_pos = runs_pos + (RUN_BYTES * columns.runs.len()) as u32;
    columns.runs.iter().for_each(|run| out.run(run, topics_pos));
    out.bytes(&columns.topics);

    let mut header = Header {
        runs_pos,
        ..Header::default()
    };
    if columns.has_gaps {
        header.offset_deltas_pos = out.numbers(&columns.offset_deltas);
    }
    header.timestamps_pos = out.timestamps(&columns.timestamps);
    if has_keys && !columns.keyless_rows.is_empty() {
        header.key_present_pos = out.bitmap(records, &columns.keyless_rows);
    }
    if has_keys {
        header.key_ends_pos = out.ends(&columns.key_ends);
    }
    if !columns.tombstone_rows.is_empty() {
        header.value_present_pos = out.bitmap(records, &columns.tombstone_rows);
    }
    header.value_ends_pos = out.ends(&columns.value_ends);
    if has_headers {
        header.header_ends_pos = out.ends(&columns.header_ends);
    }
    if has_keys {
        header.keys_pos = out.bytes(&columns.keys);
    }
    header.values_pos = out.bytes(&columns.values);
    if has_headers {
        header.headers_pos = out.bytes(&columns.headers);
    }
    let header = header.words(columns, out.position());
    out.finish(&header)
}

/// The positions of the columns, 0 for those left out.
#[derive(Default)]
struct Header {
    runs_pos: u32,
    offset_deltas_pos: u32,
    timestamps_pos: u32,
    key_present_pos: u32,
    key_ends_pos: u32,
    value_present_pos: u32,
    value_ends_pos: u32,
    header_ends_pos: u32,
    keys_pos: u32,
    values_pos: u32,
    headers_pos: u32,
}

impl Header {
    fn words(&self, columns: &BlockBuilder, block_len: u32) -> [u64; HEADER_WORDS] {
        let flags = if columns.has_gaps { 0 } else { FLAG_CONTIGUOUS };
        let lengths = HEADER_BYTES as u32 | u32::from(flags) << 16;
        [
            pair(u32::from_le_bytes(MAGIC), lengths),
            pair(block_len, columns.len() as u32),
            pair(columns.runs.len() as u32, self.runs_pos),
            pair(self.offset_deltas_pos, self.timestamps_pos),
            pair(self.key_present_pos, self.key_ends_pos),
            pair(self.value_present_pos, self.value_ends_pos),
            pair(self.header_ends_pos, self.keys_pos),
            pair(self.values_pos, self.headers_pos),
        ]
    }
}

/// A block that grows; each method writes a column and returns its position.
struct Words {
    words: Vec<u64>,
}

impl Words {
    /// With the header still to be filled in.
    fn with_capacity(bytes: usize) -> Self {
        let mut words = Vec::with_capacity(bytes.div_ceil(8));
        words.resize(HEADER_WORDS, 0);
        Self { words }
    }

    /// Where the next column begins. The builder keeps a block below 2 GiB.
    fn position(&self) -> u32 {
        (8 * self.words.len()) as u32
    }

    fn finish(mut self, header: &[u64; HEADER_WORDS]) -> Block {
        self.words[..HEADER_WORDS].copy_from_slice(header);
        Block { words: self.words }
    }

    fn run(&mut self, run: &Run, topics_pos: u32) {
        self.words.extend([
            run.base_offset.cast_unsigned().to_le(),
            pair(run.first_row, run.row_count),
            pair(
                run.partition.cast_unsigned(),
                run.leader_epoch.cast_unsigned(),
            ),
            pair(topics_pos + run.topic_start, run.topic_len),
            pair(run.flags, 0),
        ]);
    }

    fn timestamps(&mut self, timestamps: &[i64]) -> u32 {
        let position = self.position();
        self.words.extend(
            timestamps
                .iter()
                .map(|timestamp| timestamp.cast_unsigned().to_le()),
        );
        position
    }

    fn numbers(&mut self, numbers: &[u32]) -> u32 {
        let position = self.position();
        let (pairs, rest) = numbers.as_chunks::<2>();
        self.words
            .extend(pairs.iter().map(|&[first, second]| pair(first, second)));
        self.words.extend(rest.iter().map(|&last| pair(last, 0)));
        position
    }

    /// The ends behind the first, which is 0.
    fn ends(&mut self, ends: &[u32]) -> u32 {
        let position = self.position();
        match ends.split_first() {
            Some((&first, rest)) => {
                self.words.push(pair(0, first));
                self.numbers(rest);
            }
            None => self.words.push(0),
        }
        position
    }

    fn bytes(&mut self, bytes: &[u8]) -> u32 {
        let position = self.position();
        let (words, rest) = bytes.as_chunks::<8>();
        // Read as little-endian and put down as little-endian: the bytes stay as they are.
        self.words
            .extend(words.iter().map(|&word| u64::from_le_bytes(word).to_le()));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.words.push(u64::from_le_bytes(last).to_le());
        }
        position
    }

    /// A bit for each of `records` rows, set but for those `absent`.
    fn bitmap(&mut self, records: usize, absent: &[u32]) -> u32 {
        let position = self.position();
        let start = self.words.len();
        self.words.resize(start + records.div_ceil(64), u64::MAX);
        let bits = &mut self.words[start..];
        if let Some(last) = bits.last_mut()
            && !records.is_multiple_of(64)
        {
            *last = (1 << (records % 64)) - 1;
        }
        for &row in absent {
            bits[row as usize / 64] &= !(1 << (row % 64));
        }
        bits.iter_mut().for_each(|word| *word = word.to_le());
        position
    }
}

/// Two numbers side by side, the first in front.
#[inline]
const fn pair(first: u32, second: u32) -> u64 {
    (first as u64 | (second as u64) << 32).to_le()
}
