//! Threads, time and chance from one seed.
//!
//! A world has one *main* thread, which runs a tokio runtime with a paused clock, and the threads that code
//! under test starts. Exactly one of them holds the baton and runs. It hands it over where it waits (a
//! condition variable, a lock that is held, a sleep, the end of a thread) and, by the seed, in front of a lock. Time stands still
//! until main finds nothing to do: then tokio goes to the next deadline, among them the earliest of the
//! threads that wait for a time.
//!
//! What happens is put into a trace; two runs of one seed give the same.

mod state;
mod thread;
mod trace;

use std::any::{Any, TypeId};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use self::state::{Standing, State};
use self::thread::Baton;
pub use self::trace::Trace;

/// What stands for the process's id.
pub(crate) const PROCESS_ID: u32 = 4_242;

/// The wall clock's time at which a world begins, ms since 1970 UTC.
const BEGIN_MS: i64 = 1_700_000_000_000;

/// Deliberate bugs of the product, each at the place of the rule that it breaks: the simulation has to find
/// every one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// The log does not look for a batch among those that its producer sent before.
    DedupeDropped,
    /// A commit counts whatever generation it names and whoever holds the partition.
    CommitUnfenced,
    /// Appends at `disk` are acknowledged once they are written.
    AckBeforeSync,
    /// A batch that failed is sent again behind those that were sent after it.
    ResentBehind,
    /// What is committed is what was handed out, whether the host has passed it or not.
    CommitAhead,
    /// A generation of a classic group is told before the log has it.
    GenerationUnlogged,
    /// Who waits for more of a partition is not noted there.
    WatcherForgotten,
    /// A reader that stands behind what a crash has left is not told so.
    TruncationUntold,
    /// A producer goes on behind what a crash has left as if nothing were lost.
    LossUntold,
    /// Who stands in front of what is left by a deletion goes on at the end.
    DeletedToEnd,
    /// What a member holds of a topic that is gone it keeps, if another has its name.
    OldTopicHeld,
    /// A record counts as processed once its dead letter is to be written.
    LetterUnawaited,
    /// While a record pauses before it is tried again, those behind it in its lane run.
    RetryFreesLane,
    /// Results are sent although what they are of went to another member.
    ResultsForfeited,
    /// Results and the offsets that they are of are two entries of the log.
    ResultsApart,
    /// A static member's commit counts although another has its name.
    InstanceUnfenced,
}

/// How restless a world is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unrest {
    /// In front of one lock in so many another thread runs; 0: of none.
    pub(crate) switch_one_in: u64,
    /// In front of one lock in so many a thread that is not main stops for a while; 0: of none.
    pub(crate) pause_one_in: u64,
}

/// See the module.
pub(crate) struct World {
    state: Mutex<State>,
    locals: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

/// Who this thread is in its world.
#[derive(Clone)]
struct Place {
    world: Arc<World>,
    number: usize,
    baton: Arc<Baton>,
}

thread_local! {
    static PLACE: RefCell<Option<Place>> = const { RefCell::new(None) };
}

fn place() -> Option<Place> {
    PLACE.try_with(|place| place.borrow().clone()).ok()?
}

/// The world that this thread is in.
pub(crate) fn current() -> Option<Arc<World>> {
    place().map(|place| place.world)
}

pub(crate) fn is_here() -> bool {
    PLACE
        .try_with(|place| place.borrow().is_some())
        .unwrap_or(false)
}

pub(super) fn now() -> Option<Instant> {
    Some(place()?.world.state().now)
}

pub(super) fn wall_ms() -> Option<i64> {
    let world = current()?;
    let state = world.state();
    let passed = state.now.duration_since(state.began).as_millis();
    Some(BEGIN_MS + i64::try_from(passed).unwrap_or(i64::MAX / 2))
}

pub(super) fn fill_random(bytes: &mut [u8]) -> bool {
    let Some(world) = current() else {
        return false;
    };
    let mut state = world.state();
    for byte in bytes {
        *byte = state.random.next() as u8;
    }
    true
}

pub(super) fn sleep(duration: Duration) -> bool {
    let Some(place) = place() else {
        return false;
    };
    let until = place.world.state().now + duration;
    place.switch(Standing::Sleeping { until });
    true
}

pub(super) fn await_end(handle: &JoinHandle<()>) {
    let Some(place) = place() else { return };
    loop {
        let standing = place.world.state().standing_of(handle.thread().id());
        match standing {
            Some((number, is_ended)) if !is_ended => place.switch(Standing::Joining(number)),
            _ => return,
        }
    }
}

/// Another thread may run here.
pub(crate) fn switch_point(at: &'static std::panic::Location<'static>) {
    let Some(place) = place() else { return };
    place.world.state().trace.lock(at);
    let standing = place.world.state().interruption(place.number);
    if let Some(standing) = standing {
        place.switch(standing);
    }
}

/// Tries until it is given, letting others run in between; none outside of a world.
pub(crate) fn until_given<T>(mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
    let place = place()?;
    loop {
        if let Some(given) = attempt() {
            return Some(given);
        }
        let seen = place.world.state().steps;
        place.switch(Standing::Polling { seen });
    }
}

/// Waits at what is at `address`; says whether `timeout` passed. None outside of a world.
pub(crate) fn wait_at(address: usize, timeout: Option<Duration>) -> Option<bool> {
    let place = place()?;
    let until = timeout.and_then(|timeout| place.world.state().now.checked_add(timeout));
    place.switch(Standing::Waiting { address, until });
    Some(place.world.state().has_timed_out(place.number))
}

/// Wakes one or all of those that wait at what is at `address`.
pub(crate) fn wake_at(address: usize, are_all: bool) {
    if let Some(world) = current() {
        world.state().wake_at(address, are_all);
    }
}

/// Whether the code under test has this bug.
pub(crate) fn has(bug: Bug) -> bool {
    current().is_some_and(|world| world.state().bug == Some(bug))
}

impl Place {
    fn switch(&self, standing: Standing) {
        self.world.switch(self.number, &self.baton, standing);
    }
}

impl World {
    /// A world whose main thread is this one, until [`leave`](Self::leave).
    pub(crate) fn enter(seed: u64, began: Instant, unrest: Unrest, bug: Option<Bug>) -> Arc<Self> {
        let baton = Arc::new(Baton::of_this_thread());
        let state = State::new(seed, began, unrest, bug, Arc::clone(&baton));
        let world = Arc::new(Self {
            state: Mutex::new(state),
            locals: Mutex::new(HashMap::new()),
        });
        let place = Place {
            world: Arc::clone(&world),
            number: 0,
            baton,
        };
        PLACE.with(|it| *it.borrow_mut() = Some(place));
        world
    }

