//! What the handles, jobs and timers of one consumer share.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::sync::Mutex;

use super::bell::Bell;
use super::closing::Closing;
use super::commit::Commits;
use super::fetcher::Fetcher;
use super::member::InGroup;
use super::open::Unlocated;
use super::processing::Processing;
use super::reader::{BlockLimits, Reader};
use super::task::Turn;
use crate::client::counters::Counters;
use crate::client::options::{Ack, Assignor, ConsumerOptions, Start, Until};
use crate::client::transport::{Feed, Transport};
use crate::completion::Shared;
use crate::error::{Error, ErrorCode, Result};
use crate::fork;
use crate::limits::NAME_BYTES_MAX;
use crate::timer::Timer;

/// The options that a consumer acts on, resolved.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) group: Option<String>,
    pub(super) instance_id: Option<String>,
    pub(super) partitions: Option<Vec<i32>>,
    pub(super) start: Start,
    pub(super) until: Option<Until>,
    pub(super) is_manual: bool,
    pub(super) commit_interval: Duration,
    pub(super) limits: BlockLimits,
    /// Bytes that the feed may hold.
    pub(super) credit_bytes: u64,
    pub(super) max_unacked: u64,
    pub(super) assignor: Assignor,
    pub(super) heartbeat: Duration,
    pub(super) session_timeout: Duration,
    pub(super) processing_timeout: Duration,
    pub(super) rebalance_timeout: Duration,
}

/// See the module. Locks are taken in the order `applying`, `reader`, `commits`, `in_group`, `fetcher`; the others alone. `reader` is held
/// while files are read and a block is built, the others for moments.
#[derive(Debug)]
pub(super) struct State {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) counters: Arc<Counters>,
    /// Whose lines of the log these are.
    pub(super) span: tracing::Span,
    pub(super) generation: usize,
    pub(super) topics: Vec<String>,
    pub(super) settings: Settings,
    pub(super) bell: Arc<Bell>,
    pub(super) fetcher: Mutex<Fetcher>,
    /// There while it is open.
    pub(super) reader: Mutex<Option<Reader>>,
    /// The reader's feed, to be woken by and to be ended without waiting for the reader.
    pub(super) feed: Mutex<Option<Arc<dyn Feed>>>,
    /// There while it is in its group.
    pub(super) in_group: Mutex<Option<InGroup>>,
    /// The number of the last heartbeat, of this membership or of those before.
    pub(super) last_heartbeat: AtomicU64,
    /// When the host last asked for something.
    pub(super) heard_of_host: Mutex<Option<Instant>>,
    pub(super) unlocated: Mutex<Unlocated>,
    /// Without a group: when it is asked again whether there are more partitions.
    pub(super) growth: Mutex<Option<Timer>>,
    /// After so long it is.
    pub(super) metadata_age: Duration,
    /// Held while an answer of the group is acted on: one after the other.
    pub(super) applying: Mutex<()>,
    /// Why reading stopped, for the next call that reads.
    pub(super) overdue: Mutex<Option<Error>>,
    pub(super) opening: Mutex<Option<Shared<()>>>,
    pub(super) turn: Mutex<Turn>,
    pub(super) commits: Mutex<Commits>,
    /// While `process` reads: who does it.
    pub(super) processing: Mutex<Option<Processing>>,
    pub(super) is_closed: AtomicBool,
    /// A loop reads: it has begun, and was not told its end.
    pub(super) is_in_loop: AtomicBool,
    pub(super) closing: OnceLock<Closing>,
}

