//! Completion rows: what became of records that a host sent, one row per run of tickets.
//!
//! ```text
//!  0 u64 first_ticket  8 u32 count  12 i32 partition  16 i64 base_offset (-1 failed)
//! 24 i64 timestamp_ms 32 u8 durability  33 u8 outcome  34 u16 error  36 u32 error_id
//! ```

use super::bytes_at;

/// Bytes of a completion row.
pub const COMPLETION_ROW_BYTES: usize = 40;

/// What became of `count` records with consecutive tickets: they stand at consecutive offsets of
/// one partition, or failed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CompletionRow {
    /// The smallest ticket.
    pub first_ticket: u64,
    /// How many tickets.
    pub count: u32,
    /// The partition, -1 if none was chosen.
    pub partition: i32,
    /// The first record's offset, -1 if they failed.
    pub base_offset: i64,
    /// The append time in ms since 1970 UTC, -1 with create time.
    pub timestamp_ms: i64,
    /// The level reached: 1 os, 2 disk, 3 quorum; 0 if they failed.
    pub durability: u8,
    /// 0 done, 1 not done, 2 unknown.
    pub outcome: u8,
    /// The error's number, 0 for none.
    pub error: u16,
    /// By which the host asks for the whole error, 0 for none.
    pub error_id: u32,
}

impl CompletionRow {
    /// Appends the row's 40 bytes.
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.first_ticket.to_le_bytes());
        out.extend_from_slice(&self.count.to_le_bytes());
        out.extend_from_slice(&self.partition.to_le_bytes());
        out.extend_from_slice(&self.base_offset.to_le_bytes());
        out.extend_from_slice(&self.timestamp_ms.to_le_bytes());
        out.extend_from_slice(&[self.durability, self.outcome]);
        out.extend_from_slice(&self.error.to_le_bytes());
        out.extend_from_slice(&self.error_id.to_le_bytes());
    }

    /// The row that `bytes` begin with, none if they are fewer than 40.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [durability, outcome] = bytes_at(bytes, 32)?;
        Some(Self {
            first_ticket: u64::from_le_bytes(bytes_at(bytes, 0)?),
            count: u32::from_le_bytes(bytes_at(bytes, 8)?),
            partition: i32::from_le_bytes(bytes_at(bytes, 12)?),
            base_offset: i64::from_le_bytes(bytes_at(bytes, 16)?),
            timestamp_ms: i64::from_le_bytes(bytes_at(bytes, 24)?),
            durability,
            outcome,
            error: u16::from_le_bytes(bytes_at(bytes, 34)?),
            error_id: u32::from_le_bytes(bytes_at(bytes, 36)?),
        })
    }
}
