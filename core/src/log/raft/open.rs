//! Opening a group's log: recovery, and what has to be durable before anything is served.
//!
//! The term is the group's, so an open does not raise it, however the last one ended. What a crash took may
//! still lie on the disk, in the space behind the last frame, and a term that rose would tell it from what
//! comes. So an open that does not find a clean close **always begins a segment**: a cut, also where nothing
//! is damaged. Its header vouches for what was found, because a member that has told others of an entry has
//! promised it.

use std::collections::VecDeque;

use super::segments::{self, Segment, Segments};
use super::writer::Writer;
use super::{EntryId, Home};
use crate::error::Result;
use crate::log::error::OpenError;
use crate::log::frame::MARK_OPENED;
use crate::log::order::Order;
use crate::log::recovery::{self, Found};
use crate::log::segment::{self, ActiveSegment};

/// Opens the log at `home`, or creates it.
///
/// # Errors
/// [`OpenError`], as the caller is told of it.
pub(super) fn open(home: Home) -> Result<Writer> {
    Ok(try_open(home)?)
}

fn try_open(home: Home) -> std::result::Result<Writer, OpenError> {
    let place = home.place();
    let mut found = recovery::recover_group(place)?;
    if found.is_empty() {
        home.storage.create_dir(&home.dir)?;
    }
    // Whoever created the folder may have been killed before its name was durable.
    let parent = home.dir.rsplit_once('/').map_or("", |(parent, _)| parent);
    home.storage.sync_dir(parent)?;
    found.rewrite(place)?;
    let is_clean = found.is_clean;
    found.is_cut |= !is_clean;
    let mut writer = begin(home, &mut found)?;
    found.remove_cut(writer.home.place())?;
    if is_clean {
        say_open(&mut writer)?;
    }
    writer.remove_front()?;
    Ok(writer)
}

/// The writer, in the last segment there is, or in one that begins: the cut, if there is one to make.
fn begin(home: Home, found: &mut Found) -> std::result::Result<Writer, OpenError> {
    let mut vote = found.vote.unwrap_or_default();
    let mut order = Order {
        index: found.last_index,
        term: found.last_term,
    };
    let mut last = EntryId {
        index: found.last_index,
        term: found.last_entry.map_or(0, |entry| entry.term),
    };
    if vote.purged.index >= last.index {
        last = vote.purged;
    }
    let is_gap = vote.purged.index > order.index;
    if is_gap {
        order = Order {
            index: last.index,
            term: last.term,
        };
        found.is_cut = true;
    }
    if vote.committed.index > last.index {
        vote.committed = last;
    }
    let terms = found.kept.iter().map(|kept| kept.header.term());
    let reached = terms.fold(vote.term.max(order.term), u32::max);
    let number = found.next_segment(&home.dir)?;
    // Across a gap the one before stays until the front goes: its vote is what allows the gap.
    if found.is_cut && !is_gap {
        // The one that begins says all that an empty one does, unless a mark in it raised the term: it has to
        // go on from that. Crash after crash would leave one each.
        let empty = found.kept.pop_if(|kept| {
            let previous = (kept.header.previous_index, kept.header.previous_term);
            previous == (kept.last_index, kept.last_term)
        });
        let empty = empty.map(|kept| kept.header.segment);
        found.doomed.extend(empty);
    }
    let list = found.kept.iter();
    let list: VecDeque<_> = list
        .map(|kept| Segment::new(kept.header, kept.end))
        .collect();
    let (segments, active) = match found.kept.last() {
        Some(kept) if !found.is_cut => {
            let path = segment::path(&home.dir, kept.header.segment);
            let file = home.storage.open(&path, false)?;
            let is_durable = home.storage.is_durable();
            let active = ActiveSegment::new(file, &kept.header, kept.end, kept.length, is_durable);
            (Segments { list }, active)
        }
        _ => {
            let begun = segments::begin(&home, number, order, &vote, reached)?;
            order = begun.order;
            found.take_begun(begun.header, begun.active.position);
            let mut segments = Segments { list };
            let segment = Segment::new(begun.header, begun.active.position);
            segments.list.push_back(segment);
            (segments, begun.active)
        }
    };
    let next_segment = found.next_segment(&home.dir)?;
    Ok(Writer {
        home,
        segments,
        active,
        next_segment,
        order,
        last,
        vote,
        synced: order.index,
        is_dirty: false,
        reached,
        ended: None,
    })
}

/// Says, durably, that the log that was closed cleanly is open.
fn say_open(writer: &mut Writer) -> std::result::Result<(), OpenError> {
    Ok(writer
        .write_mark(MARK_OPENED)
        .and_then(|()| writer.active.file.sync())?)
}
