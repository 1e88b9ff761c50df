//! The processor: records out with tickets, what became of them in.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::answer::{Answer, ProcessBlock};
use super::driver::Driver;
use super::letters::Letters;
use super::record::ProcessRecord;
use super::scheduler::Settings;
use crate::client::consumer::Consumer;
use crate::client::options::ProcessOptions;
use crate::client::retry::{Backoff, new_seed};
use crate::completion::{Completion, Pending};
use crate::error::Result;

/// What became of a record that was handed to a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It is processed.
    Done,
    /// It failed, and is tried again after a pause; why is for its dead letter.
    Retry(String),
    /// It failed, and trying again is of no use: as after the last attempt.
    Dead(String),
}

/// Hands out the records of a consumer so that many are processed at the same time, each in its order, again
/// if it failed, and committed only up to the first that is not done.
///
/// [`Consumer::process`] is a loop around it, for threads; another language's loop is as short. Everything
/// else is here: reading, order, pauses, dead letters, positions. Records that were taken and are not
/// finished when it is closed or dropped are read again.
#[derive(Clone)]
pub struct Processor(Arc<Handle>);

/// Dropped with the last handle: then it ends.
struct Handle(Arc<Driver>);

impl Consumer {
    /// A processor of this consumer's records. While there is one nothing else reads the consumer. Records
    /// that were given out before and not passed are given out again.
    ///
    /// # Errors
    /// `INVALID_OPTION`; `INVALID_STATE` if there is one already; `CLOSED`, `FORKED`.
    pub fn processor(&self, options: &ProcessOptions) -> Result<Processor> {
        options.check()?;
        let letters = match &options.dead_letter {
            Some(topic) => Some(Letters::new(self.client(), topic, self.topics())?),
            None => None,
        };
        let bounds = self.bounds();
        let settings = Settings {
            concurrency: options.concurrency() as usize,
            order: options.order(),
            attempts: options.attempts(),
            has_dead_letter: letters.is_some(),
            max_records: bounds.max_records,
            max_bytes: bounds.max_bytes,
        };
        let backoff = Backoff::new(
            Duration::from_millis(options.backoff_ms()),
            Duration::from_millis(options.backoff_max_ms()),
            new_seed(),
        );
        let driver = Driver::new(self.clone(), settings, backoff, letters);
        self.begin_processing(driver.as_processing())?;
        Ok(Processor(Arc::new(Handle(driver))))
    }
}

impl Processor {
    /// The next records to process, at most `max` and at most as many as may run at the same time, packed;
    /// waits until there are some. None: all is processed, the consumer was closed, or a record has failed
    /// for good ([`finish`](Self::finish) said which).
    ///
    /// # Errors
    /// What reading ended with, or the writing of a dead letter; `INVALID_STATE` while another call waits.
    pub fn take(&self, max: usize) -> Pending<Option<ProcessBlock>> {
        let (completion, pending) = Completion::pair();
        self.ask(Answer::Block(completion), max, pending)
    }

    /// The same, one by one: for Rust.
    ///
    /// # Errors
    /// As [`take`](Self::take).
    pub fn take_records(&self, max: usize) -> Pending<Option<Vec<ProcessRecord>>> {
        let (completion, pending) = Completion::pair();
        self.ask(Answer::Records(completion), max, pending)
    }

    /// Says what became of records, by their tickets; any thread may. A ticket that is not known any more
    /// does not matter: its partition was sought, or belongs to another now.
    ///
    /// Returns the ticket of the record that failed for good and has stopped everything: nothing is given
    /// out any more. What else runs is still to be finished.
    pub fn finish(&self, results: Vec<(u64, Finish)>) -> Option<u64> {
        match self.driver().consumer.check_process() {
            Ok(()) => self.driver().finish(results),
            Err(_) => None,
        }
    }

    /// Gives out nothing more; who waits for records gets none. What runs is still to be finished.
    pub fn stop(&self) {
        if self.driver().consumer.check_process().is_ok() {
            self.driver().stop();
        }
    }

    /// Ends it, and answers when the consumer can be read again: from the first record that is not done.
    ///
    /// # Errors
    /// `FORKED`; what ended the consumer's stream.
    pub fn close(&self) -> Pending<()> {
        if let Err(forked) = self.driver().consumer.check_process() {
            return Pending::ready(Err(forked));
        }
        let (completion, pending) = Completion::pair();
        let ending = Ending(Some((Arc::clone(self.driver()), completion)));
        self.driver().consumer.schedule(move || drop(ending));
        pending
    }

    fn driver(&self) -> &Arc<Driver> {
        &self.0.0
    }

    fn ask<T: Send + 'static>(
        &self,
        answer: Answer,
        max: usize,
        pending: Pending<Option<T>>,
    ) -> Pending<Option<T>> {
        if let Err(forked) = self.driver().consumer.check_process() {
            answer.finish(Err(forked));
            return pending;
        }
        let taken = Arc::new(AtomicBool::new(false));
        self.driver().take(answer, max.max(1), Arc::clone(&taken));
        pending.with_taken(taken)
    }
}

/// An end that is due. It comes when this is dropped: a closed log drops jobs that it does not run, and
/// then there is nothing that the end has to wait for.
struct Ending(Option<(Arc<Driver>, Completion<()>)>);

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some((driver, completion)) = self.0.take() {
            completion.finish(driver.end());
        }
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        // In a forked child the locks may be held by threads that are not there.
        if self.0.consumer.check_process().is_err() {
            return;
        }
        let driver = Arc::clone(&self.0);
        let consumer = driver.consumer.clone();
        consumer.schedule(move || {
            if let Err(error) = driver.end() {
                tracing::warn!(%error, "a processor was dropped, and what it had not done is not read again");
            }
        });
    }
}

impl fmt::Debug for Processor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Processor")
            .field(&self.driver().consumer)
            .finish()
    }
}
