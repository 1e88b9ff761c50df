//! What opening found, as far as keeping goes on from it.

use std::io;

use crate::log::checkpoint::Store;
use crate::log::recovery::{Found, Kept, Place};
use crate::log::snapshot;

/// What the log found when it was opened.
#[derive(Debug, Default)]
pub(in crate::log) struct Start {
    /// The store, if it is open.
    pub(in crate::log) store: Option<Store>,
    /// Whether the state began with the checkpoint, so that the next one says what has changed since.
    pub(in crate::log) is_from_checkpoint: bool,
    /// Sealed segments with a footer that the checkpoint's directory lacks.
    pub(in crate::log) unlisted: Vec<u64>,
    /// Bytes that were read behind the checkpoint.
    pub(in crate::log) logged_bytes: u64,
    /// Bytes that lie behind the newest snapshot, and its own.
    pub(in crate::log) snapshot_logged_bytes: u64,
    pub(in crate::log) snapshot_bytes: u64,
    /// Segments that lie behind it.
    pub(in crate::log) snapshot_segments: u32,
}

/// What opening found, for the keeper.
///
/// # Errors
/// The storage's.
pub(in crate::log) fn start(log: Place<'_>, found: &mut Found) -> io::Result<Start> {
    let snapshots = snapshot::list(log.storage, log.dir)?;
    let newest = snapshots.last().copied().unwrap_or_default();
    let sealed = found.kept.len().saturating_sub(1);
    let unlisted = found.kept.iter().take(sealed);
    let unlisted = unlisted.filter(|kept| kept.is_footed && !kept.is_listed);
    let cold = found.cold.iter().filter(|it| it.is_footed && !it.is_listed);
    let cold = cold.map(|kept| kept.header.segment);
    let is_behind = |kept: &&Kept| kept.header.segment >= newest;
    let behind: Vec<_> = found.kept.iter().filter(is_behind).collect();
    Ok(Start {
        is_from_checkpoint: found.is_from_checkpoint,
        unlisted: unlisted
            .map(|kept| kept.header.segment)
            .chain(cold)
            .collect(),
        logged_bytes: found.read_bytes,
        snapshot_segments: u32::try_from(behind.len()).unwrap_or(u32::MAX),
        snapshot_logged_bytes: behind.iter().map(|kept| kept.end).sum(),
        snapshot_bytes: snapshot::size(log.storage, log.dir, newest)?,
        store: found.store.take(),
    })
}
