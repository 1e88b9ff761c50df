//! Writing on a thread that serves others and should not wait for a disk: a socket's.
//!
//! To hand an append to the io thread costs two wake-ups, which is more than the write: the system copies what is
//! written to its cache, and is done. It waits only when that is full of what the disk has not taken yet, or when files
//! are begun. So the thread writes by itself what is small and belongs into a file that is there, as long as
//! that has been quick; once it was not, the io thread writes for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::completion::Wakes;
use crate::limits::{PROMPT_WRITE_BYTES_MAX, SEGMENT_INDEX_BYTES_MAX};
use crate::sync::MutexGuard;
use crate::world;

use super::roll::spare_bytes;
use super::shared::{GROUPS_PER_TURN, Shared};
use super::writer::Writer;

/// A write that takes longer has waited for something.
const PROMPT: Duration = Duration::from_millis(1);
/// For so long after one the io thread writes.
const CAUTIOUS: Duration = Duration::from_millis(100);

/// When writes were slow.
#[derive(Debug, Default)]
pub(super) struct Promptness {
    cautious_until: Option<Instant>,
}

impl Promptness {
    fn is_prompt(&self, now: Instant) -> bool {
        self.cautious_until.is_none_or(|until| now >= until)
    }

    fn note(&mut self, began: Instant, ended: Instant) {
        let is_slow = ended.saturating_duration_since(began) > PROMPT;
        self.cautious_until = is_slow.then(|| ended + CAUTIOUS);
    }
}

impl Shared {
    /// Writes what is queued if, as far as can be told, that takes no wait; else the io thread does. If another
    /// thread writes, it looks at the queue again after that.
    pub(super) fn drive_promptly(self: &Arc<Self>) {
        let mut turns = 0;
        while !self.queue.is_empty() {
            // Declared before the lock is taken, so that foreign code runs after it was let go.
            let mut wakes = Wakes::new();
            let Some(mut writer) = self.writer.try_lock() else {
                return;
            };
            let mut is_prompt = true;
            while is_prompt && turns < GROUPS_PER_TURN && !self.queue.is_empty() {
                is_prompt = self.write_promptly(&mut writer, &mut wakes);
                turns += 1;
            }
            drop(writer);
            wakes.run();
            if !is_prompt || turns >= GROUPS_PER_TURN {
                return self.hand_on();
            }
        }
    }

    /// Has the io thread write what is queued; writes it here where there can be no such thread.
    fn hand_on(self: &Arc<Self>) {
        if self.start_io_thread().is_ok() {
            self.io.append();
        } else {
            self.drive();
        }
    }

    /// Writes a group if that takes no wait.
    fn write_promptly(&self, writer: &mut MutexGuard<'_, Writer>, wakes: &mut Wakes) -> bool {
        let began = world::now();
        // Of what comes behind these bytes it was not asked whether there is room.
        let bytes = self.queue.bytes();
        let is_prompt = writer.promptness.is_prompt(began) && writer.writes_on(self, bytes);
        if is_prompt {
            self.write_group(writer, bytes, wakes);
            writer.promptness.note(began, world::now());
        }
        is_prompt
    }
}

impl Writer {
    /// Whether so many bytes of appends are few, and go behind the others without another file.
    fn writes_on(&self, log: &Shared, bytes: usize) -> bool {
        self.unopened.is_none()
            && bytes <= PROMPT_WRITE_BYTES_MAX
            // Frames add less than an append takes in memory.
            && self.active.has_room(bytes + spare_bytes(log), log.options.segment_bytes)
            && log.index.active_bytes() < SEGMENT_INDEX_BYTES_MAX
            && !self.is_aged(log, (log.options.clock)())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_write_makes_it_cautious_for_a_while_and_no_longer() {
        let mut promptness = Promptness::default();
        let began = Instant::now();
        assert!(promptness.is_prompt(began));
        promptness.note(began, began + PROMPT);
        assert!(promptness.is_prompt(began + PROMPT));
        let ended = began + 2 * PROMPT;
        promptness.note(began, ended);
        assert!(!promptness.is_prompt(ended));
        assert!(!promptness.is_prompt(ended + CAUTIOUS / 2));
        assert!(promptness.is_prompt(ended + CAUTIOUS));
    }
}
