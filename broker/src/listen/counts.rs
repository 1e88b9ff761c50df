//! What went over the broker's port: connections and bytes, since it listens.
//!
//! Bytes are counted a read or a write of a socket at a time, by the halves of a connection that are wrapped for it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Counts that only rise.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) accepted: Count,
    pub(crate) refused: Count,
    pub(crate) received_bytes: Count,
    pub(crate) sent_bytes: Count,
}

#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(super) fn add(&self, more: usize) {
        self.0.fetch_add(more as u64, Ordering::Relaxed);
    }

    #[cfg(feature = "http")]
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was asked in another protocol than the native one.
#[cfg(feature = "http")]
#[derive(Debug)]
pub(crate) struct Spoken {
    /// Its name, as it stands in the figures' names.
    pub(crate) protocol: &'static str,
    /// Connections that there are.
    pub(crate) connections: usize,
    /// Bytes of all requests.
    pub(crate) received_bytes: u64,
    /// Bytes of all answers.
    pub(crate) sent_bytes: u64,
    /// How often batches were read from files for it.
    pub(crate) file_reads: u64,
    /// For each API.
    pub(crate) requests: Vec<RequestFigures>,
}

/// Requests of one API.
#[cfg(feature = "http")]
#[derive(Debug)]
pub(crate) struct RequestFigures {
    pub(crate) api: &'static str,
    /// Those that were answered.
    pub(crate) requests: u64,
    /// Those of them whose answer has an error in it.
    pub(crate) errors: u64,
    /// From request to answer, added up.
    pub(crate) seconds: f64,
}

/// The half of a connection that is read from.
pub(crate) struct Reading<R> {
    pub(super) reader: R,
    pub(super) counts: Arc<Counts>,
}

impl<R: AsyncRead + Unpin> AsyncRead for Reading<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = ready!(Pin::new(&mut self.reader).poll_read(context, buffer));
        let count = buffer.filled().len().saturating_sub(before);
        self.counts.received_bytes.add(count);
        Poll::Ready(read)
    }
}

/// The half of a connection that is written to.
pub(crate) struct Writing<W> {
    pub(super) writer: W,
    pub(super) counts: Arc<Counts>,
}

impl<W> Writing<W> {
    fn note(&self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(count)) = written {
            self.counts.sent_bytes.add(count);
        }
        written
    }
}

impl<W: AsyncWrite + Unpin> AsyncWrite for Writing<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.writer).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.writer).poll_write_vectored(context, pieces);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.writer.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.writer).poll_shutdown(context)
    }
}
