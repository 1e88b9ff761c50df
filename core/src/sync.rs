//! Locks that a forked child can use.
//!
//! The same calls as `parking_lot`'s, over the standard library's locks. On the systems we build for
//! those are a word in memory and the kernel's queue of waiters for it; a library with a queue of its own
//! (`parking_lot` keeps one table for the process) leaves a forked child entries of threads that it does
//! not have, and the child's first contended lock walks into them. What a fork can still find is a lock
//! *held* by a thread that the child lacks; `fork.rs` says how that is kept away.
//!
//! A lock is not poisoned by a panic: whoever comes next sees the value as it was left. Guards are not
//! fair; a waiter that is woken may find the lock taken again.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, TryLockError};
use std::time::{Duration, Instant};

use crate::world;

pub use std::sync::{RwLockReadGuard, RwLockWriteGuard};

/// A value that one thread at a time may use.
#[derive(Default)]
pub struct Mutex<T: ?Sized>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the value is free.
    #[cfg_attr(any(test, feature = "simulation"), track_caller)]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        #[cfg(any(test, feature = "simulation"))]
        world::simulated::switch_point(std::panic::Location::caller());
        MutexGuard {
            mutex: self,
            held: Some(self.held()),
        }
    }

    /// The value, if it is free.
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = match self.0.try_lock() {
            Ok(held) => held,
            Err(TryLockError::Poisoned(left)) => left.into_inner(),
            Err(TryLockError::WouldBlock) => return None,
        };
        Some(MutexGuard {
            mutex: self,
            held: Some(held),
        })
    }

    /// Whether somebody holds it. Asking takes a free lock for a moment, so that another thread's
    /// [`try_lock`](Self::try_lock) may find it held.
    pub fn is_locked(&self) -> bool {
        matches!(self.0.try_lock(), Err(TryLockError::WouldBlock))
    }

    fn held(&self) -> std::sync::MutexGuard<'_, T> {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(held) = world::simulated::until_given(|| given(self.0.try_lock())) {
            return held;
        }
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The right to use what a [`Mutex`] holds, until dropped.
pub struct MutexGuard<'a, T: ?Sized> {
    mutex: &'a Mutex<T>,
    /// Absent only while the lock is given up within one of our own calls.
    held: Option<std::sync::MutexGuard<'a, T>>,
}

impl<T: ?Sized> MutexGuard<'_, T> {
    /// Gives the lock up while `work` runs, and takes it again.
    pub fn unlocked<R>(guard: &mut Self, work: impl FnOnce() -> R) -> R {
        guard.held = None;
        let result = work();
        guard.held = Some(guard.mutex.held());
        result
    }

    #[cold]
    fn given_up() -> ! {
        unreachable!("a guard is whole whenever its owner can see it")
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match &self.held {
            Some(held) => held,
            None => Self::given_up(),
        }
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        match &mut self.held {
            Some(held) => held,
            None => Self::given_up(),
        }
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// Where threads wait for a change of what a [`Mutex`] holds. The change is made under that lock, before they are
/// woken; so whoever finds no waiters here has nobody to wake, and is spared a call of the system.
#[derive(Debug, Default)]
pub struct Condvar {
    changed: std::sync::Condvar,
    /// Changed under the lock. More in a forked child than it has threads, which does no harm.
    waiters: AtomicUsize,
}

impl Condvar {
    /// One that nobody waits at.
    pub const fn new() -> Self {
        Self {
            changed: std::sync::Condvar::new(),
            waiters: AtomicUsize::new(0),
        }
    }

    /// Wakes one of those that wait.
    pub fn notify_one(&self) {
        #[cfg(any(test, feature = "simulation"))]
        world::simulated::wake_at(self.address(), false);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.changed.notify_one();
        }
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        #[cfg(any(test, feature = "simulation"))]
        world::simulated::wake_at(self.address(), true);
        if self.waiters.load(Ordering::Relaxed) > 0 {
            self.changed.notify_all();
        }
    }

    /// Gives the lock up and waits to be woken; may return for no reason.
    pub fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        #[cfg(any(test, feature = "simulation"))]
        if self.waited(guard, None).is_some() {
            return;
        }
        if let Some(held) = guard.held.take() {
            self.waiters.fetch_add(1, Ordering::Relaxed);
            let held = self.changed.wait(held);
            self.waiters.fetch_sub(1, Ordering::Relaxed);
            let held = held.unwrap_or_else(PoisonError::into_inner);
            guard.held = Some(held);
        }
    }

    /// The same for at most `timeout`; says whether it passed.
    pub fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> TimedOut {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(has_timed_out) = self.waited(guard, Some(timeout)) {
            return TimedOut(has_timed_out);
        }
        let Some(held) = guard.held.take() else {
            return TimedOut(false);
        };
        self.waiters.fetch_add(1, Ordering::Relaxed);
        let woken = self.changed.wait_timeout(held, timeout);
        self.waiters.fetch_sub(1, Ordering::Relaxed);
        let (held, waited) = woken.unwrap_or_else(PoisonError::into_inner);
        guard.held = Some(held);
        TimedOut(waited.timed_out())
    }

    /// The same until `deadline`.
    pub fn wait_until<T>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> TimedOut {
        self.wait_for(guard, deadline.saturating_duration_since(world::now()))
    }

    /// Waits as a thread of a simulated world; none outside of one.
    #[cfg(any(test, feature = "simulation"))]
    fn waited<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Option<Duration>) -> Option<bool> {
        if !world::is_simulated() {
            return None;
        }
        guard.held = None;
        let has_timed_out = world::simulated::wait_at(self.address(), timeout);
        guard.held = Some(guard.mutex.held());
        has_timed_out
    }

    #[cfg(any(test, feature = "simulation"))]
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }
}

