//! The sending half of a connection: any thread adds frames, one at a time writes.
//!
//! Who adds a frame writes it, if nobody is writing and the socket takes it: no hand-over to another
//! thread. If the socket is full, the connection's task goes on as soon as it is not. A thread that
//! answers many requests in a row adds them all and writes once, when its [`Wakes`] run.
//!
//! ```text
//!          send(Here)                    taken all
//!  Idle ---------------> Writing --------------------------> Idle
//!    \                      |  socket full, or a turn's worth
//!     \  send(Task)         v  written
//!      ------------------> Task ---- the task is polled ---> Writing
//! ```
//!
//! Invariants: in `Idle` nothing is unsent, except while it is corked or somebody's wakes are to flush it;
//! frames are written whole and in the order they were added; the sink is touched only in `Writing`; no
//! lock is held while a wake runs. Nothing here blocks: the sink is polled, with a waker that wakes the
//! task.

use std::collections::VecDeque;
use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, Waker};

use crate::sync::Mutex;
use bytes::Bytes;
use serde::Serialize;
use tokio::io::AsyncWrite;

use crate::completion::{Wake, Wakes};
use crate::limits;
use crate::protocol::frame::{FrameError, FrameKind};
use crate::protocol::outbox::{self, Outbox};

/// Bytes one thread writes on behalf of all before the task takes over.
const TURN_BYTES: usize = 1_024 * 1_024;

/// When a frame that is added is written.
#[derive(Debug)]
pub enum Flush<'a> {
    /// Here and now, by this thread, as far as the socket takes it.
    Here,
    /// When these wakes run: together with what is added until then.
    Later(&'a mut Wakes),
    /// Soon, by the connection's task.
    Task,
}

/// Why a frame was not added.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It is larger than allowed.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The connection has ended.
    #[error("the connection has ended")]
    Closed,
}

/// The sending half of a connection.
pub struct Link {
    state: Mutex<State>,
    writer: Mutex<Writer>,
    /// Woken by the sink when it takes bytes again.
    sink_waker: Waker,
    /// What a thread's wakes run to write what it has added.
    flush_hook: Arc<dyn Fn() + Send + Sync>,
}

struct State {
    outbox: Outbox,
    mode: Mode,
    /// Frames are only gathered for now; whoever corked it will flush.
    is_corked: bool,
    /// Somebody's wakes will flush.
    is_flush_due: bool,
    /// The sink took bytes again while somebody was writing.
    is_sink_ready: bool,
    is_finishing: bool,
    task: Option<Waker>,
    /// To be woken when less is unsent: who reads requests, and who pushes.
    reader: Option<Waker>,
    pushers: Vec<Wake>,
    failure: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Idle,
    Writing,
    Task,
    Closed,
}

struct Writer {
    /// None once closed.
    sink: Option<Pin<Box<dyn AsyncWrite + Send>>>,
    pieces: VecDeque<Bytes>,
    /// Bytes were written since the sink was last flushed.
    is_dirty: bool,
}

impl Link {
    /// The sending half over `sink`, with frames of at most `frame_bytes_max` bytes.
    pub fn new(sink: impl AsyncWrite + Send + 'static, frame_bytes_max: usize) -> Arc<Self> {
        let state = State {
            outbox: Outbox::new(frame_bytes_max),
            mode: Mode::Idle,
            is_corked: false,
            is_flush_due: false,
            is_sink_ready: false,
            is_finishing: false,
            task: None,
            reader: None,
            pushers: Vec::new(),
            failure: None,
        };
        let writer = Writer {
            sink: Some(Box::pin(sink)),
            pieces: VecDeque::new(),
            is_dirty: false,
        };
        Arc::new_cyclic(|this: &Weak<Self>| {
            let flushed = Weak::clone(this);
            Self {
                state: Mutex::new(state),
                writer: Mutex::new(writer),
                sink_waker: Waker::from(Arc::new(SinkWaker(Weak::clone(this)))),
                flush_hook: Arc::new(move || {
                    if let Some(link) = flushed.upgrade() {
                        link.flush();
                    }
                }),
            }
        })
    }