    /// Ends it for main. No other thread may be left.
    pub(crate) fn leave(&self) -> Trace {
        PLACE.with(|it| *it.borrow_mut() = None);
        self.locals().clear();
        std::mem::take(&mut self.state().trace)
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn locals(&self) -> std::sync::MutexGuard<'_, HashMap<TypeId, Arc<dyn Any + Send + Sync>>> {
        self.locals.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this world has once of a type.
    pub(crate) fn local<T: Any + Send + Sync>(&self, make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let known = self.locals().get(&TypeId::of::<T>()).cloned();
        if let Some(known) = known.and_then(|known| known.downcast::<T>().ok()) {
            return known;
        }
        let made = make();
        let kept: Arc<dyn Any + Send + Sync> = Arc::clone(&made) as _;
        self.locals().insert(TypeId::of::<T>(), kept);
        made
    }

    /// For main, with nothing to do at this time: lets the others run. When to be called again at the latest,
    /// or at once if there is more to do than main's own.
    pub(crate) fn rest(&self, now: Instant) -> Rest {
        let place = place().expect("main is in its world");
        self.state().set_now(now);
        place.switch(Standing::Resting);
        let mut state = self.state();
        if state.has_others_ready() {
            return Rest::None;
        }
        state.earliest().map_or(Rest::Long, Rest::Until)
    }

    /// The time has come to this.
    pub(crate) fn set_now(&self, now: Instant) {
        self.state().set_now(now);
    }

    /// A number below `limit`, which is not 0.
    pub(crate) fn below(&self, limit: u64) -> u64 {
        self.state().below(limit)
    }

    /// Notes what happens, in words.
    pub(crate) fn note(&self, what: impl Into<String>) {
        let mut state = self.state();
        let at_us = state.now.duration_since(state.began).as_micros() as u64;
        state.trace.note(at_us, what.into());
    }

    /// Notes what happens, as a number.
    pub(crate) fn mark(&self, what: u64) {
        self.state().mark(what);
    }

    /// No thread is to wait for time or chance any more.
    pub(crate) fn set_unrest(&self, unrest: Unrest) {
        self.state().unrest = unrest;
    }

    /// Threads that were made for the whole world end.
    pub(crate) fn finish(&self) {
        self.state().finish();
    }

    pub(crate) fn is_over(&self) -> bool {
        self.state().is_over
    }

    /// The names of the threads that run, main apart.
    pub(crate) fn threads(&self) -> Vec<String> {
        self.state().names()
    }

    /// What went wrong in a thread.
    pub(crate) fn panics(&self) -> Vec<String> {
        self.state().panics.clone()
    }
}

/// How long main may rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Not at all.
    None,
    /// Until then.
    Until(Instant),
    /// As long as it likes.
    Long,
}
