//! A transport that the tests answer for: nothing happens before they say so.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::sync::Mutex;
use bytes::Bytes;

use super::{Feed, FetchedBatch, Transport};
use crate::client::health::LinkHealth;
use crate::completion::{Completion, Wake};
use crate::error::{Error, Result};
use crate::ids::Durability;
use crate::protocol::request::{FetchPosition, Request, SubscribeAt};
use crate::protocol::response::{PartitionDescription, ProduceAck, Response, TopicDescription};

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Fake(Mutex<State>);

#[derive(Default)]
struct State {
    asked: VecDeque<Asked>,
    /// Heartbeats apart: they wait for news, and are in nobody's way.
    heartbeats: VecDeque<Asked>,
    jobs: VecDeque<Box<dyn FnOnce() + Send>>,
    /// Jobs are dropped, as by a log that is closed.
    drops_jobs: bool,
    next_producer_id: i64,
    /// As if the log were in this process.
    is_local: bool,
    feed: Option<Arc<FakeFeed>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("asked", &self.asked.len())
            .finish_non_exhaustive()
    }
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) payload: Bytes,
    pub(crate) completion: Completion<Response>,
}

impl Fake {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// The oldest request without an answer.
    pub(crate) fn next(&self) -> Option<Asked> {
        self.0.lock().asked.pop_front()
    }

    /// The oldest heartbeat without an answer.
    pub(crate) fn heartbeat(&self) -> Option<Asked> {
        self.0.lock().heartbeats.pop_front()
    }

    pub(crate) fn heartbeats_waiting(&self) -> usize {
        self.0.lock().heartbeats.len()
    }

    /// The heartbeat that leaves, for good or for a moment, if there is one.
    pub(crate) fn farewell(&self) -> Option<Asked> {
        let mut state = self.0.lock();
        let leaves = |asked: &Asked| matches!(&asked.request, Request::GroupHeartbeat(said) if said.generation < 0);
        let place = state.heartbeats.iter().position(leaves)?;
        state.heartbeats.remove(place)
    }

    pub(crate) fn waiting(&self) -> usize {
        self.0.lock().asked.len()
    }

    pub(crate) fn be_local(&self) {
        self.0.lock().is_local = true;
    }

    pub(crate) fn drop_jobs(&self) {
        self.0.lock().drops_jobs = true;
    }

    /// Runs jobs until there is none.
    pub(crate) fn run_jobs(&self) {
        loop {
            let job = self.0.lock().jobs.pop_front();
            match job {
                Some(job) => job(),
                None => return,
            }
        }
    }

    /// Runs jobs, and answers everything but record batches, until nothing is left to do. Every topic has
    /// `partitions` partitions.
    pub(crate) fn settle(&self, partitions: i32) {
        loop {
            self.run_jobs();
            let mut state = self.0.lock();
            let is_other = |asked: &Asked| {
                !matches!(
                    asked.request,
                    Request::Produce { .. } | Request::ProduceAndCommit { .. }
                )
            };
            let Some(place) = state.asked.iter().position(is_other) else {
                return;
            };
            let asked = state.asked.remove(place).unwrap();
            let response = match &asked.request {
                Request::DescribeTopics { names } => {
                    Response::Topics(names.iter().map(|name| topic(name, partitions)).collect())
                }
                Request::InitProducer => {
                    state.next_producer_id += 1;
                    let producer_id = state.next_producer_id;
                    Response::Producer {
                        producer_id,
                        producer_epoch: 0,
                    }
                }
                Request::ListOffsets { queries } => Response::Offsets(vec![0; queries.len()]),
                _ => Response::Done,
            };
            drop(state);
            asked.completion.finish(Ok(response));
        }
    }

    /// The stream that was subscribed to last.
    pub(crate) fn feed(&self) -> Arc<FakeFeed> {
        self.0.lock().feed.clone().unwrap()
    }
}

impl Asked {
    pub(crate) fn acknowledge(self, base_offset: i64) {
        self.completion.finish(Ok(Response::Produced(ProduceAck {
            base_offset,
            append_time_ms: -1,
            durability: Durability::Os,
            is_duplicate: false,
        })));
    }

    pub(crate) fn fail(self, error: Error) {
        self.completion.finish(Err(error));
    }
}

