//! The LZ4 frame, as Kafka's clients write it (little-endian):
//!
//! ```text
//! 0 magic u32 = 0x184d2204
//! 4 flags u8: 0 dictionary, 2 content checksum, 3 content size, 4 block checksums,
//!             5 blocks stand alone, 6-7 version = 1
//! 5 block descriptor u8: 4-6 the largest block (4: 64 KiB, 5: 256 KiB, 6: 1 MiB, 7: 4 MiB)
//! . content size u64, if flagged
//! . header checksum u8: the second byte of xxHash-32 of what stands between it and the magic
//! . blocks: length u32 (highest bit: not compressed), bytes, xxHash-32 u32 if flagged
//! . end mark u32 = 0
//! . content checksum: xxHash-32 u32, if flagged
//! ```
//!
//! What is written is what the Java client and librdkafka write: blocks of 64 KiB that stand alone,
//! which the Java client insists on, and no checksum, because the batch has one. Whatever other
//! clients flag is read. The frame is taken apart here and only blocks are left to `lz4_flex`,
//! because its reader of frames takes a frame that is cut between two blocks for a whole one, and
//! sets memory aside by the numbers in it.

use lz4_flex::block::{self, CompressTable, DecompressError};
use twox_hash::XxHash32;

use super::make_room;
use crate::record::CompressionProblem;

const MAGIC: u32 = 0x184d_2204;
const CONTENT_CHECKSUM: u8 = 1 << 2;
const CONTENT_SIZE: u8 = 1 << 3;
const BLOCK_CHECKSUMS: u8 = 1 << 4;
const BLOCKS_ALONE: u8 = 1 << 5;
const VERSION: u8 = 1 << 6;
/// Every flag we read; a dictionary is not among them.
const KNOWN_FLAGS: u8 = CONTENT_CHECKSUM | CONTENT_SIZE | BLOCK_CHECKSUMS | BLOCKS_ALONE | VERSION;
/// Of a block's length: the bytes are not compressed.
const STORED: u32 = 1 << 31;
const BLOCK_BYTES: usize = 64 << 10;
/// The block descriptor that says [`BLOCK_BYTES`].
const BLOCK_BYTES_ID: u8 = 4;
/// How far back a block may refer to the ones before it.
const WINDOW_BYTES: usize = 64 << 10;
/// The most bytes that one byte of a block can stand for.
const EXPANSION_MAX: usize = 255;

/// Writes frames, with a table that is kept from one to the next.
pub(super) struct Encoder {
    table: CompressTable,
}

impl Default for Encoder {
    fn default() -> Self {
        // The table for blocks of any size: what a frame looks like does not depend on the one
        // before.
        let table = CompressTable::large();
        Self { table }
    }
}

impl Encoder {
    /// Appends the frame that holds `section`.
    pub(super) fn compress(&mut self, section: &[u8], out: &mut Vec<u8>) {
        let descriptor = [VERSION | BLOCKS_ALONE, BLOCK_BYTES_ID << 4];
        out.extend_from_slice(&MAGIC.to_le_bytes());
        out.extend_from_slice(&descriptor);
        out.push(header_checksum(&descriptor));
        for bytes in section.chunks(BLOCK_BYTES) {
            self.append_block(bytes, out);
        }
        out.extend_from_slice(&0u32.to_le_bytes());
    }

    fn append_block(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        let start = out.len();
        out.resize(start + block::get_maximum_output_size(bytes.len()), 0);
        let space = out.get_mut(start..).unwrap_or_default();
        let length = match block::compress_into_with_table(bytes, space, &mut self.table) {
            Ok(length) if length < bytes.len() => {
                out.truncate(start + length);
                length as u32
            }
            // What does not get shorter is stored as it is.
            _ => {
                out.truncate(start);
                out.extend_from_slice(bytes);
                bytes.len() as u32 | STORED
            }
        };
        if let Some(place) = out.get_mut(at..start) {
            place.copy_from_slice(&length.to_le_bytes());
        }
    }
}

/// What the frame `section` holds, at most `max` bytes.
pub(super) fn decompress(section: &[u8], max: usize) -> Result<Vec<u8>, CompressionProblem> {
    let mut input = Input {
        bytes: section,
        position: 0,
    };
    let frame = Frame::read(&mut input)?;
    let mut out = Vec::new();
    while let Some(block) = frame.next_block(&mut input)? {
        frame.append(&block, &mut out, max)?;
    }
    frame.check_content(&mut input, &out)?;
    match section.len() - input.position {
        0 => Ok(out),
        found => Err(CompressionProblem::TrailingBytes {
            position: input.position,
            found,
        }),
    }
}

/// What stands before the blocks.
struct Frame {
    flags: u8,
    /// The most bytes of a block.
    block_bytes: usize,
    content_size: Option<u64>,
}

/// One block of a frame.
struct Block<'a> {
    position: usize,
    bytes: &'a [u8],
    is_stored: bool,
}

