//! The producer: records in, deliveries out.
//!
//! `accumulator` gathers records into batches and decides what is sent when, knowing no clock and no
//! transport; `sender` stands before it, with the lock, the waiting and the room; `dispatch` sends batches
//! and tells what became of them; `ledger` keeps what the host has to be told.

mod accumulator;
mod awake;
mod batch;
mod closing;
mod delivery;
mod desk;
mod dispatch;
mod ledger;
mod parked;
mod prompt;
mod rows;
mod sender;
mod size;
mod topics;

use std::fmt;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use crate::sync::{Condvar, Mutex};

pub(super) use self::accumulator::Backlog;
use self::accumulator::{Accumulator, Settings};
use self::awake::Awake;
pub use self::delivery::{Delivery, RecordMetadata};
use self::desk::Desk;
use self::dispatch::Helper;
pub(super) use self::dispatch::lookup;
use self::ledger::Ledger;
pub(super) use self::sender::now_ms;
use self::sender::{Letter, Patience, Sender, Want, patience};
pub(super) use self::topics::{Lookup, unknown_partition};
use super::CloseReport;
use super::handle::Shared as ClientShared;
use super::options::{Compression, ProducerOptions};
use super::retry::new_seed;
use crate::completion::{Completion, Pending};
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::ids::Durability;
use crate::record::{Codec, Compressor, Header, HeadersRef, RecordRef};

/// A record to send, borrowed: key and value are copied before `send` returns.
#[derive(Clone, Copy, Debug, Default)]
pub struct Record<'a> {
    /// The partition; none: the partitioner's choice.
    pub partition: Option<i32>,
    /// The key.
    pub key: Option<&'a [u8]>,
    /// The value; none is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: &'a [Header<'a>],
    /// When it was made, ms since 1970 UTC; none: now.
    pub timestamp_ms: Option<i64>,
}

impl<'a> Record<'a> {
    /// A record of this value.
    #[must_use]
    pub const fn new(value: &'a [u8]) -> Self {
        Self {
            partition: None,
            key: None,
            value: Some(value),
            headers: &[],
            timestamp_ms: None,
        }
    }

    /// The same with a key.
    #[must_use]
    pub const fn with_key(mut self, key: &'a [u8]) -> Self {
        self.key = Some(key);
        self
    }
}

/// Records that failed although nobody was waiting for them: sent by `enqueue`, or their delivery was
/// dropped unread.
#[derive(Clone, Debug)]
pub struct DeliveryFailure {
    /// The topic.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// How many records.
    pub records: u64,
    /// Why.
    pub error: Error,
}

/// Sends records to any topic. Clones are the same producer.
///
/// Records of one partition keep the order in which they were handed over. Dropping the last handle
/// flushes in the background, as far as it gets; [`flush`](Self::flush) or [`close`](Self::close) say
/// whether it got there.
///
/// ```
/// use headwater::{ProducerOptions, Record, TopicOptions};
///
/// let db = headwater::connect("mem:").wait(None)?;
/// db.admin().create_topic("orders", TopicOptions::default()).wait(None)?;
/// let producer = db.producer(ProducerOptions::default())?;
/// let delivery = producer.send("orders", &Record::new(b"hello").with_key(b"k1"))?;
/// assert_eq!(delivery.wait(None)?.offset, 0);
/// producer.enqueue("orders", &Record::new(b"nobody waits for this one"))?;
/// producer.flush().wait(None)?;
/// # Ok::<(), headwater::Error>(())
/// ```
#[derive(Clone)]
pub struct Producer(Arc<Handle>);

/// Dropped with the last handle: then the producer flushes and ends.
struct Handle {
    sender: Arc<Sender>,
    /// Keeps the client open.
    client: Arc<ClientShared>,
}

