//! What stands in the headers of frames that are neither request nor response.
//!
//! Encoded with postcard; append-only, as the requests are.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode, Outcome};
use crate::limits;
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::request::{FetchPosition, PartitionOffset};

/// An error, as it crosses: its kind follows from its code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WireError {
    /// The number of its code.
    pub code: u16,
    /// The text for people.
    pub message: String,
    /// Whether it may have happened all the same.
    pub outcome: Outcome,
}

impl From<&Error> for WireError {
    fn from(error: &Error) -> Self {
        let mut message = error.message().to_owned();
        if message.len() > limits::WIRE_MESSAGE_BYTES_MAX {
            let mut end = limits::WIRE_MESSAGE_BYTES_MAX;
            while !message.is_char_boundary(end) {
                end -= 1;
            }
            message.truncate(end);
        }
        Self {
            code: error.code() as u16,
            message,
            outcome: error.outcome(),
        }
    }
}

impl From<WireError> for Error {
    fn from(error: WireError) -> Self {
        let WireError {
            code,
            message,
            outcome,
        } = error;
        let error = match ErrorCode::from_number(code) {
            Some(code) => Self::new(code, message),
            None => Self::new(
                ErrorCode::UnknownServerError,
                format!("{message} (code {code}, which this version does not know)"),
            ),
        };
        error.with_outcome(outcome)
    }
}

/// Why a connection ends, and up to where it was served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Goodbye {
    /// The number of an error code; 0: there is nothing wrong.
    pub code: u16,
    /// The text for people.
    pub message: String,
    /// The last correlation id that was taken in: what has a higher one was not done.
    pub last_correlation_id: u64,
}

/// The head of the batches pushed in one frame; their bytes follow as the payload, back to back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Push<'a> {
    /// How often the subscription had been reassigned when they were taken.
    pub assignment: u32,
    /// The batches, in order per partition; at most [`limits::PUSH_BATCHES_MAX`].
    #[serde(borrow)]
    pub batches: Vec<PushedBatch<'a>>,
}

/// One batch of a [`Push`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushedBatch<'a> {
    /// The topic's name.
    pub topic: &'a str,
    /// The partition's number.
    pub partition: i32,
    /// The partition's high watermark.
    pub high_watermark: i64,
    /// Records below this offset were not asked for.
    pub from_offset: i64,
    /// Bytes of the batch.
    pub batch_bytes: u32,
}

impl<'a> PushedBatch<'a> {
    /// The head of a batch.
    #[must_use]
    pub fn of(batch: &'a FetchedBatch) -> Self {
        Self {
            topic: &batch.topic,
            partition: batch.partition,
            high_watermark: batch.high_watermark,
            from_offset: batch.from_offset,
            // A batch is at most 16 MiB; were it longer, the frame would be refused as too long.
            batch_bytes: u32::try_from(batch.batch.len()).unwrap_or(u32::MAX),
        }
    }
}

/// So many bytes more may be pushed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credit {
    /// Bytes of record batches.
    pub bytes: u64,
}

/// What a subscription reads from now on, instead of what it read before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reassign {
    /// How often the subscription has been reassigned, this one included; it comes back in [`Push`].
    pub assignment: u32,
    /// Where to read.
    pub partitions: Vec<PartitionOffset>,
}

/// The same as [`Reassign`], by a reader that knows the leader epochs of what it has read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReassignAt {
    /// As in [`Reassign`].
    pub assignment: u32,
    /// Where to read.
    pub positions: Vec<FetchPosition>,
}

impl From<Reassign> for ReassignAt {
    fn from(reassign: Reassign) -> Self {
        let partitions = reassign.partitions.into_iter();
        Self {
            assignment: reassign.assignment,
            positions: partitions.map(FetchPosition::from).collect(),
        }
    }
}
