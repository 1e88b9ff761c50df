//! What consumers say of themselves and are assigned, read for people: topics and partitions.
//!
//! ```text
//! subscription   version i16, count i32, topics (length i16, bytes), ..
//! assignment     version i16, count i32, (topic, count i32, partitions i32), ..
//! ```
//!
//! The group's protocol does not need it: to that these are bytes. What cannot be read is not shown.

use std::sync::Arc;

use crate::ids::TopicPartition;
use crate::limits;

/// What consumers' protocols are for.
pub(super) const PROTOCOL_TYPE: &str = "consumer";

/// The topics that a consumer subscribed to.
pub(crate) fn topics(metadata: &[u8]) -> Option<Vec<String>> {
    let mut rest = metadata;
    take::<2>(&mut rest)?;
    let count = length(i32::from_be_bytes(take(&mut rest)?))?;
    (0..count).map(|_| string(&mut rest)).collect()
}

/// The partitions that a consumer was assigned, in order.
pub(crate) fn assigned(assignment: &[u8]) -> Option<Vec<TopicPartition>> {
    let mut rest = assignment;
    take::<2>(&mut rest)?;
    let topics = length(i32::from_be_bytes(take(&mut rest)?))?;
    let mut partitions = Vec::new();
    for _ in 0..topics {
        let topic = Arc::<str>::from(string(&mut rest)?);
        let count = length(i32::from_be_bytes(take(&mut rest)?))?;
        for _ in 0..count {
            let partition = i32::from_be_bytes(take(&mut rest)?);
            if partitions.len() >= limits::GROUP_MEMBER_PARTITIONS_MAX {
                return None;
            }
            partitions.push(TopicPartition {
                topic: Arc::clone(&topic),
                partition,
            });
        }
    }
    partitions.sort();
    Some(partitions)
}

fn length(found: i32) -> Option<usize> {
    usize::try_from(found).ok()
}

fn string(rest: &mut &[u8]) -> Option<String> {
    let length = usize::try_from(i16::from_be_bytes(take(rest)?)).ok()?;
    let (found, behind) = rest.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(found.to_vec()).ok()
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (found, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*found)
}
