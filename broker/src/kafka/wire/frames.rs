//! Finds frames in a stream of bytes: a length i32, big-endian, and as many bytes.
//!
//! The bytes are read into one buffer; a frame is cut out of it and shares its memory. The buffer grows with the
//! bytes that come, whatever a frame's length claims: to twice what was received at most.

use bytes::{Buf, Bytes, BytesMut};
use headwater::limits;

use super::{Malformed, Problem};

/// Bytes of the length.
const LENGTH_BYTES: usize = 4;

/// Bytes of the shortest request: API key, version, correlation id.
const FRAME_BYTES_MIN: usize = 8;

/// Bytes read in, frames out.
#[derive(Debug)]
pub(crate) struct FrameReader {
    buffer: BytesMut,
    frame_bytes_max: usize,
    /// How much room the next read is offered.
    chunk_bytes: usize,
}

impl FrameReader {
    /// A reader that refuses larger frames, and has `first` already.
    pub(crate) fn new(first: &[u8], frame_bytes_max: usize) -> Self {
        Self {
            buffer: BytesMut::from(first),
            frame_bytes_max,
            chunk_bytes: limits::READ_CHUNK_BYTES_MIN,
        }
    }

    /// How long the next frame is, its length field not counted, once that is known.
    pub(crate) fn frame_len(&self) -> Result<Option<usize>, Malformed> {
        let Some(length) = self.buffer.first_chunk::<LENGTH_BYTES>() else {
            return Ok(None);
        };
        let bytes = i32::from_be_bytes(*length);
        let (min, max) = (FRAME_BYTES_MIN, self.frame_bytes_max);
        match usize::try_from(bytes) {
            Ok(len) if (min..=max).contains(&len) => Ok(Some(len)),
            _ => Err(Malformed {
                field: "length",
                position: 0,
                problem: Problem::FrameLength { bytes, min, max },
            }),
        }
    }

    /// The next frame of this length, if all of it is there.
    pub(crate) fn take(&mut self, len: usize) -> Option<Bytes> {
        if self.buffer.len().checked_sub(LENGTH_BYTES)? < len {
            return None;
        }
        self.buffer.advance(LENGTH_BYTES);
        let frame = self.buffer.split_to(len).freeze();
        if self.buffer.is_empty() {
            // What is left of the memory goes with the frame: an idle connection holds none.
            self.buffer = BytesMut::new();
        }
        Some(frame)
    }

    /// Bytes that are in no frame yet.
    pub(crate) fn unread(&self) -> usize {
        self.buffer.len()
    }

    /// The buffer with room for the next read, of which `wanted` bytes are expected. Tell how many came by
    /// [`received`](Self::received).
    pub(crate) fn room(&mut self, wanted: usize) -> &mut BytesMut {
        let len = self.buffer.len();
        let spare = self.buffer.capacity() - len;
        let missing = (wanted + LENGTH_BYTES).saturating_sub(len);
        if spare < missing.max(1) {
            self.buffer.reserve(missing.min(len).max(self.chunk_bytes));
        }
        &mut self.buffer
    }

    /// Notes that a read has appended `count` bytes.
    pub(crate) fn received(&mut self, count: usize) {
        if count >= self.chunk_bytes {
            self.chunk_bytes = (self.chunk_bytes * 4).min(limits::READ_CHUNK_BYTES_MAX);
        } else if count < self.chunk_bytes / 64 {
            self.chunk_bytes = limits::READ_CHUNK_BYTES_MIN;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut() {
        let mut stream = Vec::new();
        for len in [8_usize, 9, 4_000, 8] {
            stream.extend_from_slice(&i32::try_from(len).unwrap().to_be_bytes());
            stream.extend(std::iter::repeat_n(u8::try_from(len % 251).unwrap(), len));
        }
        for step in [1, 3, 7, 5_000] {
            let mut reader = FrameReader::new(&[], 4_000);
            let mut found = Vec::new();
            for piece in stream.chunks(step) {
                reader.room(0).extend_from_slice(piece);
                reader.received(piece.len());
                while let Some(len) = reader.frame_len().unwrap()
                    && let Some(frame) = reader.take(len)
                {
                    found.push(frame.len());
                }
            }
            assert_eq!((found, reader.unread()), (vec![8, 9, 4_000, 8], 0));
        }
    }

    #[test]
    fn a_length_that_cannot_be_is_told_at_once() {
        for bytes in [-1, 0, 7, 4_001, i32::MAX, i32::MIN] {
            let reader = FrameReader::new(&bytes.to_be_bytes(), 4_000);
            let error = reader.frame_len().unwrap_err();
            let (min, max) = (8, 4_000);
            assert_eq!(error.problem, Problem::FrameLength { bytes, min, max });
        }
    }

    #[test]
    fn room_grows_with_what_came_and_not_with_what_is_announced() {
        let mut reader = FrameReader::new(&60_000_000_i32.to_be_bytes(), 64_000_000);
        assert!(reader.room(60_000_000).capacity() <= 2 * limits::READ_CHUNK_BYTES_MIN);
    }
}
