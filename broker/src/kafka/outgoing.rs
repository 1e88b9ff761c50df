//! Answers on their way out: their bytes, in the pieces in which they are, with the headers before them.

use std::collections::VecDeque;
use std::io::{self, IoSlice};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use headwater::limits;
use tokio::io::{AsyncWrite, AsyncWriteExt};

use super::answer::Reply;
use super::queue::Answered;

/// Pieces up to this size are put together: a copy costs less than another piece of a vectored write.
const COPIED_BYTES_MAX: usize = 512;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outgoing {
    pieces: VecDeque<Bytes>,
    /// Small ones that follow the last piece.
    small: BytesMut,
    bytes: usize,
}

/// Why an answer cannot be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unsayable {
    #[error("an answer to {api} cannot be said: {reason}")]
    Message { api: &'static str, reason: String },
    #[error("an answer to {api} of {bytes} bytes")]
    TooLong { api: &'static str, bytes: usize },
    #[error("{api} failed, and no answer is wanted")]
    Unwanted { api: &'static str },
}

impl Outgoing {
    /// How many bytes wait to be written.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds an answer: its length, its correlation id, and what it says.
    ///
    /// # Errors
    /// When it cannot be said, which is a bug, or may not.
    pub(super) fn add(&mut self, answered: Answered) -> Result<(), Unsayable> {
        let api = answered.api;
        let pieces = match answered.reply {
            Reply::Nothing => return Ok(()),
            Reply::Pieces(pieces) | Reply::Failed(pieces) => pieces,
            Reply::End => return Err(Unsayable::Unwanted { api }),
            Reply::Unsayable(reason) => return Err(Unsayable::Message { api, reason }),
        };
        let header_bytes = if answered.has_flexible_header { 5 } else { 4 };
        let bytes = header_bytes + pieces.iter().map(Bytes::len).sum::<usize>();
        let Ok(length) = i32::try_from(bytes) else {
            return Err(Unsayable::TooLong { api, bytes });
        };
        self.small.put_i32(length);
        self.small.put_i32(answered.correlation_id);
        if answered.has_flexible_header {
            self.small.put_u8(0);
        }
        self.bytes += bytes + 4;
        for piece in pieces {
            if piece.len() <= COPIED_BYTES_MAX {
                self.small.extend_from_slice(&piece);
            } else {
                self.close_small();
                self.pieces.push_back(piece);
            }
        }
        Ok(())
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(self.small.split().freeze());
        }
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The connection's.
    pub(super) async fn write_to<W: AsyncWrite + Unpin>(
        &mut self,
        writer: &mut W,
    ) -> io::Result<()> {
        self.close_small();
        while !self.pieces.is_empty() {
            let mut slices = [IoSlice::new(&[]); limits::WRITE_PIECES_MAX];
            let mut count = 0;
            for (slice, piece) in slices.iter_mut().zip(&self.pieces) {
                *slice = IoSlice::new(piece);
                count += 1;
            }
            let slices = slices.get(..count).unwrap_or_default();
            let written = writer.write_vectored(slices).await?;
            if written == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written(written);
        }
        writer.flush().await
    }

    fn written(&mut self, mut count: usize) {
        self.bytes = self.bytes.saturating_sub(count);
        while let Some(first) = self.pieces.front_mut() {
            if count < first.len() {
                first.advance(count);
                return;
            }
            count -= first.len();
            self.pieces.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(correlation_id: i32, has_flexible_header: bool, pieces: &[&[u8]]) -> Answered {
        let pieces = pieces.iter().map(|it| Bytes::copy_from_slice(it));
        Answered {
            correlation_id,
            has_flexible_header,
            api: "Test",
            reply: Reply::Pieces(pieces.collect()),
        }
    }

    #[tokio::test]
    async fn answers_are_written_whole_through_a_pipe_that_takes_little() {
        let mut outgoing = Outgoing::default();
        let large = vec![7; 10_000];
        outgoing.add(answered(1, false, &[b"ab"])).unwrap();
        outgoing
            .add(answered(2, true, &[b"c", &large, b"d"]))
            .unwrap();
        let mut expected = [&[0, 0, 0, 6, 0, 0, 0, 1][..], b"ab"].concat();
        expected.extend_from_slice(&(5_i32 + 10_002).to_be_bytes());
        expected.extend_from_slice(&[0, 0, 0, 2, 0, b'c']);
        expected.extend_from_slice(&large);
        expected.push(b'd');
        assert_eq!(outgoing.bytes(), expected.len());
        let (mut near, mut far) = tokio::io::duplex(100);
        let writing = async {
            outgoing.write_to(&mut near).await.unwrap();
            drop(near);
        };
        let mut found = Vec::new();
        let reading = tokio::io::AsyncReadExt::read_to_end(&mut far, &mut found);
        let ((), read) = tokio::join!(writing, reading);
        assert_eq!(read.unwrap(), expected.len());
        assert_eq!(found, expected);
        assert_eq!(outgoing.bytes(), 0);
    }
}
