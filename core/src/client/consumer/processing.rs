//! The door through which `process` reads a consumer: batch by batch, acknowledged record by record.
//!
//! While it is open nobody else reads. What was given out before and not passed is given out again, and
//! so is, at its end, what was not done.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::fetcher::{Dropped, Origin};
use super::task::Answer;
use super::{Consumer, ConsumerBatch, State};
use crate::client::handle::Shared;
use crate::completion::{Completion, Pending, Wake};
use crate::error::{Error, ErrorCode, Result};

/// Where a record lies: topic, partition, offset.
pub(in crate::client) type Place = (Arc<str>, i32, i64);

/// How much the records in hand may be.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct Bounds {
    pub(in crate::client) max_records: usize,
    pub(in crate::client) max_bytes: usize,
    /// Of one block.
    pub(in crate::client) block_bytes: usize,
}

/// Who processes.
#[derive(Clone)]
pub(in crate::client) struct Processing {
    /// Woken when the consumer is closed.
    pub(in crate::client) closed: Wake,
    /// Whether no handler has anything to do, and somebody waits for records for them: then nobody is stuck,
    /// however long a record pauses before it is tried again. Called with no lock held.
    pub(in crate::client) is_idle: Arc<dyn Fn() -> bool + Send + Sync>,
}

impl fmt::Debug for Processing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Processing")
    }
}

impl Consumer {
    /// Opens the door.
    ///
    /// # Errors
    /// `INVALID_STATE` if it is open already; `CLOSED`, `FORKED`.
    pub(in crate::client) fn begin_processing(&self, by: Processing) -> Result<()> {
        let state = self.state();
        state.check_open()?;
        let mut processing = state.processing.lock();
        if processing.is_some() {
            return Err(State::is_processing());
        }
        *processing = Some(by);
        Ok(())
    }

    /// Asks for the next batch. Only batches that were taken count as given out.
    pub(in crate::client) fn read_to_process(&self) -> Pending<Option<ConsumerBatch>> {
        let (completion, pending) = Completion::pair();
        let taken = Arc::new(AtomicBool::new(false));
        let state = Arc::clone(self.state());
        if state.is_closed() {
            return Pending::ready(Ok(None));
        }
        // Told before it joins its group again, which is for the next read.
        if let Some(overdue) = state.take_overdue() {
            return Pending::ready(Err(overdue));
        }
        let opening = state.open();
        let (opened, flag) = (opening.clone(), Arc::clone(&taken));
        let completion = crate::sync::Mutex::new(Some(completion));
        opening.watch(Wake::Hook(Arc::new(move || {
            let Some(completion) = completion.lock().take() else {
                return;
            };
            let (state, opened, flag) = (Arc::clone(&state), opened.clone(), Arc::clone(&flag));
            let transport = Arc::clone(&state.transport);
            // In a job: a seek may hold the locks that are needed here while it waits for a file.
            transport.schedule(Box::new(move || match opened.peek() {
                Some(Err(error)) if !state.is_closed() => completion.finish(Err(error)),
                Some(Err(_)) => completion.finish(Ok(None)),
                _ => match state.begin_processing() {
                    Ok(()) => state.read_later(Answer::Batch(completion), None, flag),
                    Err(error) => completion.finish(Err(error)),
                },
            }));
        })));
        pending.with_taken(taken)
    }

    /// Calls `settle` with what was dropped since it was called last, and whether the last batch is wanted
    /// still; the records that it returns are done. No seek comes in between.
    pub(in crate::client) fn settle(&self, settle: impl FnOnce(Vec<Dropped>, bool) -> Vec<Place>) {
        let mut fetcher = self.state().fetcher.lock();
        let (dropped, is_current) = (fetcher.take_dropped(), fetcher.is_lease_current());
        for (topic, partition, offset) in settle(dropped, is_current) {
            fetcher.done(&topic, partition, offset);
        }
    }