impl Settings {
    pub(super) fn new(options: &ConsumerOptions) -> Result<Self> {
        options.check()?;
        if options.group.is_some() && options.partitions.is_some() {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                "consumer option `partitions` cannot be set together with `group`: a group gives its \
                 members their partitions",
            ));
        }
        check_instance_id(options)?;
        let (heartbeat_ms, session_ms) = (options.heartbeat_ms(), options.session_timeout_ms());
        if heartbeat_ms >= session_ms {
            return Err(Error::new(
                ErrorCode::InvalidOption,
                format!(
                    "consumer option `heartbeat_ms` is {heartbeat_ms}; it must be less than \
                     `session_timeout_ms`, which is {session_ms}"
                ),
            ));
        }
        let read_ahead = options.read_ahead_bytes();
        // What one block is made of leaves the feed before the block is built: both are the budget.
        let take_bytes = options.max_block_bytes().min(read_ahead / 2);
        Ok(Self {
            group: options.group.clone(),
            instance_id: options.instance_id.clone(),
            partitions: options.partitions.clone(),
            start: options.start(),
            until: options.until,
            is_manual: options.ack() == Ack::Manual,
            commit_interval: Duration::from_millis(options.commit_interval_ms()),
            limits: BlockLimits {
                records: options.max_block_records() as usize,
                bytes: usize::try_from(take_bytes).unwrap_or(usize::MAX),
            },
            credit_bytes: read_ahead - take_bytes,
            max_unacked: options.max_unacked().into(),
            assignor: options.assignor(),
            heartbeat: Duration::from_millis(options.heartbeat_ms()),
            session_timeout: Duration::from_millis(options.session_timeout_ms()),
            processing_timeout: Duration::from_millis(options.processing_timeout_ms()),
            rebalance_timeout: Duration::from_millis(options.rebalance_timeout_ms()),
        })
    }
}

/// A static member is one of a group, under a name that the group takes.
fn check_instance_id(options: &ConsumerOptions) -> Result<()> {
    let Some(instance_id) = &options.instance_id else {
        return Ok(());
    };
    let is_name = instance_id.len() <= NAME_BYTES_MAX && !instance_id.chars().any(char::is_control);
    let what = match (&options.group, is_name) {
        (Some(_), true) => return Ok(()),
        (None, _) => "is set without `group`: it names a member of a group".to_owned(),
        (_, false) => format!(
            "is `{}`; it must have 1 to {NAME_BYTES_MAX} bytes and no control characters",
            instance_id.escape_debug()
        ),
    };
    let message = format!("consumer option `instance_id` {what}");
    Err(Error::new(ErrorCode::InvalidOption, message))
}

impl State {
    pub(super) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    pub(super) fn check_process(&self) -> Result<()> {
        fork::check_process(self.generation)
    }

    pub(super) fn check_open(&self) -> Result<()> {
        self.check_process()?;
        if self.is_closed() {
            return Err(Error::new(ErrorCode::Closed, "the consumer is closed"));
        }
        Ok(())
    }

    /// A read of a closed consumer: the end of the loop that was closed, and for everybody after it an error.
    pub(super) fn read_closed<T>(&self) -> Result<Option<T>> {
        // The answer to the last read may have been the end, and nobody there to take it.
        let last = self.turn.lock().taken.take();
        let was_taken = last.is_none_or(|taken| taken.load(Ordering::Acquire));
        let is_in_loop = self.is_in_loop.swap(false, Ordering::AcqRel);
        match is_in_loop || !was_taken {
            true => Ok(None),
            false => self.check_open().map(|()| None),
        }
    }

    /// Whether a loop goes on behind this answer.
    pub(super) fn note_read<T>(&self, read: &Result<Option<T>>) {
        let goes_on = match read {
            Ok(Some(_)) => true,
            // Nothing has come in time.
            Ok(None) => !self.is_finished(),
            Err(_) => false,
        };
        self.is_in_loop.store(goes_on, Ordering::Release);
    }

    /// Why reading stopped: told before it is opened again.
    pub(super) fn take_overdue(&self) -> Option<Error> {
        self.overdue.lock().take()
    }

    /// The group, for what needs one.
    pub(super) fn group(&self) -> Result<&str> {
        self.settings.group.as_deref().ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidState,
                "this consumer has no group, so there is nothing to commit to; open it with the \
                 option `group`",
            )
        })
    }

    pub(super) fn not_open() -> Error {
        Error::new(
            ErrorCode::InvalidState,
            "the consumer is not open yet; call `open` first, or read something",
        )
    }

    /// Whether nothing more will come.
    pub(super) fn is_finished(&self) -> bool {
        if self.is_closed() {
            return true;
        }
        let in_group = self.in_group.lock();
        let fetcher = self.fetcher.lock();
        // Of what a group has given it may not be known yet where it begins.
        let is_known = in_group
            .as_ref()
            .is_none_or(|it| it.held_count() <= fetcher.held_count());
        is_known && fetcher.is_finished()
    }
}
