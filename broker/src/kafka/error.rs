//! Our errors as Kafka's: one table.
//!
//! Where Kafka has a code for what happened, ours has the same number and it crosses as it is. What Kafka has no
//! word for becomes the code that makes its clients do the right thing: try again, or not.

use headwater::{Error, ErrorCode, limits};

/// No error.
pub(crate) const NONE: i16 = 0;

/// Kafka's codes for what only the adapter knows.
pub(crate) mod code {
    pub(crate) const OFFSET_OUT_OF_RANGE: i16 = 1;
    pub(crate) const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
    pub(crate) const COORDINATOR_NOT_AVAILABLE: i16 = 15;
    pub(crate) const NOT_COORDINATOR: i16 = 16;
    pub(crate) const INVALID_REQUIRED_ACKS: i16 = 21;
    pub(crate) const INVALID_TIMESTAMP: i16 = 32;
    pub(crate) const UNSUPPORTED_VERSION: i16 = 35;
    pub(crate) const INVALID_PARTITIONS: i16 = 37;
    pub(crate) const INVALID_REPLICATION_FACTOR: i16 = 38;
    pub(crate) const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
    pub(crate) const INVALID_CONFIG: i16 = 40;
    pub(crate) const INVALID_REQUEST: i16 = 42;
    pub(crate) const POLICY_VIOLATION: i16 = 44;
    pub(crate) const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
    pub(crate) const UNKNOWN_PRODUCER_ID: i16 = 59;
    pub(crate) const GROUP_ID_NOT_FOUND: i16 = 69;
    pub(crate) const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
    pub(crate) const FENCED_LEADER_EPOCH: i16 = 74;
    pub(crate) const UNKNOWN_LEADER_EPOCH: i16 = 75;
    pub(crate) const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
    pub(crate) const MEMBER_ID_REQUIRED: i16 = 79;
    pub(crate) const INVALID_RECORD: i16 = 87;
    pub(crate) const UNKNOWN_TOPIC_ID: i16 = 100;
    pub(crate) const MISMATCHED_ENDPOINT_TYPE: i16 = 114;
    pub(crate) const UNSUPPORTED_ENDPOINT_TYPE: i16 = 115;
}

/// What a client is told: Kafka's number, and words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) code: i16,
    pub(crate) message: String,
}

impl Failure {
    pub(crate) fn new(code: i16, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }

    /// There are no transactions. It is the one code that every client takes for the end of the matter, instead of
    /// asking again for ever.
    pub(crate) fn no_transactions() -> Self {
        Self::new(
            code::TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "this broker has no transactions; use an idempotent producer without a transactional.id",
        )
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        Self::new(of(error), text(error))
    }
}

/// Kafka's number for our code.
pub(crate) const fn number(code: ErrorCode) -> i16 {
    use ErrorCode as C;
    match code {
        // To be asked for elsewhere, or again: the producer's window and the reader's position are kept.
        C::Closed | C::BrokerClosing | C::Forked | C::OwnerSilent | C::FolderLocked => 6,
        C::DeliveryTimedOut | C::ProcessingTimedOut => 7,
        C::InconsistentClusterId => 104,
        // NOT_ENOUGH_REPLICAS: nothing was written, and it may be tried again soon.
        C::BufferFull => 19,
        C::QuotaExceeded => 89,
        C::DiskFull | C::FolderNotFound | C::FolderTooNew | C::CorruptFolder => 56,
        C::CorruptSegment | C::CorruptFrame => 2,
        // A position that is not in the log any more.
        C::LogTruncated => 1,
        C::InvalidAddress
        | C::UnknownOption
        | C::InvalidOption
        | C::InvalidArgument
        | C::InvalidState
        | C::NotAFolder
        | C::AddressInUse => 42,
        C::UnsupportedFeature => 35,
        C::UnknownServerError => -1,
        code => {
            let number = code as u16;
            if number < 1_000 { number as i16 } else { -1 }
        }
    }
}

/// Kafka's number for what happened.
pub(crate) fn of(error: &Error) -> i16 {
    number(error.code())
}

/// What is said of it, cut where it is too long for a message.
fn text(error: &Error) -> String {
    let mut text = error.message().to_owned();
    let max = limits::KAFKA_ERROR_MESSAGE_BYTES_MAX;
    if text.len() > max {
        let end = (0..=max).rev().find(|at| text.is_char_boundary(*at));
        text.truncate(end.unwrap_or(0));
    }
    text
}

#[cfg(test)]
mod tests {
    use kafka_protocol::ResponseError;

    use super::*;

    #[test]
    fn every_code_of_ours_is_one_of_kafkas() {
        for code in ErrorCode::ALL {
            let number = number(*code);
            assert_ne!(number, NONE, "{}", code.name());
            let known = ResponseError::try_from_code(number);
            assert!(known.is_some(), "{}: {number}", code.name());
        }
    }
}
