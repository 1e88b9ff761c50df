//! What a process has from its surroundings: the time, chance, threads.
//!
//! All of it is asked for here, so that a test can put a seed in their place (`simulated`): then time passes
//! only when nothing is left to do, and of the threads one at a time runs, the next one chosen by the seed.
//! Outside of tests each of these is the standard library's own call.

#[cfg(any(test, feature = "simulation"))]
pub(crate) mod simulated;

use std::io;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

/// Now, for measuring and for deadlines.
#[inline]
pub(crate) fn now() -> Instant {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(now) = simulated::now() {
        return now;
    }
    Instant::now()
}

/// Now, ms since 1970 UTC; 0 on a clock that stands before.
#[inline]
pub(crate) fn wall_ms() -> i64 {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(wall_ms) = simulated::wall_ms() {
        return wall_ms;
    }
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    })
}

/// Fills `bytes` with what nobody can foresee.
///
/// # Errors
/// The operating system has no randomness to give.
#[inline]
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<(), getrandom::Error> {
    #[cfg(any(test, feature = "simulation"))]
    if simulated::fill_random(bytes) {
        return Ok(());
    }
    getrandom::fill(bytes)
}

/// By what this process differs from others. Not for telling a fork: that asks the system.
#[inline]
pub(crate) fn process_id() -> u32 {
    #[cfg(any(test, feature = "simulation"))]
    if simulated::is_here() {
        return simulated::PROCESS_ID;
    }
    std::process::id()
}

/// Starts a thread of this name.
///
/// # Errors
/// The system gives none.
#[inline]
pub(crate) fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(world) = simulated::current() {
        return world.spawn(name, run);
    }
    thread::Builder::new().name(name.to_owned()).spawn(run)
}

/// Waits for the end of a thread that [`spawn`] started.
///
/// # Errors
/// What it panicked with.
#[inline]
pub(crate) fn join(handle: JoinHandle<()>) -> thread::Result<()> {
    #[cfg(any(test, feature = "simulation"))]
    simulated::await_end(&handle);
    handle.join()
}

/// Has this thread do nothing for so long.
#[inline]
pub(crate) fn sleep(duration: Duration) {
    #[cfg(any(test, feature = "simulation"))]
    if simulated::sleep(duration) {
        return;
    }
    thread::sleep(duration);
}

/// Whether a test has put a seed in the place of the surroundings. What a process has once is a world's own then.
#[inline]
pub(crate) fn is_simulated() -> bool {
    #[cfg(any(test, feature = "simulation"))]
    return simulated::is_here();
    #[cfg(not(any(test, feature = "simulation")))]
    false
}
