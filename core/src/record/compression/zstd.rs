//! The zstd frame, by way of the reference implementation.
//!
//! A frame is decoded at once, into memory that is set aside by the bytes received and grows when
//! it was too little: so there is no window beside it, whose size would be a number in the frame.
//! What a frame says about how much it holds is used only to set aside less, or to refuse it early.
//! What is written says so, at the level that Kafka's clients have by default, and without zstd's
//! checksum: the batch has one.

use std::cell::RefCell;

use zstd_safe::zstd_sys::ZSTD_ErrorCode;
use zstd_safe::{CCtx, DCtx};

use crate::record::CompressionProblem;

const LEVEL: i32 = 3;
/// How many bytes are thought to come out of one: most batches have less in them.
const EXPANSION: usize = 16;
/// By how much memory grows that was too little: trying again costs a third of the last attempt.
const GROWTH: usize = 4;
/// What zstd answers when the memory was too little.
const TOO_SMALL: usize = (ZSTD_ErrorCode::ZSTD_error_dstSize_tooSmall as usize).wrapping_neg();

/// Writes frames, with tables that are kept from one to the next.
#[derive(Default)]
pub(super) struct Encoder {
    context: Option<CCtx<'static>>,
}

impl Encoder {
    /// Writes the frame that holds `section` into `out`; nothing, should memory be short.
    pub(super) fn compress(&mut self, section: &[u8], out: &mut Vec<u8>) {
        if self.context.is_none() {
            self.context = CCtx::try_create();
        }
        if let Some(context) = &mut self.context {
            out.reserve(zstd_safe::compress_bound(section.len()));
            if context.compress(out, section, LEVEL).is_err() {
                out.clear();
            }
        }
    }
}

/// What the frame `section` holds, at most `max` bytes.
pub(super) fn decompress(section: &[u8], max: usize) -> Result<Vec<u8>, CompressionProblem> {
    let said = zstd_safe::get_frame_content_size(section).ok().flatten();
    let said = said.map_or(max, |said| usize::try_from(said).unwrap_or(usize::MAX));
    if said > max {
        return Err(CompressionProblem::TooLarge { max });
    }
    CONTEXT.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = DCtx::try_create();
        }
        match kept {
            Some(context) => decode(context, section, said, max),
            None => Err(CompressionProblem::Frame {
                reason: "there is no memory to decode it",
            }),
        }
    })
}

thread_local! {
    /// What a frame is decoded with, some 100 KiB: to make it anew costs more than to decode a
    /// small frame.
    static CONTEXT: RefCell<Option<DCtx<'static>>> = const { RefCell::new(None) };
}

/// Decodes a frame that says it holds `said` bytes.
fn decode(
    context: &mut DCtx<'static>,
    section: &[u8],
    said: usize,
    max: usize,
) -> Result<Vec<u8>, CompressionProblem> {
    let mut room = section.len().saturating_mul(EXPANSION).min(said);
    loop {
        let mut out = Vec::with_capacity(room);
        match context.decompress(&mut out, section) {
            Ok(found) if found > max => return Err(CompressionProblem::TooLarge { max }),
            Ok(_) => return Ok(out),
            Err(TOO_SMALL) if room < max => room = room.saturating_mul(GROWTH).clamp(64, max),
            Err(TOO_SMALL) => return Err(CompressionProblem::TooLarge { max }),
            Err(code) => {
                return Err(CompressionProblem::Frame {
                    reason: zstd_safe::get_error_name(code),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
