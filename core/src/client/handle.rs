//! An open log, as the application holds it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::sync::Mutex;

use super::admin::Admin;
use super::connect::no_thread;
use super::consumer::{self, Consumer};
use super::counters::Counters;
use super::deadline::Deadline;
use super::options::{ConnectOptions, ConsumerOptions, ProducerOptions};
use super::producer::{self, Producer};
use super::registry;
use super::transport::Transport;
use crate::completion::{self, Completion, Pending};
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::limits::METADATA_AGE_MS_MAX;
use crate::timer;
use crate::world;

/// How much longer than its deadline a close may take before it answers without the details.
const CLOSE_GRACE: Duration = Duration::from_millis(250);

/// What the handles of one client share. Producers and consumers keep it too: the log is open as long as
/// any of them is.
pub(crate) struct Shared {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) counters: Arc<Counters>,
    /// The fork generation that it was made in.
    pub(super) generation: usize,
    pub(super) close_timeout: Duration,
    pub(super) exit_timeout: Duration,
    pub(super) address: String,
    pub(super) members: Mutex<Members>,
    closing: OnceLock<Arc<Closing>>,
    is_transport_closed: Arc<AtomicBool>,
    /// What a test has in place of [`METADATA_AGE_MS_MAX`].
    #[cfg(test)]
    pub(super) metadata_age: OnceLock<Duration>,
}

/// What was opened through it, as far as it is still there.
#[derive(Default)]
pub(super) struct Members {
    pub(super) is_closed: bool,
    pub(super) producers: Vec<producer::Remembered>,
    pub(super) consumers: Vec<consumer::Remembered>,
}

/// A close that has begun.
struct Closing {
    members: Members,
    report: completion::Shared<CloseReport>,
    deadline: Arc<Deadline>,
}

impl Closing {
    fn new(
        members: Members,
        completion: Arc<Mutex<Option<Completion<CloseReport>>>>,
        report: completion::Shared<CloseReport>,
    ) -> Self {
        let open = members.producers.iter().filter(|it| !it.has_closed());
        let open: Vec<_> = open.cloned().collect();
        let deadline = Deadline::new(CLOSE_GRACE, move || {
            let completion = completion.lock().take();
            if let Some(completion) = completion {
                let mut report = CloseReport::default();
                open.iter().for_each(|producer| report.add(producer.told()));
                report.first_error = Some(stuck());
                completion.finish(Ok(report));
            }
        });
        Self {
            members,
            report,
            deadline,
        }
    }

    /// What is on its way ends by the new deadline too; what has not begun to close will ask for it.
    fn hurry(&self, timeout: Duration) {
        let Members {
            producers,
            consumers,
            ..
        } = &self.members;
        producers.iter().for_each(|it| it.hurry_close(timeout));
        consumers.iter().for_each(|it| it.hurry_close(timeout));
    }
}

