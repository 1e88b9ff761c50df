//! The process's one runtime: made at the first socket, shared by all, never torn down.
//!
//! It is some *lanes*: threads with a single-threaded tokio runtime each. A connection is given to one and stays
//! there with all its tasks. One runtime over several threads would share the work better; but whenever one of its
//! threads has something to do it wakes another to look for more, which costs each request of a connection that
//! waits for its answers more than serving it.
//!
//! Its threads are threads of Headwater's own: they never wait for a completion. It is not the
//! application's runtime, which may not exist, may be stopped, and is not ours to load. A child after a
//! fork has none of its parent's threads and is given a runtime of its own.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::sync::Mutex;
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::completion::mark_own_thread;
use crate::error::{Error, ErrorCode, Result};
use crate::fork::PerFork;
use crate::limits::FORK_GENERATIONS_MAX;

/// Threads, if neither the caller nor the environment says.
const THREADS_DEFAULT: usize = 2;
/// The range of the option.
const THREADS_MAX: usize = 64;

static RUNTIMES: PerFork<Mutex<Option<&'static Runtime>>> =
    PerFork::new([const { Mutex::new(None) }; FORK_GENERATIONS_MAX]);
static THREADS: AtomicUsize = AtomicUsize::new(0);

/// The lanes of a process.
#[derive(Debug)]
pub struct Runtime {
    lanes: Vec<Lane>,
    /// Counts who was given a lane.
    turn: AtomicUsize,
}

#[derive(Debug)]
struct Lane {
    handle: Handle,
    /// Dropped, it ends the thread.
    _alive: oneshot::Sender<()>,
}

/// What a lane's thread does, until its [`Lane`] is dropped.
type Serve = Box<dyn FnOnce() + Send>;

impl Runtime {
    fn new(threads: usize) -> io::Result<Self> {
        Self::on(threads, |serve| {
            let thread = thread::Builder::new().name("headwater-net".to_owned());
            thread.spawn(serve).map(drop)
        })
    }

    /// On threads that `start` gives. All of them, or none: if one cannot be had, those before it end.
    fn on(threads: usize, mut start: impl FnMut(Serve) -> io::Result<()>) -> io::Result<Self> {
        let lanes = (0..threads).map(|_| Lane::new(&mut start));
        Ok(Self {
            lanes: lanes.collect::<io::Result<_>>()?,
            turn: AtomicUsize::new(0),
        })
    }

    /// The lane whose turn it is, for a connection and all that serves it, or for whoever accepts connections.
    #[must_use]
    pub fn lane(&self) -> &Handle {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        // There is one at least.
        &self.lanes[turn % self.lanes.len()].handle
    }

    /// Has the lane whose turn it is do this.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send> + Send + 'static,
    {
        self.lane().spawn(future)
    }
}

/// Of a lane that cannot start: dropped by who wanted it, perhaps on a thread of another tokio runtime, where none may be
/// waited for.
struct Unstarted(Option<tokio::runtime::Runtime>);

impl Drop for Unstarted {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

impl Lane {
    fn new(start: impl FnOnce(Serve) -> io::Result<()>) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (alive, ended) = oneshot::channel();
        let mut runtime = Unstarted(Some(runtime));
        start(Box::new(move || {
            mark_own_thread();
            if let Some(runtime) = runtime.0.take() {
                // The error says that nobody has the lane any more.
                drop(runtime.block_on(ended));
            }
        }))?;
        Ok(Self {
            handle,
            _alive: alive,
        })
    }
}

