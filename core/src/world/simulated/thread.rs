//! Threads of a world, and the baton that one of them holds.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle, Thread};

use super::state::Standing;
use super::{PLACE, Place, World};

/// The right to run, as one thread sees it.
pub(super) struct Baton {
    is_here: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Baton {
    pub(super) fn of_this_thread() -> Self {
        let baton = Self::of_nobody();
        drop(baton.thread.set(thread::current()));
        baton
    }

    const fn of_nobody() -> Self {
        Self {
            is_here: AtomicBool::new(false),
            thread: OnceLock::new(),
        }
    }

    fn give(&self) {
        self.is_here.store(true, Ordering::Release);
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    fn take(&self) {
        while !self.is_here.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}

impl World {
    /// Hands the baton over, and waits until it comes back.
    pub(super) fn switch(&self, number: usize, own: &Baton, standing: Standing) {
        let (next, baton) = self.state().next(number, standing);
        if next != number {
            baton.give();
            own.take();
        }
    }

    /// Starts a thread of this world.
    pub(crate) fn spawn(
        self: &Arc<Self>,
        name: &str,
        run: impl FnOnce() + Send + 'static,
    ) -> io::Result<JoinHandle<()>> {
        let baton = Arc::new(Baton::of_nobody());
        let number = self.state().enroll(name, Arc::clone(&baton));
        let place = Place {
            world: Arc::clone(self),
            number,
            baton: Arc::clone(&baton),
        };
        let thread = thread::Builder::new().name(name.to_owned());
        // Tokio's clock, too, is to be the paused one there.
        let runtime = tokio::runtime::Handle::try_current().ok();
        let spawned = thread.spawn(move || {
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            place.baton.take();
            let world = Arc::clone(&place.world);
            PLACE.with(|it| *it.borrow_mut() = Some(place));
            let result = catch_unwind(AssertUnwindSafe(run));
            PLACE.with(|it| *it.borrow_mut() = None);
            let (_, next) = {
                let mut state = world.state();
                if let Err(panic) = &result {
                    let what = panic.downcast_ref::<String>().cloned();
                    let what =
                        what.or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned()));
                    let name = state.name_of(number).to_owned();
                    state
                        .panics
                        .push(format!("{name}: {}", what.unwrap_or_default()));
                }
                state.next(number, Standing::Ended)
            };
            next.give();
            if let Err(panic) = result {
                resume_unwind(panic);
            }
        });
        match spawned {
            Ok(handle) => {
                drop(baton.thread.set(handle.thread().clone()));
                self.state().set_id(number, handle.thread().id());
                Ok(handle)
            }
            Err(error) => Err(error),
        }
    }
}
