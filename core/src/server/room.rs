//! Room for the record batches that a server has taken in and not answered yet, over all its connections.
//!
//! What many connections send at the same time is more than the log takes in at once. It stays with them until it is
//! its turn, in the order in which they asked: in their sockets it holds them up, while in the log's queue it
//! would be refused, sent again, and be out of every cache when it is written.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::completion::Wake;
use crate::limits::SERVER_BATCH_BYTES_MAX;

/// Room for [`SERVER_BATCH_BYTES_MAX`] bytes. Cheap to clone; clones are the same room.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

/// Some of it, given back when its last clone is dropped.
#[derive(Clone, Debug)]
pub struct Place {
    _held: Arc<Held>,
}

#[derive(Debug)]
struct Held {
    room: Room,
    bytes: u32,
}

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(SERVER_BATCH_BYTES_MAX as usize)))
    }
}

impl Room {
    /// Room for so many bytes, if there is some and nobody waits for it.
    #[must_use]
    pub fn try_take(&self, bytes: usize) -> Option<Place> {
        let bytes = permits(bytes);
        let permit = self.0.try_acquire_many(bytes).ok()?;
        permit.forget();
        Some(self.place(bytes))
    }

    /// Room for so many bytes as soon as it is this one's turn; all that there can be, for who wants more.
    pub async fn take(&self, bytes: usize) -> Option<Place> {
        let bytes = permits(bytes);
        // It is never closed.
        let permit = self.0.acquire_many(bytes).await.ok()?;
        permit.forget();
        Some(self.place(bytes))
    }

    fn place(&self, bytes: u32) -> Place {
        let room = self.clone();
        Place {
            _held: Arc::new(Held { room, bytes }),
        }
    }
}

impl Place {
    /// Gives it back where tasks may be woken.
    #[must_use]
    pub fn give_back(self) -> Wake {
        Wake::Hook(Arc::new(move || {
            let _until_then = &self;
        }))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.0.add_permits(self.bytes as usize);
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes).map_or(SERVER_BATCH_BYTES_MAX, |bytes| {
        bytes.min(SERVER_BATCH_BYTES_MAX)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn who_finds_none_waits_for_a_turn_and_nobody_passes() {
        let room = Room::default();
        let all = room.try_take(usize::MAX).unwrap();
        assert!(room.try_take(1).is_none());
        let other = room.clone();
        let waiting = tokio::spawn(async move { other.take(usize::MAX).await });
        tokio::task::yield_now().await;
        drop(all);
        assert!(room.try_take(1).is_none(), "it was another's turn");
        let all = waiting.await.unwrap().unwrap();
        let wake = all.give_back();
        assert!(room.try_take(1).is_none());
        wake.run();
        assert!(room.try_take(1).is_some());
    }
}