impl Shared {
    pub(super) fn new(
        transport: Arc<dyn Transport>,
        address: String,
        generation: usize,
        options: &ConnectOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            transport,
            counters: Arc::new(Counters::default()),
            generation,
            close_timeout: Duration::from_millis(options.close_timeout_ms()),
            exit_timeout: Duration::from_millis(options.exit_timeout_ms()),
            address,
            members: Mutex::new(Members::default()),
            closing: OnceLock::new(),
            is_transport_closed: Arc::new(AtomicBool::new(false)),
            #[cfg(test)]
            metadata_age: OnceLock::new(),
        })
    }

    /// After so long it is asked again how many partitions a topic has.
    pub(super) fn metadata_age(&self) -> Duration {
        #[cfg(test)]
        if let Some(age) = self.metadata_age.get() {
            return *age;
        }
        Duration::from_millis(METADATA_AGE_MS_MAX)
    }

    /// See [`Client::close`].
    pub(super) fn close(
        self: &Arc<Self>,
        timeout: Option<Duration>,
    ) -> completion::Shared<CloseReport> {
        let timeout = timeout.unwrap_or(self.close_timeout);
        let mut mine = None;
        let closing = self.closing.get_or_init(|| {
            let (completion, report) = Completion::shared();
            let completion = Arc::new(Mutex::new(Some(completion)));
            mine = Some(Arc::clone(&completion));
            let mut members = self.members.lock();
            let open = std::mem::take(&mut *members);
            members.is_closed = true;
            drop(members);
            Arc::new(Closing::new(open, completion, report))
        });
        closing.deadline.bring(world::now() + timeout);
        match mine {
            Some(completion) => self.close_on_a_thread(closing, completion),
            None => closing.hurry(timeout),
        }
        closing.report.clone()
    }

    /// Closes everything on a thread of its own, because closing a log waits for its threads.
    fn close_on_a_thread(
        self: &Arc<Self>,
        closing: &Arc<Closing>,
        completion: Arc<Mutex<Option<Completion<CloseReport>>>>,
    ) {
        let (shared, closing) = (Arc::clone(self), Arc::clone(closing));
        let done = Arc::clone(&completion);
        let spawned = world::spawn("headwater-close", move || {
            let report = shared.close_here(&closing);
            closing.deadline.end();
            let completion = done.lock().take();
            if let Some(completion) = completion {
                completion.finish(Ok(report));
            }
        });
        if let Err(error) = spawned {
            let error = no_thread("close the log", error);
            let completion = completion.lock().take();
            if let Some(completion) = completion {
                completion.finish(Err(error));
            }
        }
    }

    fn close_here(&self, closing: &Closing) -> CloseReport {
        let Closing {
            members, deadline, ..
        } = closing;
        let producers = members.producers.iter().filter_map(|it| {
            let is_told = it.has_closed();
            let closing = it.close(deadline.left())?;
            // The deadline may have come nearer in between.
            it.hurry_close(deadline.left());
            Some((closing, is_told))
        });
        let mut closing: Vec<_> = producers.collect();
        let consumers = members.consumers.iter();
        closing.extend(consumers.filter_map(|it| {
            let is_told = it.has_closed();
            let closing = it.close(deadline.left())?;
            it.hurry_close(deadline.left());
            Some((closing, is_told))
        }));
        let mut report = CloseReport::default();
        for (closing, is_told) in &mut closing {
            // Each answers by itself at the deadline; the rest is for a machine that is very slow.
            match closing.wait(Some(deadline.left() + CLOSE_GRACE / 2)) {
                // Waited for all the same: the log must not close before it.
                Ok(_) if *is_told => {}
                Ok(one) => report.add(one),
                Err(error) => _ = report.first_error.get_or_insert(error),
            }
        }
        self.is_transport_closed.store(true, Ordering::Release);
        if let Err(error) = self.transport.close(deadline.left()) {
            report.first_error.get_or_insert(error);
        }
        report
    }

    pub(super) fn is_closed(&self) -> bool {
        self.members.lock().is_closed
    }

    /// Whether closing is over, and its report told.
    pub(super) fn has_closed(&self) -> bool {
        let report = self.closing.get();
        report.is_some_and(|closing| closing.report.peek().is_some())
    }

    fn check_open(&self) -> Result<()> {
        fork::check_process(self.generation)?;
        if self.is_closed() {
            let message = format!("the client of {} is closed", self.address);
            return Err(Error::new(ErrorCode::Closed, message));
        }
        Ok(())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.is_transport_closed.load(Ordering::Acquire)
            || fork::check_process(self.generation).is_err()
        {
            return;
        }
        // Nobody closed it: the log is closed all the same, in the background, so that it opens clean.
        let transport = Arc::clone(&self.transport);
        let timeout = self.close_timeout;
        registry::in_background("headwater-close", move || {
            if let Err(error) = transport.close(timeout) {
                tracing::warn!(%error, "a log that was not closed could not be closed");
            }
        });
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("address", &self.address)
            .field("transport", &self.transport)
            .finish_non_exhaustive()
    }
}

fn stuck() -> Error {
    Error::new(
        ErrorCode::RequestTimedOut,
        "the log did not close in time; what was not acknowledged may be in it or not",
    )
    .with_outcome(crate::Outcome::Unknown)
}

/// An open log. Clones are the same client; the log is closed by [`close`](Self::close), or in the
/// background when the last handle is dropped.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

impl Client {
    pub(super) fn open(shared: Arc<Shared>) -> Self {
        registry::remember(&shared);
        Self(shared)
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// A producer. It is not tied to a topic.
    ///
    /// # Errors
    /// `INVALID_OPTION`, naming option, value and range; `UNSUPPORTED_FEATURE`; `CLOSED`, `FORKED`.
    pub fn producer(&self, options: ProducerOptions) -> Result<Producer> {
        self.0.check_open()?;
        let producer = Producer::open(Arc::clone(&self.0), &options)?;
        let mut members = self.0.members.lock();
        members.producers.retain(producer::Remembered::is_there);
        members.producers.push(producer.remembered());
        Ok(producer)
    }

    /// A consumer of `topics`. It opens at the first call that needs it, or by [`Consumer::open`].
    ///
    /// # Errors
    /// `INVALID_OPTION`; `INVALID_ARGUMENT` without a topic or with one named twice; `CLOSED`, `FORKED`.
    pub fn consumer<T: AsRef<str>>(
        &self,
        topics: &[T],
        options: ConsumerOptions,
    ) -> Result<Consumer> {
        self.0.check_open()?;
        let topics = topics
            .iter()
            .map(|topic| topic.as_ref().to_owned())
            .collect();
        let consumer = Consumer::new(Arc::clone(&self.0), topics, &options)?;
        let mut members = self.0.members.lock();
        members.consumers.retain(consumer::Remembered::is_open);
        members.consumers.push(consumer.remembered());
        Ok(consumer)
    }

    /// Topics, groups and offsets.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(Arc::clone(&self.0))
    }

