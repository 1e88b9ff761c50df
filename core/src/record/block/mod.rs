//! What crosses between languages: receive blocks, send rows, completion rows. Layouts, version 1.
//!
//! All integers are little-endian; every position (`topic_pos` apart) counts bytes from the start
//! of the block and is a multiple of 8; padding is zero; position 0 means that the column is
//! absent. Bitmaps are Arrow's: bit 1 is present, least significant bit first. A block is one
//! immutable allocation, aligned to 8.
//!
//! ```text
//! Receive block                                     Run, 40 bytes (rows of one partition)
//!  0  u8[4] magic "HWB1"                             0  i64 base_offset
//!  4  u16   header_len = 64 (readers skip more)      8  u32 first_row
//!  6  u16   flags (bit 0: all offsets contiguous)   12  u32 row_count
//!  8  u32   block_len                               16  i32 partition
//! 12  u32   n  (records)                            20  i32 leader_epoch (-1 unknown)
//! 16  u32   r  (runs)                               24  u32 topic_pos (UTF-8, any position)
//! 20  u32   runs_pos                                28  u32 topic_len
//! 24  u32   offset_deltas_pos   u32[n] to run base  32  u32 run_flags (bit 0: log append time)
//! 28  u32   timestamps_pos      i64[n] ms, UTC      36  u32 reserved = 0
//! 32  u32   key_present_pos     bitmap, 0 = all
//! 36  u32   key_ends_pos        u32[n+1], 0 = no record has a key
//! 40  u32   value_present_pos   bitmap, 0 = all (absent = tombstone; empty is not absent)
//! 44  u32   value_ends_pos      u32[n+1]
//! 48  u32   header_ends_pos     u32[n+1], 0 = no record has headers
//! 52  u32   keys_pos            key i = keys[ends[i]..ends[i+1]]
//! 56  u32   values_pos          with value_ends and value_present an Arrow Binary array
//! 60  u32   headers_pos         per record {u32 key_len, i32 value_len (-1), key, value} repeated
//! ```
//!
//! `offset_deltas_pos` may be 0 only with flag bit 0; `timestamps_pos` and `value_ends_pos` are
//! never 0; `key_ends_pos` 0 wins over `key_present_pos`; a column's length is its last end; an
//! empty column may stand at `block_len`. [`SendRow`] and [`CompletionRow`] have their own tables.
//!
//! The Arrow view was tried on every golden block before they were frozen, with pyarrow 26.0.1:
//! `pa.Array.from_buffers(pa.binary(), n, [present, ends, values])`, the three buffers being slices
//! of the block as it lies in memory (None for `present` at position 0), then
//! `validate(full=True)`, and `to_pylist()` compared with the values that the golden JSON states;
//! keys and headers likewise, `pa.timestamp("ms")` over the timestamps, `pa.uint32()` over the
//! offset deltas.

mod builder;
mod completion;
mod error;
mod layout;
mod rows;
mod view;

pub(crate) use builder::Single;
pub use builder::{Block, BlockBuilder, Taken};
pub use completion::{COMPLETION_ROW_BYTES, CompletionRow};
pub use error::BlockError;
pub use rows::{RowError, SEND_ROW_BYTES, SendRow, SendRows, write_send_row};
pub use view::{BlockRecord, BlockRecords, BlockView};

/// The first bytes of a receive block.
pub const MAGIC: [u8; 4] = *b"HWB1";

/// Bytes of the header of a receive block, version 1.
pub const HEADER_BYTES: usize = 64;

/// Bytes of one run.
pub const RUN_BYTES: usize = 40;

/// Flag of a block: in every run the offset is the run's base plus the row's place in it.
pub const FLAG_CONTIGUOUS: u16 = 1;

/// Flag of a run: its timestamps are append times.
pub const RUN_FLAG_APPEND_TIME: u32 = 1;

/// Where each field of the header stands.
pub(in crate::record) mod field {
    pub(in crate::record) const HEADER_LEN: usize = 4;
    pub(in crate::record) const FLAGS: usize = 6;
    pub(in crate::record) const BLOCK_LEN: usize = 8;
    pub(in crate::record) const RECORDS: usize = 12;
    pub(in crate::record) const RUNS: usize = 16;
    pub(in crate::record) const RUNS_POS: usize = 20;
    pub(in crate::record) const OFFSET_DELTAS_POS: usize = 24;
    pub(in crate::record) const TIMESTAMPS_POS: usize = 28;
    pub(in crate::record) const KEY_PRESENT_POS: usize = 32;
    pub(in crate::record) const KEY_ENDS_POS: usize = 36;
    pub(in crate::record) const VALUE_PRESENT_POS: usize = 40;
    pub(in crate::record) const VALUE_ENDS_POS: usize = 44;
    pub(in crate::record) const HEADER_ENDS_POS: usize = 48;
    pub(in crate::record) const KEYS_POS: usize = 52;
    pub(in crate::record) const VALUES_POS: usize = 56;
    pub(in crate::record) const HEADERS_POS: usize = 60;
}

/// The `N` bytes at `at`, none if they are not there.
#[inline]
fn bytes_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

#[inline]
fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes_at(bytes, at).map(u32::from_le_bytes)
}

/// The next multiple of 8.
#[inline]
const fn align8(bytes: usize) -> usize {
    bytes.next_multiple_of(8)
}

#[cfg(test)]
mod tests;
