//! What drives the scheduler: brings it records, gives runs to whoever asked, sends dead letters, keeps
//! the time.
//!
//! What may take time is a *step*, which runs in a job of the transport: after an answer to one of its own
//! questions, at a wake-up, or when somebody has asked for what is not there. One lock, the desk's, is held
//! for what the scheduler does and for the copying of records, never while something is waited for or
//! foreign code runs. Locks are taken in the order desk, then the consumer's.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Finish;
use super::answer::{Answer, Given};
use super::desk::{Asked, Desk, Reading};
use super::letters::Letters;
use super::scheduler::{Settings, Ticket};
use crate::client::consumer::{Consumer, Place, Processing};
use crate::client::retry::Backoff;
use crate::completion::{NotifyQueue, Wake};
use crate::error::{Error, ErrorCode, Result};
use crate::sync::{Mutex, MutexGuard};
use crate::timer;
use crate::world;

/// The tickets under which the driver's own questions are answered; letters have their record's number.
const READ: u64 = u64::MAX;
const ROOM: u64 = u64::MAX - 1;

/// See the module.
pub(super) struct Driver {
    pub(super) consumer: Consumer,
    origin: Instant,
    /// Of one answer.
    max_bytes: usize,
    queue: Arc<NotifyQueue>,
    desk: Mutex<Desk>,
}

/// An answer to be given without a lock.
type Reply = Option<(Answer, Result<Option<Given>>)>;

