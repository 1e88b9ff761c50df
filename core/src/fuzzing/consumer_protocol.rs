//! What Kafka's consumers say to the leader of their group, and what it tells them.

use super::Target;
use crate::engine::group::classic::subscription::{assigned, topics};

pub(super) const CONSUMER_PROTOCOL: Target = Target {
    name: "consumer_protocol",
    run: check,
    seeds: || {
        vec![
            b"\0\x01\0\0\0\x02\0\x06orders\0\x05bills\xFF\xFF\xFF\xFF\0\0\0\0".to_vec(),
            b"\0\0\0\0\0\x01\0\x06orders\0\0\0\x02\0\0\0\x03\0\0\0\x01\0\0\0\0".to_vec(),
        ]
    },
};

/// What comes out is in order, and never more than what went in can hold.
fn check(bytes: &[u8]) {
    if let Some(topics) = topics(bytes) {
        assert!(topics.iter().map(|topic| topic.len() + 2).sum::<usize>() <= bytes.len());
    }
    if let Some(partitions) = assigned(bytes) {
        assert!(4 * partitions.len() <= bytes.len());
        assert!(partitions.is_sorted());
    }
}