/// What an attempt to take a lock gave.
#[cfg(any(test, feature = "simulation"))]
fn given<T>(attempt: Result<T, TryLockError<T>>) -> Option<T> {
    match attempt {
        Ok(given) => Some(given),
        Err(TryLockError::Poisoned(left)) => Some(left.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// How a wait with a limit ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimedOut(bool);

impl TimedOut {
    /// Whether the limit passed before anybody woke the waiter.
    pub fn timed_out(self) -> bool {
        self.0
    }
}

/// A value that many may read, or one may change.
#[derive(Default)]
pub struct RwLock<T: ?Sized>(std::sync::RwLock<T>);

impl<T> RwLock<T> {
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(std::sync::RwLock::new(value))
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Waits until nobody changes the value. Not to be taken twice by one thread: a writer that waits
    /// between the two would have both wait for ever.
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(read) = world::simulated::until_given(|| given(self.0.try_read())) {
            return read;
        }
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody else uses the value.
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(write) = world::simulated::until_given(|| given(self.0.try_write())) {
            return write;
        }
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use super::*;

    #[test]
    fn panic_under_a_lock_leaves_it_usable() {
        let (mutex, lock) = (Mutex::new(1), RwLock::new(1));
        let broken = catch_unwind(AssertUnwindSafe(|| {
            let (mut one, mut other) = (mutex.lock(), lock.write());
            (*one, *other) = (2, 2);
            panic!("on purpose");
        }));
        assert!(broken.is_err());
        assert_eq!((*mutex.lock(), *lock.read()), (2, 2));
        assert_eq!(mutex.try_lock().map(|held| *held), Some(2));
    }

    #[test]
    fn lock_that_is_held_is_not_had_by_trying() {
        let mutex = Mutex::new(());
        let held = mutex.lock();
        assert!(mutex.try_lock().is_none());
        drop(held);
        assert!(mutex.try_lock().is_some());
    }

    #[test]
    fn unlocked_gives_the_lock_to_others_and_takes_it_again() {
        let mutex = Mutex::new(1);
        let mut held = mutex.lock();
        MutexGuard::unlocked(&mut held, || *mutex.lock() += 1);
        assert_eq!(*held, 2);
        assert!(mutex.try_lock().is_none());
    }

    #[test]
    fn waiter_sees_what_was_changed_before_it_was_woken() {
        let shared = Arc::new((Mutex::new(0), Condvar::new()));
        let other = Arc::clone(&shared);
        let waiter = std::thread::spawn(move || {
            let mut value = other.0.lock();
            while *value == 0 {
                other.1.wait(&mut value);
            }
            *value
        });
        *shared.0.lock() = 7;
        shared.1.notify_all();
        assert_eq!(waiter.join().unwrap(), 7);
    }

    #[test]
    fn wait_until_a_time_that_has_passed_returns_with_the_lock() {
        let (mutex, changed) = (Mutex::new(5), Condvar::new());
        let mut held = mutex.lock();
        assert!(changed.wait_until(&mut held, Instant::now()).timed_out());
        assert_eq!(*held, 5);
        assert!(mutex.try_lock().is_none());
    }
}