impl Frame {
    fn read(input: &mut Input<'_>) -> Result<Self, CompressionProblem> {
        let found = u32::from_le_bytes(input.take("magic")?);
        if found != MAGIC {
            return Err(CompressionProblem::Magic { found });
        }
        let from = input.position;
        let [flags, block] = input.take("descriptor")?;
        let size_id = block >> 4;
        // 4: 64 KiB, and four times as much with each number.
        let block_bytes = 1 << (8 + 2 * (size_id & 7));
        let is_known = flags & !KNOWN_FLAGS == 0 && flags & 0b1100_0000 == VERSION;
        if !is_known || block & 0x0f != 0 || !(4..=7).contains(&size_id) {
            return Err(CompressionProblem::Descriptor { flags, block });
        }
        let content_size = match flags & CONTENT_SIZE {
            0 => None,
            _ => Some(u64::from_le_bytes(input.take("content size")?)),
        };
        let covered = input.bytes.get(from..input.position).unwrap_or_default();
        let found = header_checksum(covered);
        let [expected] = input.take("header checksum")?;
        input.check("header", found.into(), expected.into(), 1)?;
        Ok(Self {
            flags,
            block_bytes,
            content_size,
        })
    }

    /// The next block; none at the end mark.
    fn next_block<'a>(
        &self,
        input: &mut Input<'a>,
    ) -> Result<Option<Block<'a>>, CompressionProblem> {
        let position = input.position;
        let length = u32::from_le_bytes(input.take("block length")?);
        let found = (length & !STORED) as usize;
        if found == 0 {
            return Ok(None);
        }
        if found > self.block_bytes {
            return Err(CompressionProblem::BlockLength {
                position,
                found,
                max: self.block_bytes,
            });
        }
        let bytes = input.slice(found, "block")?;
        if self.flags & BLOCK_CHECKSUMS != 0 {
            let expected = u32::from_le_bytes(input.take("block checksum")?);
            input.check("block", XxHash32::oneshot(0, bytes), expected, 4)?;
        }
        Ok(Some(Block {
            position,
            bytes,
            is_stored: length & STORED != 0,
        }))
    }

    /// Appends what a block holds.
    fn append(
        &self,
        block: &Block<'_>,
        out: &mut Vec<u8>,
        max: usize,
    ) -> Result<(), CompressionProblem> {
        let room = max - out.len();
        if block.is_stored {
            if block.bytes.len() > room {
                return Err(CompressionProblem::TooLarge { max });
            }
            make_room(out, block.bytes.len(), max);
            out.extend_from_slice(block.bytes);
            return Ok(());
        }
        let start = out.len();
        let most = self.block_bytes.min(EXPANSION_MAX * block.bytes.len());
        let space_bytes = most.min(room);
        make_room(out, space_bytes, max);
        out.resize(start + space_bytes, 0);
        let (before, space) = out.split_at_mut(start);
        let decoded = if self.flags & BLOCKS_ALONE != 0 {
            block::decompress_into(block.bytes, space)
        } else {
            let window = before.len().saturating_sub(WINDOW_BYTES);
            let window = before.get(window..).unwrap_or_default();
            block::decompress_into_with_dict(block.bytes, space, window)
        };
        match decoded {
            Ok(length) => {
                out.truncate(start + length);
                Ok(())
            }
            Err(DecompressError::OutputTooSmall { .. }) if space_bytes < most => {
                Err(CompressionProblem::TooLarge { max })
            }
            Err(error) => Err(CompressionProblem::Block {
                position: block.position,
                reason: reason(&error),
            }),
        }
    }

    /// Checks what came out against what the frame says of it.
    fn check_content(&self, input: &mut Input<'_>, out: &[u8]) -> Result<(), CompressionProblem> {
        let found = out.len() as u64;
        if let Some(expected) = self.content_size
            && expected != found
        {
            return Err(CompressionProblem::ContentSize { found, expected });
        }
        if self.flags & CONTENT_CHECKSUM != 0 {
            let expected = u32::from_le_bytes(input.take("content checksum")?);
            input.check("content", XxHash32::oneshot(0, out), expected, 4)?;
        }
        Ok(())
    }
}

/// The bytes of a frame, and how far they are read.
struct Input<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> Input<'a> {
    fn slice(&mut self, length: usize, part: &'static str) -> Result<&'a [u8], CompressionProblem> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some(taken) = rest.get(..length) else {
            return Err(CompressionProblem::Cut {
                position: self.bytes.len(),
                part,
            });
        };
        self.position += length;
        Ok(taken)
    }

    fn take<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], CompressionProblem> {
        let mut taken = [0; N];
        taken.copy_from_slice(self.slice(N, part)?);
        Ok(taken)
    }

    /// Compares a checksum with the one of `length` bytes that was just read.
    fn check(
        &self,
        part: &'static str,
        found: u32,
        expected: u32,
        length: usize,
    ) -> Result<(), CompressionProblem> {
        if found == expected {
            return Ok(());
        }
        Err(CompressionProblem::Checksum {
            part,
            position: self.position - length,
            found,
            expected,
        })
    }
}

fn header_checksum(descriptor: &[u8]) -> u8 {
    (XxHash32::oneshot(0, descriptor) >> 8) as u8
}

const fn reason(error: &DecompressError) -> &'static str {
    match error {
        DecompressError::OutputTooSmall { .. } => "more comes out than a block may hold",
        DecompressError::LiteralOutOfBounds => "it ends within its literals",
        DecompressError::ExpectedAnotherByte => "it ends too early",
        DecompressError::OffsetZero => "it refers to itself",
        DecompressError::OffsetOutOfBounds => "it refers to what stands before the frame",
        _ => "it is malformed",
    }
}

#[cfg(test)]
mod tests;
