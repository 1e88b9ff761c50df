//! Figures for people and for monitoring: how much there is, what was done, and whether the log still works.
//!
//! All of it is read from memory, and no lock is held longer than it takes to look. None of it decides anything.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Inner, Service};
use crate::engine::topics::Topic;
use crate::error::Result;

/// What all topics come to, and the first of them by themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TopicsFigures {
    /// Topics there are.
    pub topics: u64,
    /// Partitions of all topics.
    pub partitions: u64,
    /// The first topics by name, as many as were asked for.
    pub listed: Vec<TopicFigures>,
}

/// How one topic stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicFigures {
    /// Its name.
    pub name: Arc<str>,
    /// Its partitions.
    pub partitions: u64,
    /// Offsets given to records since the topic was created, over all partitions.
    pub appended_records: u64,
    /// Offsets between the log start offset and the high watermark, over all partitions.
    pub held_records: u64,
    /// Bytes of its records in the log.
    pub size_bytes: u64,
}

impl Service {
    /// Whether the log takes appends.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR` with what stopped it; `CLOSED`.
    pub fn health(&self) -> Result<()> {
        self.inner.check_open()?;
        self.inner.log.health()
    }

    /// Figures of the log, by name, for `metrics`. Those in the past tense are counted since it was opened.
    #[must_use]
    pub fn metrics(&self) -> Vec<(&'static str, f64)> {
        let inner = &self.inner;
        let counts = inner.log.counts();
        let dropped_records = inner.dropped_records.load(Ordering::Relaxed);
        let members = inner.membership.lock().coordinator().member_count();
        vec![
            ("log_threads", inner.log.thread_count() as f64),
            ("log_segments", inner.log.segment_count() as f64),
            ("log_size_bytes", inner.log.size_bytes() as f64),
            ("log_dropped_records", dropped_records as f64),
            ("log_index_bytes", inner.log.index_bytes() as f64),
            ("log_written_index", inner.log.written() as f64),
            ("log_synced_index", inner.log.synced() as f64),
            ("log_term", f64::from(inner.log.term().0)),
            ("log_void_entries", inner.state.void_entries() as f64),
            ("log_producers", inner.log.producer_count() as f64),
            ("log_appended_batches", counts.batches as f64),
            ("log_appended_records", counts.records as f64),
            ("log_appended_bytes", counts.bytes as f64),
            ("log_syncs", counts.syncs as f64),
            ("log_sync_seconds", counts.sync_time.as_secs_f64()),
            ("tail_cache_bytes", inner.state.tail_cache_bytes() as f64),
            ("topics", inner.state.topics.read().len() as f64),
            ("groups", inner.state.groups.lock().len() as f64),
            ("group_members", members as f64),
        ]
    }

    /// How topics stand: the first by name, `topics_max` of them at most and none with which there would be
    /// more than `partitions_max` partitions.
    #[must_use]
    pub fn topics_figures(&self, topics_max: usize, partitions_max: u64) -> TopicsFigures {
        let mut figures = TopicsFigures::default();
        let mut listed: Vec<Topic> = Vec::new();
        let topics = self.inner.state.topics.read();
        for topic in topics.iter() {
            figures.topics += 1;
            figures.partitions += topic.partitions.len() as u64;
            // As everything before it is listed, these are the partitions of what is listed.
            let is_next = listed.len() as u64 + 1 == figures.topics;
            if is_next && listed.len() < topics_max && figures.partitions <= partitions_max {
                listed.push(topic.clone());
            }
        }
        drop(topics);
        // Bytes are added up segment by segment: not while who creates a topic waits.
        let listed = listed.iter().map(|topic| self.inner.topic_figures(topic));
        figures.listed = listed.collect();
        figures
    }
}

impl Inner {
    fn topic_figures(&self, topic: &Topic) -> TopicFigures {
        let mut figures = TopicFigures {
            name: Arc::clone(&topic.name),
            partitions: topic.partitions.len() as u64,
            appended_records: 0,
            held_records: 0,
            size_bytes: 0,
        };
        for partition in topic.partitions.iter() {
            let status = partition.status();
            let held = status.high_watermark - status.log_start_offset;
            figures.appended_records += u64::try_from(status.end_offset).unwrap_or_default();
            figures.held_records += u64::try_from(held).unwrap_or_default();
            figures.size_bytes += self
                .log
                .partition_bytes(partition.id, status.log_start_offset);
        }
        figures
    }
}
