//! Walking a segment's bytes: frame after frame, and, behind damage, every place where one could begin.
//!
//! Reads go forward through one window, so memory is bounded by the window and the largest frame, whatever
//! the bytes say. Order between frames (index, term) is the caller's.

use std::io;

use super::frame::{
    self, CrcSeed, FRAME_ALIGN, FRAME_BYTES_MAX, FRAME_HEADER_BYTES, FrameError, FrameHeader,
};
use super::span::Spans;
use super::storage::StorageFile;

/// Payloads up to this size are checked as they are; of larger ones that are only suspected, see `span`.
const SUSPECT_BYTES_MAX: usize = 16 * 1_024;

/// Bytes read at once.
const WINDOW_BYTES: usize = 1_024 * 1_024;

/// What stands at a position.
#[derive(Debug)]
pub(super) enum Found {
    /// A frame whose checks hold, the batch's CRC not yet looked at. Its payload: [`Scanner::payload`].
    Frame(FrameHeader),
    /// The data ends here: nothing but zeros up to the end of the file.
    End,
    /// No frame, but bytes. The header's fields as they stand there, if there are that many bytes.
    Damage(FrameError, Option<FrameHeader>),
}

/// Reads one segment's frames.
#[derive(Debug)]
pub(super) struct Scanner<'a> {
    file: &'a dyn StorageFile,
    seed: CrcSeed,
    length: u64,
    window: Vec<u8>,
    window_position: u64,
    /// Of what a search goes through.
    spans: Option<Spans>,
}

impl<'a> Scanner<'a> {
    /// A scanner of a file of `length` bytes.
    pub(super) fn new(file: &'a dyn StorageFile, seed: CrcSeed, length: u64) -> Self {
        Self {
            file,
            seed,
            length,
            window: Vec::new(),
            window_position: 0,
            spans: None,
        }
    }

    /// Forgets what was read, of a file that may have changed and now has `length` bytes.
    pub(super) fn refresh(&mut self, length: u64) {
        self.window.clear();
        self.length = length;
    }

