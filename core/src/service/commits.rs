//! Committed offsets with what their readers noted beside them, and taking them back: Kafka's OffsetCommit,
//! OffsetFetch and OffsetDelete.
//!
//! Who may commit is asked once for all (`membership.rs`); what is wrong with one partition is answered
//! there and leaves the others alone, as Kafka's clients expect it. What is written is one entry as far as it fits
//! one (`commit_entries.rs`).

use std::collections::HashMap;
use std::sync::Arc;

use super::groups::unknown_group;
use super::{Inner, Run, Session, unknown_partition, unknown_topic};
use crate::completion::{Completion, Wakes};
use crate::engine::group::Coordinator;
use crate::engine::group::classic::Speaker;
use crate::engine::groups::Committed;
use crate::engine::topics::{Topic, Topics};
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Durability, TopicPartition};
use crate::limits;
use crate::log::control::{
    self, CommitDetails, CommittedOffset, DetailedOffsetCommit, NO_LEADER_EPOCH, NO_OFFSET,
};

/// The offset of a partition, with what its reader noted beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotedOffset {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the next record to read; -1: nothing is committed.
    pub offset: i64,
    /// The leader epoch of the last record before it; -1: not known.
    pub leader_epoch: i32,
    /// The reader's own words, at most [`limits::OFFSET_METADATA_BYTES_MAX`] bytes; empty: none.
    pub metadata: String,
}

/// For each partition asked for, in that order, whether it was done.
pub type EachPartition = Vec<Result<()>>;

impl Session {
    /// What a group has committed for these partitions, in the order asked; none: for all that it has
    /// committed something for, by topic and partition. A group that is not known has committed nothing.
    ///
    /// # Errors
    /// `CLOSED`.
    pub fn committed(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
    ) -> Result<Vec<NotedOffset>> {
        let inner = &self.service().inner;
        inner.check_open()?;
        inner.noted_offsets(group, partitions, usize::MAX)
    }

    /// What a group has committed, for all that it has committed something for, by topic and partition: if that is
    /// `bytes_max` bytes or fewer, by their [sizes](NotedOffset::size_bytes). Nothing is copied before that is known.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for more; `CLOSED`.
    pub fn all_committed(&self, group: &str, bytes_max: usize) -> Result<Vec<NotedOffset>> {
        let inner = &self.service().inner;
        inner.check_open()?;
        inner.noted_offsets(group, None, bytes_max)
    }

    /// Takes back what a group has committed for these partitions; answered once that is durable.
    ///
    /// Each partition has its own answer: `UNKNOWN_TOPIC_OR_PARTITION`, and `GROUP_SUBSCRIBED_TO_TOPIC`
    /// while a member of the group reads the topic. To take back what is not there is done at once. All of it
    /// happens together, up to some 500,000 partitions. The whole fails with `GROUP_ID_NOT_FOUND`, with
    /// `COORDINATOR_LOAD_IN_PROGRESS` while members of before a restart are waited for, or with the log.
    pub fn forget_offsets(
        &self,
        group: String,
        partitions: &[TopicPartition],
        run: Run,
        completion: Completion<EachPartition>,
    ) {
        let inner = &self.service().inner;
        match inner.check_forget(group, partitions) {
            Ok(checked) => inner.append_checked(checked, run, completion, |_| Ok(())),
            Err(error) => completion.finish(Err(error)),
        }
    }
}

/// What is to be written, and what each partition is answered once it is.
struct Checked {
    commit: DetailedOffsetCommit,
    level: Durability,
    answers: EachPartition,
}

impl Inner {
    /// Writes it, if `may` still says so as it is queued.
    fn append_checked(
        &self,
        checked: Checked,
        run: Run,
        completion: Completion<EachPartition>,
        may: impl FnOnce(&Coordinator) -> Result<()>,
    ) {
        let Checked {
            commit,
            level,
            answers,
        } = checked;
        if let Err(closed) = self.check_open() {
            return completion.finish(Err(closed));
        }
        if commit.commit.offsets.is_empty() {
            return completion.finish(Ok(answers));
        }
        let done = Completion::call(move |result: Result<()>, wakes: &mut Wakes| {
            completion.complete(result.map(|()| answers), wakes);
        });
        self.append_commit(commit, level, run, done, may);
    }

    /// Commits what may be committed in this generation.
    pub(super) fn commit_checked(
        &self,
        speaker: &Speaker,
        generation: i32,
        offsets: &[NotedOffset],
        run: Run,
        completion: Completion<EachPartition>,
    ) {
        let checked = self.check_offsets(speaker.group.clone(), generation, offsets);
        self.append_checked(checked, run, completion, |coordinator| {
            coordinator.check_classic_commit(speaker)
        });
    }

    fn check_offsets(&self, group: String, generation: i32, offsets: &[NotedOffset]) -> Checked {
        let topics = self.state.topics.read();
        let mut level = Durability::Os;
        let (mut committed, mut details) = (Vec::new(), Vec::new());
        let answers = offsets.iter().map(|noted| {
            let topic = noted.check(&topics)?;
            level = level.max(topic.config.durability);
            committed.push(CommittedOffset {
                topic: topic.uuid,
                partition: noted.partition,
                offset: noted.offset,
            });
            details.push(CommitDetails {
                leader_epoch: noted.leader_epoch.max(NO_LEADER_EPOCH),
                metadata: noted.metadata.clone(),
            });
            Ok(())
        });
        let answers = answers.collect();
        let commit = control::OffsetCommit {
            group,
            generation,
            offsets: committed,
        };
        Checked {
            commit: DetailedOffsetCommit { commit, details },
            level: level.min(self.identity_level()),
            answers,
        }
    }

