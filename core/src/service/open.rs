//! Opening and closing: one service per folder and process, shared by all who open it.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::sync::Mutex;

use super::places::{self, Place};
use super::{Inner, Service, admin, membership, produce};
use crate::engine::State;
use crate::engine::group::classic;
use crate::engine::topic_config::TopicDefaults;
use crate::error::Result;
use crate::fork;
use crate::ids::Durability;
use crate::log::format::{self, Format};
use crate::log::lock::{FolderKey, FolderLock, LockError, folder_key, read_owner};
use crate::log::owner::Access;
use crate::log::storage::Storage;
use crate::log::storage::disk::DiskStorage;
use crate::log::storage::memory::MemoryStorage;
use crate::log::{Clock, Log, LogOptions};
use crate::world;

/// Where new uuids come from.
pub(super) type NewUuid = Arc<dyn Fn() -> io::Result<[u8; 16]> + Send + Sync>;

/// What is to be ended before a log is closed.
pub(super) type BeforeClose = Box<dyn FnOnce() + Send>;

/// The folder of the one shard there is.
const SHARD: &str = "0000";

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct ServiceOptions {
    /// Whether a missing folder is created. Default true.
    pub create: bool,
    /// Bytes of a segment, 1 MiB..=1 GiB. Default 64 MiB.
    pub segment_bytes: u64,
    /// Bytes of the folder at most, 8 segments or more; none: no limit. Default none.
    pub max_bytes: Option<u64>,
    /// Whether the oldest records go when the limit is reached; else what comes is refused. Default false.
    pub drops_oldest: bool,
    /// Bytes of the newest batches kept in memory for readers at the end. Default 8 MiB.
    pub tail_cache_bytes: usize,
    /// `retention_ms` of topics that do not say; -1: without limit. Default -1.
    pub retention_ms: i64,
    /// Whether a topic that does not exist is created when it is first named: described, produced to or
    /// joined. Default false.
    pub auto_create_topics: bool,
    /// How long a group of Kafka's classic protocol that begins waits for more members; extended while they come, up
    /// to ten times. Default 50 ms.
    pub group_initial_delay: Duration,
    /// Whether other processes will be told how to reach the log of a folder; see [`Service::announce`].
    /// Default false.
    pub is_shared: bool,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            create: true,
            segment_bytes: 64 << 20,
            max_bytes: None,
            drops_oldest: false,
            tail_cache_bytes: 8 << 20,
            retention_ms: -1,
            auto_create_topics: false,
            group_initial_delay: classic::INITIAL_DELAY,
            is_shared: false,
        }
    }
}

/// What looking for the log of a folder came to.
#[derive(Debug)]
pub(crate) enum Found {
    /// It is open in this process.
    Here(Service),
    /// It is held by another one, or by a service of this one that is just being closed.
    Held(LockError),
}

impl Service {
    /// Opens the log in a folder, or joins the service that has it open in this process (whose options
    /// then stand).
    ///
    /// Reads and replays the log: not for an event loop's thread.
    ///
    /// # Errors
    /// `FOLDER_NOT_FOUND`, `NOT_A_FOLDER`, `FOLDER_LOCKED` with the owner's pid, `FOLDER_TOO_NEW`,
    /// `CORRUPT_SEGMENT`, `KAFKA_STORAGE_ERROR`.
    pub fn open_folder(path: &Path, options: &ServiceOptions) -> Result<Self> {
        match Self::find_folder(path, options)? {
            Found::Here(service) => Ok(service),
            Found::Held(error) => Err(error.into()),
        }
    }

