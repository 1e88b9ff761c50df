//! The gzip frame (RFC 1952), by way of zlib-rs.
//!
//! What is written is what Java's clients write: one member at level 6, without a name or a time.
//! One member is read, whatever its header says; its checksum and its length are checked. Memory
//! grows with what came out, and no number in the frame says how much that will be.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::make_room;
use crate::record::CompressionProblem;

/// Of deflate: refers back 32 KiB, as all that write gzip.
const WINDOW_BITS: u8 = 15;
const MAGIC: [u8; 2] = [0x1f, 0x8b];
/// Room for the first bytes, for each byte received: most batches have less in them.
const EXPANSION: usize = 4;
/// Bytes around the deflated ones: a header without a name, a checksum and a length.
const FRAME_BYTES: usize = 18;
/// Of a deflated section: 5 bytes a block of those that get no shorter, in blocks of 16 KiB at least.
const BLOCK_BYTES_MIN: usize = 16 << 10;

/// Writes frames, with tables that are kept from one to the next.
pub(super) struct Encoder {
    deflate: Compress,
}

impl Default for Encoder {
    fn default() -> Self {
        let level = Compression::default();
        Self {
            deflate: Compress::new_gzip(level, WINDOW_BITS),
        }
    }
}

impl Encoder {
    /// Writes the frame that holds `section` into `out`; nothing, should the encoder fail.
    pub(super) fn compress(&mut self, section: &[u8], out: &mut Vec<u8>) {
        self.deflate.reset();
        let blocks = section.len() / BLOCK_BYTES_MIN + 1;
        out.reserve(section.len() + 5 * blocks + FRAME_BYTES);
        let done = self
            .deflate
            .compress_vec(section, out, FlushCompress::Finish);
        if !matches!(done, Ok(Status::StreamEnd)) {
            out.clear();
        }
    }
}

/// What the frame `section` holds, at most `max` bytes.
pub(super) fn decompress(section: &[u8], max: usize) -> Result<Vec<u8>, CompressionProblem> {
    check_magic(section)?;
    // Made anew each time, which is what `reset` would do.
    inflate_all(&mut Decompress::new_gzip(WINDOW_BITS), section, max)
}

fn check_magic(section: &[u8]) -> Result<(), CompressionProblem> {
    let Some(magic) = section.first_chunk::<2>() else {
        return Err(CompressionProblem::Cut {
            position: section.len(),
            part: "magic",
        });
    };
    if *magic != MAGIC {
        return Err(CompressionProblem::Magic {
            found: u16::from_be_bytes(*magic).into(),
        });
    }
    Ok(())
}

fn inflate_all(
    inflate: &mut Decompress,
    section: &[u8],
    max: usize,
) -> Result<Vec<u8>, CompressionProblem> {
    let mut out = Vec::new();
    // One byte more than may come out shows that more does.
    let limit = max.saturating_add(1);
    make_room(&mut out, (section.len() * EXPANSION).clamp(1, limit), limit);
    loop {
        let position = position_of(inflate);
        let rest = section.get(position..).unwrap_or_default();
        let before = out.len();
        let status = inflate.decompress_vec(rest, &mut out, FlushDecompress::None);
        if out.len() > max {
            return Err(CompressionProblem::TooLarge { max });
        }
        match status {
            Ok(Status::StreamEnd) => break,
            Ok(_) if out.len() == out.capacity() => make_room(&mut out, 1, limit),
            // There is room, and nothing goes on: the frame wants bytes that are not there.
            Ok(_) if position_of(inflate) == section.len() || out.len() == before => {
                return Err(CompressionProblem::Cut {
                    position: section.len(),
                    part: "member",
                });
            }
            Ok(_) => {}
            Err(_) => {
                return Err(CompressionProblem::Block {
                    position: position_of(inflate),
                    reason: "it is no gzip, or its checksum does not match",
                });
            }
        }
    }
    let position = position_of(inflate);
    match section.len() - position {
        0 => Ok(out),
        found => Err(CompressionProblem::TrailingBytes { position, found }),
    }
}

/// How far the frame is read.
fn position_of(inflate: &Decompress) -> usize {
    usize::try_from(inflate.total_in()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
