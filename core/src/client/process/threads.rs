//! `process` for threads: the loop around a processor that runs a handler on as many as there is work for.

use std::fmt::{self, Display};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use super::processor::{Finish, Processor};
use super::record::ProcessRecord;
use crate::client::consumer::Consumer;
use crate::client::options::ProcessOptions;
use crate::error::Error;
use crate::sync::Mutex;

/// Why [`Consumer::process`] has ended.
#[derive(Debug)]
pub enum ProcessError<E> {
    /// A record failed at its last attempt, and there is no dead letter topic. It is not committed, nor is
    /// what stands behind it in its partition.
    Handler {
        /// The record.
        record: ProcessRecord,
        /// What the handler returned.
        error: E,
    },
    /// Reading, or the writing of a dead letter.
    Client(Error),
}

impl<E: Display> Display for ProcessError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Client(error) => error.fmt(f),
            Self::Handler { record, error } => write!(
                f,
                "offset {} of {}-{} failed at attempt {}: {error}",
                record.offset(),
                record.topic(),
                record.partition(),
                record.attempt(),
            ),
        }
    }
}

impl<E: Display + fmt::Debug> std::error::Error for ProcessError<E> {}

impl<E> From<Error> for ProcessError<E> {
    fn from(error: Error) -> Self {
        Self::Client(error)
    }
}

/// What the threads share.
struct Work<'a, H, E> {
    processor: Processor,
    handler: &'a H,
    records: Mutex<Receiver<Vec<ProcessRecord>>>,
    /// Calls that the threads have to make and have not made.
    running: AtomicUsize,
    failure: Mutex<Option<(ProcessRecord, E)>>,
}

impl Consumer {
    /// Calls `handler` for every record, on up to `concurrency` threads at the same time, until `until` is
    /// reached, the consumer is closed, or a record fails for good.
    ///
    /// Records of one key of one partition are handled one after the other (`order`). A record whose handler
    /// gives an error is tried again after a pause, up to `attempts` times, and holds back only its key;
    /// after that it goes to the topic `dead_letter`, or without one everything stops with its error. Only
    /// what is processed is committed. A record may be handled more than once: after a crash, and where a
    /// handler failed in the middle.
    ///
    /// ```
    /// use headwater::{ConsumerOptions, ProcessOptions, ProducerOptions, Record, TopicOptions, Until};
    ///
    /// let db = headwater::connect("mem:").wait(None)?;
    /// db.admin().create_topic("orders", TopicOptions::default()).wait(None)?;
    /// let producer = db.producer(ProducerOptions::default())?;
    /// producer.send("orders", &Record::new(b"two shirts").with_key(b"k1"))?.wait(None)?;
    ///
    /// let options = ConsumerOptions { group: Some("billing".into()), until: Some(Until::End), ..Default::default() };
    /// let consumer = db.consumer(&["orders"], options)?;
    /// consumer.process(&ProcessOptions::default(), |record| {
    ///     assert_eq!(record.value(), Some(&b"two shirts"[..]));
    ///     Ok::<(), std::io::Error>(())
    /// })?;
    /// consumer.close(None).wait(None)?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// The handler's, of the record that failed for good; else as [`processor`](Self::processor) and
    /// [`Processor::take`].
    ///
    /// # Panics
    /// If the handler does: the record counts as not processed.
    pub fn process<E: Display + Send>(
        &self,
        options: &ProcessOptions,
        handler: impl Fn(&ProcessRecord) -> Result<(), E> + Sync,
    ) -> Result<(), ProcessError<E>> {
        let one_by_one = |records: Vec<_>| records.into_iter().map(|record| vec![record]).collect();
        // Each call is for one.
        let handler = |records: &[ProcessRecord]| records.iter().try_for_each(&handler);
        self.process_calls(options, one_by_one, handler)
    }

    /// Calls `handler` for many records at once: for those that may run when somebody is free, at most
    /// `concurrency` of them. They end together: when it gives an error, each of them is tried again after a
    /// pause of its own, or has failed for good. All else is as with [`process`](Self::process).
    ///
    /// # Errors
    /// As [`process`](Self::process); the record named is the first that failed for good.
    ///
    /// # Panics
    /// If the handler does: the records count as not processed.
    pub fn process_batches<E: Display + Send>(
        &self,
        options: &ProcessOptions,
        handler: impl Fn(&[ProcessRecord]) -> Result<(), E> + Sync,
    ) -> Result<(), ProcessError<E>> {
        self.process_calls(options, |records| vec![records], handler)
    }

    /// Makes calls of the records that may run, and has threads make them.
    fn process_calls<E: Display + Send>(
        &self,
        options: &ProcessOptions,
        calls: impl Fn(Vec<ProcessRecord>) -> Vec<Vec<ProcessRecord>>,
        handler: impl Fn(&[ProcessRecord]) -> Result<(), E> + Sync,
    ) -> Result<(), ProcessError<E>> {
        let processor = self.processor(options)?;
        let (sender, receiver) = channel();
        let work = Work {
            processor,
            handler: &handler,
            records: Mutex::new(receiver),
            running: AtomicUsize::new(0),
            failure: Mutex::new(None),
        };
        let taken = std::thread::scope(|scope| {
            let mut threads = 0;
            // Dropped at the end of the scope's closure: then the threads end.
            let sender = sender;
            while let Some(records) = work.processor.take_records(usize::MAX).wait(None)? {
                let calls = calls(records);
                let running = work.running.fetch_add(calls.len(), Ordering::AcqRel) + calls.len();
                for call in calls {
                    // No thread is there to receive it if one has panicked; then `take` gives no more.
                    _ = sender.send(call);
                }
                while threads < running {
                    threads += 1;
                    scope.spawn(|| work.run());
                }
            }
            Ok(())
        });
        let ended = work.processor.close().wait(None);
        if let Some((record, error)) = work.failure.lock().take() {
            return Err(ProcessError::Handler { record, error });
        }
        taken.and(ended).map_err(ProcessError::Client)
    }
}

impl<H, E> Work<'_, H, E>
where
    H: Fn(&[ProcessRecord]) -> Result<(), E>,
    E: Display,
{
    fn run(&self) {
        let guard = StopOnPanic(&self.processor);
        loop {
            // In a statement of its own: the lock is held while one waits, not while it works.
            let received = self.records.lock().recv();
            let Ok(records) = received else { break };
            self.handle(records);
        }
        std::mem::forget(guard);
    }

    fn handle(&self, records: Vec<ProcessRecord>) {
        let result = (self.handler)(&records);
        self.running.fetch_sub(1, Ordering::AcqRel);
        let finish = match &result {
            Ok(()) => Finish::Done,
            Err(error) => Finish::Retry(error.to_string()),
        };
        let tickets = records.iter().map(ProcessRecord::ticket);
        let results = tickets.map(|ticket| (ticket, finish.clone())).collect();
        let stopped_by = self.processor.finish(results);
        let stopper = |record: &ProcessRecord| stopped_by == Some(record.ticket());
        if let Err(error) = result
            && let Some(record) = records.into_iter().find(stopper)
        {
            *self.failure.lock() = Some((record, error));
        }
    }
}

/// A handler that panics ends `process`: whoever waits for records must not wait for ever.
struct StopOnPanic<'a>(&'a Processor);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}
