//! Topics, groups and offsets: one request each.

use std::collections::HashMap;
use std::sync::Arc;

use headwater::Admin;

use crate::config::NativeTopicOptions;
use crate::error::NativeError;
use crate::hub::ask;
use crate::record::{NativePlace, NativeQuery, to_core};

/// Administration of a log.
#[derive(Debug, uniffi::Object)]
pub struct NativeAdmin {
    admin: Admin,
}

impl NativeAdmin {
    pub(crate) fn new(admin: Admin) -> Arc<Self> {
        Arc::new(Self { admin })
    }
}

#[uniffi::export]
impl NativeAdmin {
    /// Creates a topic.
    ///
    /// # Errors
    /// `INVALID_OPTION`; all else is the answer, here and below.
    pub fn create_topic(
        &self,
        ticket: i64,
        name: String,
        options: NativeTopicOptions,
    ) -> Result<(), NativeError> {
        ask(ticket, self.admin.create_topic(&name, options.to_core()?));
        Ok(())
    }

    /// Deletes a topic.
    pub fn delete_topic(&self, ticket: i64, name: String) -> Result<(), NativeError> {
        ask(ticket, self.admin.delete_topic(&name));
        Ok(())
    }

    /// Deletes the records of a topic before these offsets; the answer is where each partition starts then.
    pub fn delete_records(
        &self,
        ticket: i64,
        topic: String,
        before: HashMap<i32, i64>,
    ) -> Result<(), NativeError> {
        let before = before.into_iter().collect();
        ask(ticket, self.admin.delete_records(&topic, before));
        Ok(())
    }

    /// Changes the options that are set.
    ///
    /// # Errors
    /// `INVALID_OPTION`.
    pub fn alter_topic(
        &self,
        ticket: i64,
        name: String,
        options: NativeTopicOptions,
    ) -> Result<(), NativeError> {
        ask(ticket, self.admin.alter_topic(&name, options.to_core()?));
        Ok(())
    }

    /// All topics.
    pub fn list_topics(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.admin.list_topics());
        Ok(())
    }

    /// One topic; the answer is a list of it alone.
    pub fn describe_topic(&self, ticket: i64, name: String) -> Result<(), NativeError> {
        ask(ticket, self.admin.describe_topic(&name));
        Ok(())
    }

    /// All groups.
    pub fn list_groups(&self, ticket: i64) -> Result<(), NativeError> {
        ask(ticket, self.admin.list_groups());
        Ok(())
    }

    /// One group, with its members.
    pub fn describe_group(&self, ticket: i64, group: String) -> Result<(), NativeError> {
        ask(ticket, self.admin.describe_group(&group));
        Ok(())
    }

    /// Forgets a group without members.
    pub fn delete_group(&self, ticket: i64, group: String) -> Result<(), NativeError> {
        ask(ticket, self.admin.delete_group(&group));
        Ok(())
    }

    /// Offsets by their meaning, in the order asked.
    pub fn list_offsets(&self, ticket: i64, queries: Vec<NativeQuery>) -> Result<(), NativeError> {
        let queries = queries.into_iter().map(Into::into).collect();
        ask(ticket, self.admin.list_offsets(queries));
        Ok(())
    }

    /// Commits offsets of a group by hand.
    pub fn commit_offsets(
        &self,
        ticket: i64,
        group: String,
        places: Vec<NativePlace>,
    ) -> Result<(), NativeError> {
        ask(ticket, self.admin.commit_offsets(&group, to_core(places)));
        Ok(())
    }
}
