//! Lays the columns of a [`BlockBuilder`] out as one block.
//!
//! The order is runs, topic names, then that of the header's fields; readers go by the positions
//! alone.

use super::builder::{Block, BlockBuilder, Run};
use super::{FLAG_CONTIGUOUS, HEADER_BYTES, MAGIC, RUN_BYTES, align8, field};

/// The finished block of what `columns` hold.
pub(super) fn lay_out(columns: &BlockBuilder) -> Block {
    let plan = Plan::of(columns);
    let mut words = vec![0u64; plan.block_len / 8];
    let block: &mut [u8] = bytemuck::cast_slice_mut(&mut words);
    plan.write_header(columns, block);
    plan.write_columns(columns, block);
    Block { words }
}

/// Where every column goes, 0 if it is left out.
struct Plan {
    runs: usize,
    topics: usize,
    offset_deltas: usize,
    timestamps: usize,
    key_present: usize,
    key_ends: usize,
    value_present: usize,
    value_ends: usize,
    header_ends: usize,
    keys: usize,
    values: usize,
    headers: usize,
    block_len: usize,
}

impl Plan {
    fn of(columns: &BlockBuilder) -> Self {
        let records = columns.len();
        let bitmap = records.div_ceil(8);
        let ends = 4 * (records + 1);
        let has_keys = columns.keyless_rows.len() < records;
        let has_headers = !columns.headers.is_empty();

        let mut end = HEADER_BYTES;
        let mut place = |present: bool, bytes: usize| {
            if !present {
                return 0;
            }
            let at = end;
            end = align8(at + bytes);
            at
        };
        let runs = place(true, RUN_BYTES * columns.runs.len());
        let topics = place(true, columns.topics.len());
        let offset_deltas = place(columns.has_gaps, 4 * records);
        let timestamps = place(true, 8 * records);
        let key_present = place(has_keys && !columns.keyless_rows.is_empty(), bitmap);
        let key_ends = place(has_keys, ends);
        let value_present = place(!columns.tombstone_rows.is_empty(), bitmap);
        let value_ends = place(true, ends);
        let header_ends = place(has_headers, ends);
        let keys = place(has_keys, columns.keys.len());
        let values = place(true, columns.values.len());
        let headers = place(has_headers, columns.headers.len());
        Self {
            runs,
            topics,
            offset_deltas,
            timestamps,
            key_present,
            key_ends,
            value_present,
            value_ends,
            header_ends,
            keys,
            values,
            headers,
            block_len: end,
        }
    }

    fn write_header(&self, columns: &BlockBuilder, block: &mut [u8]) {
        let flags = if columns.has_gaps { 0 } else { FLAG_CONTIGUOUS };
        put(block, 0, MAGIC);
        put(
            block,
            field::HEADER_LEN,
            (HEADER_BYTES as u16).to_le_bytes(),
        );
        put(block, field::FLAGS, flags.to_le_bytes());
        for (at, value) in [
            (field::BLOCK_LEN, self.block_len),
            (field::RECORDS, columns.len()),
            (field::RUNS, columns.runs.len()),
            (field::RUNS_POS, self.runs),
            (field::OFFSET_DELTAS_POS, self.offset_deltas),
            (field::TIMESTAMPS_POS, self.timestamps),
            (field::KEY_PRESENT_POS, self.key_present),
            (field::KEY_ENDS_POS, self.key_ends),
            (field::VALUE_PRESENT_POS, self.value_present),
            (field::VALUE_ENDS_POS, self.value_ends),
            (field::HEADER_ENDS_POS, self.header_ends),
            (field::KEYS_POS, self.keys),
            (field::VALUES_POS, self.values),
            (field::HEADERS_POS, self.headers),
        ] {
            // The builder keeps a block below 2 GiB.
            put(block, at, (value as u32).to_le_bytes());
        }
    }

    fn write_columns(&self, columns: &BlockBuilder, block: &mut [u8]) {
        let records = columns.len();
        for (run, row) in columns.runs.iter().zip(rows(block, self.runs)) {
            self.write_run(run, row);
        }
        if self.offset_deltas != 0 {
            put_u32s(block, self.offset_deltas, &columns.offset_deltas);
        }
        for (timestamp, out) in columns.timestamps.iter().zip(rows(block, self.timestamps)) {
            *out = timestamp.to_le_bytes();
        }
        if self.key_present != 0 {
            put_bitmap(block, self.key_present, records, &columns.keyless_rows);
        }
        if self.value_present != 0 {
            put_bitmap(block, self.value_present, records, &columns.tombstone_rows);
        }
        // The first of the n + 1 ends is 0, which is what stands there.
        put_u32s(block, self.value_ends + 4, &columns.value_ends);
        put_bytes(block, self.values, &columns.values);
        if self.key_ends != 0 {
            put_u32s(block, self.key_ends + 4, &columns.key_ends);
            put_bytes(block, self.keys, &columns.keys);
        }
        if self.header_ends != 0 {
            put_u32s(block, self.header_ends + 4, &columns.header_ends);
            put_bytes(block, self.headers, &columns.headers);
        }
        put_bytes(block, self.topics, &columns.topics);
    }

    fn write_run(&self, run: &Run, row: &mut [u8; RUN_BYTES]) {
        let topic_pos = self.topics as u32 + run.topic_start;
        put(row, 0, run.base_offset.to_le_bytes());
        put(row, 8, run.first_row.to_le_bytes());
        put(row, 12, run.row_count.to_le_bytes());
        put(row, 16, run.partition.to_le_bytes());
        put(row, 20, run.leader_epoch.to_le_bytes());
        put(row, 24, topic_pos.to_le_bytes());
        put(row, 28, run.topic_len.to_le_bytes());
        put(row, 32, run.flags.to_le_bytes());
    }
}

/// The block from `at` on, as rows of `N` bytes.
fn rows<const N: usize>(block: &mut [u8], at: usize) -> &mut [[u8; N]] {
    block
        .get_mut(at..)
        .unwrap_or_default()
        .as_chunks_mut::<N>()
        .0
}

fn put<const N: usize>(block: &mut [u8], at: usize, bytes: [u8; N]) {
    block[at..at + N].copy_from_slice(&bytes);
}

fn put_bytes(block: &mut [u8], at: usize, bytes: &[u8]) {
    block[at..at + bytes.len()].copy_from_slice(bytes);
}

fn put_u32s(block: &mut [u8], at: usize, numbers: &[u32]) {
    for (number, out) in numbers.iter().zip(rows(block, at)) {
        *out = number.to_le_bytes();
    }
}

/// Sets the bits of all `records` rows but the `absent` ones.
fn put_bitmap(block: &mut [u8], at: usize, records: usize, absent: &[u32]) {
    let bitmap = &mut block[at..at + records.div_ceil(8)];
    bitmap.fill(0xff);
    if let Some(last) = bitmap.last_mut()
        && !records.is_multiple_of(8)
    {
        *last = (1 << (records % 8)) - 1;
    }
    for &row in absent {
        bitmap[row as usize / 8] &= !(1 << (row % 8));
    }
}
