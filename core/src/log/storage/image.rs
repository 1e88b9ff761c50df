//! The bytes of a file in memory: in chunks, so that growing copies nothing, and shared until written,
//! so that a copy of a whole file costs a pointer a chunk.
//!
//! A chunk never written is not there and reads as zero: a preallocated file costs no memory.

use std::io;
use std::sync::Arc;

use crate::limits::MEMORY_FILE_BYTES_MAX;

// (In tests, which copy and change many small files, as small as their changes.)
const CHUNK_BYTES: usize = if cfg!(test) { 4 * 1_024 } else { 64 * 1_024 };

#[derive(Clone, Debug, Default)]
pub(super) struct Image {
    length: u64,
    // Exactly enough for `length`; bytes of the last chunk beyond `length` are zero.
    chunks: Vec<Option<Arc<[u8]>>>,
}

impl Image {
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// Reads `buffer.len()` bytes.
    pub(super) fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let end = end_of(position, buffer.len())?;
        if end > self.length {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!(
                    "bytes {position}..{end} were asked for, the file ends at {}",
                    self.length
                ),
            ));
        }
        let mut rest = buffer;
        let (mut chunk, mut start) = place(position)?;
        while !rest.is_empty() {
            let count = rest.len().min(CHUNK_BYTES - start);
            let (part, after) = rest.split_at_mut(count);
            match self.chunks.get(chunk).and_then(Option::as_ref) {
                Some(bytes) => part.copy_from_slice(&bytes[start..start + count]),
                None => part.fill(0),
            }
            rest = after;
            (chunk, start) = (chunk + 1, 0);
        }
        Ok(())
    }

    /// Writes all of `bytes`; a gap before them reads as zero.
    pub(super) fn write_at(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        let end = end_of(position, bytes.len())?;
        if end > self.length && !bytes.is_empty() {
            self.set_length(end)?;
        }
        let mut rest = bytes;
        let (mut chunk, mut start) = place(position)?;
        while !rest.is_empty() {
            let count = rest.len().min(CHUNK_BYTES - start);
            let (part, after) = rest.split_at(count);
            self.chunk_mut(chunk)[start..start + count].copy_from_slice(part);
            rest = after;
            (chunk, start) = (chunk + 1, 0);
        }
        Ok(())
    }

    /// Cuts or extends; what is new reads as zero.
    pub(super) fn set_length(&mut self, length: u64) -> io::Result<()> {
        if length > MEMORY_FILE_BYTES_MAX {
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "a file in memory holds at most {MEMORY_FILE_BYTES_MAX} bytes, not {length}"
                ),
            ));
        }
        let (whole, start) = place(length)?;
        self.chunks.resize(whole + usize::from(start > 0), None);
        if length < self.length && start > 0 && self.chunks[whole].is_some() {
            self.chunk_mut(whole)[start..].fill(0);
        }
        self.length = length;
        Ok(())
    }

    fn chunk_mut(&mut self, chunk: usize) -> &mut [u8] {
        let slot = &mut self.chunks[chunk];
        Arc::make_mut(slot.get_or_insert_with(|| vec![0; CHUNK_BYTES].into()))
    }
}

/// The end of `count` bytes at `position`.
pub(super) fn end_of(position: u64, count: usize) -> io::Result<u64> {
    position.checked_add(count as u64).ok_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{count} bytes at {position} end beyond 2^64"),
        )
    })
}

fn place(position: u64) -> io::Result<(usize, usize)> {
    let position = usize::try_from(position)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "position beyond memory"))?;
    Ok((position / CHUNK_BYTES, position % CHUNK_BYTES))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(image: &Image) -> Vec<u8> {
        let mut all = vec![0xAA; usize::try_from(image.length()).unwrap()];
        image.read_at(&mut all, 0).unwrap();
        all
    }

    #[test]
    fn a_write_across_chunks_reads_back_and_a_copy_keeps_the_old_bytes() {
        let mut image = Image::default();
        let start = CHUNK_BYTES as u64 - 3;
        image.write_at(b"abcdefgh", start).unwrap();
        let before = image.clone();
        image.write_at(b"XY", start + 2).unwrap();
        let mut read = [0; 8];
        image.read_at(&mut read, start).unwrap();
        assert_eq!(&read, b"abXYefgh");
        before.read_at(&mut read, start).unwrap();
        assert_eq!(&read, b"abcdefgh");
        assert!(bytes(&image)[..CHUNK_BYTES - 3].iter().all(|b| *b == 0));
    }

    #[test]
    fn what_was_cut_reads_as_zero_when_extended_again() {
        let mut image = Image::default();
        image.write_at(&[7; 100], 0).unwrap();
        image.set_length(10).unwrap();
        image.set_length(100).unwrap();
        assert_eq!(bytes(&image)[..10], [7; 10]);
        assert_eq!(bytes(&image)[10..], [0; 90]);
    }

    #[test]
    fn extending_takes_no_chunk_and_the_limit_is_an_error() {
        let mut image = Image::default();
        image.set_length(64 << 20).unwrap();
        assert!(image.chunks.iter().all(Option::is_none));
        let full = image.set_length(MEMORY_FILE_BYTES_MAX + 1).unwrap_err();
        assert_eq!(full.kind(), io::ErrorKind::StorageFull);
        let far = image.write_at(b"x", u64::MAX).unwrap_err();
        assert_eq!(far.kind(), io::ErrorKind::InvalidInput);
        assert_eq!(image.length(), 64 << 20);
    }

    #[test]
    fn a_read_beyond_the_end_fails_and_says_where_the_end_is() {
        let image = Image::default();
        let error = image.read_at(&mut [0; 1], 5).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
        assert!(error.to_string().contains("ends at 0"), "{error}");
    }
}
