//! Partitions that topics get later. A group gives them to its members; without one nobody tells, so a consumer that
//! reads all partitions asks from time to time.
//!
//! Asked is for the end of the partition behind the last that is known: a short question, whose usual answer is that
//! there is no such partition, and which never creates a topic that was deleted.

use std::sync::Arc;

use bytes::Bytes;

use super::open::{Opening, partitions_of};
use super::state::State;
use crate::completion::Completion;
use crate::error::{ErrorCode, Result};
use crate::protocol::request::{OffsetAt, OffsetQuery, Request};
use crate::protocol::response::{Response, TopicDescription};
use crate::world;

impl State {
    /// Looks for more partitions after a while, if there can be any of interest: to whom partitions were named, or an
    /// end was set, reads what there was.
    pub(super) fn look_for_more_later(self: &Arc<Self>) {
        let settings = &self.settings;
        let is_all = settings.partitions.is_none() && settings.until.is_none();
        if settings.group.is_some() || !is_all || self.is_closed() {
            return;
        }
        let timer = self.later(world::now() + self.metadata_age, Self::look_for_more);
        *self.growth.lock() = Some(timer);
    }

    fn look_for_more(self: &Arc<Self>) {
        if self.is_closed() {
            return;
        }
        for topic in &self.topics {
            let known = self.fetcher.lock().places().count(topic);
            let query = OffsetQuery {
                topic: topic.clone(),
                partition: i32::try_from(known).unwrap_or(i32::MAX),
                at: OffsetAt::Latest,
            };
            let queries = vec![query];
            let (state, topic) = (Arc::clone(self), topic.clone());
            let answered = Completion::call(move |answer: Result<Response>, _| match answer {
                Ok(_) => state.describe_grown(topic),
                Err(error) if error.code() == ErrorCode::UnknownTopicOrPartition => {}
                Err(error) => {
                    let _mine = state.span.enter();
                    crate::seldom!(debug, %error, "it is not known whether there are more partitions");
                }
            });
            self.transport
                .submit(Request::ListOffsets { queries }, Bytes::new(), answered);
        }
        self.look_for_more_later();
    }

    /// The topic has more partitions than are read: which?
    fn describe_grown(self: &Arc<Self>, topic: String) {
        let state = Arc::clone(self);
        let answered = Completion::call(move |answer: Result<Response>, _| {
            let Ok(Response::Topics(topics)) = answer else {
                return;
            };
            // Reading begins in a job: this may be a thread that must not wait for the reader.
            let transport = Arc::clone(&state.transport);
            transport.schedule(Box::new(move || state.read_grown(&topics)));
        });
        let names = vec![topic];
        self.transport
            .submit(Request::DescribeTopics { names }, Bytes::new(), answered);
    }

    fn read_grown(self: &Arc<Self>, topics: &[TopicDescription]) {
        if self.is_closed() {
            return;
        }
        let places = self.fetcher.lock().places();
        let mut assigned = Vec::new();
        for topic in topics {
            // All of them are wanted.
            let all = partitions_of(topic, None).unwrap_or_default().into_iter();
            assigned.extend(all.filter(|it| places.find(&it.topic, it.partition).is_none()));
        }
        if assigned.is_empty() {
            return;
        }
        let _mine = self.span.enter();
        tracing::info!(partitions = assigned.len(), "a topic has more partitions");
        Opening::of_new(self, assigned);
    }
}
