//! The topics that a producer sends to: their numbers, what is known of them, their partitions' queues.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::PartitionQueue;
use super::parked::Parked;
use crate::error::{Error, ErrorCode};
use crate::limits::{BATCH_BYTES_MAX, NAME_BYTES_MAX, PRODUCER_TOPICS_MAX};
use crate::record::partition_for_key;

/// What a producer must know of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::client) struct Lookup {
    /// How many partitions it has; at least one.
    pub(in crate::client) partitions: i32,
    /// The topic's `max_message_bytes`.
    pub(in crate::client) max_batch_bytes: usize,
}

/// Topics by number. A number, once given, stands for its name as long as the producer lives.
#[derive(Debug, Default)]
pub(super) struct Topics {
    entries: Vec<Topic>,
    by_name: HashMap<Arc<str>, u32>,
    /// The topic that was sent to last: most producers send to one.
    last: u32,
    /// Where keyless records begin, so that not every topic begins at its first partition.
    seed: i32,
    /// After so long it is asked again how many partitions a topic has.
    age_max: Duration,
}

#[derive(Debug)]
struct Topic {
    name: Arc<str>,
    lookup: Option<Lookup>,
    /// When it is to be asked again, if it is used then; none before it is used.
    asked_again_at: Option<Instant>,
    queues: Vec<PartitionQueue>,
    /// The partition that takes records without key at the moment.
    sticky: i32,
    parked: Option<Parked>,
}

impl Topics {
    /// Where records without key begin: another partition for every producer.
    pub(super) const fn set_seed(&mut self, seed: i32) {
        self.seed = seed;
    }

    /// After so long it is to be asked again how many partitions a topic has.
    pub(super) const fn set_age_max(&mut self, age_max: Duration) {
        self.age_max = age_max;
    }

    /// The number of `name`, given to it if it has none.
    #[inline]
    pub(super) fn number(&mut self, name: &str) -> Result<u32, Error> {
        match self.entries.get(self.last as usize) {
            Some(last) if *last.name == *name => Ok(self.last),
            _ => self.find(name),
        }
    }

    fn find(&mut self, name: &str) -> Result<u32, Error> {
        if let Some(number) = self.by_name.get(name) {
            self.last = *number;
            return Ok(*number);
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(Error::new(
                ErrorCode::InvalidTopic,
                format!(
                    "a topic's name has {} bytes; it must have 1 to {NAME_BYTES_MAX}",
                    name.len()
                ),
            ));
        }
        if self.entries.len() >= PRODUCER_TOPICS_MAX {
            return Err(Error::new(
                ErrorCode::QuotaExceeded,
                format!(
                    "this producer has sent to {PRODUCER_TOPICS_MAX} topics, which is the most"
                ),
            ));
        }
        let number = self.entries.len() as u32;
        let name: Arc<str> = name.into();
        self.by_name.insert(Arc::clone(&name), number);
        self.entries.push(Topic {
            name,
            lookup: None,
            asked_again_at: None,
            queues: Vec::new(),
            sticky: self.seed,
            parked: None,
        });
        self.last = number;
        Ok(number)
    }

