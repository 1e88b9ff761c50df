//! The frames of a cold segment: each was durable before the segment had its name, so damage is damage.

use std::io::ErrorKind;
use std::ops::ControlFlow;

use super::walk::{Flow, parts_of};
use super::{Damage, FoundCold, FoundFrame, FoundSegment, Item, Reader, Visit};
use crate::log::Kind;
use crate::log::cold::{self, ColdFile};
use crate::log::frame::{CrcSeed, FrameError};
use crate::log::scan::{Found, Scanner};
use crate::log::segment::SEGMENT_HEADER_BYTES;

/// Tells of a cold segment and its frames, and goes on behind damage.
///
/// # Errors
/// The storage's.
pub(super) fn read(reader: &Reader<'_>, file: &ColdFile, visit: &mut Visit<'_>) -> Flow {
    let header = &file.header;
    let segment = header.segment;
    let path = cold::path(&reader.dir, segment);
    if tell_segment(&path, file, visit).is_break() {
        return Ok(ControlFlow::Break(()));
    }
    let opened = match reader.storage.open(&path, true) {
        // Its owner has cleaned it away meanwhile.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(ControlFlow::Continue(())),
        opened => opened?,
    };
    let seed = CrcSeed::new(&reader.log_uuid, segment);
    let end = header.frames_end.min(opened.length()?);
    let mut scanner = Scanner::new(opened.as_ref(), seed, end);
    let mut position = SEGMENT_HEADER_BYTES as u64;
    let (mut batches, mut is_damaged) = (0, false);
    loop {
        let (problem, about) = match scanner.find(position)? {
            Found::End => break,
            Found::Damage(error, about) => (error, about),
            Found::Frame(header) => match parts_of(&header, scanner.payload(position, &header)?) {
                Err(error) => (error, Some(header)),
                Ok(parts) => {
                    let frame = Item::Frame(FoundFrame {
                        segment,
                        position,
                        header,
                        parts,
                        is_cut: false,
                        is_cold: true,
                    });
                    if visit(&frame).is_break() {
                        return Ok(ControlFlow::Break(()));
                    }
                    batches += 1;
                    position += header.padded_bytes();
                    continue;
                }
            },
        };
        is_damaged = true;
        let about = about.filter(|about| about.kind == Kind::Records.number());
        let partition = about.map(|about| about.partition);
        if tell(&path, position, &problem, partition, visit).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        match scanner.search(position + 1)? {
            Some((next, _)) => position = next,
            None => break,
        }
    }
    if !is_damaged && batches != header.batches {
        let remaining = end.saturating_sub(position);
        return Ok(tell(
            &path,
            position,
            &FrameError::TooShort { remaining },
            None,
            visit,
        ));
    }
    Ok(ControlFlow::Continue(()))
}

fn tell_segment(path: &str, file: &ColdFile, visit: &mut Visit<'_>) -> ControlFlow<()> {
    visit(&Item::Segment(FoundSegment {
        path,
        length: file.length,
        header: None,
        is_cut: false,
        cold: Some(FoundCold {
            segment: file.header.segment,
            batches: file.header.batches,
            created_ms: file.header.created_ms,
        }),
    }))
}

fn tell(
    path: &str,
    position: u64,
    problem: &FrameError,
    partition: Option<u32>,
    visit: &mut Visit<'_>,
) -> ControlFlow<()> {
    visit(&Item::Damage(Damage {
        path,
        position,
        problem: problem.to_string(),
        index: 0,
        durable: 0,
        is_promised: true,
        partition,
    }))
}