    /// A snapshot of what the client is doing.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let counters = &self.0.counters;
        let members = self.0.members.lock();
        let producers = members.producers.iter().filter(|it| it.is_open());
        let consumers = members.consumers.iter().filter(|it| it.is_open());
        Metrics {
            threads: self.0.transport.thread_count() + timer::thread_count(),
            producers: producers.count() as u64,
            consumers: consumers.count() as u64,
            buffered_bytes: members
                .producers
                .iter()
                .map(producer::Remembered::buffered_bytes)
                .sum(),
            records_sent: counters.records_sent.now(),
            records_acknowledged: counters.records_acknowledged.now(),
            records_failed: counters.records_failed.now(),
            batches_sent: counters.batches_sent.now(),
            batches_resent: counters.batches_resent.now(),
            records_received: counters.records_received.now(),
            bytes_received: counters.bytes_received.now(),
            streams_resumed: counters.streams_resumed.now(),
            memberships_lost: counters.memberships_lost.now(),
            log_truncations: counters.log_truncations.now(),
            records_truncated: counters.records_truncated.now(),
            offset_resets: counters.offset_resets.now(),
            records_skipped: counters.records_skipped.now(),
        }
    }

    /// What it is connected to, without options and secrets.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.0.address
    }

    /// Closes its producers (flushing them) and consumers (committing what is processed), then the log.
    ///
    /// It answers within `timeout` (none: `close_timeout_ms`), whatever happens, and says what was not
    /// delivered. Closing again gives the same report, sooner if `timeout` is shorter.
    ///
    /// # Errors
    /// `FORKED`; `QUOTA_EXCEEDED` if the system gives no thread to close on.
    pub fn close(&self, timeout: Option<Duration>) -> Pending<CloseReport> {
        match fork::check_process(self.0.generation) {
            Ok(()) => self.0.close(timeout).follow(),
            Err(forked) => Pending::ready(Err(forked)),
        }
    }

    /// How long `close` waits unless told (`close_timeout_ms`).
    #[must_use]
    pub fn close_timeout(&self) -> Duration {
        self.0.close_timeout
    }

    /// How long the end of the process waits for it (`exit_timeout_ms`).
    #[must_use]
    pub fn exit_timeout(&self) -> Duration {
        self.0.exit_timeout
    }

    /// Whether `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What closing left undone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CloseReport {
    /// Records that were not acknowledged at the deadline. Each has failed with `CLOSED`, whose outcome says
    /// whether it may be in the log.
    pub unsent_records: u64,
    /// Records that failed and that nobody was told about until now.
    pub failed_records: u64,
    /// The first failure.
    pub first_error: Option<Error>,
}

impl CloseReport {
    pub(super) fn add(&mut self, other: Self) {
        self.unsent_records += other.unsent_records;
        self.failed_records += other.failed_records;
        self.first_error = self.first_error.take().or(other.first_error);
    }
}

/// What a client is doing. Counts are since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    /// Threads of Headwater in this process that serve the client: those of its log, or of the runtime
    /// for sockets, and the one for deadlines.
    pub threads: u64,
    /// Producers that are open.
    pub producers: u64,
    /// Consumers that are open.
    pub consumers: u64,
    /// Bytes of records accepted and not acknowledged yet.
    pub buffered_bytes: u64,
    /// Records sent, in batches that were handed to the log.
    pub records_sent: u64,
    /// Records acknowledged.
    pub records_acknowledged: u64,
    /// Records that failed.
    pub records_failed: u64,
    /// Batches handed to the log, each counted once.
    pub batches_sent: u64,
    /// Batches handed to it again, because an attempt had failed for a reason that passes.
    pub batches_resent: u64,
    /// Records given out by consumers.
    pub records_received: u64,
    /// Bytes of the record batches that consumers read.
    pub bytes_received: u64,
    /// How often a consumer went on reading over another connection.
    pub streams_resumed: u64,
    /// How often a consumer was removed from its group, or left it because its host did not come back.
    pub memberships_lost: u64,
    /// How often a consumer was told that a crash had taken back records it had read, and went back.
    pub log_truncations: u64,
    /// Records that consumers had read and that were not in the log any more.
    pub records_truncated: u64,
    /// How often a consumer's position was not held any more, and it went on where `start` says.
    pub offset_resets: u64,
    /// Records that consumers passed over then, counting by offsets: deleted before they were read.
    pub records_skipped: u64,
}

impl Metrics {
    /// Every figure with its name.
    #[must_use]
    pub const fn entries(&self) -> [(&'static str, u64); 17] {
        [
            ("threads", self.threads),
            ("producers", self.producers),
            ("consumers", self.consumers),
            ("buffered_bytes", self.buffered_bytes),
            ("records_sent", self.records_sent),
            ("records_acknowledged", self.records_acknowledged),
            ("records_failed", self.records_failed),
            ("batches_sent", self.batches_sent),
            ("batches_resent", self.batches_resent),
            ("records_received", self.records_received),
            ("bytes_received", self.bytes_received),
            ("streams_resumed", self.streams_resumed),
            ("memberships_lost", self.memberships_lost),
            ("log_truncations", self.log_truncations),
            ("records_truncated", self.records_truncated),
            ("offset_resets", self.offset_resets),
            ("records_skipped", self.records_skipped),
        ]
    }
}
