//! What was read ahead of partitions that are paused.

use std::collections::VecDeque;

use super::{Reader, Reading};
use crate::client::consumer::fetcher::Fetcher;
use crate::error::Result;
use crate::protocol::request::FetchPosition;

impl Reader {
    /// Other partitions are paused than before: what was read ahead of them is kept apart, `keep_bytes` of it at
    /// most, what was kept of the others comes next, and the feed reads on behind what is here.
    ///
    /// # Errors
    /// When the stream has ended, or something in it cannot be read. What is here may lack something then.
    pub(in crate::client::consumer) fn sort_out(
        &mut self,
        fetcher: &Fetcher,
        keep_bytes: u64,
    ) -> Result<()> {
        if self.is_remote {
            // All that was read ahead comes here, and has its credit still: so it is never more than the budget.
            self.is_ahead = false;
            self.feed.hold(u64::MAX);
            self.take(usize::MAX)?;
            if let Some(error) = &self.unreadable {
                return Err(error.clone());
            }
        }
        // What could not be read is read again, unless it is paused.
        self.unreadable = None;
        let mut all = std::mem::take(&mut self.kept);
        all.append(&mut self.buffer);
        let mut buffer_bytes = 0;
        let mut is_full = false;
        self.kept_bytes = 0;
        for reading in all {
            let size_bytes = reading.batch.bytes().len() as u64;
            if !fetcher.is_paused(reading.place) {
                buffer_bytes += size_bytes;
                self.buffer.push_back(reading);
                continue;
            }
            is_full |= self.kept_bytes + size_bytes > keep_bytes;
            // Once something was left out, so is all behind it.
            if !is_full {
                self.kept_bytes += size_bytes;
                self.kept.push_back(reading);
            }
        }
        self.is_ahead = true;
        self.feed.hold(self.kept_bytes + buffer_bytes);
        let positions = fetcher.unfinished().into_iter();
        let positions = positions.map(|position| self.behind_buffer(position));
        self.feed.reassign(positions.collect())
    }

    fn behind_buffer(&self, position: FetchPosition) -> FetchPosition {
        let place = self.places.find(&position.topic, position.partition);
        let last = last_of(&self.buffer, place);
        match last {
            None => position,
            Some(last) => FetchPosition {
                offset: last.batch.last_offset().saturating_add(1),
                last_epoch: last.batch.header().leader_epoch,
                ..position
            },
        }
    }
}

fn last_of(buffer: &VecDeque<Reading>, place: Option<usize>) -> Option<&Reading> {
    let place = place?;
    buffer.iter().rev().find(|reading| reading.place == place)
}
