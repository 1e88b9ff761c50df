//! Reading: one attempt, the wait between two, and what ends a lease.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::fetcher::{Moved, Origin};
use super::reader::Reader;
use super::state::State;
use super::task::{Item, What};
use crate::client::options::Until;
use crate::client::retry::passes;
use crate::completion::is_own_thread;
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::protocol::out_of_range::OutOfRange;
use crate::world;

/// After so long it is tried again to read what the group has given, if there is no word of it.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// After so long what could not be read is read again: it may be mended by then.
const UNREADABLE_AGAIN: Duration = Duration::from_secs(1);

impl State {
    /// Reads on a thread that may wait.
    pub(super) fn read_here(
        self: &Arc<Self>,
        what: What,
        deadline: Option<Instant>,
    ) -> Result<Option<Item>> {
        if is_own_thread() {
            return Err(Error::new(
                ErrorCode::InvalidState,
                "a thread of Headwater itself must not wait; use `next_block` or `next_batch`",
            ));
        }
        self.check_process()?;
        if self.is_closed() {
            return self.read_closed();
        }
        let _turn = self.take_turn()?;
        // Closing ends the stream that a thread may be reading from.
        let read = self.read_in_turn(what, deadline);
        let read = read.or_else(|error| self.not_opened(error));
        self.note_read(&read);
        read
    }

    fn read_in_turn(
        self: &Arc<Self>,
        what: What,
        deadline: Option<Instant>,
    ) -> Result<Option<Item>> {
        if let Some(overdue) = self.take_overdue() {
            return Err(overdue);
        }
        let left = deadline.map(|deadline| deadline.saturating_duration_since(world::now()));
        let opening = self.open();
        if opening.peek().is_none() {
            self.transport.assist();
        }
        if let Err(error) = opening.wait(left) {
            return match opening.peek() {
                None => Ok(None),
                Some(_) => self.not_opened(error),
            };
        }
        loop {
            self.bell.silence();
            if let Some(item) = self.attempt(what)? {
                return Ok(Some(item));
            }
            if self.is_finished() {
                return Ok(None);
            }
            self.watch_feed();
            if !self.bell.wait(deadline) {
                return self.nothing();
            }
        }
    }

    /// What a read comes to that has failed: its end, if that is because the consumer was closed meanwhile.
    pub(super) fn not_opened(&self, error: Error) -> Result<Option<Item>> {
        if self.is_closed() && error.code() == ErrorCode::Closed {
            return Ok(None);
        }
        Err(error)
    }

    /// Gives out what is there.
    pub(super) fn attempt(self: &Arc<Self>, what: What) -> Result<Option<Item>> {
        if self.is_closed() {
            return Ok(None);
        }
        if let Some(overdue) = self.take_overdue() {
            return Err(overdue);
        }
        if let Some(fatal) = self.commits.lock().fatal.clone() {
            return Err(fatal);
        }
        if self.is_out_of_touch() {
            return Ok(None);
        }
        let mut limits = self.settings.limits;
        if self.settings.is_manual {
            let left = self
                .settings
                .max_unacked
                .saturating_sub(self.fetcher.lock().unacked());
            limits.records = limits
                .records
                .min(usize::try_from(left).unwrap_or(usize::MAX));
            if limits.records == 0 {
                return Ok(None);
            }
        }
        let mut reader = self.reader.lock();
        let Some(reader) = reader.as_mut() else {
            return Ok(None);
        };
        if reader.waits.is_some() {
            return Ok(None);
        }
        let before = reader.bytes_taken;
        let (item, segments) = match what {
            What::Block => {
                let (block, segments) = reader.block(limits);
                (block.map(|block| block.map(Item::Block)), segments)
            }
            What::Batch => {
                let (batch, segments) = reader.batch(limits.bytes);
                (batch.map(|batch| batch.map(Item::Batch)), segments)
            }
        };
        self.counters
            .bytes_received
            .add(reader.bytes_taken - before);
        if !segments.is_empty() {
            self.host_is_there();
            // Still under the reader's lock: a seek comes before the batches were taken or after the lease.
            let records = self.fetcher.lock().lease(segments);
            self.counters.records_received.add(records.into());
        }
        item.or_else(|error| self.move_on(reader, error))
    }

    /// The stream has ended. When its connection was lost another one is opened from where reading stands, which
    /// begins when there is a connection. When the log does not hold where a partition stands, reading goes on
    /// elsewhere, if that is for the consumer to decide; see [`fetcher`](super::fetcher).
    fn move_on(self: &Arc<Self>, reader: &mut Reader, error: Error) -> Result<Option<Item>> {
        let _mine = self.span.enter();
        if self.is_for_the_group(&error) {
            self.wait_for_group(reader, &error);
            return Ok(None);
        }
        if self.transport.is_remote() && passes(&error) && !self.is_closed() {
            self.counters.streams_resumed.add(1);
            self.begin_again(Some(reader))?;
            return Ok(None);
        }
        if is_unreadable(&error) {
            // The host is told whenever that was read again, and one that asks at once keeps no thread busy.
            self.pause_reading(reader, UNREADABLE_AGAIN);
            return Err(error);
        }
        let Some(found) = OutOfRange::of(&error) else {
            return Err(error);
        };
        let settings = &self.settings;
        let cuts_end = settings.until == Some(Until::End);
        let moved = self.fetcher.lock().move_on(found, settings.start, cuts_end);
        let counters = &self.counters;
        match moved.ok_or_else(|| error.clone())? {
            Moved::Already => {}
            Moved::Back { lost_records, to } => {
                counters.log_truncations.add(1);
                counters.records_truncated.add(lost_records);
                tracing::warn!(
                    topic = %found.topic, partition = found.partition, to, lost_records,
                    "records that were read are lost: {error}"
                );
            }
            Moved::On {
                skipped_records,
                to,
            } => {
                counters.offset_resets.add(1);
                counters.records_skipped.add(skipped_records);
                tracing::warn!(
                    topic = %found.topic, partition = found.partition, to, skipped_records,
                    "reading goes on elsewhere: {error}"
                );
            }
        }
        self.begin_again(Some(reader))?;
        Ok(None)
    }

