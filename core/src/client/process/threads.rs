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
    records: Mutex<Receiver<ProcessRecord>>,
    /// Records that were given to the threads and are not finished.
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
                let running =
                    work.running.fetch_add(records.len(), Ordering::AcqRel) + records.len();
                for record in records {
                    // No thread is there to receive it if one has panicked; then `take` gives no more.
                    _ = sender.send(record);
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
    H: Fn(&ProcessRecord) -> Result<(), E>,
    E: Display,
{
    fn run(&self) {
        let guard = StopOnPanic(&self.processor);
        loop {
            // In a statement of its own: the lock is held while one waits, not while it works.
            let received = self.records.lock().recv();
            let Ok(record) = received else { break };
            self.handle(record);
        }
        std::mem::forget(guard);
    }

    fn handle(&self, record: ProcessRecord) {
        let result = (self.handler)(&record);
        self.running.fetch_sub(1, Ordering::AcqRel);
        let ticket = record.ticket();
        let finish = match &result {
            Ok(()) => Finish::Done,
            Err(error) => Finish::Retry(error.to_string()),
        };
        let stopped_by = self.processor.finish(vec![(ticket, finish)]);
        if let Err(error) = result
            && stopped_by == Some(ticket)
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
