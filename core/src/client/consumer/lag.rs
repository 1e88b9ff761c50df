//! How far a consumer is behind what could be read.

use bytes::Bytes;

use super::Consumer;
use crate::client::admin::unexpected;
use crate::completion::{Completion, Pending};
use crate::error::Result;
use crate::protocol::request::{OffsetAt, OffsetQuery, Request};
use crate::protocol::response::Response;

/// How far a consumer is in a partition, and how far it could be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionLag {
    /// The topic's name.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The offset of the first record that does not count as processed.
    pub position: i64,
    /// What the group has committed; none without a group, or if nothing was committed.
    pub committed: Option<i64>,
    /// The next offset that a reader would see.
    pub high_watermark: i64,
    /// From `position` to `high_watermark`, counting by offsets; 0 or more.
    pub lag: i64,
}

impl Consumer {
    /// For each assigned partition its position, what is committed, the high watermark, and the lag between the
    /// first and the last. One request, none if nothing is assigned.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if a topic was deleted; `CLOSED`; when the log cannot be reached.
    pub fn lag(&self) -> Pending<Vec<PartitionLag>> {
        let state = self.state();
        if let Err(error) = state.check_open() {
            return Pending::ready(Err(error));
        }
        let mut lags = state.fetcher.lock().standings();
        if lags.is_empty() {
            return Pending::ready(Ok(lags));
        }
        let query = |lag: &PartitionLag| OffsetQuery {
            topic: lag.topic.clone(),
            partition: lag.partition,
            at: OffsetAt::Latest,
        };
        let queries = lags.iter().map(query).collect();
        let (completion, pending) = Completion::pair();
        let answered = Completion::call(move |answer: Result<Response>, wakes| {
            let ends = answer.and_then(|response| match response {
                Response::Offsets(ends) if ends.len() == lags.len() => Ok(ends),
                other => Err(unexpected(&other)),
            });
            let measured = ends.map(|ends| {
                for (lag, end) in lags.iter_mut().zip(ends) {
                    lag.high_watermark = end;
                    lag.lag = end.saturating_sub(lag.position).max(0);
                }
                lags
            });
            completion.complete(measured, wakes);
        });
        state
            .transport
            .submit(Request::ListOffsets { queries }, Bytes::new(), answered);
        self.assisted(pending)
    }
}