    /// The host takes records, or says what became of some: it is at work.
    pub(in crate::client) fn host_is_there(&self) {
        self.state().host_is_there();
    }

    /// To be called after records were done, with no lock held.
    pub(in crate::client) fn settled(&self) {
        // With `ack=manual` reading may have waited for it.
        self.state().host_is_there();
        self.state().bell.ring();
        self.state().commit_in_time();
        self.state().release_later();
    }

    /// Closes the door; reading goes on at these offsets where they are given. It may wait for a reader, so
    /// not on the thread of an event loop.
    ///
    /// # Errors
    /// `UNKNOWN_TOPIC_OR_PARTITION` if such a partition is not read any more.
    pub(in crate::client) fn end_processing(&self, rewind: Vec<Place>) -> Result<()> {
        let state = self.state();
        let mut result = Ok(());
        if !state.is_closed() && state.reader.lock().is_some() {
            // A batch that was asked for and not taken goes back.
            result = state.take_turn().map(drop);
            for (topic, partition, offset) in rewind {
                let sought = state.seek(&topic, partition, offset, Origin::Found);
                result = result.and(sought);
            }
        }
        let mut processing = state.processing.lock();
        let is_manual = state.settings.is_manual;
        state.fetcher.lock().end_processing(is_manual);
        *processing = None;
        // Whoever reads next begins.
        state.is_in_loop.store(false, Ordering::Release);
        result
    }

    pub(in crate::client) fn bounds(&self) -> Bounds {
        let settings = &self.state().settings;
        let size = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
        Bounds {
            max_records: size(settings.max_unacked),
            max_bytes: size(settings.credit_bytes).saturating_add(settings.limits.bytes),
            block_bytes: settings.limits.bytes,
        }
    }

    pub(in crate::client) fn client(&self) -> &Arc<Shared> {
        &self.0.client
    }

    pub(in crate::client) fn topics(&self) -> &[String] {
        &self.state().topics
    }

    pub(in crate::client) fn check_process(&self) -> Result<()> {
        self.state().check_process()
    }

    pub(in crate::client) fn schedule(&self, job: impl FnOnce() + Send + 'static) {
        self.state().transport.schedule(Box::new(job));
    }
}

impl State {
    pub(super) fn is_processing() -> Error {
        Error::new(
            ErrorCode::InvalidState,
            "`process` reads this consumer; nobody else can until it has ended",
        )
    }

    /// For what else would read, or commit.
    pub(super) fn check_not_processing(&self) -> Result<()> {
        match *self.processing.lock() {
            Some(_) => Err(Self::is_processing()),
            None => Ok(()),
        }
    }

    /// Tells whoever processes that the consumer is closed.
    pub(super) fn wake_processing(&self) {
        let processing = self.processing.lock().clone();
        if let Some(processing) = processing {
            processing.closed.run();
        }
    }

    /// Whether whoever processes waits for records that its handlers could be given.
    pub(super) fn is_processor_idle(&self) -> bool {
        let processing = self.processing.lock().clone();
        processing.is_some_and(|processing| (processing.is_idle)())
    }

    /// Before every batch: opening makes another fetcher.
    fn begin_processing(self: &Arc<Self>) -> Result<()> {
        let processing = self.processing.lock();
        if processing.is_none() {
            return Err(Error::new(ErrorCode::Closed, "`process` has ended"));
        }
        let mut reader = self.reader.lock();
        let mut fetcher = self.fetcher.lock();
        if fetcher.is_processing() {
            return Ok(());
        }
        let unpassed = match self.settings.is_manual {
            true => Vec::new(),
            false => fetcher.unpassed(),
        };
        for (topic, partition, offset) in &unpassed {
            fetcher.seek(topic, *partition, *offset, Origin::Found)?;
        }
        fetcher.begin_processing();
        drop(fetcher);
        match unpassed.is_empty() {
            true => Ok(()),
            false => self.begin_again(reader.as_mut()),
        }
    }
}
