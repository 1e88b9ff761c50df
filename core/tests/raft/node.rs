//! A member of the group, and how it dies and comes back.

use std::io::ErrorKind;
use std::sync::{Arc, Mutex};

use headwater::log::storage::Storage;
use headwater::log::storage::faulty::{CrashMode, FaultyStorage};
use openraft::async_runtime::watch::WatchReceiver as _;
use openraft::errors::Fatal;
use openraft::{Config, Raft, SnapshotPolicy};

use super::Types;
use super::machine::Machine;
use super::network::Network;
use super::store::{Bug, Promise, Store};

/// A member, as others see it.
pub(super) type Member = Raft<Types, Machine>;

/// Entries and snapshots fill segments fast, so that there is much to begin, to cut and to remove.
const SEGMENT_BYTES: u64 = 4_096 + 900;

/// What is left of a member's disk when it dies.
#[derive(Clone, Copy, Debug)]
pub(super) enum Death {
    /// The power goes.
    Cut(CrashMode),
    /// The process dies, the page cache stays.
    Kill,
}

/// A member. Down, it is what its disk holds.
pub(super) struct Node {
    pub(super) id: u64,
    storage: FaultyStorage,
    promise: Arc<Mutex<Promise>>,
    bug: Option<Bug>,
    up: Option<Up>,
}

struct Up {
    member: Member,
    store: Store,
    machine: Machine,
}

fn config() -> Arc<Config> {
    let config = Config {
        heartbeat_interval: 50,
        election_timeout_min: 150,
        election_timeout_max: 300,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(12),
        max_in_snapshot_log_to_keep: 3,
        purge_batch_size: 1,
        // Followers may hold entries that a leader has written and lost with its power before they were synced.
        // Leading on in the same term, as is the default, it gives their places to other entries: then these
        // runs find members that differ, and acknowledged writes that are gone.
        enable_leader_restore: Some(false),
        ..Config::default()
    };
    Arc::new(config.validate().unwrap())
}

impl Node {
    /// A new member, down.
    pub(super) fn new(id: u64, bug: Option<Bug>) -> Self {
        Self {
            id,
            storage: FaultyStorage::new(),
            promise: Arc::default(),
            bug,
            up: None,
        }
    }

    /// The member, if it is up.
    pub(super) fn member(&self) -> Option<&Member> {
        self.up.as_ref().map(|up| &up.member)
    }

    /// Log and state, if it is up.
    pub(super) fn inside(&self) -> Option<(&Store, &Machine)> {
        self.up.as_ref().map(|up| (&up.store, &up.machine))
    }

    /// What it has told others.
    pub(super) fn promise(&self) -> Promise {
        *self.promise.lock().unwrap()
    }

    /// Whether nothing reaches its disk any more.
    pub(super) fn is_off(&self) -> bool {
        let stopped = |up: &Up| up.member.metrics().borrow_watched().running_state.is_err();
        self.up.is_some() && (self.storage.is_off() || self.up.as_ref().is_some_and(stopped))
    }

    /// Has its power go after some more operations, or one of them fail.
    pub(super) fn arm(&self, operations: u64, is_failure: bool) {
        let at = self.storage.now() + operations;
        if is_failure {
            self.storage.fail_at(at, ErrorKind::Other);
        } else {
            self.storage.power_off_at(at);
        }
    }

    /// Takes back what [`arm`](Self::arm) did, if it has not happened.
    pub(super) fn disarm(&self) {
        if !self.storage.is_off() {
            self.storage.clear_faults();
        }
    }

    /// Dies.
    ///
    /// # Errors
    /// If it had ended otherwise than by what its storage answered.
    pub(super) async fn die(&mut self, network: &Network, death: Death) -> Result<(), String> {
        // Whatever its tasks still do reaches no disk.
        self.storage.power_off_at(self.storage.now());
        network.disconnect(self.id);
        if let Some(up) = self.up.take() {
            up.member.shutdown().await.unwrap();
            if let Err(Fatal::Panicked) = up.member.with_raft_state(|_| ()).await {
                return Err(format!("member {} panicked", self.id));
            }
        }
        self.storage = match death {
            Death::Cut(mode) => self.storage.crash_image(mode),
            Death::Kill => self.storage.fork(),
        };
        Ok(())
    }

    /// Comes up again; false if its power went meanwhile.
    ///
    /// # Errors
    /// What should never be.
    pub(super) async fn rise(&mut self, network: &Network) -> Result<bool, String> {
        let storage = Arc::new(self.storage.clone());
        let opened = Store::open(Arc::clone(&storage) as Arc<dyn Storage>, SEGMENT_BYTES);
        let mut store = match opened {
            Err(_) if self.storage.is_off() => return Ok(false),
            opened => opened.map_err(|error| format!("member {}: {error}", self.id))?,
        };
        if self.bug.is_none() {
            self.check_promise(&store)?;
        }
        store.promise = Arc::clone(&self.promise);
        store.bug = self.bug;
        let machine = Machine::new(storage);
        let built = Member::new(
            self.id,
            config(),
            network.of(self.id),
            store.clone(),
            machine.clone(),
        );
        let member = match built.await {
            Err(_) if self.storage.is_off() => return Ok(false),
            built => built.map_err(|error| format!("member {}: {error}", self.id))?,
        };
        network.connect(self.id, member.clone());
        self.up = Some(Up {
            member,
            store,
            machine,
        });
        Ok(true)
    }

    /// What it told others before it died holds.
    fn check_promise(&self, store: &Store) -> Result<(), String> {
        let (promise, state) = (self.promise(), store.log.state());
        let vote = (state.vote.term, state.vote.is_committed);
        if vote < promise.vote || state.last.index < promise.synced {
            let id = self.id;
            return Err(format!(
                "member {id} promised {promise:?} and has {state:?}"
            ));
        }
        Ok(())
    }
}