    /// Adds a frame, and returns the position of its first byte.
    ///
    /// # Errors
    /// When it is too large, or the connection has ended.
    pub fn send<'a, H: Serialize + ?Sized>(
        &self,
        correlation_id: u64,
        kind: FrameKind,
        header: &H,
        payload: impl IntoIterator<Item = &'a Bytes, IntoIter: Clone>,
        flush: Flush<'_>,
    ) -> Result<u64, SendError> {
        let mut state = self.state.lock();
        if state.mode == Mode::Closed {
            return Err(SendError::Closed);
        }
        let position = state
            .outbox
            .push(correlation_id, kind, header, payload.into_iter())?;
        self.added(state, flush);
        Ok(position)
    }

    /// Adds bytes that are no frame.
    ///
    /// # Errors
    /// When the connection has ended.
    pub fn send_raw(&self, bytes: &[u8], flush: Flush<'_>) -> Result<(), SendError> {
        let mut state = self.state.lock();
        if state.mode == Mode::Closed {
            return Err(SendError::Closed);
        }
        state.outbox.push_raw(bytes);
        self.added(state, flush);
        Ok(())
    }

    /// Writes what was added, by this thread, as far as the socket takes it.
    pub fn flush(&self) {
        let mut state = self.state.lock();
        state.is_flush_due = false;
        self.start(state);
    }

    /// Gathers what is added from now on until [`uncork`](Self::uncork) writes it.
    pub fn cork(&self) {
        self.state.lock().is_corked = true;
    }

    /// Ends what [`cork`](Self::cork) began.
    pub fn uncork(&self) {
        let mut state = self.state.lock();
        state.is_corked = false;
        self.start(state);
    }

    /// Larger or smaller frames from now on.
    pub fn set_frame_bytes_max(&self, frame_bytes_max: usize) {
        self.state
            .lock()
            .outbox
            .set_frame_bytes_max(frame_bytes_max);
    }

    /// The position up to which bytes were handed to the socket.
    #[must_use]
    pub fn written_position(&self) -> u64 {
        self.state.lock().outbox.written_position()
    }

    /// Whether so much is unsent that nothing more should be pushed; then `wake` is woken when it is not.
    pub fn is_full(&self, wake: impl FnOnce() -> Wake) -> bool {
        let mut state = self.state.lock();
        let is_full = state.is_full();
        if is_full {
            state.pushers.push(wake());
        }
        is_full
    }

    /// Whether more may be added.
    #[must_use]
    pub fn has_room(&self) -> bool {
        !self.state.lock().is_full()
    }

    /// The same for the one task that reads requests: ready when it may read on.
    pub fn poll_room(&self, context: &Context<'_>) -> Poll<()> {
        let mut state = self.state.lock();
        if state.is_full() {
            state.reader = Some(context.waker().clone());
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    /// No more will be added: when all is written the sink is shut down.
    pub fn finish(&self) {
        let mut state = self.state.lock();
        state.is_finishing = true;
        state.is_corked = false;
        state.wake_task();
    }

    /// Ends it at once; what is unsent is dropped. Then nobody writes any more, and the written position
    /// is final.
    pub fn close(&self) {
        self.fail(io::ErrorKind::NotConnected.into());
    }

    /// To be polled by the connection's task, as long as there is one: writes what others could not.
    ///
    /// Ready when all was written and shut down after [`finish`](Self::finish).
    ///
    /// # Errors
    /// What the socket said; also after [`close`](Self::close).
    pub fn poll_drive(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        if !state
            .task
            .as_ref()
            .is_some_and(|task| task.will_wake(context.waker()))
        {
            state.task = Some(context.waker().clone());
        }
        let is_mine = state.mode == Mode::Task
            || (state.mode == Mode::Idle && !state.is_flush_due && !state.is_corked);
        if is_mine && (state.mode == Mode::Task || !state.outbox.is_empty()) {
            state.mode = Mode::Writing;
            drop(state);
            self.write();
            state = self.state.lock();
        }
        if state.mode == Mode::Closed {
            let failure = state.failure.take();
            return Poll::Ready(Err(
                failure.unwrap_or_else(|| io::ErrorKind::NotConnected.into())
            ));
        }
        if state.is_finishing && state.mode == Mode::Idle && state.outbox.is_empty() {
            drop(state);
            return self.poll_shutdown(context);
        }
        Poll::Pending
    }

    fn poll_shutdown(&self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.writer.lock().sink.as_mut() {
            Some(sink) => sink.as_mut().poll_shutdown(context),
            None => Poll::Ready(Ok(())),
        }
    }

    fn added(&self, mut state: crate::sync::MutexGuard<'_, State>, flush: Flush<'_>) {
        match flush {
            Flush::Here => self.start(state),
            Flush::Later(wakes) => {
                if state.mode == Mode::Idle && !state.is_corked && !state.is_flush_due {
                    state.is_flush_due = true;
                    wakes.push(Wake::Hook(Arc::clone(&self.flush_hook)));
                }
            }
            Flush::Task => {
                if state.mode == Mode::Idle {
                    state.mode = Mode::Task;
                    state.wake_task();
                }
            }
        }
    }

    /// Writes, if there is something to write and nobody else will.
    fn start(&self, mut state: crate::sync::MutexGuard<'_, State>) {
        if state.mode != Mode::Idle || state.is_corked || state.outbox.is_empty() {
            return;
        }
        state.mode = Mode::Writing;
        drop(state);
        self.write();
    }

    /// Writes until all is written, the socket is full, or it is the task's turn. In `Writing` only.
    fn write(&self) {
        // Declared first: dropped, and so run, when no lock is held any more.
        let mut wakes = Wakes::new();
        let mut writer = self.writer.lock();
        let mut context = Context::from_waker(&self.sink_waker);
        let mut turn_bytes = 0;
        loop {
            let mut state = self.state.lock();
            if state.mode == Mode::Closed {
                return writer.close();
            }
            state.outbox.take(&mut writer.pieces);
            if writer.is_done() {
                state.mode = Mode::Idle;
                if state.is_finishing {
                    state.wake_task();
                }
                return;
            }
            if turn_bytes > TURN_BYTES {
                state.mode = Mode::Task;
                return state.wake_task();
            }
            state.is_sink_ready = false;
            drop(state);
            match writer.poll_write(&mut context) {
                Poll::Ready(Ok(count)) => {
                    turn_bytes += count;
                    self.state.lock().written(count, &mut wakes);
                }
                Poll::Ready(Err(error)) => {
                    writer.close();
                    return self.state.lock().fail(error, &mut wakes);
                }
                Poll::Pending => {
                    let mut state = self.state.lock();
                    if state.mode == Mode::Writing && !state.is_sink_ready {
                        state.mode = Mode::Task;
                        return;
                    }
                }
            }
        }
    }

    fn fail(&self, error: io::Error) {
        let mut wakes = Wakes::new();
        self.state.lock().fail(error, &mut wakes);
        // Waits for a thread that is in the middle of a write, which never blocks.
        self.writer.lock().close();
    }
}

impl State {
    fn is_full(&self) -> bool {
        self.mode != Mode::Closed
            && self.outbox.unsent_bytes() > limits::CONNECTION_UNSENT_BYTES_MAX
    }

    fn written(&mut self, count: usize, wakes: &mut Wakes) {
        self.outbox.written(count);
        if self.outbox.unsent_bytes() <= limits::CONNECTION_UNSENT_BYTES_MAX / 2 {
            self.wake_waiting(wakes);
        }
    }

    fn fail(&mut self, error: io::Error, wakes: &mut Wakes) {
        if self.mode != Mode::Closed {
            self.mode = Mode::Closed;
            self.failure = Some(error);
            self.wake_waiting(wakes);
            self.wake_task();
        }
    }

    fn wake_waiting(&mut self, wakes: &mut Wakes) {
        if let Some(reader) = self.reader.take() {
            wakes.push(Wake::Task(reader));
        }
        for wake in self.pushers.drain(..) {
            wakes.push(wake);
        }
    }

    /// Wakes the connection's task: of our own runtime, so it may be done under the lock.
    fn wake_task(&mut self) {
        if let Some(task) = self.task.take() {
            task.wake();
        }
    }
}

impl Writer {
    fn close(&mut self) {
        self.sink = None;
        self.pieces.clear();
    }

    fn is_done(&self) -> bool {
        self.pieces.is_empty() && !self.is_dirty
    }

    /// One vectored write, or one flush if all is written.
    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let Some(sink) = self.sink.as_mut() else {
            return Poll::Ready(Err(io::ErrorKind::NotConnected.into()));
        };
        if self.pieces.is_empty() {
            self.is_dirty = false;
            let flushed = sink.as_mut().poll_flush(context);
            self.is_dirty = flushed.is_pending();
            return flushed.map_ok(|()| 0);
        }
        let mut slices = [IoSlice::new(&[]); limits::WRITE_PIECES_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let written =
            std::task::ready!(sink.as_mut().poll_write_vectored(context, &slices[..count]))?;
        if written == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        outbox::advance(&mut self.pieces, written);
        self.is_dirty = true;
        Poll::Ready(Ok(written))
    }
}

/// Passes the sink's wake-ups on to the task. Weak: the sink belongs to the link.
struct SinkWaker(Weak<Link>);

impl std::task::Wake for SinkWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let Some(link) = self.0.upgrade() else {
            return;
        };
        let mut state = link.state.lock();
        state.is_sink_ready = true;
        if state.mode == Mode::Task {
            state.wake_task();
        }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_struct("Link")
            .field("mode", &state.mode)
            .field("unsent_bytes", &state.outbox.unsent_bytes())
            .finish_non_exhaustive()
    }
}