    /// What stands at `position`.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn find(&mut self, position: u64) -> io::Result<Found> {
        let remaining = self.length.saturating_sub(position);
        if remaining == 0 {
            return Ok(Found::End);
        }
        let Some(header) = self.header_at(position)? else {
            return self.zeros_or(position, FrameError::TooShort { remaining }, None);
        };
        if header.len == 0 {
            let error = FrameError::Length {
                found: 0,
                least: FRAME_HEADER_BYTES,
                most: remaining.min(FRAME_BYTES_MAX as u64),
            };
            return self.zeros_or(position, error, Some(header));
        }
        Ok(match self.open(position, &header)? {
            Ok(()) => Found::Frame(header),
            Err(error) => Found::Damage(error, Some(header)),
        })
    }

    /// The payload of the frame that was just found at `position`.
    ///
    /// # Errors
    /// The storage's, if the window has moved since.
    pub(super) fn payload(&mut self, position: u64, header: &FrameHeader) -> io::Result<&[u8]> {
        let start = position + FRAME_HEADER_BYTES as u64;
        self.bytes(start, header.payload_bytes() as usize)
    }

    /// All bytes of the frame that was just found at `position`.
    ///
    /// # Errors
    /// The storage's, if the window has moved since.
    pub(super) fn frame(&mut self, position: u64, header: &FrameHeader) -> io::Result<&[u8]> {
        self.bytes(position, header.padded_bytes() as usize)
    }

    /// The next place from `position` on, at a multiple of 8, where a frame stands; `None` up to the end of
    /// the file.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn search(&mut self, position: u64) -> io::Result<Option<(u64, FrameHeader)>> {
        let mut at = position.next_multiple_of(FRAME_ALIGN as u64);
        while at + FRAME_HEADER_BYTES as u64 <= self.length {
            if let Some(header) = self.header_at(at)?
                && is_plausible(&header)
                && header.check_length(self.length - at).is_ok()
                && self.is_frame(at, &header)?
            {
                return Ok(Some((at, header)));
            }
            at += FRAME_ALIGN as u64;
        }
        Ok(None)
    }

    /// Whether a frame stands at a place where a header says so, which may have been made to.
    fn is_frame(&mut self, position: u64, header: &FrameHeader) -> io::Result<bool> {
        let seed = self.seed;
        let covered = frame::covered_bytes(header.kind, header.payload_bytes() as usize);
        let count = FRAME_HEADER_BYTES + covered.min(SUSPECT_BYTES_MAX);
        let bytes = self.bytes(position, count)?;
        let Some((raw, start)) = bytes.split_first_chunk::<FRAME_HEADER_BYTES>() else {
            return Ok(false);
        };
        let mut found = seed.header(position, raw);
        if covered <= SUSPECT_BYTES_MAX {
            found = crc32c::crc32c_append(found, start);
        } else {
            let start = position + FRAME_HEADER_BYTES as u64;
            found = self.append_span(found, start, start + covered as u64)?;
        }
        // A match is a frame, or happens once in 2^32: it may cost what it does.
        Ok(found == header.crc && self.open(position, header)?.is_ok())
    }

    /// A checksum continued over a stretch of the file.
    fn append_span(&mut self, checksum: u32, start: u64, end: u64) -> io::Result<u32> {
        let known = self
            .spans
            .take()
            .filter(|spans| spans.cover(start, self.length));
        let spans = match known {
            Some(spans) => spans,
            None => Spans::new(self.file, start, self.length)?,
        };
        let spans = self.spans.insert(spans);
        spans.append(checksum, self.file, start, end)
    }

    /// The first byte from `position` on that is not zero.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn first_not_zero(&mut self, position: u64) -> io::Result<Option<u64>> {
        let mut at = position;
        while at < self.length {
            let count = (self.length - at).min(WINDOW_BYTES as u64) as usize;
            let bytes = self.bytes(at, count)?;
            if let Some(offset) = bytes.iter().position(|byte| *byte != 0) {
                return Ok(Some(at + offset as u64));
            }
            at += count as u64;
        }
        Ok(None)
    }

    fn zeros_or(
        &mut self,
        position: u64,
        error: FrameError,
        header: Option<FrameHeader>,
    ) -> io::Result<Found> {
        Ok(match self.first_not_zero(position)? {
            None => Found::End,
            Some(first) if first < position + FRAME_HEADER_BYTES as u64 => {
                Found::Damage(error, header)
            }
            Some(first) => Found::Damage(FrameError::Hole { position: first }, None),
        })
    }

    fn header_at(&mut self, position: u64) -> io::Result<Option<FrameHeader>> {
        if self.length.saturating_sub(position) < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = self.bytes(position, FRAME_HEADER_BYTES)?;
        Ok(bytes
            .first_chunk::<FRAME_HEADER_BYTES>()
            .map(FrameHeader::decode))
    }

    fn open(&mut self, position: u64, header: &FrameHeader) -> io::Result<Result<(), FrameError>> {
        if let Err(error) = header.check_length(self.length.saturating_sub(position)) {
            return Ok(Err(error));
        }
        let seed = self.seed;
        let bytes = self.bytes(position, header.padded_bytes() as usize)?;
        Ok(frame::open(seed, position, header, bytes).map(|_| ()))
    }

    /// Bytes of the file; the caller has checked that the file holds them.
    fn bytes(&mut self, position: u64, count: usize) -> io::Result<&[u8]> {
        let is_inside = position >= self.window_position
            && position + count as u64 <= self.window_position + self.window.len() as u64;
        if !is_inside {
            self.load(position, count)?;
        }
        let start = (position - self.window_position) as usize;
        self.window
            .get(start..start + count)
            .ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))
    }

    fn load(&mut self, position: u64, count: usize) -> io::Result<()> {
        let available = self.length.saturating_sub(position);
        let wanted = available.min(count.max(WINDOW_BYTES) as u64) as usize;
        self.window.resize(wanted, 0);
        self.window.shrink_to(2 * WINDOW_BYTES);
        self.window_position = position;
        let result = self.file.read_at(&mut self.window, position);
        if result.is_err() {
            self.window.clear();
        }
        result
    }
}

/// Whether a header is worth a checksum: most places are ruled out by this alone.
fn is_plausible(header: &FrameHeader) -> bool {
    header.reserved == 0
        && header.len as usize >= FRAME_HEADER_BYTES
        && header.len as usize <= FRAME_BYTES_MAX
        && header.durable <= header.index
        && header.term > 0
        && header.term <= i32::MAX as u32
        && (header.known_kind().is_some() || header.may_skip())
}