    /// Whether the number was given out.
    pub(super) fn has(&self, topic: u32) -> bool {
        (topic as usize) < self.entries.len()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn name(&self, topic: u32) -> Arc<str> {
        Arc::clone(&self.entry(topic).name)
    }

    #[inline]
    pub(super) fn lookup(&self, topic: u32) -> Option<Lookup> {
        self.entry(topic).lookup
    }

    #[inline]
    pub(super) fn max_batch_bytes(&self, topic: u32) -> usize {
        self.lookup(topic)
            .map_or(BATCH_BYTES_MAX, |lookup| lookup.max_batch_bytes)
    }

    pub(super) fn know(&mut self, topic: u32, lookup: Lookup) {
        let entry = self.entry_mut(topic);
        entry.lookup = Some(lookup);
        entry.asked_again_at = None;
        entry.sticky = entry.sticky.rem_euclid(lookup.partitions.max(1));
        // A topic that was made anew with fewer partitions keeps the queues: they may not be empty.
        if entry.queues.len() < lookup.partitions as usize {
            entry
                .queues
                .resize_with(lookup.partitions as usize, PartitionQueue::default);
        }
    }

    /// Whether what is known of a topic that is used is to be asked again, for there may be more partitions by now. If
    /// so, it counts as asked.
    pub(super) fn is_aged(&mut self, topic: u32, now: Instant) -> bool {
        let next = now + self.age_max;
        let at = &mut self.entry_mut(topic).asked_again_at;
        let is_aged = at.is_some_and(|at| at <= now);
        if is_aged || at.is_none() {
            *at = Some(next);
        }
        is_aged
    }

    /// Whether a partition is beyond those that are known of: it may be there by now.
    #[inline]
    pub(super) fn is_beyond(&self, topic: u32, partition: Option<i32>) -> bool {
        let lookup = self.entry(topic).lookup;
        lookup.is_some_and(|it| partition.is_some_and(|wanted| wanted >= it.partitions))
    }

    /// What was known may have changed: it is to be asked again.
    pub(super) fn forget(&mut self, topic: u32) {
        self.entry_mut(topic).lookup = None;
    }

    /// The partition of a record: its own, that of its key, or the one whose turn it is.
    ///
    /// The topic must be known.
    #[inline]
    pub(super) fn choose(
        &self,
        topic: u32,
        partition: Option<i32>,
        key: Option<&[u8]>,
    ) -> Result<i32, Error> {
        let entry = self.entry(topic);
        let count = entry.lookup.map_or(1, |lookup| lookup.partitions);
        match (partition, key) {
            (Some(partition), _) if (0..count).contains(&partition) => Ok(partition),
            (Some(partition), _) => Err(unknown_partition(&entry.name, partition, count)),
            (None, Some(key)) => Ok(partition_for_key(key, count)),
            (None, None) => Ok(entry.sticky),
        }
    }

    /// A batch of `partition` is complete: records without key go to the next one.
    #[inline]
    pub(super) fn move_on(&mut self, topic: u32, partition: i32) {
        let entry = self.entry_mut(topic);
        if entry.sticky == partition {
            let count = entry.lookup.map_or(1, |lookup| lookup.partitions);
            entry.sticky = (partition + 1) % count.max(1);
        }
    }

    #[inline]
    pub(super) fn queue_mut(&mut self, topic: u32, partition: i32) -> &mut PartitionQueue {
        let queues = &mut self.entry_mut(topic).queues;
        queues
            .get_mut(partition as usize)
            .expect("`choose` gives partitions that there are")
    }

    pub(super) fn parked_mut(&mut self, topic: u32) -> &mut Option<Parked> {
        &mut self.entry_mut(topic).parked
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = &PartitionQueue> {
        self.entries.iter().flat_map(|entry| &entry.queues)
    }

    pub(super) fn parked(&self) -> impl Iterator<Item = &Parked> {
        self.entries
            .iter()
            .filter_map(|entry| entry.parked.as_ref())
    }

    pub(super) fn all(&self) -> std::ops::Range<u32> {
        0..self.entries.len() as u32
    }

    pub(super) fn partitions_of(&self, topic: u32) -> std::ops::Range<i32> {
        0..self.entry(topic).queues.len() as i32
    }

    /// Every partition of every topic.
    pub(super) fn partitions(&self) -> Vec<(u32, i32)> {
        let of = |topic| {
            self.partitions_of(topic)
                .map(move |partition| (topic, partition))
        };
        self.all().flat_map(of).collect()
    }

    /// No partition is listed any more.
    pub(super) fn unlist(&mut self) {
        for queue in self.entries.iter_mut().flat_map(|entry| &mut entry.queues) {
            queue.is_listed = false;
        }
    }

    #[inline]
    fn entry(&self, topic: u32) -> &Topic {
        self.entries
            .get(topic as usize)
            .expect("`find` gave the number out")
    }

    #[inline]
    fn entry_mut(&mut self, topic: u32) -> &mut Topic {
        self.entries
            .get_mut(topic as usize)
            .expect("`find` gave the number out")
    }
}

pub(in crate::client) fn unknown_partition(topic: &str, partition: i32, count: i32) -> Error {
    Error::new(
        ErrorCode::UnknownTopicOrPartition,
        format!(
            "topic `{topic}` has no partition {partition}; it has 0 to {}",
            count - 1
        ),
    )
}
