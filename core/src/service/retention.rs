//! Retention: which records are too old or too many, and giving back their space.
//!
//! Every now and then each partition is looked at, segment by segment. What its limits say is dead is cut
//! off by a LOG_START entry, so the decision is in the log and the same for all who read it; the space
//! follows, by the log's cleaning. Time counts from when a batch was appended: records with old timestamps
//! are kept as long as any others.
//!
//! What is to be cleaned is noted at one moment, and done once all that led to it is synced: under load the
//! log is always a little ahead of its syncs, and what a power cut can take back decides nothing.
//!
//! Producers go the same way: what is remembered of one that is idle for a day is given up by an entry.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::Inner;
use crate::completion::{Completion, Wakes};
use crate::engine::partition::Partition;
use crate::engine::topic_config::TopicConfig;
use crate::engine::topics::Topic;
use crate::error::{ErrorCode, Result};
use crate::ids::PartitionId;
use crate::limits;
use crate::log::{Appended, CleaningRule, Compaction, Extent, Kind, ProducerExpiry, Run, control};

/// Between two looks: a quarter of the shortest retention, within these.
const INTERVAL_MIN: Duration = Duration::from_millis(250);
const INTERVAL_MAX: Duration = Duration::from_secs(10);
/// Until the next look when one has decided something whose consequences are still to come.
const INTERVAL_SOON: Duration = Duration::from_secs(1);
/// The same while writers wait for space.
const INTERVAL_TIGHT: Duration = Duration::from_millis(10);
/// The age at which a segment rolls: a quarter of the shortest retention, within these.
const SEGMENT_MS_MIN: i64 = 10_000;
const SEGMENT_MS_MAX: i64 = DAY_MS;
/// How long a producer may append nothing to a partition before that forgets it (Kafka's default of
/// `producer.id.expiration.ms`).
const PRODUCER_ID_EXPIRATION_MS: i64 = DAY_MS;
/// Between two looks at all producers, while they are not too many.
const EXPIRY_INTERVAL_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// What cleaning is to leave, by what the log made of everything up to an entry.
#[derive(Debug)]
pub(super) struct Decided {
    as_of: u64,
    rules: HashMap<PartitionId, CleaningRule>,
}

impl Decided {
    /// The rule for each partition.
    pub(super) fn rule(&self) -> impl Fn(PartitionId) -> Option<CleaningRule> {
        |id| self.rules.get(&id).copied()
    }
}

impl Inner {
    /// Has the log's housekeeping done from now on; at once, if there is anything that needs it.
    pub(super) fn watch_retention(self: &Arc<Self>) {
        let inner = Arc::downgrade(self);
        self.log.set_housekeeper(Arc::new(move || sweep(&inner)));
        let is_cleaned = {
            let topics = self.state.topics.read();
            topics.iter().any(|topic| is_cleaned(&topic.config))
        };
        if is_cleaned || self.is_limited {
            self.start_housekeeping();
        }
    }

    /// A topic that is limited is about to be made, or one is to go: there will be space to be given back.
    pub(super) fn start_housekeeping(&self) {
        if let Err(error) = self.log.start_housekeeping(INTERVAL_MIN) {
            crate::seldom!(warn, name = %self.name, %error, "old records are not removed");
        }
    }

    fn sweep(self: &Arc<Self>) -> Duration {
        let now_ms = (self.clock)();
        let topics: Vec<_> = self.state.topics.read().iter().cloned().collect();
        let limited = topics.iter().filter(|topic| is_limited(&topic.config));
        let mut is_busy = false;
        for topic in limited.clone() {
            for partition in topic.partitions.iter() {
                is_busy |= self.limit(topic, partition, now_ms);
            }
        }
        let retentions = limited.map(|topic| topic.config.retention_ms);
        let shortest_ms = retentions.filter(|retention_ms| *retention_ms >= 0).min();
        let quarter_ms = shortest_ms.map_or(i64::MAX, |shortest_ms| shortest_ms / 4);
        self.log
            .set_segment_ms(quarter_ms.clamp(SEGMENT_MS_MIN, SEGMENT_MS_MAX));
        self.log.roll_aged();
        if self.log.is_tight() {
            is_busy |= self.drop_oldest(&self.decide());
        }
        is_busy |= self.clean();
        is_busy |= self.expire_producers(now_ms, limits::PRODUCERS_MAX);
        let is_tight = self.log.is_tight();
        self.log.let_in(is_busy || !is_tight);
        if is_tight && is_busy {
            return INTERVAL_TIGHT;
        }
        let is_soon = is_tight || is_busy;
        let most = if is_soon { INTERVAL_SOON } else { INTERVAL_MAX };
        let quarter = Duration::from_millis(u64::try_from(quarter_ms).unwrap_or_default());
        quarter.clamp(INTERVAL_MIN, most)
    }

    /// Cleans by what was decided before, if that waited to be synced, and by what is decided now; says whether
    /// there was anything, or something waits.
    fn clean(&self) -> bool {
        let mut waiting = self.decided.lock();
        let mut is_busy = false;
        if let Some(decided) = waiting.take() {
            let Some(removed) = self.clean_by(&decided) else {
                *waiting = Some(decided);
                return true;
            };
            is_busy |= removed > 0;
        }
        let decided = self.decide();
        match self.clean_by(&decided) {
            Some(removed) => is_busy || removed > 0,
            None => {
                *waiting = Some(decided);
                true
            }
        }
    }

