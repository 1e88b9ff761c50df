//! What was given out last, segment by segment.

use std::ops::Range;

use super::Origin;

/// Rows of one partition in a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client::consumer) struct Segment {
    /// The partition's place in the fetcher.
    pub(in crate::client::consumer) place: usize,
    pub(in crate::client::consumer) offsets: Offsets,
    /// Where reading goes on behind them.
    pub(in crate::client::consumer) next_offset: i64,
    /// The leader epoch of the last of them.
    pub(in crate::client::consumer) leader_epoch: i32,
}

/// The offsets of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client::consumer) enum Offsets {
    /// Without gaps.
    Contiguous(Range<i64>),
    /// With gaps, rising.
    Sparse(Vec<i64>),
}

impl Offsets {
    pub(super) fn len(&self) -> u32 {
        let rows = match self {
            Self::Contiguous(range) => range.start.abs_diff(range.end),
            Self::Sparse(offsets) => offsets.len() as u64,
        };
        u32::try_from(rows).unwrap_or(u32::MAX)
    }

    pub(super) fn at(&self, row: u32) -> Option<i64> {
        match self {
            Self::Contiguous(range) => Some(range.start + i64::from(row)),
            Self::Sparse(offsets) => offsets.get(row as usize).copied(),
        }
    }

    /// Calls `each` with the ranges of rows `rows`.
    pub(super) fn ranges(&self, rows: Range<u32>, mut each: impl FnMut(Range<i64>)) {
        match self {
            Self::Contiguous(range) => {
                each(range.start + i64::from(rows.start)..range.start + i64::from(rows.end));
            }
            Self::Sparse(offsets) => {
                let rows = rows.start as usize..rows.end as usize;
                for offset in offsets.get(rows).unwrap_or_default() {
                    each(*offset..offset + 1);
                }
            }
        }
    }
}

/// A segment as it stands in the current lease.
#[derive(Debug)]
pub(super) struct Leased {
    pub(super) segment: Segment,
    pub(super) first_row: u32,
    pub(super) rows: u32,
    /// The partition's seeks when it was given out.
    pub(super) seeks: u32,
    /// Where reading stood before it, and how it had come there.
    pub(super) before: (i64, Origin),
}