    /// The same for who knows what to do about a folder that is held by somebody else.
    ///
    /// # Errors
    /// As [`Service::open_folder`], except that it is held.
    pub(crate) fn find_folder(path: &Path, options: &ServiceOptions) -> Result<Found> {
        loop {
            let key = key_of(path, options.create)?;
            let place = places::of_folder(&key)?;
            let mut open = place.lock();
            if let Some(service) = open.upgrade().and_then(|open| Self::join(&open)) {
                return Ok(Found::Here(service));
            }
            let storage = DiskStorage::open(path, options.create)
                .map_err(|error| format::folder_error(path, &error))?;
            let name = path.display().to_string();
            // Nothing may be changed in a folder that holds no log, not even a lock be left. Who owns one may be newer
            // than this build, which can be its client all the same.
            if !options.create && read_owner(path).is_none() {
                format::read(&storage, &name)?;
            }
            let access = if options.is_shared {
                Access::Opening
            } else {
                Access::Exclusive
            };
            let lock = match FolderLock::acquire(path, access) {
                Ok(lock) => lock,
                Err(held @ LockError::Held { .. }) => return Ok(Found::Held(held)),
                Err(error) => return Err(error.into()),
            };
            if *lock.key() != key {
                // Another folder has been put there meanwhile.
                continue;
            }
            if !options.create {
                format::read(&storage, &name)?;
            }
            let own = Arc::clone(&place);
            let service = Self::open_at(own, name, Arc::new(storage), Some(lock), options)?;
            *open = Arc::downgrade(&service.inner);
            return Ok(Found::Here(service));
        }
    }

    /// Opens a log in memory: a new one for the empty name, else the one of that name in this process.
    ///
    /// # Errors
    /// None that the caller can cause.
    pub fn open_memory(name: &str, options: &ServiceOptions) -> Result<Self> {
        let place = if name.is_empty() {
            Arc::default()
        } else {
            places::of_memory(name)?
        };
        let mut open = place.lock();
        if let Some(service) = open.upgrade().and_then(|open| Self::join(&open)) {
            return Ok(service);
        }
        let storage = Arc::new(MemoryStorage::new());
        let own = Arc::clone(&place);
        let service = Self::open_at(own, format!("mem:{name}"), storage, None, options)?;
        *open = Arc::downgrade(&service.inner);
        Ok(service)
    }

    /// Opens the log that a storage holds. For tests, with a storage of their own.
    ///
    /// # Errors
    /// As [`Service::open_folder`].
    pub fn open_storage(
        name: String,
        storage: Arc<dyn Storage>,
        lock: Option<FolderLock>,
        options: &ServiceOptions,
    ) -> Result<Self> {
        Self::open_at(Arc::default(), name, storage, lock, options)
    }

    fn open_at(
        place: Arc<Place>,
        name: String,
        storage: Arc<dyn Storage>,
        lock: Option<FolderLock>,
        options: &ServiceOptions,
    ) -> Result<Self> {
        let is_durable = storage.is_durable();
        let Format { log_uuid, .. } =
            format::read_or_create(&*storage, &name, format::random_uuid)?;
        let defaults = TopicDefaults {
            durability: if is_durable {
                Durability::Disk
            } else {
                Durability::Os
            },
            retention_ms: options.retention_ms,
        };
        let state = Arc::new(State::new(defaults, options.tail_cache_bytes));
        let clock = wall_clock();
        let log_options = LogOptions {
            segment_bytes: options.segment_bytes,
            max_bytes: options.max_bytes,
            tight_bytes: options
                .max_bytes
                .filter(|_| options.drops_oldest)
                .map(early),
            clock: Arc::clone(&clock),
            ..LogOptions::default()
        };
        let machine = Arc::clone(&state);
        let log = Log::open(storage, SHARD, log_uuid, log_options, machine)?;
        let inner = Inner {
            place,
            name,
            log_uuid,
            defaults,
            is_durable,
            auto_create_topics: options.auto_create_topics,
            clock,
            new_uuid: Arc::new(format::random_uuid),
            creating: Mutex::new(admin::Creating::default()),
            producer_ids: Mutex::new(produce::ProducerIds::new(state.next_producer_id())),
            membership: Mutex::new(membership::Membership::new(options.group_initial_delay)),
            next_session: AtomicU64::new(1),
            expiry_looked_ms: AtomicI64::new(0),
            is_limited: options.max_bytes.is_some(),
            drops_oldest: options.drops_oldest,
            dropped_records: Arc::new(AtomicU64::new(0)),
            decided: Mutex::new(None),
            openings: AtomicU64::new(1),
            is_closed: AtomicBool::new(false),
            lock: Mutex::new(lock),
            is_announced: AtomicBool::new(!options.is_shared),
            generation: fork::current()?,
            before_close: Mutex::new(None),
            state,
            log,
        };
        let inner = Arc::new(inner);
        inner.watch_retention();
        inner.recover_groups();
        Ok(Self {
            inner,
            is_closed: Arc::new(AtomicBool::new(false)),
        })
    }

