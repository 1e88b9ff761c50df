//! Topics: created, changed, deleted and described.

use std::collections::HashMap;
use std::sync::Arc;

use super::groups::done;
use super::partitions::{Altered, Turns};
use super::{Inner, Run, Service, retention, unknown_topic};
use crate::completion::{Completion, Wakes};
use crate::engine::topic_config::{TopicConfig, TopicDefaults, check_topic_name};
use crate::engine::topics::Topic;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::{Durability, PartitionId};
use crate::limits;
use crate::log::{Appended, Kind, SetPart, control, encode_set};
use crate::protocol::response::{PartitionDescription, Response, TopicDescription};

/// Topics that are on their way into the log: asked for, not yet applied.
#[derive(Debug, Default)]
pub(super) struct Creating {
    /// Who else waits for a topic of this name.
    waiting: HashMap<String, Vec<(bool, Completion<Response>)>>,
    /// The first partition id that no topic on its way has.
    pub(super) next_partition: u32,
    /// Whose partitions are being changed.
    pub(super) turns: Turns,
}

impl Service {
    /// Whether a topic could be created now.
    ///
    /// # Errors
    /// As for `CreateTopic`.
    pub fn check_new_topic(&self, name: &str, config: &[(String, String)]) -> Result<()> {
        self.inner.check_open()?;
        self.inner.check_new(name, config)?;
        let topics = self.inner.state.topics.read();
        if topics.get(name).is_some() {
            return existing(name, false).map(drop);
        }
        if topics.len() >= limits::TOPICS_MAX {
            return Err(too_many_topics());
        }
        Ok(())
    }

    /// Whether these options of a topic could be set now.
    ///
    /// # Errors
    /// As for `AlterTopic`.
    pub fn check_alteration(&self, name: &str, config: &[(String, String)]) -> Result<()> {
        self.inner.check_open()?;
        self.inner.check_alter(name, config).map(drop)
    }

    /// What topics get that do not say otherwise.
    #[must_use]
    pub fn topic_defaults(&self) -> TopicDefaults {
        self.inner.defaults
    }

    /// Whether a topic that does not exist is created when it is first named.
    #[must_use]
    pub fn creates_topics(&self) -> bool {
        self.inner.auto_create_topics
    }
}

impl Inner {
    fn check_new(&self, name: &str, config: &[(String, String)]) -> Result<TopicConfig> {
        check_topic_name(name)?;
        let config = TopicConfig::requested(self.defaults, config)?;
        self.check_possible(&config)?;
        Ok(config)
    }

    pub(super) fn create_topic(
        self: &Arc<Self>,
        name: &str,
        config: &[(String, String)],
        exist_ok: bool,
        run: Run,
        completion: Completion<Response>,
    ) {
        let config = match self.check_new(name, config) {
            Ok(config) => config,
            Err(error) => return completion.finish(Err(error)),
        };
        let mut creating = self.creating.lock();
        // One that is there and on its way still can be lost: whoever is told that it exists is told so in time.
        if let Some(waiting) = creating.waiting.get_mut(name) {
            waiting.push((exist_ok, completion));
            return;
        }
        // Asked while `creating` is held: a topic leaves `waiting` only after it was applied.
        let topics = self.state.topics.read();
        let (is_there, count) = (topics.get(name).is_some(), topics.len());
        let next_partition = creating.next_partition.max(topics.next_partition());
        drop(topics);
        if is_there {
            drop(creating);
            // A log that has stopped may lose it: it was applied, and perhaps never synced.
            let is_safe = self.log.health();
            return completion.finish(is_safe.and_then(|()| existing(name, exist_ok)));
        }
        if count + creating.waiting.len() >= limits::TOPICS_MAX {
            drop(creating);
            return completion.finish(Err(too_many_topics()));
        }
        if retention::is_cleaned(&config) {
            self.start_housekeeping();
        }
        creating.waiting.insert(name.to_owned(), Vec::new());
        creating.next_partition = next_partition.saturating_add(config.partitions);
        drop(creating);
        match self.encode_topic(name, &config, next_partition) {
            Ok(payload) => {
                let created = self.created(name.to_owned(), completion);
                self.append_encoded(Kind::Set, PartitionId(0), payload, None, run, created);
            }
            Err(error) => self.created(name.to_owned(), completion).finish(Err(error)),
        }
    }

