//! The consumer: record batches in, leased blocks out, and the positions in between.
//!
//! `fetcher` keeps the positions and knows neither clock nor transport; `reader` takes batches from the
//! feed and makes blocks of them; `read` and `task` wait, with a thread or without; `open`, `commit`,
//! `results` and `closing` talk to the group; `processing` is the door for `process`; `pausing` leaves
//! partitions out for a while.

mod bell;
mod block;
mod closing;
mod commit;
mod fetcher;
mod growth;
mod health;
mod lag;
mod member;
mod membership;
mod open;
mod pausing;
mod processing;
mod read;
mod reader;
mod results;
mod state;
mod task;
mod unacked;

use std::collections::HashSet;
use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::sync::Mutex;
use bytes::Bytes;

use self::bell::Bell;
pub(super) use self::block::malformed;
pub use self::block::{BatchRecords, Block, ConsumerBatch};
pub(super) use self::closing::Remembered;
use self::commit::Commits;
pub(super) use self::fetcher::Dropped;
use self::fetcher::{Fetcher, Origin};
pub use self::lag::PartitionLag;
pub(super) use self::processing::{Place, Processing};
use self::state::{Settings, State};
use self::task::{Answer, Item, Turn, What};
use super::CloseReport;
use super::admin::{Writer, ask, unexpected};
use super::handle::Shared;
use super::options::ConsumerOptions;
use crate::completion::{Completion, Pending, Wake};
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::limits::CONSUMER_TOPICS_MAX;
use crate::protocol::request::{OffsetAt, OffsetQuery, PartitionOffset, Request};
use crate::protocol::response::Response;
use crate::world;

/// What a host does after it told how far it is in a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Go on.
    Continue,
    /// The rows of this run of the block belong to another member now: leave the rest of them out. Not given
    /// as yet: a member keeps what is in its host's hands until the host has passed it.
    Skip(u32),
}

/// Reads topics. Clones are the same consumer; one call reads at a time.
///
/// With `ack=auto` (the default) a record counts as processed when the host asks for what is behind it; if
/// you hand records to tasks that end later, use `ack=manual`. What was read and not processed is read
/// again by the group's next member. Dropping the last handle closes it in the background.
///
/// ```
/// use headwater::{ConsumerOptions, ProducerOptions, Record, TopicOptions};
///
/// let db = headwater::connect("mem:").wait(None)?;
/// db.admin().create_topic("orders", TopicOptions::default()).wait(None)?;
/// let producer = db.producer(ProducerOptions::default())?;
/// producer.send("orders", &Record::new(b"hello").with_key(b"k1"))?.wait(None)?;
///
/// let options = ConsumerOptions { group: Some("billing".into()), ..Default::default() };
/// let consumer = db.consumer(&["orders"], options)?;
/// let batch = consumer.next_batch_wait(None)?.expect("a record was sent");
/// for record in batch.records() {
///     assert_eq!(record?.key, Some(&b"k1"[..]));
/// }
/// consumer.close(None).wait(None)?;
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone)]
pub struct Consumer(Arc<Handle>);

/// Dropped with the last handle: then the consumer closes.
struct Handle {
    state: Arc<State>,
    /// Keeps the client open.
    client: Arc<Shared>,
}

impl Consumer {
    pub(super) fn new(
        client: Arc<Shared>,
        topics: Vec<String>,
        options: &ConsumerOptions,
    ) -> Result<Self> {
        check_topics(&topics)?;
        let state = State {
            transport: Arc::clone(&client.transport),
            counters: Arc::clone(&client.counters),
            span: tracing::info_span!(
                "consumer",
                ?topics,
                group = options.group.as_deref(),
                member = tracing::field::Empty
            ),
            generation: client.generation,
            topics,
            settings: Settings::new(options)?,
            bell: Arc::new(Bell::default()),
            fetcher: Mutex::new(Fetcher::default()),
            reader: Mutex::new(None),
            feed: Mutex::new(None),
            in_group: Mutex::new(None),
            last_heartbeat: AtomicU64::new(0),
            heard_of_host: Mutex::new(None),
            unlocated: Mutex::default(),
            growth: Mutex::default(),
            metadata_age: client.metadata_age(),
            applying: Mutex::new(()),
            overdue: Mutex::new(None),
            opening: Mutex::new(None),
            turn: Mutex::new(Turn::default()),
            commits: Mutex::new(Commits::default()),
            processing: Mutex::new(None),
            is_closed: AtomicBool::new(false),
            is_in_loop: AtomicBool::new(false),
            closing: OnceLock::new(),
        };
        let state = Arc::new(state);
        Ok(Self(Arc::new(Handle { state, client })))
    }

