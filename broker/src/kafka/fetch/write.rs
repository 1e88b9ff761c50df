//! The answer to a Fetch: batches as they lie in memory, between the fields that say what they are.

use super::look::Found;
use super::{Asked, VERSION_WITH_IDS};
use crate::kafka::answer::Reply;
use crate::kafka::error;
use crate::kafka::wire::Writer;

/// No session, and no replica that would be better to read from.
const NO_SESSION: i32 = 0;
const NO_REPLICA: i32 = -1;

/// The tag of where a client's log and ours part.
const DIVERGING_EPOCH: u8 = 0;

/// Writes what was found, partition by partition as they were asked for.
pub(super) fn reply(asked: &Asked, error_code: i16, found: Vec<Found>) -> Reply {
    let is_wrong = |found: &Found| found.error_code != error::NONE;
    let has_failed = error_code != error::NONE || found.iter().any(is_wrong);
    let mut found = found.into_iter();
    let mut writer = Writer::new(asked.is_flexible);
    writer.i32(0);
    if asked.version >= 7 {
        writer.i16(error_code);
        writer.i32(NO_SESSION);
    }
    writer.count(Some(asked.topics.len()));
    for topic in &asked.topics {
        if asked.version >= VERSION_WITH_IDS {
            writer.uuid(&topic.id);
        } else {
            writer.string(Some(&topic.name));
        }
        writer.count(Some(topic.rows.len()));
        for (row, found) in topic.rows.iter().zip(&mut found) {
            partition(&mut writer, asked, row.index, found);
        }
        writer.tags();
    }
    writer.tags();
    Reply::pieces(writer.finish(), has_failed)
}

fn partition(writer: &mut Writer, asked: &Asked, index: i32, found: Found) {
    writer.i32(index);
    writer.i16(found.error_code);
    writer.i64(found.high_watermark);
    // Without transactions, what is readable is stable.
    writer.i64(found.high_watermark);
    if asked.version >= 5 {
        writer.i64(found.log_start_offset);
    }
    writer.count(asked.is_committed_only.then_some(0));
    if asked.version >= 11 {
        writer.i32(NO_REPLICA);
    }
    writer.pieces(found.batches.into_iter());
    match found.diverging {
        Some((epoch, end_offset)) if asked.is_flexible => {
            let mut field = [0; 13];
            let (first, rest) = field.split_at_mut(4);
            first.copy_from_slice(&epoch.0.to_be_bytes());
            if let Some(place) = rest.first_chunk_mut::<8>() {
                *place = end_offset.to_be_bytes();
            }
            // The last byte stands for no tagged fields in the struct.
            writer.tag(DIVERGING_EPOCH, &field);
        }
        _ => writer.tags(),
    }
}
