//! That a server closes: told to its connections in the order in which they came, and waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tokio::sync::Notify;

/// See the module.
#[derive(Debug, Default)]
pub struct Closing {
    is_closing: AtomicBool,
    told: Notify,
    guests: AtomicUsize,
    emptied: Notify,
}

/// One connection, until it is dropped.
#[derive(Debug)]
pub struct Guest(Arc<Closing>);

impl Closing {
    /// One more connection.
    #[must_use]
    pub fn enter(self: &Arc<Self>) -> Guest {
        self.guests.fetch_add(1, Ordering::AcqRel);
        Guest(Arc::clone(self))
    }

    /// How many connections there are.
    #[must_use]
    pub fn count(&self) -> usize {
        self.guests.load(Ordering::Acquire)
    }

    /// Tells all connections, and those that come later.
    pub fn close(&self) {
        self.is_closing.store(true, Ordering::Release);
        self.told.notify_waiters();
    }

    /// Waits until there are none.
    pub async fn empty(&self) {
        loop {
            // Before the look: who leaves in between is not missed.
            let emptied = self.emptied.notified();
            if self.count() == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Guest {
    /// Waits until the server closes.
    pub async fn told(&self) {
        let told = self.0.told.notified();
        if !self.0.is_closing.load(Ordering::Acquire) {
            told.await;
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if self.0.guests.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.emptied.notify_waiters();
        }
    }
}
