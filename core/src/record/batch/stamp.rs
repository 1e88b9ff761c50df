//! What is written into a batch after its producer made it, without touching its records.

use super::{
    ATTRIBUTES, BASE_OFFSET, BASE_SEQUENCE, HEADER_BYTES, LEADER_EPOCH, LOG_APPEND_TIME,
    MAX_TIMESTAMP, PRODUCER_EPOCH, PRODUCER_ID, put, take, write_checksum,
};

/// Writes what the log decides into a batch: its base offset and leader epoch.
///
/// Both stand outside the checksum. The caller has verified the batch; on fewer than 61 bytes
/// nothing happens.
pub fn stamp(bytes: &mut [u8], base_offset: i64, leader_epoch: i32) {
    if let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() {
        put(header, BASE_OFFSET, base_offset.to_be_bytes());
        put(header, LEADER_EPOCH, leader_epoch.to_be_bytes());
    }
}

/// Makes `time_ms` the timestamp of every record of a batch, as `log_append_time` asks.
///
/// Sets the attribute, the max timestamp, and the checksum again. The caller has verified the
/// batch; on fewer than 61 bytes nothing happens.
pub fn stamp_append_time(bytes: &mut [u8], time_ms: i64) {
    let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    let attributes = u16::from_be_bytes(take(header, ATTRIBUTES)) | LOG_APPEND_TIME;
    put(header, ATTRIBUTES, attributes.to_be_bytes());
    put(header, MAX_TIMESTAMP, time_ms.to_be_bytes());
    write_checksum(bytes);
}

/// Makes `time_ms` the largest timestamp that a batch says its records have.
///
/// Sets the checksum again. The caller has verified the batch; on fewer than 61 bytes nothing happens.
pub fn stamp_max_timestamp(bytes: &mut [u8], time_ms: i64) {
    let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    put(header, MAX_TIMESTAMP, time_ms.to_be_bytes());
    write_checksum(bytes);
}

/// Makes a batch that of another producer, epoch and sequence: what a producer does that begins again.
///
/// Sets the checksum again. On fewer than 61 bytes nothing happens.
pub(crate) fn stamp_producer(
    bytes: &mut [u8],
    producer_id: i64,
    producer_epoch: i16,
    base_sequence: i32,
) {
    let Some(header) = bytes.first_chunk_mut::<HEADER_BYTES>() else {
        return;
    };
    put(header, PRODUCER_ID, producer_id.to_be_bytes());
    put(header, PRODUCER_EPOCH, producer_epoch.to_be_bytes());
    put(header, BASE_SEQUENCE, base_sequence.to_be_bytes());
    write_checksum(bytes);
}