impl Producer {
    pub(super) fn open(client: Arc<ClientShared>, options: &ProducerOptions) -> Result<Self> {
        let seed = next_seed();
        let settings = settings(options, client.transport.is_remote())?;
        let compressor = compressor(options.compression())?;
        let mut accumulator = Accumulator::new(settings);
        accumulator.topics.set_seed(seed);
        accumulator.topics.set_age_max(client.metadata_age());
        let sender = Arc::new(Sender {
            transport: Arc::clone(&client.transport),
            counters: Arc::clone(&client.counters),
            span: tracing::info_span!(
                "producer",
                address = %client.address,
                producer_id = tracing::field::Empty
            ),
            generation: client.generation,
            durability: options.durability,
            codec: compressor.codec(),
            settings,
            max_block: Duration::from_millis(options.max_block_ms()),
            request_timeout: Duration::from_millis(options.request_timeout_ms()),
            desk: Mutex::new(Desk::new(accumulator)),
            room: Condvar::new(),
            draining: Mutex::new(compressor),
            ledger: Ledger::default(),
            awake: Awake::default(),
            closing: OnceLock::new(),
        });
        Ok(Self(Arc::new(Handle { sender, client })))
    }

    /// Sends a record. Waits up to `max_block_ms` for room; on a thread of Headwater it never waits. After a pause it
    /// writes the record itself, also into the file of a log in this process: a thread that must never be held up by
    /// a disk uses [`try_send`](Self::try_send).
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION`, `MESSAGE_TOO_LARGE`, `INVALID_RECORD`, `BUFFER_FULL`, `CLOSED`,
    /// `FORKED`.
    pub fn send(&self, topic: &str, record: &Record<'_>) -> Result<Delivery> {
        self.deliver(topic, record, patience())
    }

    /// The same without waiting, and without touching a file. Over a connection a record whose topic or partition is not
    /// known yet is kept until that was asked; if it is not there, the delivery says so.
    ///
    /// # Errors
    /// As [`send`](Self::send); `BUFFER_FULL` at once.
    pub fn try_send(&self, topic: &str, record: &Record<'_>) -> Result<Delivery> {
        self.deliver(topic, record, Patience::None)
    }

    fn deliver(&self, topic: &str, record: &Record<'_>, patience: Patience) -> Result<Delivery> {
        let letter = record.letter(Want::Delivery);
        let delivery = self.0.sender.accept(topic, &letter, patience)?;
        delivery.ok_or_else(|| {
            Error::new(
                ErrorCode::UnknownServerError,
                "a record was taken without a delivery",
            )
        })
    }

    /// Sends a record and gives nothing back. Never waits. What fails is counted and comes out of
    /// [`flush`](Self::flush), [`close`](Self::close) and [`on_failure`](Self::on_failure).
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send).
    pub fn enqueue(&self, topic: &str, record: &Record<'_>) -> Result<()> {
        let letter = record.letter(Want::Nothing);
        self.0
            .sender
            .accept(topic, &letter, Patience::None)
            .map(|_| ())
    }

    /// The number that stands for a topic in send rows. It never changes for this producer.
    ///
    /// # Errors
    /// `INVALID_TOPIC_EXCEPTION` for an empty or too long name, `QUOTA_EXCEEDED`. Whether the topic
    /// exists is found when it is sent to.
    pub fn topic(&self, name: &str) -> Result<u32> {
        fork::check(self.0.sender.generation)?;
        self.0.sender.desk.lock().accumulator.topics.number(name)
    }

    /// Sends records packed as send rows and returns how many bytes were taken: whole rows, fewer than
    /// all when there is no more room. Never waits, never keeps the buffer. What is not known yet is asked for as by
    /// [`try_send`](Self::try_send), and told in the completion rows.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a malformed row or topic id, `UNKNOWN_TOPIC_OR_PARTITION`,
    /// `MESSAGE_TOO_LARGE`, `CLOSED`, `FORKED`: nothing is taken then.
    pub fn send_rows(&self, rows: &[u8]) -> Result<usize> {
        self.0.sender.accept_rows(rows)
    }

    /// Calls `hook` when there are completion rows to take, and not again before they were taken. It
    /// must not block, and may be called from within a call that sends. A later hook replaces an earlier one.
    pub fn completions(&self, hook: impl Fn() + Send + Sync + 'static) {
        self.0.sender.ledger.set_rows_hook(Arc::new(hook));
    }

    /// Takes the completion rows so far, 40 bytes each, back to back: the ends of records that were sent
    /// by rows with a ticket. Rows that are not taken fill the producer's buffer.
    #[must_use]
    pub fn take_completions(&self) -> Vec<u8> {
        let rows = self.0.sender.ledger.take_rows();
        if !rows.is_empty() {
            self.0.sender.rows_taken();
        }
        rows
    }

    /// The error that a completion row names; the last 1,024 are kept.
    #[must_use]
    pub fn take_error(&self, error_id: u32) -> Option<Error> {
        self.0.sender.ledger.error(error_id)
    }

    /// Calls `hook` for failures that nobody waits for. It must not block, and may be called from within a call that
    /// sends: it takes no lock that is held around one. A later hook replaces an earlier one.
    pub fn on_failure(&self, hook: impl Fn(&DeliveryFailure) + Send + Sync + 'static) {
        self.0.sender.ledger.set_failure_hook(Arc::new(hook));
    }

    /// Answers when there is room for what was refused last.
    ///
    /// # Errors
    /// `CLOSED`; `BUFFER_FULL` if too many wait already.
    pub fn ready(&self) -> Pending<()> {
        let (completion, pending) = Completion::pair();
        self.0.sender.ready(completion);
        pending.with_assist(Arc::new(Helper(Arc::clone(&self.0.sender))))
    }

    /// Answers when everything sent so far is acknowledged or failed. A thread that waits for it may
    /// write to the log itself.
    ///
    /// # Errors
    /// The first failure since the last flush that nobody was told about, with the count and the topics
    /// in its message; `FORKED`.
    pub fn flush(&self) -> Pending<()> {
        let sender = &self.0.sender;
        if let Err(forked) = sender.check_process() {
            return Pending::ready(Err(forked));
        }
        let (completion, pending) = Completion::pair();
        let told = Arc::clone(sender);
        sender.flush(Completion::call(move |flushed, wakes| {
            let result = flushed.and_then(|()| told.ledger.take_untold().into_result());
            completion.complete(result, wakes);
        }));
        pending.with_assist(Arc::new(Helper(Arc::clone(sender))))
    }

    /// Takes no more records and answers when those it has are acknowledged or failed, at the latest
    /// after `timeout` (none: `close_timeout_ms`), saying what was not delivered. Closing again gives the same
    /// report, sooner if `timeout` is shorter.
    ///
    /// # Errors
    /// `FORKED`; else none.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<CloseReport> {
        let sender = &self.0.sender;
        if let Err(forked) = sender.check_process() {
            return Pending::ready(Err(forked));
        }
        let timeout = timeout.unwrap_or(self.0.client.close_timeout);
        let report = sender.close(timeout).follow();
        report.with_assist(Arc::new(Helper(Arc::clone(sender))))
    }

    pub(super) fn remembered(&self) -> Remembered {
        Remembered(Arc::downgrade(&self.0.sender))
    }
}

/// What a client keeps of its producers.
#[derive(Clone, Debug)]
pub(super) struct Remembered(Weak<Sender>);

impl Remembered {
    /// Whether somebody has it: then its end is waited for.
    pub(super) fn is_there(&self) -> bool {
        self.0.strong_count() > 0
    }

    pub(super) fn is_open(&self) -> bool {
        let sender = self.0.upgrade();
        sender.is_some_and(|sender| sender.closing.get().is_none())
    }

    /// Whether its owner has closed it: then its report is told.
    pub(super) fn has_closed(&self) -> bool {
        let sender = self.0.upgrade();
        let report = sender.and_then(|sender| sender.closing.get()?.report.peek());
        report.is_some()
    }

    /// What it has said on closing, and before that what would be lost now.
    pub(super) fn told(&self) -> CloseReport {
        let sender = self.0.upgrade();
        let report = sender.and_then(|sender| sender.closing.get()?.report.peek());
        report.and_then(Result::ok).unwrap_or_else(|| CloseReport {
            unsent_records: self.backlog().map_or(0, |backlog| backlog.records),
            ..CloseReport::default()
        })
    }

    /// Makes a close that is on its way end after `timeout`, if it would later.
    pub(super) fn hurry_close(&self, timeout: Duration) {
        if let Some(sender) = self.0.upgrade() {
            sender.hurry_close(timeout);
        }
    }

    /// Begins to close it, if it is still there.
    pub(super) fn close(&self, timeout: Duration) -> Option<Pending<CloseReport>> {
        let sender = self.0.upgrade()?;
        let report = sender.close(timeout).follow();
        Some(report.with_assist(Arc::new(Helper(sender))))
    }

    /// What it has that is not acknowledged.
    pub(super) fn backlog(&self) -> Option<Backlog> {
        let sender = self.0.upgrade()?;
        let desk = sender.desk.lock();
        Some(desk.accumulator.backlog())
    }

    pub(super) fn buffered_bytes(&self) -> u64 {
        let sender = self.0.upgrade();
        sender.map_or(0, |sender| {
            sender.desk.lock().accumulator.used_bytes() as u64
        })
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In a forked child the locks may be held by threads that are not there.
        if fork::check(self.sender.generation).is_ok() && self.sender.begin_close() {
            let sender = Arc::clone(&self.sender);
            // Held by what is on its way, so that the log stays open as long.
            let client = Arc::clone(&self.client);
            self.sender.flush(Completion::call(move |_, _| {
                if let Err(error) = sender.ledger.take_untold().into_result() {
                    let _mine = sender.span.enter();
                    tracing::warn!(%error, "a producer was dropped with records that failed");
                }
                drop(client);
            }));
        }
    }
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Producer").field(&self.0.sender).finish()
    }
}

fn settings(options: &ProducerOptions, is_remote: bool) -> Result<Settings> {
    options.check()?;
    let refuse = |code, message: String| Err(Error::new(code, message));
    let (batch_bytes, buffer_bytes) = (options.batch_bytes(), options.buffer_bytes());
    if buffer_bytes < 2 * batch_bytes {
        return refuse(
            ErrorCode::InvalidOption,
            format!(
                "producer option `buffer_bytes` is {buffer_bytes}; it must be at least twice \
                 `batch_bytes`, which is {batch_bytes}"
            ),
        );
    }
    let (linger_ms, timeout_ms) = (options.linger_ms(), options.delivery_timeout_ms());
    let least_ms = linger_ms + options.request_timeout_ms();
    if timeout_ms < least_ms && options.delivery_timeout_ms.is_some() {
        return refuse(
            ErrorCode::InvalidOption,
            format!(
                "producer option `delivery_timeout_ms` is {timeout_ms}; it must be at least \
                 `linger_ms` + `request_timeout_ms`, which is {least_ms}"
            ),
        );
    }
    if options.durability == Some(Durability::Quorum) {
        return refuse(
            ErrorCode::UnsupportedFeature,
            "durability `quorum` needs a cluster, which is not built yet; use `disk`".into(),
        );
    }
    Ok(Settings {
        batch_bytes: usize::try_from(batch_bytes).unwrap_or(usize::MAX),
        buffer_bytes: usize::try_from(buffer_bytes).unwrap_or(usize::MAX),
        linger: Duration::from_millis(linger_ms),
        delivery_timeout: Duration::from_millis(timeout_ms.max(least_ms)),
        in_flight: options.in_flight() as usize,
        is_idempotent: options.idempotence(),
        is_remote,
        retry_backoff: Duration::from_millis(options.retry_backoff_ms()),
        retry_backoff_max: Duration::from_millis(options.retry_backoff_max_ms()),
        // Processes that lost the same broker are to differ too.
        seed: new_seed(),
    })
}

fn compressor(compression: Compression) -> Result<Compressor> {
    Compressor::new(codec(compression)).map_err(|error| {
        let known = Codec::ALL.into_iter().filter(|codec| codec.is_supported());
        let known: Vec<_> = known.map(|codec| format!("`{}`", codec.name())).collect();
        Error::new(
            ErrorCode::UnsupportedCompressionType,
            format!(
                "producer option `compression` is `{compression}`, which is not built in; \
                 there are {}",
                known.join(", ")
            ),
        )
        .with_source(error)
    })
}

const fn codec(compression: Compression) -> Codec {
    match compression {
        Compression::None => Codec::None,
        Compression::Gzip => Codec::Gzip,
        Compression::Snappy => Codec::Snappy,
        Compression::Lz4 => Codec::Lz4,
        Compression::Zstd => Codec::Zstd,
    }
}

/// Another number for every producer of the process.
fn next_seed() -> i32 {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(world) = crate::world::simulated::current() {
        return world.below(1 << 31) as i32;
    }
    static NEXT: AtomicI32 = AtomicI32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed) & i32::MAX
}

impl Record<'_> {
    fn letter(&self, want: Want) -> Letter<'_> {
        Letter {
            partition: self.partition,
            record: RecordRef {
                timestamp_ms: self.timestamp_ms.unwrap_or_else(now_ms),
                key: self.key,
                value: self.value,
                headers: HeadersRef::Slice(self.headers),
            },
            want,
        }
    }
}

#[cfg(test)]
mod tests;