    /// Creates those of the topics that are not there, one after the other, then calls `then` (which may
    /// run on the log's threads, and does not block).
    pub(super) fn create_missing(
        self: &Arc<Self>,
        mut names: Vec<String>,
        then: impl FnOnce(Result<()>, &mut Wakes) + Send + 'static,
    ) {
        names.retain(|name| self.state.topics.read().get(name).is_none());
        let Some(name) = names.pop() else {
            return then(Ok(()), &mut Wakes::new());
        };
        let inner = Arc::clone(self);
        let created = Completion::call(move |result: Result<Response>, wakes: &mut Wakes| {
            match result {
                Ok(_) if names.is_empty() => then(Ok(()), wakes),
                // Boxed, or the type of the callback would contain itself.
                Ok(_) => inner.create_missing(names, boxed(then)),
                Err(error) => then(Err(error), wakes),
            }
        });
        self.create_topic(&name, &[], true, Run::Io, created);
    }

    /// Answers whoever waits for the topic, once the log has it.
    fn created(
        self: &Arc<Self>,
        name: String,
        completion: Completion<Response>,
    ) -> Completion<Appended> {
        let inner = Arc::clone(self);
        Completion::call(move |result: Result<Appended>, wakes: &mut Wakes| {
            inner.note_topic(&name, wakes);
            let waiting = inner
                .creating
                .lock()
                .waiting
                .remove(&name)
                .unwrap_or_default();
            for (exist_ok, other) in waiting {
                let answer = match &result {
                    Ok(_) => existing(&name, exist_ok),
                    Err(error) => Err(error.clone()),
                };
                other.complete(answer, wakes);
            }
            completion.complete(result.map(|_| Response::Done), wakes);
        })
    }

    fn check_possible(&self, config: &TopicConfig) -> Result<()> {
        if config.durability == Durability::Disk && !self.is_durable {
            return Err(Error::new(
                ErrorCode::InvalidConfig,
                format!(
                    "durability `disk` cannot be had: {} lives in memory; use `os`",
                    self.name
                ),
            ));
        }
        Ok(())
    }

    /// One SET: a topic and its partitions are there together or not at all.
    fn encode_topic(
        &self,
        name: &str,
        config: &TopicConfig,
        first_partition: u32,
    ) -> Result<Vec<u8>> {
        let uuid = (self.new_uuid)().map_err(|error| {
            Error::new(
                ErrorCode::UnknownServerError,
                "the operating system has no randomness to give",
            )
            .with_source(error)
        })?;
        let create = control::TopicCreate {
            uuid,
            name: name.to_owned(),
            config: config.to_pairs(),
        };
        let mut parts = vec![part(Kind::TopicCreate, PartitionId(0), &create)?];
        for number in 0..config.partitions {
            let open = control::PartitionOpen {
                topic: uuid,
                partition: i32::try_from(number).unwrap_or(i32::MAX),
                start_offset: 0,
            };
            let id = PartitionId(first_partition.saturating_add(number));
            parts.push(part(Kind::PartitionOpen, id, &open)?);
        }
        Ok(encode_set(&parts))
    }

    pub(super) fn delete_topic(
        self: &Arc<Self>,
        name: &str,
        run: Run,
        completion: Completion<Response>,
    ) {
        let uuid = self.state.topics.read().get(name).map(|topic| topic.uuid);
        let name = name.to_owned();
        let Some(uuid) = uuid else {
            return self.answer_once_synced(Err(unknown_topic(&name)), completion);
        };
        self.take_turn(uuid, run, move |inner, run| {
            // Answers once the log has it, and the groups that read the topic have been told.
            let completion = inner.ending_turn(uuid, name.clone(), completion);
            if inner.state.topics.read().by_uuid(&uuid).is_none() {
                return inner.answer_once_synced(Err(unknown_topic(&name)), completion);
            }
            inner.start_housekeeping();
            let (delete, done) = (control::TopicDelete { uuid }, done(completion));
            inner.append_control(Kind::TopicDelete, PartitionId(0), &delete, None, run, done);
        });
    }

