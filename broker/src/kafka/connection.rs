//! One connection of Kafka's protocol: frames in, answers out, in their order.
//!
//! Two halves run side by side in one task: one reads frames, and waits while too many requests or bytes are in
//! flight; the other starts requests and writes their answers. However it ends, what was asked before is answered
//! if the other side still listens.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;

use headwater::limits;
use headwater::server::Room;
use headwater::server::closing::Guest;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

use super::api::Arrived;
use super::context::Context;
use super::outgoing::{Outgoing, Unsayable};
use super::queue::Queue;
use super::wire::{FrameReader, Malformed};

/// What is allowed to a connection.
#[derive(Clone, Debug)]
pub(super) struct Allowance {
    pub(super) frame_bytes_max: usize,
    pub(super) idle_timeout: Duration,
    pub(super) close_timeout: Duration,
    /// For record batches, shared with all other connections.
    pub(super) room: Room,
}

/// Why a connection ends.
#[derive(Debug)]
pub(super) enum End {
    PeerClosed,
    HalfFrame {
        unread_bytes: usize,
    },
    Lost(io::Error),
    Malformed(Malformed),
    Unsayable(Unsayable),
    Closing,
    Idle {
        timeout: Duration,
    },
    Slow {
        unread_bytes: usize,
        within: Duration,
    },
}

impl End {
    /// Whether somebody should look at it.
    pub(super) fn is_fault(&self) -> bool {
        matches!(
            self,
            Self::Malformed(_) | Self::HalfFrame { .. } | Self::Unsayable(_) | Self::Slow { .. }
        )
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerClosed => f.write_str("the client closed it"),
            Self::HalfFrame { unread_bytes } => {
                write!(f, "the client closed it {unread_bytes} bytes into a frame")
            }
            Self::Lost(error) => error.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::Unsayable(error) => error.fmt(f),
            Self::Closing => f.write_str("the broker is closing"),
            Self::Idle { timeout } => write!(f, "nothing came for {} s", timeout.as_secs()),
            Self::Slow {
                unread_bytes,
                within,
            } => write!(
                f,
                "a request of which {unread_bytes} bytes came within {} s",
                within.as_secs()
            ),
        }
    }
}

/// What a connection reads from and writes to, and the bytes that were read from it already.
pub(super) struct Halves<R, W> {
    pub(super) reader: R,
    pub(super) writer: W,
    pub(super) first: Vec<u8>,
}

/// Serves a connection until it ends, and says why it did.
pub(super) async fn serve<R, W>(
    halves: Halves<R, W>,
    context: Context,
    allowance: &Allowance,
    closing: Guest,
) -> End
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin,
{
    let Halves {
        mut reader,
        mut writer,
        first,
    } = halves;
    let end = converse(
        &mut reader,
        &mut writer,
        &first,
        context,
        allowance,
        closing,
    )
    .await;
    if !matches!(end, End::Lost(_)) {
        last_words(reader, writer).await;
    }
    end
}

/// Reads and answers until there is a reason to end, and then answers what is left.
async fn converse<R, W>(
    reader: &mut R,
    writer: &mut W,
    first: &[u8],
    context: Context,
    allowance: &Allowance,
    closing: Guest,
) -> End
where
    R: AsyncRead + Send + Unpin,
    W: AsyncWrite + Send + Unpin,
{
    let idle_timeout = allowance.idle_timeout;
    let mut frames = FrameReader::new(first, allowance.frame_bytes_max);
    let activity = Activity::default();
    let budget = Arc::new(Semaphore::new(limits::CONNECTION_BYTES_MAX));
    let (sender, receiver) = mpsc::channel(1);
    let queue = Queue::new(context.clone(), allowance.room.clone());
    let mut answering = pin!(answer(writer, receiver, queue, &activity, idle_timeout));
    let end = tokio::select! {
        biased;
        // It ends by itself only with a fault: the requests have not ended.
        answered = &mut answering => return answered.err().unwrap_or(End::PeerClosed),
        end = receive(reader, &mut frames, (&activity, &budget), sender) => end,
        () = closing.told() => End::Closing,
        () = silence(&activity, idle_timeout) => End::Idle { timeout: idle_timeout },
    };
    // Nothing more comes: long polls end, and all there is to be said is said.
    context.end();
    if matches!(end, End::Lost(_)) {
        return end;
    }
    match timeout(allowance.close_timeout, answering).await {
        Ok(Err(fault)) if fault.is_fault() => fault,
        _ => end,
    }
}

/// What happens on a connection, for whoever looks whether it is silent.
#[derive(Debug, Default)]
struct Activity {
    reads: AtomicU64,
    under_way: AtomicUsize,
}

type Incoming = (Arrived, OwnedSemaphorePermit);

