//! Topics, groups and offsets: one request each.

use super::options::TopicOptions;
use super::unfinished;
use crate::completion::Pending;
use crate::protocol::request::OffsetQuery;
use crate::protocol::response::{GroupDescription, TopicDescription};

/// Administration of a log. Clones are the same.
#[derive(Clone, Debug)]
pub struct Admin(());

impl Admin {
    pub(crate) const fn new() -> Self {
        Self(())
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS` (not with `exist_ok`), `INVALID_TOPIC_EXCEPTION`, `INVALID_OPTION`.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Pending<()> {
        let _ = (name, options);
        Pending::ready(Err(unfinished()))
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn delete_topic(&self, name: &str) -> Pending<()> {
        let _ = name;
        Pending::ready(Err(unfinished()))
    }

    /// Changes the options that are set; the others stay as they are.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_OPTION`.
    pub fn alter_topic(&self, name: &str, options: TopicOptions) -> Pending<()> {
        let _ = (name, options);
        Pending::ready(Err(unfinished()))
    }

    /// Every topic, by name.
    ///
    /// # Errors
    /// When the log cannot be reached.
    pub fn list_topics(&self) -> Pending<Vec<TopicDescription>> {
        Pending::ready(Err(unfinished()))
    }

    /// One topic: its options and how its partitions stand.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn describe_topic(&self, name: &str) -> Pending<TopicDescription> {
        let _ = name;
        Pending::ready(Err(unfinished()))
    }

    /// Every group, by id.
    ///
    /// # Errors
    /// When the log cannot be reached.
    pub fn list_groups(&self) -> Pending<Vec<GroupDescription>> {
        Pending::ready(Err(unfinished()))
    }

    /// One group: its state, members and committed offsets.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub fn describe_group(&self, group: &str) -> Pending<GroupDescription> {
        let _ = group;
        Pending::ready(Err(unfinished()))
    }

    /// Forgets a group without members and what it has committed.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`.
    pub fn delete_group(&self, group: &str) -> Pending<()> {
        let _ = group;
        Pending::ready(Err(unfinished()))
    }

    /// Offsets by their meaning, in the order asked.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn list_offsets(&self, queries: Vec<OffsetQuery>) -> Pending<Vec<i64>> {
        let _ = queries;
        Pending::ready(Err(unfinished()))
    }

    /// Commits offsets of a group by hand, allowed while it has no member.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`, `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn commit_offsets(
        &self,
        group: &str,
        offsets: Vec<crate::protocol::request::PartitionOffset>,
    ) -> Pending<()> {
        let _ = (group, offsets);
        Pending::ready(Err(unfinished()))
    }
}