pub(crate) fn topic(name: &str, partitions: i32) -> TopicDescription {
    let partition = |partition| PartitionDescription {
        partition,
        log_start_offset: 0,
        high_watermark: 0,
        // Nothing that was acknowledged is lost.
        log_end_offset: i64::MAX,
        leader_epoch: 0,
        size_bytes: 0,
    };
    TopicDescription {
        name: name.to_owned(),
        uuid: [0; 16],
        config: vec![("max_message_bytes".to_owned(), "1048588".to_owned())],
        notes: Vec::new(),
        partitions: (0..partitions).map(partition).collect(),
    }
}

impl Transport for Fake {
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        let asked = Asked {
            request,
            payload,
            completion,
        };
        let mut state = self.0.lock();
        match asked.request {
            Request::GroupHeartbeat(_) => state.heartbeats.push_back(asked),
            _ => state.asked.push_back(asked),
        }
    }

    fn run_here(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.submit(request, payload, completion);
    }

    fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<dyn Feed>> {
        let feed = Arc::new(FakeFeed::default());
        feed.0.lock().assigned = subscribe.positions;
        self.0.lock().feed = Some(Arc::clone(&feed));
        Ok(feed)
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) {
        let mut state = self.0.lock();
        if state.drops_jobs {
            drop(state);
            drop(job);
        } else {
            state.jobs.push_back(job);
        }
    }

    fn assist(&self) {}

    fn close(&self, _timeout: Duration) -> Result<()> {
        Ok(())
    }

    fn description(&self) -> String {
        "fake".to_owned()
    }

    fn health(&self) -> LinkHealth {
        LinkHealth {
            is_connected: true,
            since: Duration::ZERO,
            last_error: None,
        }
    }

    fn is_remote(&self) -> bool {
        !self.0.lock().is_local
    }

    fn thread_count(&self) -> u64 {
        0
    }
}

/// A stream that the tests fill.
#[derive(Debug, Default)]
pub(crate) struct FakeFeed(Mutex<FeedState>);

#[derive(Debug, Default)]
struct FeedState {
    batches: VecDeque<FetchedBatch>,
    ended: Option<Error>,
    wake: Option<Wake>,
    assigned: Vec<FetchPosition>,
    held: u64,
}

impl FakeFeed {
    pub(crate) fn push(&self, batch: FetchedBatch) {
        let mut state = self.0.lock();
        state.batches.push_back(batch);
        let wake = state.wake.take();
        drop(state);
        if let Some(wake) = wake {
            wake.run();
        }
    }

    pub(crate) fn end(&self, error: Error) {
        let mut state = self.0.lock();
        state.ended = Some(error);
        let wake = state.wake.take();
        drop(state);
        if let Some(wake) = wake {
            wake.run();
        }
    }

    pub(crate) fn held(&self) -> u64 {
        self.0.lock().held
    }

    pub(crate) fn assigned(&self) -> Vec<FetchPosition> {
        self.0.lock().assigned.clone()
    }
}

impl Feed for FakeFeed {
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        let mut state = self.0.lock();
        let mut taken = Vec::new();
        let mut bytes = 0;
        while let Some(batch) = state.batches.pop_front() {
            if !taken.is_empty() && bytes + batch.batch.len() > max_bytes {
                state.batches.push_front(batch);
                break;
            }
            bytes += batch.batch.len();
            taken.push(batch);
        }
        match &state.ended {
            Some(error) if taken.is_empty() => Err(error.clone()),
            _ => Ok(taken),
        }
    }

    fn watch(&self, wake: Wake) {
        let mut state = self.0.lock();
        if state.batches.is_empty() && state.ended.is_none() {
            state.wake = Some(wake);
        } else {
            drop(state);
            wake.run();
        }
    }

    fn reassign(&self, positions: Vec<FetchPosition>) -> Result<()> {
        let mut state = self.0.lock();
        if let Some(error) = &state.ended {
            return Err(error.clone());
        }
        state.batches.clear();
        state.assigned = positions;
        Ok(())
    }

    fn hold(&self, bytes: u64) {
        self.0.lock().held = bytes;
    }

    fn close(&self) {
        self.0.lock().batches.clear();
    }
}
