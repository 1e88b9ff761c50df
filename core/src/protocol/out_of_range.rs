//! Why a partition cannot be read where a reader stands, as facts that it can act on.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorCode};

/// The position is not held: deleted, past the end, or taken back by a crash.
///
/// It is the source of the error that says so, in process and behind a socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutOfRange {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset that was asked for.
    pub offset: i64,
    /// The leader epoch of the record before it, as the reader knows it; -1: it does not.
    pub last_epoch: i32,
    /// Where that epoch ends now, if that is before the offset: the records in between, which the reader
    /// has seen, are not in the log any more.
    pub epoch_end_offset: Option<i64>,
    /// The first offset held.
    pub log_start_offset: i64,
    /// The next offset a reader would see.
    pub high_watermark: i64,
    /// The next offset to be written.
    pub log_end_offset: i64,
}

impl OutOfRange {
    /// The facts behind an error, if it is of this kind.
    #[must_use]
    pub fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    /// Where a reader that was told of a truncation goes on: everything below is as it has read it.
    #[must_use]
    pub fn safe_offset(&self) -> Option<i64> {
        let end_offset = self.epoch_end_offset?;
        Some(end_offset.max(self.log_start_offset))
    }
}

impl std::fmt::Display for OutOfRange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            topic,
            partition,
            offset,
            last_epoch,
            log_start_offset,
            log_end_offset,
            ..
        } = self;
        write!(
            f,
            "offset {offset} of topic `{topic}`, partition {partition} "
        )?;
        if let (Some(end_offset), Some(safe_offset)) = (self.epoch_end_offset, self.safe_offset()) {
            write!(
                f,
                "was reached in leader epoch {last_epoch}, which now ends at offset {end_offset}: a crash took \
                 back the records behind that, go on at offset {safe_offset}; "
            )?;
        } else {
            f.write_str("is not held; ")?;
        }
        write!(f, "it holds {log_start_offset} to {log_end_offset}")
    }
}

impl std::error::Error for OutOfRange {}

impl From<OutOfRange> for Error {
    fn from(found: OutOfRange) -> Self {
        let code = match found.epoch_end_offset {
            Some(_) => ErrorCode::LogTruncated,
            None => ErrorCode::OffsetOutOfRange,
        };
        Self::new(code, found.to_string()).with_source(found)
    }
}