    fn clean_by(&self, decided: &Decided) -> Option<usize> {
        self.log.clean(decided.as_of, &decided.rule())
    }

    fn decide(&self) -> Decided {
        let topics = self.state.topics.read();
        let rules = topics.partitions().map(|partition| {
            let config = topics.by_uuid(&partition.topic).map(|topic| &topic.config);
            let compacted = config.filter(|config| config.cleanup_policy.compacts());
            let rule = CleaningRule {
                log_start_offset: partition.status().log_start_offset,
                compaction: compacted.map(|config| Compaction {
                    tombstone_retention_ms: config.tombstone_retention_ms,
                }),
            };
            (partition.id, rule)
        });
        let rules = rules.collect();
        drop(topics);
        // The index last: all that was looked at is of it or of entries before.
        let as_of = self.log.last_index();
        Decided { as_of, rules }
    }

    /// Forgets producers that were idle too long, and the oldest beyond `producers_max`; says whether there
    /// are more to forget.
    fn expire_producers(&self, now_ms: i64, producers_max: usize) -> bool {
        let looked_ms = self.expiry_looked_ms.load(Ordering::Relaxed);
        // A clock that went back does not put it off.
        let is_due = !(0..EXPIRY_INTERVAL_MS).contains(&now_ms.saturating_sub(looked_ms));
        if !is_due && self.log.producer_count() <= producers_max {
            return false;
        }
        let expired = self.log.expire_producers(&ProducerExpiry {
            now_ms,
            idle_ms: PRODUCER_ID_EXPIRATION_MS,
            producers_max,
            expired_max: limits::PRODUCERS_EXPIRED_PER_SWEEP_MAX,
        });
        let has_more = match expired {
            Ok(expired) => expired.has_more,
            Err(error) => {
                crate::seldom!(warn, name = %self.name, %error, "idle producers are not forgotten");
                false
            }
        };
        if !has_more {
            self.expiry_looked_ms.store(now_ms, Ordering::Relaxed);
        }
        has_more
    }

    /// Cuts off what a partition's limits say is dead; says whether there was any.
    fn limit(&self, topic: &Topic, partition: &Partition, now_ms: i64) -> bool {
        let status = partition.status();
        let extents = self.log.extents(partition.id);
        let start = start_by_limits(&extents, &topic.config, now_ms, status.log_start_offset)
            .min(status.high_watermark);
        if start <= status.log_start_offset {
            return false;
        }
        let (id, number, name) = (partition.id, partition.number, Arc::clone(&topic.name));
        let done = Completion::call(move |result: Result<Appended>, _: &mut Wakes| {
            // A log that is just closing goes on with it when it is opened again.
            if let Err(error) = result
                && error.code() != ErrorCode::Closed
            {
                crate::seldom!(warn, topic = %name, partition = number, %error, "old records stay");
            }
        });
        let payload = control::LogStart { offset: start };
        self.append_control(Kind::LogStart, id, &payload, None, Run::Here, done);
        true
    }
}

fn sweep(inner: &Weak<Inner>) -> Duration {
    inner.upgrade().map_or(INTERVAL_MAX, |inner| inner.sweep())
}

/// Whether a topic's records are removed one day, by its limits or by their keys.
pub(super) fn is_cleaned(config: &TopicConfig) -> bool {
    is_limited(config) || config.cleanup_policy.compacts()
}

fn is_limited(config: &TopicConfig) -> bool {
    config.cleanup_policy.deletes() && (config.retention_ms >= 0 || config.retention_bytes >= 0)
}

/// The first offset that the limits leave, segment by segment: what a segment holds of a partition goes
/// whole, or not at all.
fn start_by_limits(
    extents: &[Extent],
    config: &TopicConfig,
    now_ms: i64,
    log_start_offset: i64,
) -> i64 {
    let held: Vec<_> = extents
        .iter()
        .filter(|extent| extent.next_offset > log_start_offset)
        .collect();
    let mut start = log_start_offset;
    if config.retention_ms >= 0 {
        let oldest_ms = now_ms.saturating_sub(config.retention_ms);
        let expired = held.iter().zip(append_times(&held, now_ms));
        let expired = expired.take_while(|(_, time_ms)| *time_ms < oldest_ms);
        start = expired.last().map_or(start, |(last, _)| last.next_offset);
    }
    if let Ok(limit) = u64::try_from(config.retention_bytes) {
        let mut rest: u64 = held
            .iter()
            .filter(|extent| extent.next_offset > start)
            .map(|extent| extent.size_bytes)
            .sum();
        for extent in held {
            if extent.next_offset <= start {
                continue;
            }
            // As Kafka: what is left is at least the limit.
            if rest - extent.size_bytes < limit {
                break;
            }
            rest -= extent.size_bytes;
            start = extent.next_offset;
        }
    }
    start
}

/// When the last batch of each extent was appended, at the latest. What was appended before others cannot be
/// later than they are, whatever a clock said that was ahead then; a time of more than a day in the future
/// counts as now.
fn append_times(extents: &[&Extent], now_ms: i64) -> Vec<i64> {
    let mut latest_ms = i64::MAX;
    let mut times: Vec<_> = extents
        .iter()
        .rev()
        .map(|extent| {
            latest_ms = latest_ms.min(extent.max_append_time_ms);
            if latest_ms > now_ms.saturating_add(DAY_MS) {
                now_ms
            } else {
                latest_ms
            }
        })
        .collect();
    times.reverse();
    times
}

#[cfg(test)]
mod tests;