/// Takes in frames; never ends but for a reason.
async fn receive<R: AsyncRead + Unpin>(
    reader: &mut R,
    frames: &mut FrameReader,
    (activity, budget): (&Activity, &Arc<Semaphore>),
    sender: Sender<Incoming>,
) -> End {
    loop {
        let mut wanted = 0;
        let mut permit = None;
        let mut began = None;
        let arrived = loop {
            match frames.frame_len() {
                Ok(Some(len)) => {
                    wanted = len;
                    if permit.is_none() {
                        // Before the frame is read: what waits for its turn waits in the socket.
                        let share = u32::try_from(len.min(limits::CONNECTION_BYTES_MAX));
                        let budget = Arc::clone(budget);
                        permit = budget.acquire_many_owned(share.unwrap_or(0)).await.ok();
                        // That was our time, not the client's.
                        began = None;
                    }
                    if let Some(frame) = frames.take(len) {
                        break Arrived::of(frame);
                    }
                }
                Ok(None) => {}
                Err(error) => return End::Malformed(error),
            }
            let read = match read(reader, frames, wanted, &mut began).await {
                Ok(read) => read,
                Err(end) => return end,
            };
            match read {
                Ok(0) if frames.unread() == 0 => return End::PeerClosed,
                Ok(0) => {
                    return End::HalfFrame {
                        unread_bytes: frames.unread(),
                    };
                }
                Ok(count) => frames.received(count),
                Err(error) => return End::Lost(error),
            }
            activity.reads.fetch_add(1, Ordering::Relaxed);
        };
        match (arrived, permit) {
            (Ok(arrived), Some(permit)) => {
                activity.under_way.fetch_add(1, Ordering::Relaxed);
                if sender.send((arrived, permit)).await.is_err() {
                    return End::PeerClosed;
                }
            }
            (Err(error), _) => return End::Malformed(error),
            (_, None) => return End::Closing,
        }
    }
}

/// Reads what comes next: between requests whenever it does, and within one, of `wanted` bytes as far as is known,
/// while it is not late. Time in which nothing was read, because there was no room, is no time of the client's.
async fn read<R: AsyncRead + Unpin>(
    reader: &mut R,
    frames: &mut FrameReader,
    wanted: usize,
    began: &mut Option<Instant>,
) -> Result<io::Result<usize>, End> {
    let unread_bytes = frames.unread();
    let reading = reader.read_buf(frames.room(wanted));
    if unread_bytes == 0 {
        return Ok(reading.await);
    }
    let seconds = wanted / limits::KAFKA_REQUEST_BYTES_PER_SECOND_MIN;
    let within = Duration::from_millis(limits::KAFKA_REQUEST_TIMEOUT_MS)
        + Duration::from_secs(seconds as u64);
    let began = *began.get_or_insert_with(Instant::now);
    timeout_at(began + within, reading)
        .await
        .map_err(|_| End::Slow {
            unread_bytes,
            within,
        })
}

/// Starts requests and writes their answers, until there are no more.
async fn answer<W: AsyncWrite + Unpin>(
    writer: &mut W,
    mut receiver: Receiver<Incoming>,
    mut queue: Queue,
    activity: &Activity,
    write_timeout: Duration,
) -> Result<(), End> {
    let mut outgoing = Outgoing::default();
    let mut is_over = false;
    while !(is_over && queue.len() == 0) {
        let is_held_up = queue.waits_for_room();
        let has_room = queue.len() < limits::KAFKA_CONNECTION_REQUESTS_MAX && !is_held_up;
        tokio::select! {
            biased;
            incoming = receiver.recv(), if has_room && !is_over => {
                match incoming {
                    Some((arrived, bytes)) => queue.push(arrived, bytes),
                    None => is_over = true,
                }
                continue;
            }
            answered = poll_fn(|task| match queue.poll_next(task) {
                Poll::Pending if is_held_up && !queue.waits_for_room() => Poll::Ready(None),
                answered => answered.map(Some),
            }) => {
                // Its batches are on their way, and what follows them is taken in.
                let Some(answered) = answered else { continue };
                let answered = answered.map_err(End::Malformed)?;
                activity.under_way.fetch_sub(1, Ordering::Relaxed);
                outgoing.add(answered).map_err(End::Unsayable)?;
            }
        }
        let gathered = gather(&mut queue, &mut outgoing, activity);
        queue.sent(outgoing.bytes());
        let mut writing = pin!(timeout(write_timeout, outgoing.write_to(writer)));
        let written = poll_fn(|task| {
            // However long it takes the other side to read: room that it is given is used, and given back.
            queue.poll_start(task);
            writing.as_mut().poll(task)
        });
        written
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
            .map_err(End::Lost)?;
        gathered?;
    }
    Ok(())
}

/// What is ready behind an answer goes with it.
fn gather(queue: &mut Queue, outgoing: &mut Outgoing, activity: &Activity) -> Result<(), End> {
    let mut task = TaskContext::from_waker(Waker::noop());
    while outgoing.bytes() < limits::PUSH_BYTES_MAX
        && let Poll::Ready(answered) = queue.poll_next(&mut task)
    {
        let answered = answered.map_err(End::Malformed)?;
        activity.under_way.fetch_sub(1, Ordering::Relaxed);
        outgoing.add(answered).map_err(End::Unsayable)?;
    }
    Ok(())
}

/// Ends when nothing was read for so long while nothing was under way.
async fn silence(activity: &Activity, idle_timeout: Duration) {
    loop {
        let seen = activity.reads.load(Ordering::Relaxed);
        tokio::time::sleep(idle_timeout).await;
        let is_idle = activity.under_way.load(Ordering::Relaxed) == 0;
        if activity.reads.load(Ordering::Relaxed) == seen && is_idle {
            return;
        }
    }
}

/// Gives the other side the time to read what was said last: closing with unread bytes would reset the
/// connection, and take the answers with it.
async fn last_words<R, W>(mut reader: R, mut writer: W)
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    let heard = async {
        writer.shutdown().await?;
        let mut dropped_bytes = 0;
        let mut buffer = bytes::BytesMut::with_capacity(limits::READ_CHUNK_BYTES_MIN);
        while let count @ 1.. = reader.read_buf(&mut buffer).await? {
            buffer.clear();
            dropped_bytes += count;
            if dropped_bytes > limits::LINGER_BYTES_MAX {
                break;
            }
        }
        io::Result::Ok(())
    };
    // Whoever has not listened until then will not.
    let _ = timeout(Duration::from_millis(limits::LINGER_TIMEOUT_MS), heard).await;
}
