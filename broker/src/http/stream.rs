//! A connection as hyper wants it: the bytes that told HTTP from the rest come first again, and who does not take
//! an answer in time is given up.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};
use headwater::limits::{HTTP_WRITE_TIMEOUT_MS, LINGER_BYTES_MAX, LINGER_TIMEOUT_MS};
use hyper::rt::{self, ReadBufCursor, Sleep, Timer};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// Bytes read at a time: heads are small.
const CHUNK_BYTES: usize = 4 * 1_024;

pub(super) struct Stream<R, W> {
    first: Bytes,
    reader: R,
    writer: W,
    is_answered: bool,
    /// While an answer finds no room: until when it has to be gone.
    deadline: Option<Pin<Box<tokio::time::Sleep>>>,
}

impl<R, W> Stream<R, W>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    /// A connection of which `first` was read already.
    pub(super) fn new(first: Vec<u8>, reader: R, writer: W) -> Self {
        Self {
            first: first.into(),
            reader,
            writer,
            is_answered: false,
            deadline: None,
        }
    }

    /// Whether anything was written to it.
    pub(super) const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Writes what there is still to say, and gives the other side the time to read it before the connection is
    /// gone: closing with unread bytes would reset it, and take the answer with it.
    pub(super) async fn end(mut self, last_words: &[u8]) {
        let spoken = async {
            self.writer.write_all(last_words).await?;
            self.writer.shutdown().await?;
            let mut chunk = [0; CHUNK_BYTES];
            let mut dropped_bytes = 0;
            while dropped_bytes <= LINGER_BYTES_MAX {
                match self.reader.read(&mut chunk).await? {
                    0 => break,
                    count => dropped_bytes += count,
                }
            }
            io::Result::Ok(())
        };
        // Whoever has not listened until then will not.
        let _ = timeout(Duration::from_millis(LINGER_TIMEOUT_MS), spoken).await;
    }
}

impl<R, W> rt::Read for Stream<R, W>
where
    R: AsyncRead + Unpin,
    W: Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.first.has_remaining() {
            let count = self.first.len().min(buffer.remaining());
            buffer.put_slice(&self.first.split_to(count));
            return Poll::Ready(Ok(()));
        }
        let mut chunk = [0; CHUNK_BYTES];
        let room = buffer.remaining().min(CHUNK_BYTES);
        let mut read = ReadBuf::new(chunk.split_at_mut(room).0);
        ready!(Pin::new(&mut self.reader).poll_read(context, &mut read))?;
        buffer.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl<R, W> rt::Write for Stream<R, W>
where
    R: Unpin,
    W: AsyncWrite + Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        // The time runs from the first byte that found no room, however slowly others are taken.
        if let Some(deadline) = &mut this.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        match Pin::new(&mut this.writer).poll_write(context, bytes) {
            Poll::Ready(written) => {
                this.is_answered = true;
                Poll::Ready(written)
            }
            Poll::Pending => {
                let deadline = this.deadline.get_or_insert_with(|| {
                    Box::pin(tokio::time::sleep(Duration::from_millis(
                        HTTP_WRITE_TIMEOUT_MS,
                    )))
                });
                ready!(deadline.as_mut().poll(context));
                Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
            }
        }
    }

    /// Called once all that there was to write has been.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.writer).poll_flush(context))?;
        self.deadline = None;
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}

/// Tokio's clock for hyper.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock;

impl Timer for Clock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(Box::pin(tokio::time::sleep(duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        Box::pin(Sleeping(Box::pin(tokio::time::sleep_until(
            deadline.into(),
        ))))
    }
}

struct Sleeping(Pin<Box<tokio::time::Sleep>>);

impl Sleep for Sleeping {}

impl Future for Sleeping {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(context)
    }
}
