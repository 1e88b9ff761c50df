//! Topics, groups and offsets: one request each.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use super::handle::Shared;
use super::options::TopicOptions;
use super::transport::Transport;
use crate::completion::{Assist, Completion, Pending};
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::protocol::request::{OffsetQuery, PartitionOffset, Request};
use crate::protocol::response::{GroupDescription, GroupDetails, Response, TopicDescription};

/// Administration of a log. Clones are the same.
///
/// ```
/// use headwater::TopicOptions;
///
/// let db = headwater::connect("mem:").wait(None)?;
/// let options = TopicOptions { partitions: Some(4), ..Default::default() };
/// db.admin().create_topic("orders", options).wait(None)?;
/// let topic = db.admin().describe_topic("orders").wait(None)?;
/// assert_eq!(topic.partitions.len(), 4);
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Admin(Arc<Shared>);

impl Admin {
    pub(super) const fn new(client: Arc<Shared>) -> Self {
        Self(client)
    }

    fn ask<T: Send + 'static>(
        &self,
        request: Request,
        read: impl FnOnce(Response) -> Result<T, Response> + Send + 'static,
    ) -> Pending<T> {
        match fork::check_process(self.0.generation) {
            Ok(()) => ask(&self.0.transport, request, read),
            Err(forked) => Pending::ready(Err(forked)),
        }
    }

    /// Creates a topic.
    ///
    /// # Errors
    /// `TOPIC_ALREADY_EXISTS` (not with `exist_ok`), `INVALID_TOPIC_EXCEPTION`, `INVALID_OPTION`.
    pub fn create_topic(&self, name: &str, options: TopicOptions) -> Pending<()> {
        if let Err(error) = options.check() {
            return Pending::ready(Err(error));
        }
        let request = Request::CreateTopic {
            name: name.to_owned(),
            config: options.config(),
            exist_ok: options.exist_ok(),
        };
        self.ask(request, done)
    }

    /// Deletes a topic and its records.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn delete_topic(&self, name: &str) -> Pending<()> {
        self.ask(
            Request::DeleteTopic {
                name: name.to_owned(),
            },
            done,
        )
    }

    /// Changes the options that are set; the others stay as they are.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `INVALID_OPTION`.
    pub fn alter_topic(&self, name: &str, options: TopicOptions) -> Pending<()> {
        if let Err(error) = options.check() {
            return Pending::ready(Err(error));
        }
        let request = Request::AlterTopic {
            name: name.to_owned(),
            config: options.config(),
        };
        self.ask(request, done)
    }

    /// Every topic, by name.
    ///
    /// # Errors
    /// When the log cannot be reached.
    pub fn list_topics(&self) -> Pending<Vec<TopicDescription>> {
        self.ask(Request::ListTopics, |response| match response {
            Response::Topics(topics) => Ok(topics),
            other => Err(other),
        })
    }

    /// One topic: its options and how its partitions stand.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn describe_topic(&self, name: &str) -> Pending<TopicDescription> {
        let request = Request::DescribeTopics {
            names: vec![name.to_owned()],
        };
        self.ask(request, |response| match response {
            Response::Topics(mut topics) if topics.len() == 1 => Ok(topics.remove(0)),
            other => Err(other),
        })
    }

    /// Every group, by id.
    ///
    /// # Errors
    /// When the log cannot be reached.
    pub fn list_groups(&self) -> Pending<Vec<GroupDescription>> {
        self.ask(Request::ListGroups, |response| match response {
            Response::Groups(groups) => Ok(groups),
            other => Err(other),
        })
    }

    /// One group: its state, its committed offsets, and its members, who they are and which partitions each
    /// holds. Of a broker that is older than groups of more than one member their ids are all there is.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`.
    pub fn describe_group(&self, group: &str) -> Pending<GroupDetails> {
        if let Err(forked) = fork::check_process(self.0.generation) {
            return Pending::ready(Err(forked));
        }
        let group = group.to_owned();
        let request = Request::DescribeGroupDetails {
            group: group.clone(),
        };
        let (completion, pending) = Completion::pair();
        let transport = Arc::clone(&self.0.transport);
        let answered = Completion::call(move |answer: Result<Response>, wakes| match answer {
            Ok(Response::GroupDetails(group)) => completion.complete(Ok(group), wakes),
            Err(error) if error.code() == ErrorCode::UnsupportedVersion => {
                let answered = Completion::call(move |answer: Result<Response>, wakes| {
                    completion.complete(answer.and_then(without_details), wakes);
                });
                transport.submit(Request::DescribeGroup { group }, Bytes::new(), answered);
            }
            Ok(other) => completion.complete(Err(unexpected(&other)), wakes),
            Err(error) => completion.complete(Err(error), wakes),
        });
        let transport = &self.0.transport;
        transport.submit(request, Bytes::new(), answered);
        pending.with_assist(Arc::new(Writer(Arc::clone(transport))))
    }

    /// Forgets a group without members and what it has committed.
    ///
    /// # Errors
    /// `GROUP_ID_NOT_FOUND`, `NON_EMPTY_GROUP`.
    pub fn delete_group(&self, group: &str) -> Pending<()> {
        self.ask(
            Request::DeleteGroup {
                group: group.to_owned(),
            },
            done,
        )
    }

    /// Offsets by their meaning, in the order asked.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn list_offsets(&self, queries: Vec<OffsetQuery>) -> Pending<Vec<i64>> {
        let wanted = queries.len();
        self.ask(
            Request::ListOffsets { queries },
            move |response| match response {
                Response::Offsets(offsets) if offsets.len() == wanted => Ok(offsets),
                other => Err(other),
            },
        )
    }

    /// Deletes the records of a topic before these offsets, partition by partition: in all of them or in none.
    /// -1 stands for the high watermark. Returns the first offset that each holds then; an offset below that
    /// deletes nothing and is no error. It is synced to disk before it is answered; space follows as whole
    /// segments empty.
    ///
    /// # Errors
    /// `OFFSET_OUT_OF_RANGE` beyond the high watermark, with both ends; `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn delete_records(
        &self,
        topic: &str,
        before: BTreeMap<i32, i64>,
    ) -> Pending<BTreeMap<i32, i64>> {
        let partitions: Vec<_> = before.keys().copied().collect();
        let before = before
            .into_iter()
            .map(|(partition, offset)| PartitionOffset {
                topic: topic.to_owned(),
                partition,
                offset,
            });
        let request = Request::DeleteRecords {
            before: before.collect(),
        };
        self.ask(request, move |response| match response {
            Response::Offsets(starts) if starts.len() == partitions.len() => {
                Ok(partitions.into_iter().zip(starts).collect())
            }
            other => Err(other),
        })
    }

    /// Commits offsets of a group by hand, allowed while it has no member.
    ///
    /// # Errors
    /// `NON_EMPTY_GROUP`, `UNKNOWN_TOPIC_OR_PARTITION`.
    pub fn commit_offsets(&self, group: &str, offsets: Vec<PartitionOffset>) -> Pending<()> {
        let request = Request::CommitOffsets {
            group: group.to_owned(),
            member: None,
            offsets,
        };
        self.ask(request, done)
    }
}