    /// Whether a topic was deleted of which a group gives the partitions: it takes them back, and the others are
    /// read on.
    fn is_for_the_group(&self, error: &Error) -> bool {
        let is_gone = error.code() == ErrorCode::UnknownTopicOrPartition;
        is_gone && self.settings.group.is_some() && !self.is_closed()
    }

    /// Reads on when the group has said what. It is tried without that too, in case the topic is there again.
    fn wait_for_group(self: &Arc<Self>, reader: &mut Reader, error: &Error) {
        crate::seldom!(debug, %error, "reading waits for the group");
        self.pause_reading(reader, READ_AGAIN);
    }

    /// Nothing is read for so long, unless something else is to be read; then it is tried again.
    fn pause_reading(self: &Arc<Self>, reader: &mut Reader, pause: Duration) {
        reader.feed.close();
        self.feed.lock().take();
        let at = world::now() + pause;
        reader.waits = Some(self.later(at, |state| {
            let mut reader = state.reader.lock();
            if reader.as_ref().is_some_and(|it| it.waits.is_some()) {
                state.report_reading(state.begin_again(reader.as_mut()));
            }
        }));
    }

    /// The answer when time is up: nothing, or why there cannot be more.
    pub(super) fn nothing(&self) -> Result<Option<Item>> {
        if !self.settings.is_manual {
            return Ok(None);
        }
        let fetcher = self.fetcher.lock();
        let unacked = fetcher.unacked();
        let Some(first) = fetcher
            .most_unacked()
            .filter(|_| unacked >= self.settings.max_unacked)
        else {
            return Ok(None);
        };
        Err(Error::new(
            ErrorCode::QuotaExceeded,
            format!(
                "{unacked} records are not acknowledged, max_unacked is {}; the first is offset {} of \
                 {}-{}: acknowledge records, or raise the option",
                self.settings.max_unacked, first.offset, first.topic, first.partition
            ),
        ))
    }

    /// Rings when the feed may give something.
    pub(super) fn watch_feed(&self) {
        let is_full =
            self.settings.is_manual && self.fetcher.lock().unacked() >= self.settings.max_unacked;
        if is_full {
            let _mine = self.span.enter();
            // Until something is acknowledged, what the feed has is of no use.
            crate::seldom!(
                warn,
                max_unacked = self.settings.max_unacked,
                "reading waits for `ack`"
            );
            return;
        }
        if self.is_out_of_touch() {
            // The next heartbeat that is answered rings.
            return;
        }
        let feed = self.feed.lock().clone();
        if let Some(feed) = feed {
            feed.watch(self.bell.rope());
        }
    }

    /// The host asks for more: what it had is passed, or was never taken and is given out again.
    pub(super) fn end_lease(self: &Arc<Self>, was_taken: bool) -> Result<()> {
        self.host_is_there();
        if was_taken {
            self.fetcher.lock().end_lease();
            self.commit_in_time();
            self.release_later();
            return Ok(());
        }
        let mut reader = self.reader.lock();
        if self.fetcher.lock().take_back() {
            self.begin_again(reader.as_mut())?;
        }
        Ok(())
    }

    /// Reads on from where the fetcher stands now.
    pub(super) fn begin_again(self: &Arc<Self>, reader: Option<&mut Reader>) -> Result<()> {
        let Some(reader) = reader else { return Ok(()) };
        reader.clear();
        if self.is_closed() {
            return Ok(());
        }
        let fetcher = self.fetcher.lock();
        reader.set_places(fetcher.places());
        if reader.feed.reassign(fetcher.unfinished()).is_err() {
            // The stream has ended, perhaps because of where it stood: another one may do.
            reader.feed.close();
            match self.subscribe(&fetcher) {
                Ok(next) => *reader = next,
                Err(error) if self.is_for_the_group(&error) => {
                    self.wait_for_group(reader, &error);
                    return Ok(());
                }
                Err(error) => {
                    // Nothing is to come that the host could wait for.
                    reader.waits = None;
                    reader.unreadable = Some(error.clone());
                    drop(fetcher);
                    self.bell.ring();
                    return Err(error);
                }
            }
        }
        reader.waits = None;
        drop(fetcher);
        self.bell.ring();
        Ok(())
    }

    /// Goes on reading a partition at `offset`.
    pub(super) fn seek(
        self: &Arc<Self>,
        topic: &str,
        partition: i32,
        offset: i64,
        origin: Origin,
    ) -> Result<()> {
        let mut reader = self.reader.lock();
        if reader.is_none() {
            return Err(Self::not_open());
        }
        self.fetcher.lock().seek(topic, partition, offset, origin)?;
        self.begin_again(reader.as_mut())?;
        drop(reader);
        self.commit_in_time();
        Ok(())
    }
}

/// Whether what the log holds cannot be read: the same at the next attempt, unless somebody mends it.
fn is_unreadable(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupt || error.code() == ErrorCode::UnsupportedCompressionType
}