    /// One more opening of an open service; `None` if its last one is closed.
    fn join(open: &Arc<Inner>) -> Option<Self> {
        if open.is_closed.load(Ordering::Acquire) {
            return None;
        }
        open.openings.fetch_add(1, Ordering::AcqRel);
        Some(Self {
            inner: Arc::clone(open),
            is_closed: Arc::new(AtomicBool::new(false)),
        })
    }

    /// Ends this opening; the last one writes what is queued, syncs, and closes the log. Closing twice
    /// does nothing. Blocks: not for an event loop's thread.
    ///
    /// # Errors
    /// `KAFKA_STORAGE_ERROR` when the log could not be closed in order; it is closed all the same. `FORKED` in a
    /// child, which has none of the log's threads, and must leave what others find of it alone.
    pub fn close(&self) -> Result<()> {
        fork::check_process(self.inner.generation)?;
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        let _place = self.inner.place.lock();
        if self.inner.openings.fetch_sub(1, Ordering::AcqRel) > 1 {
            return Ok(());
        }
        // While the log still answers: who is served from here is told to go, and what it asked is answered.
        let before_close = self.inner.before_close.lock().take();
        if let Some(before_close) = before_close {
            before_close();
        }
        self.inner.is_closed.store(true, Ordering::Release);
        self.inner.end_membership();
        let closed = self.inner.log.close();
        *self.inner.lock.lock() = None;
        closed
    }
}

impl Service {
    /// Whether nobody has yet taken it on to [`announce`](Self::announce) how to reach this log: true for one
    /// caller, until that [gives up](Self::give_up_announcing), and never for a log that is not shared.
    pub fn begin_announcing(&self) -> bool {
        !self.inner.is_announced.swap(true, Ordering::AcqRel)
    }

    /// It came to nothing: the next may try.
    pub fn give_up_announcing(&self) {
        self.inner.is_announced.store(false, Ordering::Release);
    }

    /// Tells other processes what access they have to the log of this folder; `before_close` is what ends it,
    /// run when the last opening is closed and before the log is.
    ///
    /// # Errors
    /// When it cannot be written; then they are told nothing. `before_close` is run all the same.
    pub fn announce(
        &self,
        access: Access,
        before_close: Box<dyn FnOnce() + Send>,
    ) -> io::Result<()> {
        *self.inner.before_close.lock() = Some(before_close);
        self.announce_again(access)
    }

    /// Tells them of another access, of which the same is the end.
    ///
    /// # Errors
    /// When it cannot be written; then they know of the access before.
    pub fn announce_again(&self, access: Access) -> io::Result<()> {
        match &*self.inner.lock.lock() {
            Some(lock) => lock.announce(access),
            None => Ok(()),
        }
    }

    /// What identifies the folder in this process, if it is one.
    #[must_use]
    pub fn folder_key(&self) -> Option<FolderKey> {
        let lock = self.inner.lock.lock();
        lock.as_ref().map(|lock| lock.key().clone())
    }
}

/// The key of the folder, which is made if it is not there and may be.
fn key_of(path: &Path, create: bool) -> Result<FolderKey> {
    let found = folder_key(path).or_else(|_| {
        DiskStorage::open(path, create)?;
        folder_key(path)
    });
    found.map_err(|error| format::folder_error(path, &error))
}

/// Where the oldest records begin to go: so that there is room for what comes meanwhile.
const fn early(max_bytes: u64) -> u64 {
    max_bytes - max_bytes / 8
}

fn wall_clock() -> Clock {
    Arc::new(world::wall_ms)
}
