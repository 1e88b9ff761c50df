//! What can be wrong with a receive block.

use thiserror::Error;

use super::{HEADER_BYTES, MAGIC};

/// Why bytes are not a receive block.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// Fewer bytes than a header has, or than the block says.
    #[error("{found} bytes, expected {expected}")]
    Truncated {
        /// Bytes there are.
        found: usize,
        /// Bytes there should be.
        expected: usize,
    },
    /// Another format, or another version of it.
    #[error("magic {found:02x?} is not supported, expected {MAGIC:02x?}")]
    Magic {
        /// The first four bytes.
        found: [u8; 4],
    },
    /// The header is shorter than version 1's, or longer than the block.
    #[error("header of {found} bytes, expected {HEADER_BYTES} or more, within the block")]
    HeaderLen {
        /// The field.
        found: u16,
    },
    /// A column begins at no multiple of 8, inside the header, or ends behind the block.
    #[error("{column} at byte {position} with {bytes} bytes is not within the block")]
    Position {
        /// The column.
        column: &'static str,
        /// Where it begins.
        position: u32,
        /// Its bytes.
        bytes: u64,
    },
    /// A column that every block has is absent.
    #[error("{column} is absent")]
    Absent {
        /// The column.
        column: &'static str,
    },
    /// The ends of a column do not begin with 0, or fall.
    #[error("end {index} of {column} is {found}, expected {least} or more")]
    End {
        /// The column.
        column: &'static str,
        /// Which end, 0 to n.
        index: usize,
        /// The end.
        found: u32,
        /// The end before.
        least: u32,
    },
    /// A run does not begin where the one before ended, has no rows, or more than are left.
    #[error("run {run} has rows {first_row} to {end_row}, expected from {expected} on")]
    RunRows {
        /// Index of the run; the number of runs when rows are left over.
        run: usize,
        /// Its first row.
        first_row: u32,
        /// The row behind its last.
        end_row: u64,
        /// Where it should begin.
        expected: u32,
    },
    /// The topic of a run is not within the block, longer than a name can be, or not UTF-8.
    #[error("topic of run {run} is not a name within the block")]
    Topic {
        /// Index of the run.
        run: usize,
    },
    /// The offsets of a run do not rise, or leave 64 bits.
    #[error("offset of row {row} does not follow on the row before it")]
    Offset {
        /// The row.
        row: u32,
    },
}
