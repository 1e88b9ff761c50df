//! How large a record is for the producer's room, and whether its topic takes it at all.
//!
//! As with Kafka, a topic's `max_message_bytes` is about the batch as it is sent. Records gather
//! below that many bytes uncompressed, so a batch of several is never too large, however little it
//! shrinks; a record that is larger has a batch of its own, and is taken if that shrinks enough.

use super::desk::Desk;
use super::sender::Sender;
use crate::error::{Error, ErrorCode, Result};
use crate::limits::BATCH_BYTES_MAX;
use crate::record::batch::HEADER_BYTES;
use crate::record::{BatchBuilder, BatchError, Codec, Compressor, RecordRef};

impl Sender {
    /// Bytes that must be free for a record, or why it can never be sent.
    pub(super) fn needed_bytes(
        &self,
        desk: &Desk,
        topic: u32,
        record: &RecordRef<'_>,
    ) -> Result<usize> {
        let needed = HEADER_BYTES + BatchBuilder::estimate(record);
        let topic_bytes = desk.accumulator.topics.max_batch_bytes(topic);
        let most = BATCH_BYTES_MAX.min(self.settings.buffer_bytes);
        if needed <= topic_bytes.min(most) {
            return Ok(needed);
        }
        // The estimate is above the truth: only what is near a limit is measured. That is dear,
        // under the lock, but what it is done for would be refused otherwise.
        let size = size_alone(record, self.codec);
        if size.gathered <= most && size.sent <= topic_bytes {
            return Ok(needed.min(self.settings.buffer_bytes));
        }
        let name = desk.accumulator.topics.name(topic);
        let (found, limit, most) = if size.sent > topic_bytes && topic_bytes <= most {
            (size.sent, "max_message_bytes", topic_bytes)
        } else if most == self.settings.buffer_bytes {
            (size.gathered, "buffer_bytes", most)
        } else {
            (size.gathered, "the most of any batch", most)
        };
        Err(Error::new(
            ErrorCode::MessageTooLarge,
            format!(
                "a record to topic `{name}` makes a batch of {found} bytes by itself; \
                 {limit} is {most}"
            ),
        ))
    }
}

/// The bytes of a batch.
struct Size {
    /// While it is open.
    gathered: usize,
    /// As it is sent.
    sent: usize,
}

/// The size of a batch of this record alone.
fn size_alone(record: &RecordRef<'_>, codec: Codec) -> Size {
    let mut builder = BatchBuilder::new(0);
    if let Err(error) = builder.push(record) {
        let found = match error {
            BatchError::TooLarge { found, .. } => usize::try_from(found).unwrap_or(usize::MAX),
            _ => usize::MAX,
        };
        return Size {
            gathered: found,
            sent: found,
        };
    }
    let gathered = builder.size_bytes();
    let compressor = Compressor::new(codec).ok();
    let batch = compressor
        .and_then(|mut compressor| builder.finish_compressed(&mut compressor, -1, -1, -1));
    Size {
        gathered,
        sent: batch.map_or(gathered, |batch| batch.len()),
    }
}
