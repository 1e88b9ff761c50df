//! A door without a log behind it: the test is asked and answers, when and how it likes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use crate::sync::Mutex;
use bytes::Bytes;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::door::{Door, Feed};
use super::{Server, ServerOptions};
use crate::completion::{Completion, Wake};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::fetched::FetchedBatch;
use crate::protocol::request::{FetchPosition, PartitionOffset, Request, SubscribeAt};
use crate::protocol::response::Response;

/// A request that waits for the test's answer.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) request: Request,
    pub(crate) payload: Bytes,
    pub(crate) completion: Completion<Response>,
}

impl Asked {
    pub(crate) fn answer(self, result: Result<Response>) {
        self.completion.finish(result);
    }
}

/// What the test holds: all connections of the server share it.
#[derive(Debug)]
pub(crate) struct Fake {
    pub(crate) asked: UnboundedReceiver<Asked>,
    pub(crate) feed: Arc<FakeFeed>,
    pub(crate) is_door_dropped: Arc<AtomicBool>,
    /// Jobs that were scheduled.
    pub(crate) jobs: Arc<AtomicUsize>,
}

impl Fake {
    /// A server of a fake door.
    pub(crate) fn server(options: ServerOptions) -> (Server, Self) {
        let (sender, asked) = unbounded_channel();
        let feed = Arc::new(FakeFeed::default());
        let is_door_dropped = Arc::new(AtomicBool::new(false));
        let (fed, dropped) = (Arc::clone(&feed), Arc::clone(&is_door_dropped));
        let jobs = Arc::new(AtomicUsize::new(0));
        let scheduled = Arc::clone(&jobs);
        let open = move || -> Arc<dyn Door> {
            Arc::new(FakeDoor {
                sender: sender.clone(),
                feed: Arc::clone(&fed),
                is_dropped: Arc::clone(&dropped),
                jobs: Arc::clone(&scheduled),
            })
        };
        (
            Server::with_door(open, options),
            Self {
                asked,
                feed,
                is_door_dropped,
                jobs,
            },
        )
    }

    /// The next request; the connection's task runs until it comes.
    pub(crate) async fn next(&mut self) -> Asked {
        self.asked
            .recv()
            .await
            .expect("the server holds the sender")
    }
}

struct FakeDoor {
    sender: UnboundedSender<Asked>,
    feed: Arc<FakeFeed>,
    is_dropped: Arc<AtomicBool>,
    jobs: Arc<AtomicUsize>,
}

impl Door for FakeDoor {
    fn log_uuid(&self) -> [u8; 16] {
        *b"a fake log's id."
    }

    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        // A test that has ended wants no more requests.
        let _ = self.sender.send(Asked {
            request,
            payload,
            completion,
        });
    }

    fn subscribe(&self, subscribe: &SubscribeAt) -> Result<Box<dyn Feed>> {
        if subscribe.positions.is_empty() {
            return Err(Error::new(ErrorCode::InvalidRequest, "no partitions"));
        }
        Ok(Box::new(Arc::clone(&self.feed)))
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) -> Result<()> {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(async move { job() });
        Ok(())
    }
}

impl Drop for FakeDoor {
    fn drop(&mut self) {
        self.is_dropped.store(true, Ordering::SeqCst);
    }
}

/// A feed that gives what the test puts in, one batch a call if the budget is small.
#[derive(Debug, Default)]
pub(crate) struct FakeFeed {
    state: Mutex<FeedState>,
}

#[derive(Debug, Default)]
struct FeedState {
    queue: VecDeque<FetchedBatch>,
    failure: Option<Error>,
    watch: Option<Wake>,
    assigned: Vec<FetchPosition>,
    /// What the queue becomes when other partitions are assigned.
    after_assign: VecDeque<FetchedBatch>,
}

impl FakeFeed {
    pub(crate) fn put(&self, batches: impl IntoIterator<Item = FetchedBatch>) {
        self.change(|state| state.queue.extend(batches));
    }

    pub(crate) fn put_after_assign(&self, batches: impl IntoIterator<Item = FetchedBatch>) {
        self.state.lock().after_assign.extend(batches);
    }

    pub(crate) fn fail(&self, error: Error) {
        self.change(|state| state.failure = Some(error));
    }

    pub(crate) fn assigned(&self) -> Vec<FetchPosition> {
        self.state.lock().assigned.clone()
    }

    pub(crate) fn left(&self) -> usize {
        self.state.lock().queue.len()
    }

    fn change(&self, change: impl FnOnce(&mut FeedState)) {
        let mut state = self.state.lock();
        change(&mut state);
        let watch = state.watch.take();
        drop(state);
        if let Some(watch) = watch {
            watch.run();
        }
    }
}

impl Feed for Arc<FakeFeed> {
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        let mut state = self.state.lock();
        let mut taken = Vec::<FetchedBatch>::new();
        let mut bytes = 0;
        while let Some(next) = state.queue.front() {
            if !taken.is_empty() && bytes + next.batch.len() > max_bytes {
                break;
            }
            bytes += next.batch.len();
            taken.extend(state.queue.pop_front());
        }
        match &state.failure {
            Some(error) if taken.is_empty() => Err(error.clone()),
            _ => Ok(taken),
        }
    }

    fn take_recent(&self, max_bytes: usize) -> Vec<FetchedBatch> {
        let mut state = self.state.lock();
        let bytes = state.queue.iter().map(|it| it.batch.len()).sum::<usize>();
        match bytes <= max_bytes {
            true => state.queue.drain(..).collect(),
            false => Vec::new(),
        }
    }

    fn watch(&self, wake: Wake) {
        let mut state = self.state.lock();
        if state.queue.is_empty() && state.failure.is_none() {
            state.watch = Some(wake);
            return;
        }
        drop(state);
        wake.run();
    }

    fn assign(&self, positions: &[FetchPosition]) -> Result<()> {
        let mut state = self.state.lock();
        state.assigned = positions.to_vec();
        state.queue = std::mem::take(&mut state.after_assign);
        Ok(())
    }
}

/// A batch of so many bytes.
pub(crate) fn batch(partition: i32, len: usize) -> FetchedBatch {
    FetchedBatch {
        topic: "orders".into(),
        partition,
        high_watermark: 100,
        batch: vec![u8::try_from(partition).unwrap_or(0); len].into(),
        from_offset: 0,
    }
}

/// A partition from its beginning.
pub(crate) fn from_start(partition: i32) -> PartitionOffset {
    PartitionOffset {
        topic: "orders".to_owned(),
        partition,
        offset: 0,
    }
}
