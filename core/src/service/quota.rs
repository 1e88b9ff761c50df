//! A folder at its limit whose oldest records go to make room: `max_bytes_policy=drop_oldest`.
//!
//! As with retention the decision is in the log, LOG_START entries for all partitions together, and the space
//! follows by the log's cleaning. Records of topics that are only compacted stay: they are the last of their
//! keys, however old.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Inner;
use super::retention::Decided;
use crate::completion::{Completion, Wakes};
use crate::engine::partition::Partition;
use crate::error::Result;
use crate::ids::PartitionId;
use crate::limits;
use crate::log::{Appended, Kind, Run, SetPart, control, encode_set};

impl Inner {
    /// Cuts off the oldest records, if the next segment has no room and they may go; says whether there were any.
    pub(super) fn drop_oldest(&self, decided: &Decided) -> bool {
        if !self.drops_oldest || !self.log.is_tight() {
            return false;
        }
        let victims: Vec<_> = {
            let topics = self.state.topics.read();
            let may_go = |id| {
                let partition = topics.partition(id);
                let topic = partition.and_then(|partition| topics.by_uuid(&partition.topic));
                topic.is_some_and(|topic| topic.config.cleanup_policy.deletes())
            };
            let oldest = self.log.oldest(&decided.rule(), &may_go).into_iter();
            oldest
                .filter_map(|(id, until)| Some((Arc::clone(topics.partition(id)?), until)))
                .collect()
        };
        let mut is_any = false;
        for victims in victims.chunks(limits::DELETE_RECORDS_PARTITIONS_MAX) {
            is_any |= self.drop_until(victims);
        }
        is_any
    }

    /// Whether there were any, and it was not refused; it may be under way still.
    fn drop_until(&self, victims: &[(Arc<Partition>, i64)]) -> bool {
        let (mut parts, mut records) = (Vec::new(), 0);
        for (partition, until) in victims {
            let status = partition.status();
            let offset = (*until).min(status.high_watermark);
            let dropped = offset.saturating_sub(status.log_start_offset);
            let payload = postcard::to_stdvec(&control::LogStart { offset });
            if let (1.., Ok(payload)) = (dropped, payload) {
                parts.push(SetPart::control(Kind::LogStart, partition.id, payload));
                records += dropped.unsigned_abs();
            }
        }
        if parts.is_empty() {
            return false;
        }
        let is_refused = Arc::new(AtomicBool::new(false));
        let refused = Arc::clone(&is_refused);
        let partitions = parts.len();
        let (name, dropped) = (self.name.clone(), Arc::clone(&self.dropped_records));
        let done = Completion::call(
            move |result: Result<Appended>, _: &mut Wakes| match result {
                Ok(_) => {
                    dropped.fetch_add(records, Ordering::Relaxed);
                    crate::seldom!(info, %name, records, partitions, "dropped the oldest records: `max_bytes` is reached");
                }
                Err(error) => {
                    refused.store(true, Ordering::Relaxed);
                    crate::seldom!(warn, %name, %error, "the oldest records stay");
                }
            },
        );
        let payload = encode_set(&parts);
        self.append_encoded(Kind::Set, PartitionId(0), payload, None, Run::Here, done);
        !is_refused.load(Ordering::Relaxed)
    }
}
