//! A log in this process: requests are calls of the service.
//!
//! A request that is submitted is carried out by the log's threads; one that is run here may append on the
//! calling thread, which is what makes a single record fast.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::sync::Mutex;
use bytes::Bytes;

use super::{Feed, FetchedBatch, Transport};
use crate::client::health::LinkHealth;
use crate::completion::{Completion, Wake};
use crate::error::{Error, ErrorCode, Result};
use crate::protocol::request::{FetchPosition, Request, SubscribeAt};
use crate::protocol::response::Response;
use crate::service::{Run, Service, ServiceOptions, Session, Subscription};
use crate::world;

/// One client's session with a service of this process.
pub(crate) struct InProcess {
    session: Session,
    is_closed: AtomicBool,
    /// When it was opened, and when it was closed or first seen stopped.
    opened: Instant,
    stopped: OnceLock<Instant>,
}

impl InProcess {
    /// Opens the log in a folder. Reads and replays it: not for an event loop's thread.
    pub(crate) fn folder(path: &Path, options: &ServiceOptions) -> Result<Self> {
        Service::open_folder(path, options).map(|service| Self::new(&service))
    }

    /// Opens a log in memory.
    pub(crate) fn memory(name: &str, options: &ServiceOptions) -> Result<Self> {
        Service::open_memory(name, options).map(|service| Self::new(&service))
    }

    pub(crate) fn new(service: &Service) -> Self {
        Self {
            session: service.session(),
            is_closed: AtomicBool::new(false),
            opened: world::now(),
            stopped: OnceLock::new(),
        }
    }
}

impl Transport for InProcess {
    fn submit(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.session.submit(request, payload, Run::Io, completion);
    }

    fn run_here(&self, request: Request, payload: Bytes, completion: Completion<Response>) {
        self.session.submit(request, payload, Run::Here, completion);
    }

    fn subscribe(&self, subscribe: SubscribeAt) -> Result<Arc<dyn Feed>> {
        let subscription = self.session.subscribe(&subscribe)?;
        Ok(Arc::new(InProcessFeed(Mutex::new(Some(Arc::new(
            subscription,
        ))))))
    }

    fn schedule(&self, job: Box<dyn FnOnce() + Send>) {
        self.session.service().schedule_turn(job);
    }

    fn assist(&self) {
        self.session.service().assist();
    }

    fn close(&self, _timeout: Duration) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.stopped.get_or_init(world::now);
        self.session.service().close()
    }

    fn description(&self) -> String {
        self.session.service().name().to_owned()
    }

    fn health(&self) -> LinkHealth {
        let last_error = self.session.service().health().err();
        let since = match last_error {
            None => self.opened,
            Some(_) => *self.stopped.get_or_init(world::now),
        };
        LinkHealth {
            is_connected: last_error.is_none(),
            since: world::now().saturating_duration_since(since),
            last_error,
        }
    }

    fn is_remote(&self) -> bool {
        false
    }

    fn thread_count(&self) -> u64 {
        let metrics = self.session.service().metrics();
        let threads = metrics.iter().find(|(name, _)| *name == "log_threads");
        threads.map_or(0, |(_, threads)| *threads as u64)
    }
}

impl fmt::Debug for InProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("InProcess").field(&self.session).finish()
    }
}

/// A subscription, until it is closed.
struct InProcessFeed(Mutex<Option<Arc<Subscription>>>);

impl InProcessFeed {
    fn subscription(&self) -> Result<Arc<Subscription>> {
        let subscription = self.0.lock().clone();
        subscription.ok_or_else(|| Error::new(ErrorCode::Closed, "the subscription is closed"))
    }
}

impl Feed for InProcessFeed {
    fn take(&self, max_bytes: usize) -> Result<Vec<FetchedBatch>> {
        self.subscription()?.take(max_bytes)
    }

    fn watch(&self, wake: Wake) {
        match self.subscription() {
            Ok(subscription) => subscription.watch(wake),
            // `take` has an error to give.
            Err(_) => wake.run(),
        }
    }

    fn reassign(&self, positions: Vec<FetchPosition>) -> Result<()> {
        self.subscription()?.assign(&positions)
    }

    fn close(&self) {
        self.0.lock().take();
    }
}

impl fmt::Debug for InProcessFeed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InProcessFeed")
            .field("is_open", &self.0.lock().is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::limits::IO_JOBS_MAX;

    #[test]
    fn a_job_is_run_however_many_wait_for_the_io_thread() {
        // A consumer whose job was refused stood still for ever.
        let service = Service::open_memory("jobs", &ServiceOptions::default()).unwrap();
        let transport = InProcess::new(&service);
        let (hold, held) = mpsc::channel::<()>();
        let (started, is_started) = mpsc::channel();
        let blocks = move || {
            started.send(()).unwrap();
            held.recv().unwrap();
        };
        service.schedule(blocks).unwrap();
        is_started.recv().unwrap();
        (0..IO_JOBS_MAX).for_each(|_| service.schedule(|| ()).unwrap());
        let (ran, has_run) = mpsc::channel();
        transport.schedule(Box::new(move || ran.send(()).unwrap()));
        hold.send(()).unwrap();
        assert_eq!(has_run.recv(), Ok(()));
        transport.close(Duration::ZERO).unwrap();
    }
}