    fn noted_offsets(
        &self,
        group: &str,
        partitions: Option<&[TopicPartition]>,
        bytes_max: usize,
    ) -> Result<Vec<NotedOffset>> {
        let topics = self.state.topics.read();
        let groups = self.state.groups.lock();
        let group = groups.get(group);
        if let Some(partitions) = partitions {
            let noted = partitions.iter().map(|found| {
                let topic = topics.get(&found.topic);
                let key = topic.map(|topic| (topic.uuid, found.partition));
                let committed = key.and_then(|key| group?.offsets.get(&key));
                NotedOffset::new(&found.topic, found.partition, committed)
            });
            return Ok(noted.collect());
        }
        let all = group.into_iter().flat_map(|group| &group.offsets);
        let all = all.filter_map(|((uuid, partition), committed)| {
            Some((&topics.by_uuid(uuid)?.name, *partition, committed))
        });
        let mut left = bytes_max;
        for (name, _, committed) in all.clone() {
            let noted = committed.details.as_ref();
            let size_bytes = noted_bytes(name, noted.map_or("", |it| &*it.metadata));
            left = left
                .checked_sub(size_bytes)
                .ok_or_else(|| too_much(bytes_max))?;
        }
        let all = all
            .map(|(name, partition, committed)| NotedOffset::new(name, partition, Some(committed)));
        let mut all: Vec<_> = all.collect();
        all.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
        Ok(all)
    }

    fn check_forget(&self, group: String, partitions: &[TopicPartition]) -> Result<Checked> {
        if self.state.groups.lock().get(&group).is_none() {
            return Err(unknown_group(&group));
        }
        let membership = self.membership.lock();
        let topics = self.state.topics.read();
        let groups = self.state.groups.lock();
        let found = groups.get(&group);
        let mut offsets = Vec::new();
        let mut answers = EachPartition::new();
        // Asked once for a topic: it looks through what all members say of themselves.
        let mut read = HashMap::new();
        for place in partitions {
            let is_read = match read.get(&place.topic) {
                Some(is_read) => *is_read,
                None => {
                    let is_read = membership.coordinator().is_read(&group, &place.topic)?;
                    read.insert(&place.topic, is_read);
                    is_read
                }
            };
            let topic = match partition_of(&topics, &place.topic, place.partition) {
                Ok(topic) if !is_read => topic,
                Ok(_) => {
                    answers.push(Err(subscribed(&group, &place.topic)));
                    continue;
                }
                Err(error) => {
                    answers.push(Err(error));
                    continue;
                }
            };
            let key = (topic.uuid, place.partition);
            if found.is_some_and(|found| found.offsets.contains_key(&key)) {
                offsets.push(CommittedOffset {
                    topic: topic.uuid,
                    partition: place.partition,
                    offset: NO_OFFSET,
                });
            }
            answers.push(Ok(()));
        }
        let commit = control::OffsetCommit {
            generation: found.map_or(0, |found| found.generation),
            group,
            offsets,
        };
        Ok(Checked {
            commit: commit.into(),
            level: self.identity_level(),
            answers,
        })
    }
}

impl NotedOffset {
    /// Bytes that it takes in memory.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        noted_bytes(&self.topic, &self.metadata)
    }

    fn new(topic: &str, partition: i32, committed: Option<&Committed>) -> Self {
        let details = committed.and_then(|committed| committed.details.as_deref());
        let details = details.cloned().unwrap_or_default();
        Self {
            topic: topic.to_owned(),
            partition,
            offset: committed.map_or(NO_OFFSET, |committed| committed.offset),
            leader_epoch: details.leader_epoch,
            metadata: details.metadata,
        }
    }

    /// The topic, if this can be committed.
    fn check<'a>(&self, topics: &'a Topics) -> Result<&'a Topic> {
        let topic = partition_of(topics, &self.topic, self.partition)?;
        let (name, partition) = (&topic.name, self.partition);
        if self.offset < NO_OFFSET {
            return Err(Error::new(
                ErrorCode::InvalidArgument,
                format!(
                    "offset {} to commit for topic `{name}`, partition {partition}; it must be 0 or more, or -1",
                    self.offset
                ),
            ));
        }
        if self.metadata.len() > limits::OFFSET_METADATA_BYTES_MAX {
            return Err(Error::new(
                ErrorCode::OffsetMetadataTooLarge,
                format!(
                    "the metadata to commit for topic `{name}`, partition {partition} has {} bytes; at most {} \
                     are allowed",
                    self.metadata.len(),
                    limits::OFFSET_METADATA_BYTES_MAX
                ),
            ));
        }
        Ok(topic)
    }
}

const fn noted_bytes(topic: &str, metadata: &str) -> usize {
    size_of::<NotedOffset>() + topic.len() + metadata.len()
}

fn too_much(bytes_max: usize) -> Error {
    Error::new(
        ErrorCode::InvalidRequest,
        format!(
            "the group has committed more than {bytes_max} bytes of offsets; ask for some of them"
        ),
    )
}

fn partition_of<'a>(topics: &'a Topics, name: &str, partition: i32) -> Result<&'a Topic> {
    let topic = topics.get(name).ok_or_else(|| unknown_topic(name))?;
    match topic.partition(partition) {
        Some(_) => Ok(topic),
        None => Err(unknown_partition(
            &topic.name,
            partition,
            topic.partitions.len(),
        )),
    }
}

fn subscribed(group: &str, topic: &Arc<str>) -> Error {
    Error::new(
        ErrorCode::GroupSubscribedToTopic,
        format!(
            "a member of group `{group}` reads topic `{topic}`: what is committed for it cannot be deleted"
        ),
    )
}

#[cfg(test)]
mod tests;
