//! Sealing a segment: a footer behind its frames, the file shortened to its data, and synced.
//!
//! A footer is rebuildable: where there is no room for one, the segment goes without, and its index stays in
//! memory.

use std::io::{self, IoSlice};
use std::sync::Arc;

use super::error::is_full;
use super::frame::{self, CrcSeed};
use super::index::{SegmentIndex, footer_header};
use super::shared::Shared;
use super::storage::StorageFile;

/// A segment that is written no more.
#[derive(Clone, Debug)]
pub(super) struct Sealed {
    pub(super) segment: u64,
    pub(super) file: Arc<dyn StorageFile>,
    /// Where its frames end.
    pub(super) end: u64,
    /// Index of its last entry.
    pub(super) last_index: u64,
    /// Term of its last frame.
    pub(super) term: u32,
}

/// What a footer says beside the index.
#[derive(Clone, Copy, Debug)]
pub(super) struct Footer<'a> {
    pub(super) log_uuid: &'a [u8; 16],
    /// The index known synced.
    pub(super) durable: u64,
    /// The wall clock, ms.
    pub(super) time_ms: i64,
}

impl Footer<'_> {
    /// Writes the footer behind the frames of a segment, and says where it ends; `None` if there is no
    /// space for it. Nothing is synced.
    ///
    /// # Errors
    /// The storage's.
    pub(super) fn write(self, sealed: &Sealed, index: &SegmentIndex) -> io::Result<Option<u64>> {
        let payload = index.encode();
        let durable = self.durable.min(sealed.last_index);
        let header = footer_header(
            payload.len(),
            sealed.last_index,
            durable,
            self.time_ms,
            sealed.term,
        );
        let seed = CrcSeed::new(self.log_uuid, sealed.segment);
        let bytes = frame::seal(header, seed, sealed.end, &payload);
        let slices = [IoSlice::new(&bytes), IoSlice::new(&payload)];
        match sealed.file.write_at(&slices, sealed.end) {
            Ok(()) => Ok(Some(sealed.end + header.padded_bytes())),
            Err(error) if is_full(&error) => {
                tracing::debug!(
                    segment = sealed.segment,
                    "no space for the footer of a segment"
                );
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

/// Seals a segment: afterwards its file ends with its data, is durable, and its index need not be kept in
/// memory.
///
/// # Errors
/// The storage's. Then nothing is known of the file.
pub(super) fn seal(log: &Shared, sealed: &Sealed) -> io::Result<()> {
    let mut end = sealed.end;
    let mut is_footed = false;
    let index = log.index.resident(sealed.segment);
    if let Some(index) = index.filter(|index| !index.is_empty()) {
        let footer = Footer {
            log_uuid: &log.log_uuid,
            durable: log.syncer.synced(),
            time_ms: (log.options.clock)(),
        };
        if let Some(footed) = footer.write(sealed, &index)? {
            end = footed;
            is_footed = true;
        }
    }
    sealed.file.truncate(end)?;
    if log.is_durable {
        sealed.file.sync()?;
    }
    if let Some(segment) = log.files.segment(sealed.segment) {
        segment.set_end(end);
        segment.set_trimmed();
    }
    if is_footed {
        log.index.set_footed(sealed.segment);
        log.keeper.note_footed(sealed.segment);
    }
    Ok(())
}
