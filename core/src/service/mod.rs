//! The one door: requests in, responses out, whoever asks and from wherever.
//!
//! A [`Service`] is an open log with its engine. Each client in this process and each connection has a
//! [`Session`]; what ends with it (memberships, subscriptions) ends when it is dropped. Nothing here
//! waits: requests that append are answered from the log's threads. One folder has one service in a
//! process, however often it is opened; the last to close it closes the log.

mod admin;
mod classic;
mod commit_entries;
mod commits;
mod delete_records;
mod figures;
mod groups;
mod heartbeat;
mod lookup;
mod membership;
mod offsets;
mod open;
mod partitions;
mod places;
mod produce;
mod produce_and_commit;
mod quota;
mod retention;
mod search;
mod session;
mod subscription;
#[cfg(test)]
mod trial;
mod unchanged;

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use crate::sync::Mutex;

use crate::engine::State;
use crate::engine::partition::Partition;
use crate::engine::topic_config::TopicDefaults;
use crate::engine::topics::Topics;
use crate::error::{Error, ErrorCode, Result};
use crate::ids::Durability;
use crate::log::lock::FolderLock;
use crate::log::{Clock, Log};

pub use crate::protocol::fetched::FetchedBatch;
pub use classic::GroupSummary;
pub use commits::{EachPartition, NotedOffset};
pub use figures::{TopicFigures, TopicsFigures};
pub use lookup::TimedOffset;
pub use offsets::Fetched;
#[cfg(feature = "tcp")]
pub(crate) use open::Found;
pub use open::ServiceOptions;
pub use search::WantedTime;
pub use session::Session;
pub use subscription::Subscription;

/// An open log that can be asked. Cheap to clone; [`close`](Self::close) it once per opening.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
    /// Whether this opening has been closed; shared by the clones of one opening.
    is_closed: Arc<AtomicBool>,
}

struct Inner {
    /// Locked while the log is opened or closed.
    place: Arc<places::Place>,
    /// What was opened, for messages: a path, or `mem:name`.
    name: String,
    log_uuid: [u8; 16],
    state: Arc<State>,
    log: Log,
    defaults: TopicDefaults,
    is_durable: bool,
    auto_create_topics: bool,
    clock: Clock,
    new_uuid: open::NewUuid,
    creating: Mutex<admin::Creating>,
    producer_ids: Mutex<produce::ProducerIds>,
    membership: Mutex<membership::Membership>,
    next_session: AtomicU64,
    /// When all producers were last looked at, ms.
    expiry_looked_ms: AtomicI64,
    /// Whether the folder has a limit, and what happens there.
    is_limited: bool,
    drops_oldest: bool,
    /// Records that had to go because the limit was reached.
    dropped_records: Arc<AtomicU64>,
    /// What is to be cleaned as soon as it is synced.
    decided: Mutex<Option<retention::Decided>>,
    /// How many openings are not closed yet. Changed under the lock of its place.
    openings: AtomicU64,
    is_closed: AtomicBool,
    /// Given back last: nobody else may open the folder before the log is closed.
    lock: Mutex<Option<FolderLock>>,
    /// The fork generation that it was opened in.
    generation: usize,
    /// Whether somebody has taken it on to tell other processes how to reach the log.
    is_announced: AtomicBool,
    /// Ends what serves other processes.
    before_close: Mutex<Option<open::BeforeClose>>,
}

/// Which thread may write an append.
pub use crate::log::Run;

impl Service {
    /// A session of a client in this process, whose batches were encoded here.
    #[must_use]
    pub fn session(&self) -> Session {
        Session::new(self.clone(), true)
    }

    /// A session of somebody else: what it sends is looked at record by record.
    #[must_use]
    pub fn remote_session(&self) -> Session {
        Session::new(self.clone(), false)
    }

    /// Runs `job` on the log's io thread, which may touch files.
    ///
    /// # Errors
    /// `Full` when too many wait, `Closed`; the job is dropped then.
    pub fn schedule(&self, job: impl FnOnce() + Send + 'static) -> Result<()> {
        self.inner.log.schedule(job)
    }

    /// The same for a job that somebody's going on depends on, such as the next turn of a loop: it is refused by no
    /// limit, so whoever asks has a few of them waiting at most. After the close it is dropped.
    pub fn schedule_turn(&self, job: impl FnOnce() + Send + 'static) {
        self.inner.log.schedule_turn(job);
    }

    /// Writes what is queued, on this thread, if nobody is writing.
    pub fn assist(&self) {
        self.inner.log.assist();
    }

    /// What was opened: a path, or `mem:name`.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// The uuid of the log.
    #[must_use]
    pub fn log_uuid(&self) -> [u8; 16] {
        self.inner.log_uuid
    }

    /// The best level that can be reached here: `os` in memory, else `disk`.
    #[must_use]
    pub fn best_durability(&self) -> Durability {
        self.inner.identity_level()
    }

    /// Whether the log is closed.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire) || self.inner.is_closed.load(Ordering::Acquire)
    }
}

impl Inner {
    /// The level of identities: the best there is.
    fn identity_level(&self) -> Durability {
        if self.is_durable {
            Durability::Disk
        } else {
            Durability::Os
        }
    }

    fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err(Error::new(
                ErrorCode::Closed,
                format!("{} is closed", self.name),
            ));
        }
        Ok(())
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service")
            .field("name", &self.inner.name)
            .finish_non_exhaustive()
    }
}

fn unknown_topic(topic: &str) -> Error {
    Error::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("topic `{}` does not exist", topic.escape_debug()),
    )
}

/// The partitions that are named, each with its topic's name.
///
/// # Errors
/// `UNKNOWN_TOPIC_OR_PARTITION`; `INVALID_REQUEST` for one that is named twice.
fn each_once<'a>(
    topics: &Topics,
    named: impl Iterator<Item = (&'a str, i32)>,
) -> Result<Vec<(Arc<str>, Arc<Partition>)>> {
    let mut seen = HashSet::new();
    let found = named.map(|(name, number)| {
        let topic = topics.get(name).ok_or_else(|| unknown_topic(name))?;
        let count = topic.partitions.len();
        let partition = topic
            .partition(number)
            .ok_or_else(|| unknown_partition(&topic.name, number, count))?;
        if !seen.insert(partition.id) {
            return Err(Error::new(
                ErrorCode::InvalidRequest,
                format!("partition {number} of topic `{}` twice", topic.name),
            ));
        }
        Ok((Arc::clone(&topic.name), Arc::clone(partition)))
    });
    found.collect()
}

fn unknown_partition(topic: &str, partition: i32, count: usize) -> Error {
    Error::new(
        ErrorCode::UnknownTopicOrPartition,
        format!("partition {partition} of topic `{topic}` does not exist; it has {count}"),
    )
}
