//! Topics, groups and offsets.

use std::collections::BTreeMap;

use headwater::PartitionOffset;
use headwater::client::Admin;
use headwater::protocol::request::OffsetQuery;
use napi::Env;
use napi_derive::napi;

use crate::config;
use crate::consumer::offset_at;
use crate::error::guard;
use crate::hub::Host;
use crate::record::{self, OffsetOf};

/// Administration of a log.
#[napi]
pub struct NativeAdmin {
    admin: Admin,
}

/// Asks for one offset.
#[napi(object)]
#[derive(Debug)]
pub struct QueryOf {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// `earliest`, `latest` or `time`.
    pub at: String,
    /// The time, with `time`.
    pub time_ms: Option<i64>,
}

#[napi]
impl NativeAdmin {
    pub(crate) const fn new(admin: Admin) -> Self {
        Self { admin }
    }

    /// Creates a topic.
    #[napi]
    pub fn create_topic(
        &self,
        env: &Env,
        ticket: i64,
        name: String,
        options: Vec<String>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            Ok(self.admin.create_topic(&name, config::read(&options)?))
        })?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// Deletes a topic.
    #[napi]
    pub fn delete_topic(&self, env: &Env, ticket: i64, name: String) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.admin.delete_topic(&name)))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// Deletes the records of a topic before these offsets; the answer is in the order of the partitions.
    #[napi]
    pub fn delete_records(
        &self,
        env: &Env,
        ticket: i64,
        topic: String,
        before: Vec<OffsetOf>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            let before = before.into_iter().map(|at| (at.partition, at.offset));
            Ok(self.admin.delete_records(&topic, before.collect()))
        })?;
        Host::ask(
            env,
            ticket,
            pending,
            move |_, starts: BTreeMap<i32, i64>| {
                let starts = starts
                    .into_iter()
                    .map(|(partition, offset)| PartitionOffset {
                        topic: topic.clone(),
                        partition,
                        offset,
                    });
                record::offsets(starts.collect())
            },
        )
    }

    /// Changes options of a topic.
    #[napi]
    pub fn alter_topic(
        &self,
        env: &Env,
        ticket: i64,
        name: String,
        options: Vec<String>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            Ok(self.admin.alter_topic(&name, config::read(&options)?))
        })?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// All topics.
    #[napi]
    pub fn list_topics(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.admin.list_topics()))?;
        Host::ask(env, ticket, pending, |_, topics: Vec<_>| {
            topics
                .into_iter()
                .map(record::topic)
                .collect::<Result<Vec<_>, _>>()
        })
    }

    /// One topic.
    #[napi]
    pub fn describe_topic(&self, env: &Env, ticket: i64, name: String) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.admin.describe_topic(&name)))?;
        Host::ask(env, ticket, pending, |_, topic| record::topic(topic))
    }

    /// All groups.
    #[napi]
    pub fn list_groups(&self, env: &Env, ticket: i64) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.admin.list_groups()))?;
        Host::ask(env, ticket, pending, |_, groups: Vec<_>| {
            groups
                .into_iter()
                .map(record::group)
                .collect::<Result<Vec<_>, _>>()
        })
    }

    /// One group.
    #[napi]
    pub fn describe_group(&self, env: &Env, ticket: i64, group: String) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.admin.describe_group(&group)))?;
        Host::ask(env, ticket, pending, |_, group| record::details(group))
    }

    /// Forgets a group without members.
    #[napi]
    pub fn delete_group(&self, env: &Env, ticket: i64, group: String) -> napi::Result<()> {
        let pending = guard(env, || Ok(self.admin.delete_group(&group)))?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }

    /// Offsets by their meaning, in the order asked.
    #[napi]
    pub fn list_offsets(&self, env: &Env, ticket: i64, queries: Vec<QueryOf>) -> napi::Result<()> {
        let pending = guard(env, || {
            let query = |query: QueryOf| {
                let at = offset_at(&query.at, query.time_ms)?;
                Ok(OffsetQuery {
                    topic: query.topic,
                    partition: query.partition,
                    at,
                })
            };
            let queries = queries
                .into_iter()
                .map(query)
                .collect::<headwater::Result<_>>()?;
            Ok(self.admin.list_offsets(queries))
        })?;
        Host::ask(env, ticket, pending, |_, offsets: Vec<i64>| {
            offsets
                .into_iter()
                .map(record::safe)
                .collect::<Result<Vec<_>, _>>()
        })
    }

    /// Commits offsets of a group by hand.
    #[napi]
    pub fn commit_offsets(
        &self,
        env: &Env,
        ticket: i64,
        group: String,
        offsets: Vec<OffsetOf>,
    ) -> napi::Result<()> {
        let pending = guard(env, || {
            Ok(self.admin.commit_offsets(&group, record::to_core(offsets)))
        })?;
        Host::ask(env, ticket, pending, |_, ()| Ok(()))
    }
}
