//! What is in flight on a connection: requests taken in and not answered yet, and their bytes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;

use crate::completion::{Wake, Wakes};

/// Counts what is in flight, and wakes the one task that waits for less.
#[derive(Debug, Default)]
pub(super) struct Load {
    requests: AtomicUsize,
    bytes: AtomicUsize,
    is_awaited: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Load {
    pub(super) fn begin(&self, bytes: usize) {
        self.requests.fetch_add(1, Ordering::SeqCst);
        self.bytes.fetch_add(bytes, Ordering::SeqCst);
    }

    pub(super) fn end(&self, bytes: usize, wakes: &mut Wakes) {
        self.bytes.fetch_sub(bytes, Ordering::SeqCst);
        self.requests.fetch_sub(1, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst)
            && let Some(waker) = self.waiting.lock().take()
        {
            wakes.push(Wake::Task(waker));
        }
    }

    /// Whether fewer requests and bytes than these are in flight.
    pub(super) fn is_below(&self, requests: usize, bytes: usize) -> bool {
        self.requests.load(Ordering::SeqCst) < requests && self.bytes.load(Ordering::SeqCst) < bytes
    }

    /// Ready when fewer requests and bytes than these are in flight.
    pub(super) fn poll_below(
        &self,
        requests: usize,
        bytes: usize,
        context: &Context<'_>,
    ) -> Poll<()> {
        if self.is_below(requests, bytes) {
            self.is_awaited.store(false, Ordering::SeqCst);
            return Poll::Ready(());
        }
        *self.waiting.lock() = Some(context.waker().clone());
        self.is_awaited.store(true, Ordering::SeqCst);
        // Announced first, looked second: an end in between is seen by one of the two.
        if self.is_below(requests, bytes) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.requests.load(Ordering::SeqCst) == 0
    }
}
