//! What is waiting to be written to a connection: frames in, pieces for vectored writes out.
//!
//! Heads, headers and small payloads are gathered in one buffer that is used again, so that many small
//! frames are one piece of one write; a large record batch is a piece of its own and is never copied.
//! Positions count bytes from the connection's start, so that it can be told whether any of a frame was
//! handed to the socket. No socket in here.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use serde::Serialize;

use crate::protocol::frame::{self, FrameError, FrameKind};

/// Payloads up to this many bytes are copied behind their header: cheaper than a piece of their own.
const COPIED_BYTES_MAX: usize = 4 * 1_024;
/// Room made in the gathering buffer at a time.
const GATHER_BYTES: usize = 16 * 1_024;
/// A gathering buffer that has grown beyond this is not used again.
const GATHERED_BYTES_KEPT: usize = 256 * 1_024;

/// Frames in the order they are to be written.
#[derive(Debug)]
pub struct Outbox {
    pieces: VecDeque<Bytes>,
    gathered: BytesMut,
    frame_bytes_max: usize,
    /// Bytes ever pushed.
    end_position: u64,
    /// Bytes pushed and not yet written, those taken included.
    unsent_bytes: usize,
}

impl Outbox {
    /// An empty one, whose frames are at most this large.
    #[must_use]
    pub fn new(frame_bytes_max: usize) -> Self {
        Self {
            pieces: VecDeque::new(),
            gathered: BytesMut::new(),
            frame_bytes_max,
            end_position: 0,
            unsent_bytes: 0,
        }
    }

    /// Larger or smaller frames from now on.
    pub fn set_frame_bytes_max(&mut self, frame_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
    }

    /// Adds a frame and returns the position of its first byte.
    ///
    /// # Errors
    /// When it is larger than allowed; then nothing was added.
    pub fn push<'a, H: Serialize + ?Sized>(
        &mut self,
        correlation_id: u64,
        kind: FrameKind,
        header: &H,
        payload: impl Iterator<Item = &'a Bytes> + Clone,
    ) -> Result<u64, FrameError> {
        let payload_len = payload
            .clone()
            .map(Bytes::len)
            .fold(0_usize, usize::saturating_add);
        let position = self.end_position;
        if self.gathered.capacity() - self.gathered.len() < frame::HEAD_BYTES {
            self.gathered.reserve(GATHER_BYTES);
        }
        let limit = self.frame_bytes_max;
        let frame_len = frame::encode(
            &mut self.gathered,
            correlation_id,
            kind,
            header,
            payload_len,
            limit,
        )?;
        for part in payload {
            if part.len() <= COPIED_BYTES_MAX {
                self.gathered.extend_from_slice(part);
            } else {
                self.cut();
                self.pieces.push_back(part.clone());
            }
        }
        self.added(frame_len);
        Ok(position)
    }

    /// Adds bytes that are not a frame: the magic, or words for who speaks another protocol.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.gathered.extend_from_slice(bytes);
        self.added(bytes.len());
    }

    /// Moves all that was pushed to the end of `taken`, in order.
    pub fn take(&mut self, taken: &mut VecDeque<Bytes>) {
        self.cut();
        taken.append(&mut self.pieces);
    }

    /// Notes that `count` of the bytes taken were written.
    pub fn written(&mut self, count: usize) {
        self.unsent_bytes = self.unsent_bytes.saturating_sub(count);
    }

    /// Bytes pushed and not yet written.
    #[must_use]
    pub fn unsent_bytes(&self) -> usize {
        self.unsent_bytes
    }

    /// The position up to which bytes were written.
    #[must_use]
    pub fn written_position(&self) -> u64 {
        self.end_position - self.unsent_bytes as u64
    }

    /// Whether there is something to take.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty() && self.gathered.is_empty()
    }

    fn added(&mut self, count: usize) {
        self.end_position += count as u64;
        self.unsent_bytes += count;
    }

    fn cut(&mut self) {
        if !self.gathered.is_empty() {
            self.pieces.push_back(self.gathered.split().freeze());
            if self.gathered.capacity() > GATHERED_BYTES_KEPT {
                self.gathered = BytesMut::new();
            }
        }
    }
}

/// Drops the first `count` bytes of `pieces`.
pub fn advance(pieces: &mut VecDeque<Bytes>, mut count: usize) {
    while let Some(first) = pieces.front_mut() {
        if count < first.len() {
            bytes::Buf::advance(first, count);
            return;
        }
        count -= first.len();
        pieces.pop_front();
    }
}
