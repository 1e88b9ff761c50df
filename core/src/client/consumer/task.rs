//! Reading without a thread that waits, and whose turn it is to read.
//!
//! One call reads at a time. A call whose answer nobody can take any more (its future was dropped) gives
//! way to the next; a block that was made for it and never taken is taken back, so that nothing is lost.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::sync::Mutex;

use super::block::{Block, ConsumerBatch};
use super::state::State;
use crate::completion::{Completion, Wake};
use crate::error::{Error, ErrorCode, Result};
use crate::timer::{self, Timer};
use crate::world;

/// Who reads.
#[derive(Debug, Default)]
pub(super) struct Turn {
    reader: Who,
    /// Set when the last answer that was given without a waiting thread was taken.
    pub(super) taken: Option<Arc<AtomicBool>>,
}

#[derive(Debug, Default)]
enum Who {
    #[default]
    Nobody,
    Thread,
    Task(Arc<Task>),
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Block,
    Batch,
}

/// What was read.
#[derive(Debug)]
pub(super) enum Item {
    Block(Block),
    Batch(ConsumerBatch),
}

/// Who wants it.
#[derive(Debug)]
pub(super) enum Answer {
    Block(Completion<Option<Block>>),
    Batch(Completion<Option<ConsumerBatch>>),
}

impl Answer {
    fn what(&self) -> What {
        match self {
            Self::Block(_) => What::Block,
            Self::Batch(_) => What::Batch,
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Self::Block(completion) => completion.is_abandoned(),
            Self::Batch(completion) => completion.is_abandoned(),
        }
    }

    pub(super) fn finish(self, result: Result<Option<Item>>) {
        match (self, result) {
            (Self::Block(completion), Ok(Some(Item::Block(block)))) => {
                completion.finish(Ok(Some(block)));
            }
            (Self::Batch(completion), Ok(Some(Item::Batch(batch)))) => {
                completion.finish(Ok(Some(batch)));
            }
            (Self::Block(completion), result) => completion.finish(result.map(|_| None)),
            (Self::Batch(completion), result) => completion.finish(result.map(|_| None)),
        }
    }
}

/// A read on its way.
pub(super) struct Task {
    state: Arc<State>,
    what: What,
    deadline: Option<Instant>,
    answer: Mutex<Option<Answer>>,
    /// One step at a time.
    stepping: Mutex<()>,
    timer: Mutex<Option<Timer>>,
}

impl State {
    /// Takes the turn for a thread that reads by itself.
    pub(super) fn take_turn(self: &Arc<Self>) -> Result<ThreadTurn> {
        self.begin_turn(|| Who::Thread, None)?;
        Ok(ThreadTurn(Arc::clone(self)))
    }

    /// Reads without a thread that waits; `taken` is set when the answer is taken.
    pub(super) fn read_later(
        self: &Arc<Self>,
        answer: Answer,
        deadline: Option<Instant>,
        taken: Arc<AtomicBool>,
    ) {
        let task = Arc::new(Task {
            state: Arc::clone(self),
            what: answer.what(),
            deadline,
            answer: Mutex::new(Some(answer)),
            stepping: Mutex::new(()),
            timer: Mutex::new(None),
        });
        let who = Arc::clone(&task);
        if let Err(error) = self.begin_turn(move || Who::Task(who), Some(taken)) {
            self.end_turn_of(&task);
            // Of this call alone: another's loop may go on.
            let answer = task.answer.lock().take();
            if let Some(answer) = answer {
                answer.finish(Err(error));
            }
            return;
        }
        task.begin();
    }

    fn begin_turn(
        self: &Arc<Self>,
        who: impl FnOnce() -> Who,
        taken: Option<Arc<AtomicBool>>,
    ) -> Result<()> {
        let mut turn = self.turn.lock();
        let before = match &turn.reader {
            Who::Nobody => None,
            Who::Task(task) if task.is_abandoned() => Some(Arc::clone(task)),
            Who::Thread | Who::Task(_) => {
                return Err(Error::new(
                    ErrorCode::InvalidState,
                    "another call is reading from this consumer; one reads at a time",
                ));
            }
        };
        turn.reader = who();
        let is_thread = matches!(turn.reader, Who::Thread);
        let last = std::mem::replace(&mut turn.taken, taken);
        drop(turn);
        if let Some(before) = before {
            // Not while it is in the middle of a step.
            let stepping = before.stepping.lock();
            before.answer.lock().take();
            drop(stepping);
        }
        let was_taken = last.is_none_or(|taken| taken.load(Ordering::Acquire));
        let ended = self.end_lease(was_taken);
        if ended.is_err() && is_thread {
            // A task may have been abandoned meanwhile, and another's turn begun: it ends its own.
            self.end_turn();
        }
        ended
    }

