//! A session: what one client may ask, and what ends with it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::offsets::Listing;
use super::{Run, Service, Subscription};
use crate::completion::Completion;
use crate::engine::group::{JOINING, Lifetime};
use crate::error::Result;
use crate::fork;
use crate::protocol::request::{OffsetAt, OffsetQuery, Request, SubscribeAt};
use crate::protocol::response::Response;

/// One client's way in. Dropped with its last clone: then its group members have left, or, if they are
/// somebody else's, have lost their connection.
#[derive(Clone)]
pub struct Session(Arc<SessionInner>);

struct SessionInner {
    service: Service,
    id: u64,
    is_trusted: bool,
    /// The fork generation that it was made in.
    generation: usize,
}

impl Session {
    pub(super) fn new(service: Service, is_trusted: bool) -> Self {
        let id = service.inner.next_session.fetch_add(1, Ordering::Relaxed);
        Self(Arc::new(SessionInner {
            service,
            id,
            is_trusted,
            generation: fork::generation(),
        }))
    }

    /// The service it belongs to.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.0.service
    }

    /// By what its members and subscriptions are known.
    pub(super) fn id(&self) -> u64 {
        self.0.id
    }

    /// Asks; never waits, and may answer before it returns.
    ///
    /// `payload` is the record batch of a `Produce`, or those of a `ProduceAndCommit`, and empty otherwise. With [`Run::Here`] this thread
    /// may write to the log and read files; with [`Run::Prompt`] it writes what takes no wait; with [`Run::Io`] it does neither.
    pub fn submit(
        &self,
        request: Request,
        payload: Bytes,
        run: Run,
        completion: Completion<Response>,
    ) {
        let inner = &self.0.service.inner;
        if let Err(closed) = inner.check_open() {
            return completion.finish(Err(closed));
        }
        if inner.auto_create_topics && !named(&request).is_empty() {
            return self.create_and_submit(request, run, completion);
        }
        self.dispatch(request, payload, run, completion);
    }

    /// Creates the topics that a request names and that are not there, then asks. To name a topic is to
    /// use it, as for Kafka's metadata requests.
    fn create_and_submit(&self, request: Request, run: Run, completion: Completion<Response>) {
        let session = self.clone();
        let names = named(&request).to_vec();
        self.0
            .service
            .inner
            .create_missing(names, move |created, wakes| match created {
                // What such a request reads is in memory, and what it writes the io thread writes.
                Ok(()) => session.dispatch(request, Bytes::new(), Run::Io, completion),
                Err(error) => completion.complete(Err(error), wakes),
            });
        if run == Run::Here {
            self.0.service.assist();
        }
    }

    fn dispatch(
        &self,
        request: Request,
        payload: Bytes,
        run: Run,
        completion: Completion<Response>,
    ) {
        let inner = &self.0.service.inner;
        match request {
            Request::Ping => completion.finish(Ok(Response::Done)),
            Request::CreateTopic {
                name,
                config,
                exist_ok,
            } => {
                inner.create_topic(&name, &config, exist_ok, run, completion);
            }
            Request::DeleteTopic { name } => inner.delete_topic(&name, run, completion),
            Request::AlterTopic { name, config } => {
                inner.alter_topic(&name, config, run, completion);
            }
            Request::ListTopics => completion.finish(Ok(inner.list_topics())),
            Request::DescribeTopics { names } => completion.finish(inner.describe_topics(&names)),
            Request::InitProducer => inner.init_producer(run, completion),
            Request::Produce {
                topic,
                partition,
                durability,
            } => {
                let produce = super::produce::Produce {
                    topic,
                    partition,
                    durability,
                    is_trusted: self.0.is_trusted,
                };
                inner.produce(produce, payload, run, completion);
            }
            Request::ListOffsets { queries } => self.list_offsets(queries, run, completion),
            Request::JoinGroup { group, topics } => {
                inner.join_group(self.0.id, group, topics, run, completion);
            }
            Request::LeaveGroup { group, member } => {
                inner.leave_group(self.0.id, group, &member, run, completion);
            }
            Request::GroupHeartbeat(heartbeat) => {
                inner.group_heartbeat(self.0.id, self.lifetime(), heartbeat, run, completion);
            }
            Request::DescribeGroupDetails { group } => {
                completion.finish(inner.describe_group_details(&group));
            }
            Request::CommitOffsets {
                group,
                member,
                offsets,
            } => {
                inner.commit_offsets(group, member.as_ref(), &offsets, run, completion);
            }
            Request::DescribeGroup { group } => completion.finish(inner.describe_group(&group)),
            Request::ListGroups => completion.finish(Ok(inner.list_groups())),
            Request::DeleteGroup { group } => inner.delete_group(group, run, completion),
            Request::ProduceAndCommit {
                batches,
                group,
                member,
                offsets,
            } => {
                let wanted = super::produce_and_commit::ProduceAndCommit {
                    batches,
                    group,
                    member,
                    offsets,
                    is_trusted: self.0.is_trusted,
                };
                inner.produce_and_commit(wanted, payload, run, completion);
            }
            Request::DeleteRecords { before } => inner.delete_records(&before, run, completion),
        }
    }

    /// How long its group members live: those of this process end with their sessions.
    fn lifetime(&self) -> Lifetime {
        if self.0.is_trusted {
            Lifetime::Session
        } else {
            Lifetime::Own
        }
    }

    fn list_offsets(&self, queries: Vec<OffsetQuery>, run: Run, completion: Completion<Response>) {
        let inner = Arc::clone(&self.0.service.inner);
        let reads = queries
            .iter()
            .any(|query| matches!(query.at, OffsetAt::Time(_)));
        if reads && run != Run::Here {
            let job = move || inner.list_offsets_on(Listing::new(queries), completion);
            // A job that is refused drops the completion, which answers `Closed`.
            let _ = self.0.service.schedule(job);
        } else {
            completion.finish(inner.list_offsets(Listing::new(queries)));
        }
    }

    /// Opens a stream of record batches.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`; `INVALID_REQUEST` for a partition named twice or too many.
    pub fn subscribe(&self, subscribe: &SubscribeAt) -> Result<Subscription> {
        Subscription::open(Arc::clone(&self.0.service.inner), &subscribe.positions)
    }
}

/// The topics that are created because a request names them; a batch's topic is looked at when it is
/// produced.
fn named(request: &Request) -> &[String] {
    match request {
        Request::DescribeTopics { names } => names,
        Request::JoinGroup { topics, .. } => topics,
        Request::GroupHeartbeat(heartbeat) if heartbeat.generation == JOINING => &heartbeat.topics,
        _ => &[],
    }
}

impl Drop for SessionInner {
    fn drop(&mut self) {
        // A forked child has a copy, and ends nothing: the session and its members are its parent's.
        if fork::check_process(self.generation).is_ok() {
            self.service.inner.end_session(self.id);
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("id", &self.0.id)
            .field("service", &self.0.service)
            .finish_non_exhaustive()
    }
}