/// A group as an older broker describes it.
fn without_details(response: Response) -> Result<GroupDetails> {
    match response {
        Response::Group(group) => Ok(group.into()),
        other => Err(unexpected(&other)),
    }
}

/// Submits a request and reads the answer to it. A thread that waits for it may write to the log itself.
pub(super) fn ask<T: Send + 'static>(
    transport: &Arc<dyn Transport>,
    request: Request,
    read: impl FnOnce(Response) -> Result<T, Response> + Send + 'static,
) -> Pending<T> {
    let (completion, pending) = Completion::pair();
    let answered = Completion::call(move |answer: Result<Response>, wakes| {
        let answer = answer.and_then(|response| read(response).map_err(|other| unexpected(&other)));
        completion.complete(answer, wakes);
    });
    transport.submit(request, Bytes::new(), answered);
    pending.with_assist(Arc::new(Writer(Arc::clone(transport))))
}

/// A thread that waits writes what is queued first.
pub(super) struct Writer(pub(super) Arc<dyn Transport>);

impl Assist for Writer {
    fn assist(&self) {
        self.0.assist();
    }
}

pub(super) fn done(response: Response) -> Result<(), Response> {
    match response {
        Response::Done => Ok(()),
        other => Err(other),
    }
}

/// For an answer that does not fit its question.
pub(super) fn unexpected(found: &Response) -> Error {
    Error::new(
        ErrorCode::UnknownServerError,
        format!("the log gave an answer that does not fit: {found:?}"),
    )
}