    pub(super) fn remembered(&self) -> Remembered {
        Remembered(Arc::downgrade(&self.0.state))
    }

    fn state(&self) -> &Arc<State> {
        &self.0.state
    }

    /// A thread that waits for the answer writes what is queued.
    fn assisted<T: Send + 'static>(&self, pending: Pending<T>) -> Pending<T> {
        pending.with_assist(Arc::new(Writer(Arc::clone(&self.0.state.transport))))
    }

    /// Finds the topics, joins the group, and fixes where reading starts and ends. The calls that read
    /// do it if it was not done.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`; `GROUP_MAX_SIZE_REACHED`; `UNSUPPORTED_VERSION` if the broker is older than
    /// groups of more than one member.
    pub fn open(&self) -> Pending<()> {
        match self.state().check_open() {
            Ok(()) => self.assisted(self.state().open().follow()),
            Err(error) => Pending::ready(Err(error)),
        }
    }

    /// Says that a loop begins, for a language whose loops do: it ends without an error if the consumer is closed
    /// from now on.
    ///
    /// # Errors
    /// `CLOSED`, `FORKED`.
    pub fn begin_loop(&self) -> Result<()> {
        self.state().check_open()?;
        self.state().is_in_loop.store(true, Ordering::Release);
        Ok(())
    }

    /// The next block of records. Asking for it passes every row of the last one: with `ack=auto` they
    /// count as processed. None: `timeout` passed with nothing, `until` is reached, or the consumer was
    /// closed since the last one ([`is_finished`](Self::is_finished) tells). The block is built on a thread of
    /// Headwater.
    ///
    /// # Errors
    /// What reading ended with; `INVALID_STATE` while another call reads; `CLOSED` if it was closed before, and
    /// who read it has been told.
    pub fn next_block(&self, timeout: Option<Duration>) -> Pending<Option<Block>> {
        let (completion, pending) = Completion::pair();
        let taken = Arc::new(AtomicBool::new(false));
        self.later(Answer::Block(completion), timeout, &taken);
        pending.with_taken(taken)
    }

    /// The same for a thread that may wait: the block is built on this thread.
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    pub fn next_block_wait(&self, timeout: Option<Duration>) -> Result<Option<Block>> {
        self.state().check_not_processing()?;
        let item = self.state().read_here(What::Block, deadline_of(timeout))?;
        Ok(item.and_then(|item| match item {
            Item::Block(block) => Some(block),
            Item::Batch(_) => None,
        }))
    }

    /// Says how many rows of the current block the host has passed.
    #[must_use]
    pub fn progress(&self, rows: u32) -> Progress {
        self.state().host_is_there();
        self.state().fetcher.lock().pass(rows);
        self.state().commit_in_time();
        Progress::Continue
    }

    /// The next record batch, read in place: for Rust. Asking for it passes the last one, as with
    /// [`next_block`](Self::next_block).
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    pub fn next_batch(&self, timeout: Option<Duration>) -> Pending<Option<ConsumerBatch>> {
        let (completion, pending) = Completion::pair();
        let taken = Arc::new(AtomicBool::new(false));
        self.later(Answer::Batch(completion), timeout, &taken);
        pending.with_taken(taken)
    }

    /// The same for a thread that may wait.
    ///
    /// # Errors
    /// As [`next_block`](Self::next_block).
    pub fn next_batch_wait(&self, timeout: Option<Duration>) -> Result<Option<ConsumerBatch>> {
        self.state().check_not_processing()?;
        let item = self.state().read_here(What::Batch, deadline_of(timeout))?;
        Ok(item.and_then(|item| match item {
            Item::Batch(batch) => Some(batch),
            Item::Block(_) => None,
        }))
    }

    /// Acknowledges one record, in any order (`ack=manual`). What is committed is the first offset that
    /// is not acknowledged. A record of a partition that the group has given to another since is passed over:
    /// whoever has it reads it again.
    ///
    /// # Errors
    /// `INVALID_STATE` with `ack=auto`; `INVALID_ARGUMENT` for a record that was not given out;
    /// `UNKNOWN_TOPIC_OR_PARTITION` for one of a partition that was never read.
    pub fn ack(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let result = self.state().fetcher.lock().ack(topic, partition, offset);
        self.acked(result)
    }

    /// Acknowledges rows of the current block (`ack=manual`).
    ///
    /// # Errors
    /// As [`ack`](Self::ack).
    pub fn ack_rows(&self, rows: Range<u32>) -> Result<()> {
        let result = self.state().fetcher.lock().ack_rows(rows);
        self.acked(result)
    }

    /// Commits what is processed.
    ///
    /// # Errors
    /// `INVALID_STATE` without a group; what the group says.
    pub fn commit(&self) -> Pending<()> {
        self.committing(None)
    }

    /// Commits these offsets, each that of the next record to read.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn commit_offsets(&self, offsets: Vec<PartitionOffset>) -> Pending<()> {
        self.committing(Some(offsets))
    }

    /// What the group has committed for the partitions of this consumer.
    ///
    /// # Errors
    /// As [`commit`](Self::commit).
    pub fn committed(&self) -> Pending<Vec<PartitionOffset>> {
        let state = self.state();
        let group = match state.check_open().and_then(|()| state.group()) {
            Ok(group) => group.to_owned(),
            Err(error) => return Pending::ready(Err(error)),
        };
        let topics: HashSet<String> = state.topics.iter().cloned().collect();
        ask(
            &state.transport,
            Request::DescribeGroup { group },
            move |response| match response {
                Response::Group(group) => {
                    let offsets = group.offsets.into_iter();
                    Ok(offsets
                        .filter(|offset| topics.contains(&offset.topic))
                        .collect())
                }
                other => Err(other),
            },
        )
    }

    /// Goes on reading a partition at `offset`. If the log does not hold it, reading fails with
    /// `OFFSET_OUT_OF_RANGE` until another is sought: no other is taken for the one that was named.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if the consumer does not read it; `INVALID_STATE` before it is open.
    pub fn seek(&self, topic: &str, partition: i32, offset: i64) -> Result<()> {
        let state = self.state();
        state.check_open()?;
        state.seek(topic, partition, offset, Origin::Named)
    }

    /// Goes on reading a partition at an offset by its meaning.
    ///
    /// # Errors
    /// As [`seek`](Self::seek).
    pub fn seek_to(&self, topic: &str, partition: i32, at: OffsetAt) -> Pending<()> {
        let state = self.state();
        if let Err(error) = state.check_open() {
            return Pending::ready(Err(error));
        }
        let (completion, pending) = Completion::pair();
        let sought = Arc::clone(state);
        let name = topic.to_owned();
        let answered = Completion::call(move |answer: Result<Response>, wakes| match answer {
            // In a job: this may be a thread that must not wait for a reader.
            Ok(Response::Offsets(offsets)) if offsets.len() == 1 => {
                let transport = Arc::clone(&sought.transport);
                transport.schedule(Box::new(move || {
                    let offset = offsets.first().copied().unwrap_or_default();
                    completion.finish(sought.seek(&name, partition, offset, Origin::Found));
                }));
            }
            Ok(other) => completion.complete(Err(unexpected(&other)), wakes),
            Err(error) => completion.complete(Err(error), wakes),
        });
        let queries = vec![OffsetQuery {
            topic: topic.to_owned(),
            partition,
            at,
        }];
        state
            .transport
            .submit(Request::ListOffsets { queries }, Bytes::new(), answered);
        self.assisted(pending)
    }

    /// For each partition the offset of the first record that does not count as processed.
    #[must_use]
    pub fn positions(&self) -> Vec<PartitionOffset> {
        self.state().fetcher.lock().positions()
    }

    /// The partitions that it reads, each with the offset of the next record to be given out.
    #[must_use]
    pub fn assignment(&self) -> Vec<PartitionOffset> {
        self.state().fetcher.lock().next_offsets()
    }

    /// Whether nothing more will come: `until` is reached in every partition, or it was closed.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.state().is_finished()
    }

    /// Whether `close` was called, of it or of its client.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().is_closed()
    }

    /// Commits what is processed, leaves the group, and answers within `timeout` (none:
    /// `close_timeout_ms`), whatever happens. Blocks that were given out stay valid. Closing again gives the
    /// same report, sooner if `timeout` is shorter.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<CloseReport> {
        let state = self.state();
        if let Err(forked) = state.check_process() {
            return Pending::ready(Err(forked));
        }
        let timeout = timeout.unwrap_or(self.0.client.close_timeout);
        self.assisted(state.close(timeout).follow())
    }

    fn later(&self, answer: Answer, timeout: Option<Duration>, taken: &Arc<AtomicBool>) {
        let state = self.state();
        let checked = state
            .check_process()
            .and_then(|()| state.check_not_processing());
        if let Err(error) = checked {
            return answer.finish(Err(error));
        }
        if state.is_closed() {
            return answer.finish(state.read_closed());
        }
        state.read_later(answer, deadline_of(timeout), Arc::clone(taken));
    }

    /// After an acknowledgement there may be room for more, and something to commit.
    fn acked(&self, result: Result<()>) -> Result<()> {
        result?;
        self.state().host_is_there();
        self.state().bell.ring();
        self.state().commit_in_time();
        self.state().release_later();
        Ok(())
    }

    fn committing(&self, offsets: Option<Vec<PartitionOffset>>) -> Pending<()> {
        let state = self.state();
        let checked = state.check_open().and_then(|()| state.group());
        if let Err(error) = checked {
            return Pending::ready(Err(error));
        }
        if offsets.is_some() && state.reader.lock().is_none() {
            return Pending::ready(Err(State::not_open()));
        }
        let (completion, pending) = Completion::pair();
        state.commit(offsets, completion);
        self.assisted(pending)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In a forked child the locks may be held by threads that are not there.
        if fork::check(self.state.generation).is_ok() {
            let client = Arc::clone(&self.client);
            let closed = self.state.close(client.close_timeout);
            // The log stays open until the group knows.
            closed.watch(Wake::Hook(Arc::new(move || _ = &client)));
        }
    }
}

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Consumer").field(&self.0.state).finish()
    }
}

fn check_topics(topics: &[String]) -> Result<()> {
    let refuse = |message: String| Err(Error::new(ErrorCode::InvalidArgument, message));
    if topics.is_empty() {
        return refuse("a consumer reads at least one topic; none was given".into());
    }
    if topics.len() > CONSUMER_TOPICS_MAX {
        return refuse(format!(
            "a consumer reads at most {CONSUMER_TOPICS_MAX} topics; {} were given",
            topics.len()
        ));
    }
    let mut seen = HashSet::new();
    match topics.iter().find(|topic| !seen.insert(topic.as_str())) {
        Some(twice) => refuse(format!("topic `{twice}` is given twice")),
        None => Ok(()),
    }
}

/// A timeout that reaches beyond time is none.
fn deadline_of(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| world::now().checked_add(timeout))
}

#[cfg(test)]
mod tests;