/// The runtime, made now if it is the first call. `threads` counts only then; `HEADWATER_THREADS` wins
/// over it; without both there are 2.
///
/// # Errors
/// When the system gives no threads, `FORKED` after too many forks, or when `HEADWATER_THREADS` is not a number from 1 to 64.
pub fn runtime(threads: Option<usize>) -> Result<&'static Runtime> {
    let mut made = RUNTIMES.current()?.lock();
    if let Some(runtime) = *made {
        return Ok(runtime);
    }
    let threads = threads_wanted(std::env::var("HEADWATER_THREADS").ok().as_deref(), threads)?;
    let runtime = Runtime::new(threads).map_err(|error| {
        Error::new(
            ErrorCode::UnknownServerError,
            format!("the system gives no {threads} threads for sockets: {error}"),
        )
        .with_source(error)
    })?;
    // Leaked on purpose: at exit its threads simply stop with the process.
    let runtime: &'static Runtime = Box::leak(Box::new(runtime));
    *made = Some(runtime);
    THREADS.store(threads, Ordering::Relaxed);
    Ok(runtime)
}

/// How many threads it has; 0 if there was no need for it yet.
#[must_use]
pub fn thread_count() -> usize {
    THREADS.load(Ordering::Relaxed)
}

fn threads_wanted(environment: Option<&str>, asked: Option<usize>) -> Result<usize> {
    let Some(text) = environment else {
        return Ok(asked.unwrap_or(THREADS_DEFAULT).clamp(1, THREADS_MAX));
    };
    match text.parse() {
        Ok(threads) if (1..=THREADS_MAX).contains(&threads) => Ok(threads),
        _ => Err(Error::new(
            ErrorCode::InvalidOption,
            format!("HEADWATER_THREADS is `{text}`; it must be a number from 1 to {THREADS_MAX}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_wins_over_the_caller_and_the_caller_over_the_default() {
        assert_eq!(threads_wanted(None, None), Ok(2));
        assert_eq!(threads_wanted(None, Some(4)), Ok(4));
        assert_eq!(threads_wanted(Some("3"), Some(4)), Ok(3));
    }

    #[test]
    fn a_number_of_threads_out_of_range_is_named() {
        for text in ["0", "65", "many", ""] {
            let error = threads_wanted(Some(text), None).unwrap_err();
            assert_eq!(error.code(), ErrorCode::InvalidOption);
            assert!(error.message().contains(&format!("`{text}`")), "{error}");
        }
    }

    #[test]
    fn there_is_one_runtime_and_its_threads_are_our_own() {
        let first = runtime(None).unwrap();
        assert!(std::ptr::eq(first, runtime(Some(7)).unwrap()));
        assert!(thread_count() > 0);
        let (sender, receiver) = std::sync::mpsc::channel();
        first.spawn(async move { sender.send(crate::completion::is_own_thread()) });
        assert_eq!(receiver.recv(), Ok(true));
    }

    #[test]
    fn lanes_take_turns_and_what_is_spawned_on_one_stays_there() {
        let runtime = Runtime::new(2).unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        for _ in 0..4 {
            let sender = sender.clone();
            runtime.spawn(async move {
                let outer = thread::current().id();
                let inner = tokio::spawn(async { thread::current().id() }).await;
                sender.send((outer, inner.unwrap()))
            });
        }
        let threads: Vec<_> = receiver.iter().take(4).collect();
        assert!(threads.iter().all(|(outer, inner)| outer == inner));
        let distinct: std::collections::HashSet<_> = threads.into_iter().collect();
        assert_eq!(distinct.len(), 2);
    }

    #[test]
    fn threads_end_when_a_later_one_cannot_be_had() {
        // They waited for ever, and each attempt left some more of them.
        let mut started = Vec::new();
        let refused = Runtime::on(3, |serve| {
            if started.len() == 2 {
                return Err(io::Error::from(io::ErrorKind::OutOfMemory));
            }
            started.push(thread::spawn(serve));
            Ok(())
        });
        assert!(refused.is_err());
        assert_eq!(started.len(), 2);
        started.into_iter().for_each(|it| it.join().unwrap());
    }

    #[tokio::test]
    async fn a_thread_that_cannot_be_had_is_an_error_on_other_runtimes_threads_too() {
        // What was not started was waited for there, which tokio does not allow.
        let refused = Runtime::on(1, |_| Err(io::Error::from(io::ErrorKind::OutOfMemory)));
        assert!(refused.is_err());
    }
}