    fn end_turn(&self) {
        self.turn.lock().reader = Who::Nobody;
    }

    /// Whether somebody waits for what is read.
    pub(super) fn is_being_read(&self) -> bool {
        !matches!(self.turn.lock().reader, Who::Nobody)
    }

    /// A read that waits gets its end: the consumer closes.
    pub(super) fn stop_reading(&self) {
        let turn = self.turn.lock();
        let task = match &turn.reader {
            Who::Task(task) => Some(Arc::clone(task)),
            Who::Nobody | Who::Thread => None,
        };
        drop(turn);
        if let Some(task) = task {
            task.finish(Ok(None));
        }
    }
}

/// Held by a thread that reads.
#[derive(Debug)]
pub(super) struct ThreadTurn(Arc<State>);

impl Drop for ThreadTurn {
    fn drop(&mut self) {
        self.0.end_turn();
    }
}

impl Task {
    fn begin(self: Arc<Self>) {
        if let Some(overdue) = self.state.take_overdue() {
            return self.finish(Err(overdue));
        }
        if let Some(deadline) = self.deadline {
            let weak = Arc::downgrade(&self);
            let timer = timer::at(deadline, move || {
                if let Some(task) = weak.upgrade() {
                    task.schedule();
                }
            });
            *self.timer.lock() = Some(timer);
        }
        let opening = self.state.open();
        let task = Arc::clone(&self);
        let opened = opening.clone();
        opening.watch(Wake::Hook(Arc::new(move || match opened.peek() {
            Some(Err(error)) => task.finish(task.state.not_opened(error)),
            _ => task.schedule(),
        })));
    }

    /// Runs a step where files may be read.
    fn schedule(self: &Arc<Self>) {
        let task = Arc::clone(self);
        self.state.transport.schedule(Box::new(move || task.step()));
    }

    fn step(self: &Arc<Self>) {
        let stepping = self.stepping.lock();
        if self.answer.lock().is_none() {
            return;
        }
        let state = &self.state;
        if self.is_abandoned() {
            self.answer.lock().take();
            drop(stepping);
            return state.end_turn_of(self);
        }
        let is_late = self
            .deadline
            .is_some_and(|deadline| deadline <= world::now());
        state.bell.silence();
        match state.attempt(self.what) {
            Ok(None) if is_late => {
                drop(stepping);
                self.finish(state.nothing());
            }
            Ok(None) if state.is_finished() => {
                drop(stepping);
                self.finish(Ok(None));
            }
            Ok(None) => {
                drop(stepping);
                self.watch();
            }
            read => {
                // Under `stepping`: whoever takes the turn over finds the answer given or not begun.
                let answer = self.answer.lock().take();
                if answer.is_some() {
                    state.note_read(&read);
                }
                state.end_turn_of(self);
                drop(stepping);
                if let Some(answer) = answer {
                    answer.finish(read);
                }
            }
        }
    }

    fn watch(self: &Arc<Self>) {
        let task = Arc::clone(self);
        let state = &self.state;
        state
            .bell
            .watch(Wake::Hook(Arc::new(move || task.schedule())));
        state.watch_feed();
    }

    fn finish(&self, result: Result<Option<Item>>) {
        let answer = self.answer.lock().take();
        self.timer.lock().take();
        if let Some(answer) = answer {
            // An end that nobody waits for is told to who asks next.
            if !answer.is_abandoned() {
                self.state.note_read(&result);
            }
            self.state.end_turn_of(self);
            answer.finish(result);
        }
    }

    fn is_abandoned(&self) -> bool {
        self.answer.lock().as_ref().is_none_or(Answer::is_abandoned)
    }
}

impl State {
    /// Ends the turn of `task`, if it is its turn still.
    fn end_turn_of(&self, task: &Task) {
        let mut turn = self.turn.lock();
        if let Who::Task(current) = &turn.reader
            && std::ptr::eq(Arc::as_ptr(current), task)
        {
            turn.reader = Who::Nobody;
        }
    }
}

impl fmt::Debug for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Task")
            .field("what", &self.what)
            .finish_non_exhaustive()
    }
}
