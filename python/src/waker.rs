//! Wake-ups of event loops: one `call_soon_threadsafe` for as many answers as there are.
//!
//! Each loop has a [`NotifyQueue`] of core and a table of futures by ticket. Core's hook never takes
//! the interpreter's lock: it marks the loop as due and unparks one thread of this module, which
//! calls `call_soon_threadsafe`; so the thread that writes the log never waits for Python. At exit
//! the thread is ended before the interpreter goes down, and no wake-up comes in after that.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use headwater::NotifyQueue;
use headwater::limits::FORK_GENERATIONS_MAX;
use headwater::sync::{Condvar, Mutex};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};

/// Something to be done with the interpreter's lock, on the waking thread.
type Job = Box<dyn FnOnce(Python<'_>) + Send>;

/// The thread that enters the interpreter on behalf of core's threads.
#[derive(Default)]
struct WakingThread {
    state: Mutex<WakingState>,
    changed: Condvar,
}

#[derive(Default)]
struct WakingState {
    jobs: Vec<Job>,
    is_running: bool,
    is_ended: bool,
}

/// One per fork generation: a child must not touch what a thread of its parent may have locked.
static THREADS: [OnceLock<WakingThread>; FORK_GENERATIONS_MAX] =
    [const { OnceLock::new() }; FORK_GENERATIONS_MAX];
static GENERATION: AtomicUsize = AtomicUsize::new(0);

/// None beyond the last fork generation, in which nothing can be connected either.
fn waking_thread() -> Option<&'static WakingThread> {
    let thread = THREADS.get(GENERATION.load(Ordering::Relaxed))?;
    Some(thread.get_or_init(WakingThread::default))
}

/// Runs `job` soon, with the interpreter's lock, on the waking thread. Never waits for that lock.
pub(crate) fn call_soon(job: impl FnOnce(Python<'_>) + Send + 'static) {
    let Some(thread) = waking_thread() else {
        return;
    };
    let mut state = thread.state.lock();
    if state.is_ended {
        return;
    }
    state.jobs.push(Box::new(job));
    if !state.is_running {
        let name = String::from("headwater-wake");
        // Without a thread to be had the jobs stay queued, and the next wake-up tries again.
        let spawned = std::thread::Builder::new()
            .name(name)
            .spawn(|| thread.run());
        state.is_running = spawned.is_ok();
    }
    thread.changed.notify_one();
}

impl WakingThread {
    fn run(&self) {
        headwater::completion::mark_own_thread();
        loop {
            let mut state = self.state.lock();
            while state.jobs.is_empty() && !state.is_ended {
                self.changed.wait(&mut state);
            }
            if state.is_ended {
                state.is_running = false;
                self.changed.notify_all();
                return;
            }
            let jobs = std::mem::take(&mut state.jobs);
            drop(state);
            Python::attach(|py| jobs.into_iter().for_each(|job| job(py)));
        }
    }
}

/// Ends the waking thread: called at exit, before the interpreter goes down.
pub(crate) fn end(py: Python<'_>) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let Some(thread) = waking_thread() else {
        return;
    };
    py.detach(|| {
        let mut state = thread.state.lock();
        state.is_ended = true;
        state.jobs.clear();
        thread.changed.notify_all();
        // It may be inside a call; detached, we let it finish.
        while state.is_running {
            if thread.changed.wait_for(&mut state, PATIENCE).timed_out() {
                return;
            }
        }
    });
}

/// Forgets what a fork did not take along.
pub(crate) fn after_fork_in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    // Free: it is only locked by who has the interpreter's lock, and that is who forked. The loops of
    // the parent are not dropped: locks inside may be held for ever.
    if let Some(mut loops) = LOOPS.try_lock() {
        std::mem::forget(std::mem::take(&mut *loops));
    }
}

/// The event loops that wait for something, the latest last.
static LOOPS: Mutex<Vec<(Py<PyWeakrefReference>, Py<LoopWaker>)>> = Mutex::new(Vec::new());

/// The futures of one event loop that wait for core.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct LoopWaker {
    queue: Arc<NotifyQueue>,
    next_ticket: AtomicU64,
    futures: Mutex<HashMap<u64, Py<PyAny>>>,
}

#[pymethods]
impl LoopWaker {
    /// Finishes the futures whose tickets are done. The loop calls it.
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        for ticket in self.queue.drain() {
            let future = self.futures.lock().remove(&ticket);
            let Some(future) = future else { continue };
            let future = future.bind(py);
            if !future.call_method0(intern!(py, "done"))?.is_truthy()? {
                future.call_method1(intern!(py, "set_result"), (py.None(),))?;
            }
        }
        Ok(())
    }
}

/// A future of the running event loop, done when the ticket given to `notify` is.
pub(crate) fn future_for<'py>(
    py: Python<'py>,
    notify: impl FnOnce(&Arc<NotifyQueue>, u64),
) -> PyResult<Bound<'py, PyAny>> {
    static RUNNING_LOOP: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let event_loop = RUNNING_LOOP
        .import(py, "asyncio", "get_running_loop")?
        .call0()?;
    let waker = waker_of(&event_loop)?;
    let waker = waker.get();
    let future = event_loop.call_method0(intern!(py, "create_future"))?;
    let ticket = waker.next_ticket.fetch_add(1, Ordering::Relaxed);
    waker.futures.lock().insert(ticket, future.clone().unbind());
    notify(&waker.queue, ticket);
    Ok(future)
}

fn waker_of<'py>(event_loop: &Bound<'py, PyAny>) -> PyResult<Bound<'py, LoopWaker>> {
    let py = event_loop.py();
    for (known, waker) in LOOPS.lock().iter().rev() {
        if known
            .bind(py)
            .upgrade()
            .is_some_and(|known| known.is(event_loop))
        {
            return Ok(waker.bind(py).clone());
        }
    }
    let reference = PyWeakrefReference::new(event_loop)?;
    let waker = Py::new(py, LoopWaker::new(&reference))?;
    // Dead loops go when a new one comes; dropped outside the lock, for a drop may run Python.
    let mut loops = LOOPS.lock();
    let (alive, dead) = std::mem::take(&mut *loops)
        .into_iter()
        .partition::<Vec<_>, _>(|(known, _)| known.bind(py).upgrade().is_some());
    *loops = alive;
    loops.push((reference.unbind(), waker.clone_ref(py)));
    drop(loops);
    drop(dead);
    Ok(waker.into_bound(py))
}

impl LoopWaker {
    fn new(event_loop: &Bound<'_, PyWeakrefReference>) -> Self {
        let event_loop = Arc::new(event_loop.clone().unbind());
        let queue = NotifyQueue::new(move || {
            let event_loop = Arc::clone(&event_loop);
            call_soon(move |py| wake(event_loop.bind(py)));
        });
        Self {
            queue,
            next_ticket: AtomicU64::new(0),
            futures: Mutex::new(HashMap::new()),
        }
    }
}

/// Has the loop call its waker. A loop that is closed or gone has nobody left to wake.
fn wake(event_loop: &Bound<'_, PyWeakrefReference>) {
    let py = event_loop.py();
    let Some(event_loop) = event_loop.upgrade() else {
        return;
    };
    let Ok(waker) = waker_of(&event_loop) else {
        return;
    };
    let _closed = event_loop.call_method1(intern!(py, "call_soon_threadsafe"), (waker,));
}