    pub(super) fn alter_topic(
        self: &Arc<Self>,
        name: &str,
        config: Vec<(String, String)>,
        run: Run,
        completion: Completion<Response>,
    ) {
        match self.check_alter(name, &config) {
            // Also who wants no more: that there are so many is written with it, and is to be true by then.
            Ok(Altered {
                uuid,
                is_counted: true,
                ..
            }) => {
                self.start_housekeeping();
                let topic = (uuid, name.to_owned());
                self.take_turn(uuid, run, move |inner, run| {
                    inner.add_partitions(topic, config, run, completion);
                });
            }
            Ok(Altered { uuid, .. }) => {
                self.start_housekeeping();
                let alter = control::TopicAlter { uuid, config };
                let done = done(completion);
                self.append_control(Kind::TopicAlter, PartitionId(0), &alter, None, run, done);
            }
            Err(error) => completion.finish(Err(error)),
        }
    }

    pub(super) fn check_alter(&self, name: &str, config: &[(String, String)]) -> Result<Altered> {
        let topic = self.state.topics.read().get(name).cloned();
        let topic = topic.ok_or_else(|| unknown_topic(name))?;
        let mut changed = TopicConfig::clone(&topic.config);
        for (option, value) in config {
            changed.set(option, value)?;
        }
        let from = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
        let is_counted = config.iter().any(|(option, _)| option == "partitions");
        let to = if is_counted { changed.partitions } else { from };
        if to < from {
            return Err(Error::new(
                ErrorCode::InvalidPartitions,
                format!(
                    "topic `{name}` has {from} partitions, which is more than {to}: there can be more of them, \
                     not fewer"
                ),
            ));
        }
        self.check_possible(&changed)?;
        Ok(Altered {
            uuid: topic.uuid,
            is_counted,
            from,
            to,
        })
    }

    pub(super) fn list_topics(&self) -> Response {
        let topics = self.state.topics.read();
        Response::Topics(topics.iter().map(|topic| self.describe(topic)).collect())
    }

    pub(super) fn describe_topics(&self, names: &[String]) -> Result<Response> {
        let topics = self.state.topics.read();
        names
            .iter()
            .map(|name| {
                topics
                    .get(name)
                    .map(|topic| self.describe(topic))
                    .ok_or_else(|| unknown_topic(name))
            })
            .collect::<Result<_>>()
            .map(Response::Topics)
    }

    fn describe(&self, topic: &Topic) -> TopicDescription {
        let partitions = topic.partitions.iter().map(|partition| {
            let status = partition.status();
            PartitionDescription {
                partition: partition.number,
                log_start_offset: status.log_start_offset,
                high_watermark: status.high_watermark,
                log_end_offset: status.end_offset,
                leader_epoch: status.leader_epoch.0,
                size_bytes: self
                    .log
                    .partition_bytes(partition.id, status.log_start_offset),
            }
        });
        TopicDescription {
            name: topic.name.to_string(),
            uuid: topic.uuid,
            config: topic.config.to_pairs(),
            notes: topic.config.notes(),
            partitions: partitions.collect(),
        }
    }
}

type Then = Box<dyn FnOnce(Result<()>, &mut Wakes) + Send>;

fn boxed(then: impl FnOnce(Result<()>, &mut Wakes) + Send + 'static) -> Then {
    Box::new(then)
}

pub(super) fn part(
    kind: Kind,
    partition: PartitionId,
    payload: &impl serde::Serialize,
) -> Result<SetPart> {
    let payload = postcard::to_stdvec(payload).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            "a topic command could not be encoded",
        )
        .with_source(error)
    })?;
    Ok(SetPart::control(kind, partition, payload))
}

fn existing(name: &str, exist_ok: bool) -> Result<Response> {
    if exist_ok {
        return Ok(Response::Done);
    }
    Err(Error::new(
        ErrorCode::TopicAlreadyExists,
        format!("topic `{name}` exists already"),
    ))
}

fn too_many_topics() -> Error {
    Error::new(
        ErrorCode::QuotaExceeded,
        format!(
            "there are {} topics; no more are allowed",
            limits::TOPICS_MAX
        ),
    )
}
