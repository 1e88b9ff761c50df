//! Finds frames in a stream of bytes.
//!
//! The bytes are read into one buffer that is used again; a frame is cut out of it and shares its memory,
//! so a record batch is never copied after it was read. The buffer grows with the bytes that come: to
//! twice what was received at most, whatever a frame's length claims, and it shrinks when little comes,
//! so an idle connection costs a few KiB.

use bytes::{Buf, BytesMut};

use crate::limits;
use crate::protocol::frame::{Frame, FrameError, FrameHead, HEAD_BYTES};

/// Bytes read in, frames out.
#[derive(Debug)]
pub struct FrameDecoder {
    buffer: BytesMut,
    frame_bytes_max: usize,
    header_bytes_max: usize,
    /// How much room the next read is offered.
    chunk_bytes: usize,
    /// The length of the frame that the buffer begins with, once known.
    frame_len: Option<usize>,
}

impl FrameDecoder {
    /// A decoder that refuses larger frames and headers than these.
    #[must_use]
    pub fn new(frame_bytes_max: usize, header_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            frame_bytes_max,
            header_bytes_max,
            chunk_bytes: limits::READ_CHUNK_BYTES_MIN,
            frame_len: None,
        }
    }

    /// Other limits from the next frame on.
    pub fn set_limits(&mut self, frame_bytes_max: usize, header_bytes_max: usize) {
        self.frame_bytes_max = frame_bytes_max;
        self.header_bytes_max = header_bytes_max;
    }

    /// Bytes that are in no frame yet.
    #[must_use]
    pub fn unread(&self) -> &[u8] {
        &self.buffer
    }

    /// Passes over the first `count` of the unread bytes (all, if there are fewer).
    pub fn skip(&mut self, count: usize) {
        self.buffer.advance(count.min(self.buffer.len()));
    }

    /// Adds bytes that were read elsewhere.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The buffer with room for the next read; what is read is appended to it. Tell how much it was by
    /// [`received`](Self::received).
    pub fn room(&mut self) -> &mut BytesMut {
        let len = self.buffer.len();
        let spare = self.buffer.capacity() - len;
        let missing = self.frame_len.unwrap_or(0).saturating_sub(len);
        if len == 0 {
            if spare < self.chunk_bytes {
                self.buffer.reserve(self.chunk_bytes);
            }
        } else if spare < missing.max(HEAD_BYTES) {
            self.buffer.reserve(missing.min(len).max(self.chunk_bytes));
        }
        &mut self.buffer
    }

    /// Notes that a read has appended `count` bytes to the buffer.
    pub fn received(&mut self, count: usize) {
        if count >= self.chunk_bytes {
            self.chunk_bytes = (self.chunk_bytes * 4).min(limits::READ_CHUNK_BYTES_MAX);
        } else if count < self.chunk_bytes / 64 {
            self.chunk_bytes = (self.chunk_bytes / 2).max(limits::READ_CHUNK_BYTES_MIN);
        }
    }

    /// The next whole frame, if it is there.
    ///
    /// # Errors
    /// When what came is not a frame: the connection is of no further use.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, FrameError> {
        let head = FrameHead::read(&self.buffer, self.frame_bytes_max, self.header_bytes_max)?;
        let Some(head) = head else {
            self.frame_len = None;
            self.give_back();
            return Ok(None);
        };
        if self.buffer.len() < head.frame_len {
            self.frame_len = Some(head.frame_len);
            return Ok(None);
        }
        self.frame_len = None;
        let mut bytes = self.buffer.split_to(head.frame_len).freeze();
        bytes.advance(HEAD_BYTES);
        let header = bytes.split_to(head.header_len);
        Ok(Some(Frame {
            correlation_id: head.correlation_id,
            kind: head.kind,
            header,
            payload: bytes,
        }))
    }

    /// Lets go of a large buffer when nothing is in it and little came of late.
    fn give_back(&mut self) {
        let is_small = self.chunk_bytes == limits::READ_CHUNK_BYTES_MIN;
        if self.buffer.is_empty() && is_small && self.buffer.capacity() > self.chunk_bytes {
            self.buffer = BytesMut::new();
        }
    }
}