impl Driver {
    pub(super) fn new(
        consumer: Consumer,
        settings: Settings,
        backoff: Backoff,
        letters: Option<Letters>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|weak: &Weak<Self>| {
            let woken = Weak::clone(weak);
            Self {
                origin: world::now(),
                max_bytes: consumer.bounds().block_bytes,
                consumer,
                queue: NotifyQueue::new(move || step_later(&woken)),
                desk: Mutex::new(Desk::new(settings, backoff, letters)),
            }
        })
    }

    /// As what the consumer knows it. When that is closed it answers at once: soon there may be nobody left who
    /// takes jobs.
    pub(super) fn as_processing(self: &Arc<Self>) -> Processing {
        let (weak, idle) = (Arc::downgrade(self), Arc::downgrade(self));
        let closed = Wake::Hook(Arc::new(move || {
            if let Some(driver) = weak.upgrade() {
                let reply = driver.serve(&mut driver.desk.lock());
                give(reply);
            }
        }));
        let is_idle = move || {
            let driver = idle.upgrade();
            driver.is_some_and(|driver| driver.desk.lock().is_idle())
        };
        Processing {
            closed,
            is_idle: Arc::new(is_idle),
        }
    }

    /// Gives runs, at most `max`, now or when there are some; `taken` is set when somebody has them.
    pub(super) fn take(self: &Arc<Self>, answer: Answer, max: usize, taken: Arc<AtomicBool>) {
        let mut desk = self.desk.lock();
        if desk.is_ended {
            drop(desk);
            return answer.finish(Ok(None));
        }
        let before = desk.asked.as_ref();
        if before.is_some_and(|asked| !asked.answer.is_abandoned()) {
            drop(desk);
            return answer.finish(Err(Error::new(
                ErrorCode::InvalidState,
                "another call waits for records to process; one does at a time",
            )));
        }
        if !desk.scheduler.is_running() {
            // It has nothing in its hands, and wants something: also if it asks again and again.
            self.consumer.host_is_there();
        }
        desk.asked = Some(Asked { answer, max, taken });
        self.settle(&mut desk, |desk, _| {
            desk.take_untaken_back();
            Vec::new()
        });
        self.go_on(desk);
    }

    /// Runs have ended; returns the one whose failure has stopped everything.
    pub(super) fn finish(self: &Arc<Self>, results: Vec<(Ticket, Finish)>) -> Option<Ticket> {
        let now_ms = self.now_ms();
        let mut desk = self.desk.lock();
        if desk.is_ended {
            return None;
        }
        self.consumer.host_is_there();
        let mut stopped_by = None;
        let is_any_done = self.settle(&mut desk, |desk, _| {
            let (done, by) = desk.finish(results, now_ms);
            stopped_by = by;
            done
        });
        self.go_on(desk);
        if is_any_done {
            self.consumer.settled();
        }
        stopped_by
    }

    /// Gives out nothing more; what runs still counts.
    pub(super) fn stop(self: &Arc<Self>) {
        let mut desk = self.desk.lock();
        desk.is_stopped = true;
        desk.scheduler.stop();
        self.go_on(desk);
    }

    /// Ends it: what is not done is given out again to whoever reads the consumer next. It may wait for a
    /// reader, so not on the thread of an event loop.
    pub(super) fn end(&self) -> Result<()> {
        let mut desk = self.desk.lock();
        if desk.is_ended {
            return Ok(());
        }
        desk.is_ended = true;
        self.settle(&mut desk, |_, _| Vec::new());
        let rewind = desk.unfinished();
        // Its pending half dropped, a batch that is on its way goes back too.
        let reading = std::mem::replace(&mut desk.reading, Reading::Over);
        let (asked, letters) = (desk.asked.take(), desk.letters.take());
        (desk.in_hand, desk.timer) = (None, None);
        drop(desk);
        drop((reading, letters));
        if let Some(asked) = asked {
            asked.answer.finish(Ok(None));
        }
        self.consumer.end_processing(rewind)
    }

    /// Does what can be done now, and has the rest done.
    fn go_on(self: &Arc<Self>, mut desk: MutexGuard<'_, Desk>) {
        let reply = self.serve(&mut desk);
        let needs_step = desk.needs_step();
        drop(desk);
        give(reply);
        if needs_step {
            step_later(&Arc::downgrade(self));
        }
    }

    fn step(self: &Arc<Self>) {
        let tickets = self.queue.drain();
        let mut desk = self.desk.lock();
        if desk.is_ended {
            return;
        }
        let read = match &mut desk.reading {
            Reading::Asked(pending) => pending.try_take(),
            Reading::Not | Reading::Asking | Reading::Over => None,
        };
        let is_any_done = self.settle(&mut desk, |desk, is_current| {
            if let Some(read) = read {
                desk.read(read, is_current);
            }
            let letters = tickets.iter().filter(|ticket| **ticket < ROOM);
            desk.bury(letters.copied())
        });
        desk.fill();
        self.send_letters(&mut desk);
        let reply = self.serve(&mut desk);
        let asks = desk.wants_to_read();
        if asks {
            desk.reading = Reading::Asking;
        }
        drop(desk);
        if is_any_done {
            self.consumer.settled();
        }
        give(reply);
        if asks {
            self.ask();
        }
    }

    /// Asks for the next batch.
    fn ask(self: &Arc<Self>) {
        let pending = self.consumer.read_to_process();
        let mut desk = self.desk.lock();
        if desk.is_ended {
            return;
        }
        pending.notify(&self.queue, READ);
        desk.reading = Reading::Asked(pending);
    }

    fn send_letters(&self, desk: &mut Desk) {
        let sent = match &mut desk.letters {
            Some(letters) => letters.send(&self.queue, ROOM),
            None => Ok(()),
        };
        if let Err(error) = sent {
            desk.fail(error);
        }
    }

    /// Takes out what was dropped by a seek, then calls `settle` (with whether the last batch is wanted
    /// still), whose records are done. Returns whether there were any.
    fn settle(&self, desk: &mut Desk, settle: impl FnOnce(&mut Desk, bool) -> Vec<Place>) -> bool {
        let mut is_any_done = false;
        self.consumer.settle(|dropped, is_current| {
            desk.drop_all(&dropped);
            let done = settle(desk, is_current);
            is_any_done = !done.is_empty();
            done
        });
        is_any_done
    }

    /// An answer for who waits, and a wake-up for when there may be one.
    fn serve(self: &Arc<Self>, desk: &mut Desk) -> Reply {
        let reply = desk.serve(self.consumer.is_closed(), self.max_bytes, self.now_ms());
        if reply.is_some() {
            self.consumer.host_is_there();
        }
        let wake_ms = desk
            .asked
            .as_ref()
            .and_then(|_| desk.scheduler.next_wakeup());
        if wake_ms != desk.timer.as_ref().map(|(wake_ms, _)| *wake_ms) {
            desk.timer = wake_ms.and_then(|wake_ms| {
                let weak = Arc::downgrade(self);
                let at = self.origin.checked_add(Duration::from_millis(wake_ms))?;
                Some((wake_ms, timer::at(at, move || step_later(&weak))))
            });
        }
        reply
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(world::now().duration_since(self.origin).as_millis()).unwrap_or(u64::MAX)
    }
}

fn give(reply: Reply) {
    if let Some((answer, result)) = reply {
        answer.finish(result);
    }
}

fn step_later(driver: &Weak<Driver>) {
    if let Some(driver) = driver.upgrade() {
        let consumer = driver.consumer.clone();
        consumer.schedule(move || driver.step());
    }
}
