//! Snappy, in the frame of Java's clients (big-endian):
//!
//! ```text
//!  0 magic u8[8] = 0x82 "SNAPPY" 0x00
//!  8 version i32 = 1
//! 12 the oldest version that can read it i32 = 1
//! 16 blocks: length u32, bytes
//! ```
//!
//! A block is snappy's own format: how much comes out, as a varint, then what it is made of. What
//! begins with anything but the magic is one block without a frame, as librdkafka writes it. What
//! is written has the frame, in blocks of 32 KiB. Neither has a checksum: the batch has one.
//!
//! How much a block says will come out is believed only as far as its bytes can stand for it.

use snap::raw::{Decoder, decompress_len, max_compress_len};

use super::make_room;
use crate::record::CompressionProblem;

const MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const VERSION: u32 = 1;
const HEADER_BYTES: usize = MAGIC.len() + 4 + 4;
/// What a block of ours holds, as of Java's clients.
const BLOCK_BYTES: usize = 32 << 10;
/// The most bytes that so many bytes of a block can stand for: a copy of 64 is three bytes.
const EXPANSION: (usize, usize) = (64, 3);

/// Writes frames, with a table that is kept from one to the next.
pub(super) struct Encoder {
    encoder: Box<snap::raw::Encoder>,
}

impl Default for Encoder {
    fn default() -> Self {
        let encoder = Box::new(snap::raw::Encoder::new());
        Self { encoder }
    }
}

impl Encoder {
    /// Appends the frame that holds `section`; nothing, should the encoder fail.
    pub(super) fn compress(&mut self, section: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&MAGIC);
        out.extend_from_slice(&VERSION.to_be_bytes());
        out.extend_from_slice(&VERSION.to_be_bytes());
        for bytes in section.chunks(BLOCK_BYTES) {
            if self.append_block(bytes, out).is_err() {
                return out.clear();
            }
        }
    }

    fn append_block(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), snap::Error> {
        let at = out.len();
        out.extend_from_slice(&[0; 4]);
        let start = out.len();
        out.resize(start + max_compress_len(bytes.len()), 0);
        let space = out.get_mut(start..).unwrap_or_default();
        let length = self.encoder.compress(bytes, space)?;
        out.truncate(start + length);
        if let Some(place) = out.get_mut(at..start) {
            place.copy_from_slice(&(length as u32).to_be_bytes());
        }
        Ok(())
    }
}

/// What the frame or block `section` holds, at most `max` bytes.
pub(super) fn decompress(section: &[u8], max: usize) -> Result<Vec<u8>, CompressionProblem> {
    let mut out = Vec::new();
    if !section.starts_with(&MAGIC) {
        append(section, 0, &mut out, max)?;
        return Ok(out);
    }
    check_version(section)?;
    let mut position = HEADER_BYTES;
    while position < section.len() || out.is_empty() {
        let (length, block) = block_at(section, position)?;
        append(block, position + 4, &mut out, max)?;
        position += 4 + length;
    }
    Ok(out)
}

fn check_version(section: &[u8]) -> Result<(), CompressionProblem> {
    let oldest = section
        .get(HEADER_BYTES - 4..)
        .and_then(<[u8]>::first_chunk);
    match oldest.map(|oldest| u32::from_be_bytes(*oldest)) {
        Some(found) if found > VERSION => Err(CompressionProblem::Frame {
            reason: "it is of a version that is not known",
        }),
        Some(_) => Ok(()),
        None => Err(CompressionProblem::Cut {
            position: section.len(),
            part: "header",
        }),
    }
}

/// The block whose length stands at `position`.
fn block_at(section: &[u8], position: usize) -> Result<(usize, &[u8]), CompressionProblem> {
    let cut = |part| CompressionProblem::Cut {
        position: section.len(),
        part,
    };
    let rest = section.get(position..).unwrap_or_default();
    let (length, rest) = rest
        .split_first_chunk()
        .ok_or_else(|| cut("block length"))?;
    let length = u32::from_be_bytes(*length) as usize;
    let block = rest.get(..length).ok_or_else(|| cut("block"))?;
    Ok((length, block))
}

/// Appends what a block holds.
fn append(
    block: &[u8],
    position: usize,
    out: &mut Vec<u8>,
    max: usize,
) -> Result<(), CompressionProblem> {
    let damaged = |reason| CompressionProblem::Block { position, reason };
    let said = decompress_len(block).map_err(|error| damaged(reason(&error)))?;
    if said > max - out.len() {
        return Err(CompressionProblem::TooLarge { max });
    }
    let (most, of) = EXPANSION;
    if said > block.len().saturating_mul(most) / of {
        return Err(damaged("it says that it holds more than its bytes can"));
    }
    let start = out.len();
    make_room(out, said, max);
    out.resize(start + said, 0);
    let space = out.get_mut(start..).unwrap_or_default();
    let decoded = Decoder::new().decompress(block, space);
    decoded.map_err(|error| damaged(reason(&error)))?;
    Ok(())
}

const fn reason(error: &snap::Error) -> &'static str {
    match error {
        snap::Error::Empty => "it is empty",
        snap::Error::Header | snap::Error::TooBig { .. } => "its length cannot be read",
        snap::Error::HeaderMismatch { .. } => "less comes out than it says",
        snap::Error::Literal { .. } => "it ends within its literals",
        snap::Error::CopyRead { .. } => "it ends too early",
        snap::Error::CopyWrite { .. } => "more comes out than it says",
        snap::Error::Offset { .. } => "it refers to what stands before it",
        _ => "it is malformed",
    }
}

#[cfg(test)]
mod tests;
