//! Opening a log: recovery first, then what has to be written before it may be served.

use std::io::ErrorKind;
use std::sync::Arc;

use crate::error::{Error, ErrorCode, Result};
use crate::limits::FOOTER_CACHE_BYTES_MAX;

use super::LogOptions;
use super::entry::Machine;
use super::error::OpenError;
use super::files::{Files, SegmentFile};
use super::index::{Adding, Index, SegmentIndex};
use super::keeper::{self, Keeper};
use super::mark::{MARK_BYTES, Mark};
use super::recovery::{self, Found, Place};
use super::segment::{self, ActiveSegment, SEGMENT_HEADER_BYTES};
use super::shared::{Parts, Shared};
use super::storage::Storage;
use super::syncer::Syncer;
#[cfg(test)]
use super::tests::mutant;
use super::writer::Writer;

/// The term of a new log.
const FIRST_TERM: u32 = 1;

/// What opening writes at most, in bytes: a segment that begins, and a mark in it.
const OPENING_BYTES: u64 = SEGMENT_HEADER_BYTES as u64 + MARK_BYTES;

/// Opens the log in `dir`, or creates it.
///
/// # Errors
/// [`OpenError`], as the caller is told of it.
pub(super) fn open(
    storage: Arc<dyn Storage>,
    dir: &str,
    log_uuid: [u8; 16],
    options: LogOptions,
    machine: Arc<dyn Machine>,
) -> Result<Shared> {
    let disk = Arc::clone(&storage);
    let opened = try_open(storage, dir, log_uuid, options, machine);
    opened.map_err(|error| match (error.code(), disk.free_bytes()) {
        (ErrorCode::DiskFull, Some(free)) => {
            let missing = OPENING_BYTES.saturating_sub(free);
            let message = format!(
                "the disk has no room to open log {dir}, which takes {OPENING_BYTES} bytes: {free} are \
                 free, {missing} are missing ({error})"
            );
            Error::new(ErrorCode::DiskFull, message).with_source(error)
        }
        _ => error,
    })
}

fn try_open(
    storage: Arc<dyn Storage>,
    dir: &str,
    log_uuid: [u8; 16],
    options: LogOptions,
    machine: Arc<dyn Machine>,
) -> Result<Shared> {
    let place = Place {
        storage: storage.as_ref(),
        dir,
        log_uuid: &log_uuid,
    };
    let mut found = recovery::recover(place, machine.as_ref())?;
    let term = next_term(place, &found)?;
    let now_ms = (options.clock)();
    prepare(place, &mut found, now_ms, term)?;
    let files = Files::new(Arc::clone(&storage), dir);
    let (mut active, active_file) = open_active(place, &found, &files)?;
    if term > found.last_term && term > FIRST_TERM {
        raise_term(
            &mut active,
            found.last_index,
            term,
            now_ms,
            options.segment_bytes,
        )?;
        active_file.set_end(active.position);
    }
    let syncer = Syncer::new(
        Arc::clone(&active.ahead),
        found.last_index,
        options.os_sync_interval_ms,
        options.idle_mark_ms,
    );
    let index = open_index(&found);
    let keeper = Keeper::new(keeper::start(place, &mut found).map_err(OpenError::from)?);
    // What was found may be kept until the first append; what lies where is the index's from here on.
    found
        .kept
        .iter_mut()
        .for_each(|kept| kept.index = Arc::default());
    found.cold.clear();
    let next_segment = found.next_segment(dir)?;
    let writer = Writer::new(active, active_file, next_segment, term, found);
    let dir = dir.to_owned();
    let parts = Parts {
        storage,
        dir,
        log_uuid,
        options,
        machine,
        files,
        index,
        keeper,
        syncer,
        writer,
    };
    Ok(Shared::new(parts))
}

/// The term to write in: the last one after a clean close, else a higher one.
fn next_term(place: Place<'_>, found: &Found) -> Result<u32, OpenError> {
    if found.is_empty() {
        return Ok(FIRST_TERM);
    }
    if found.is_clean {
        return Ok(found.last_term);
    }
    let last = found.last_term.max(FIRST_TERM);
    #[cfg(test)]
    if mutant::is(mutant::Mutant::TermKept) {
        return Ok(last);
    }
    if last >= i32::MAX as u32 {
        return Err(OpenError::Exhausted {
            path: place.dir.to_owned(),
            what: "term",
            last: u64::from(last),
        });
    }
    Ok(last + 1)
}

/// Does what recovery found to do. A log that was closed cleanly is left as it is until its first append.
fn prepare(place: Place<'_>, found: &mut Found, now_ms: i64, term: u32) -> Result<(), OpenError> {
    if found.is_settled() {
        return Ok(());
    }
    if found.is_empty() {
        place.storage.create_dir(place.dir)?;
    }
    if !found.is_clean {
        // Whoever created the folder may have been killed before its name was durable.
        let parent = place.dir.rsplit_once('/').map_or("", |(parent, _)| parent);
        place.storage.sync_dir(parent)?;
        found.rewrite(place)?;
    }
    found.begin_segment(place, now_ms, term)?;
    found.remove_cut(place)?;
    found.add_footers(place, now_ms)
}

/// The index of what was found.
fn open_index(found: &Found) -> Index {
    let Some((last, sealed)) = found.kept.split_last() else {
        return Index::new(0, SegmentIndex::new(0), FOOTER_CACHE_BYTES_MAX);
    };
    let active_index = SegmentIndex::clone(&last.index);
    let index = Index::new(last.header.segment, active_index, FOOTER_CACHE_BYTES_MAX);
    for kept in &found.cold {
        index.add_sealed(Adding {
            segment: kept.header.segment,
            index: Arc::clone(&kept.index),
            is_footed: kept.is_footed,
            is_cold: true,
        });
    }
    for kept in sealed {
        index.add_sealed(Adding {
            segment: kept.header.segment,
            index: Arc::clone(&kept.index),
            is_footed: kept.is_footed,
            is_cold: false,
        });
    }
    index
}

/// The segment to write to, and all segments to read from.
fn open_active(
    place: Place<'_>,
    found: &Found,
    files: &Files,
) -> Result<(ActiveSegment, Arc<SegmentFile>), OpenError> {
    let Some((last, sealed)) = found.kept.split_last() else {
        // `prepare` has begun one.
        return Err(OpenError::Io(ErrorKind::NotFound.into()));
    };
    for kept in &found.cold {
        files.add_cold(&kept.header, kept.end);
    }
    for kept in sealed {
        let header = &kept.header;
        let file = files.add(header.segment, header.first_index, kept.end, None);
        file.seal(kept.last_index);
    }
    let path = segment::path(place.dir, last.header.segment);
    let file = place.storage.open(&path, false)?;
    let is_reserving = place.storage.is_durable();
    let active = ActiveSegment::new(
        Arc::clone(&file),
        &last.header,
        last.end,
        last.length,
        is_reserving,
    );
    let entry = files.add(
        last.header.segment,
        last.header.first_index,
        last.end,
        Some(file),
    );
    Ok((active, entry))
}

/// Says that a new term began, durably, before anything is served in it.
fn raise_term(
    active: &mut ActiveSegment,
    last_index: u64,
    term: u32,
    time_ms: i64,
    segment_bytes: u64,
) -> Result<(), OpenError> {
    let mark = Mark {
        index: last_index,
        durable: last_index,
        time_ms,
        term,
        flags: 0,
    };
    active.reserve(active.position + MARK_BYTES, segment_bytes)?;
    mark.write(active)?;
    Ok(active.file.sync()?)
}
