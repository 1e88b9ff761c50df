//! One direction of a connection: bytes arrive late, in pieces, after a standstill, or not at all.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use crate::sync::Mutex;
use crate::world::{self, simulated::World};

/// Bytes that are on their way at most.
const BYTES_MAX: usize = 64 << 10;

/// See the module.
pub(super) struct Wire {
    world: Arc<World>,
    /// Its connection, and 1 for the way to the client.
    name: u64,
    latency: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<(Instant, Vec<u8>)>,
    bytes: usize,
    last_due: Option<Instant>,
    /// When the reader learns that no more comes.
    ends_at: Option<Instant>,
    /// From when on nothing comes and nothing is taken.
    breaks_at: Option<Instant>,
    /// Nothing arrives before.
    stands_until: Option<Instant>,
    is_reader_gone: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Wire {
    pub(super) fn new(world: &Arc<World>, name: u64, latency: Duration) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            name,
            latency,
            state: Mutex::new(State::default()),
        })
    }

    /// Nothing comes or is taken after `after`.
    pub(super) fn break_after(&self, after: Duration) {
        let at = world::now() + after;
        self.change(|state| {
            let known = state.breaks_at.unwrap_or(at);
            state.breaks_at = Some(known.min(at));
        });
    }

    /// Nothing arrives for so long.
    pub(super) fn stand_for(&self, period: Duration) {
        let until = world::now() + period;
        self.change(|state| state.stands_until = state.stands_until.max(Some(until)));
    }

    /// What stands goes on.
    pub(super) fn go_on(&self) {
        self.change(|state| state.stands_until = None);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        change(&mut state);
        let wakers = [state.reader.take(), state.writer.take()];
        drop(state);
        wakers.into_iter().flatten().for_each(Waker::wake);
    }

    fn delay(&self) -> Duration {
        // One in 16 takes much longer.
        let most = self.latency.as_micros() as u64 + 1;
        let times = if self.world.below(16) == 0 { 8 } else { 1 };
        Duration::from_micros(self.world.below(most * times))
    }

    fn write(&self, bytes: &[u8], context: &Context<'_>) -> Poll<io::Result<usize>> {
        let now = world::now();
        let delay = self.delay();
        let mut state = self.state.lock();
        if state.is_broken(now) || state.is_reader_gone {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.bytes >= BYTES_MAX {
            state.writer = Some(context.waker().clone());
            return Poll::Pending;
        }
        let mut count = bytes.len().min(BYTES_MAX - state.bytes);
        if count > 1 && self.world.below(8) == 0 {
            count = 1 + self.world.below(count as u64 - 1) as usize;
        }
        let due = (now + delay).max(state.last_due.unwrap_or(now));
        state.last_due = Some(due);
        state.bytes += count;
        state.queue.push_back((due, bytes[..count].to_vec()));
        let reader = state.reader.take();
        drop(state);
        reader.into_iter().for_each(Waker::wake);
        Poll::Ready(Ok(count))
    }

    fn end(&self) {
        let delay = self.delay();
        self.change(|state| {
            let due = (world::now() + delay).max(state.last_due.unwrap_or_else(world::now));
            state.ends_at.get_or_insert(due);
        });
    }

    /// What has arrived, or when there may be something.
    fn read(
        &self,
        buffer: &mut ReadBuf<'_>,
        context: &Context<'_>,
    ) -> Result<Option<Instant>, io::Error> {
        let now = world::now();
        let mut state = self.state.lock();
        if state.is_broken(now) {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let due = state.queue.front().map(|(due, _)| *due).or(state.ends_at);
        let due = due.map(|due| due.max(state.stands_until.unwrap_or(due)));
        match due {
            Some(due) if due <= now => {}
            _ => {
                state.reader = Some(context.waker().clone());
                let times = [due, state.breaks_at].into_iter().flatten();
                return Ok(Some(
                    times.min().unwrap_or(now + Duration::from_secs(86_400)),
                ));
            }
        }
        let Some((_, bytes)) = state.queue.front_mut() else {
            return Ok(None);
        };
        let count = bytes.len().min(buffer.remaining());
        buffer.put_slice(&bytes[..count]);
        let hash = bytes[..count].iter().fold(self.name, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3)
        });
        bytes.drain(..count);
        if bytes.is_empty() {
            state.queue.pop_front();
        }
        state.bytes -= count;
        let writer = state.writer.take();
        drop(state);
        self.world.mark(hash);
        writer.into_iter().for_each(Waker::wake);
        Ok(None)
    }
}

impl State {
    fn is_broken(&self, now: Instant) -> bool {
        self.breaks_at.is_some_and(|at| at <= now)
    }
}

/// The end that reads.
pub struct Reader {
    wire: Arc<Wire>,
    sleep: Option<Pin<Box<Sleep>>>,
}

/// The end that writes.
pub struct Writer(Arc<Wire>);

/// Both ends.
pub(super) fn ends(wire: &Arc<Wire>) -> (Reader, Writer) {
    let reader = Reader {
        wire: Arc::clone(wire),
        sleep: None,
    };
    (reader, Writer(Arc::clone(wire)))
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Reader({})", self.wire.name)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Writer({})", self.0.name)
    }
}

impl AsyncRead for Reader {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let Some(at) = self.wire.read(buffer, context)? else {
                return Poll::Ready(Ok(()));
            };
            let mut sleep = Box::pin(tokio::time::sleep_until(at.into()));
            let slept = sleep.as_mut().poll(context);
            self.sleep = Some(sleep);
            if slept.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.wire.change(|state| state.is_reader_gone = true);
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.write(bytes, context)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.end();
        Poll::Ready(Ok(()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.0.end();
    }
}
