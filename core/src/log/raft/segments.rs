//! The segments of a group's log: which there are, walking along them, and how one begins.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::sync::Arc;

use super::Home;
use super::control::{self, Vote};
use crate::error::{Error, ErrorCode, Result};
use crate::log::entry::Kind;
use crate::log::frame::{self, CrcSeed, FRAME_HEADER_BYTES, FrameHeader, PAYLOAD_VERSION};
use crate::log::order::Order;
use crate::log::scan::{Found, Scanner};
use crate::log::segment::{
    self, ActiveSegment, SEGMENT_HEADER_BYTES, SegmentHeader, VOTE_COMMITTED,
};
use crate::log::storage::error_of;

/// The place of an entry is remembered at least this many bytes apart.
/// (In tests closer, so that reading begins at many of them.)
const ANCHOR_BYTES: u64 = if cfg!(test) { 256 } else { 64 * 1_024 };

/// The number of the first segment of a log.
const FIRST_SEGMENT: u64 = 1;

/// A segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) header: SegmentHeader,
    /// Where its data ends.
    pub(super) end: u64,
    /// Indexes of some entries, and where they stand, in order; the first stands for the beginning.
    anchors: Vec<(u64, u64)>,
}

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    /// Which of the segments.
    pub(super) segment: usize,
    pub(super) position: u64,
}

/// Where the log is to end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    pub(super) at: At,
    /// The order there, of which the term is that of the last frame.
    pub(super) order: Order,
    /// The term of the last entry, if one stands before the cut.
    pub(super) entry_term: Option<u32>,
}

/// Whether a walk goes on.
pub(super) enum Step {
    Go,
    Stop,
}

/// All segments, in order; the last is written to.
#[derive(Debug, Default)]
pub(super) struct Segments {
    pub(super) list: VecDeque<Segment>,
}

impl Segment {
    pub(super) fn new(header: SegmentHeader, end: u64) -> Self {
        let anchors = vec![(header.first_index, SEGMENT_HEADER_BYTES as u64)];
        Self {
            header,
            end,
            anchors,
        }
    }

    /// Nothing stands behind the entry `index`, which ends at `end`.
    pub(super) fn shorten(&mut self, index: u64, end: u64) {
        self.end = end;
        let kept = self
            .anchors
            .partition_point(|(anchor, _)| *anchor <= index)
            .max(1);
        self.anchors.truncate(kept);
    }

    fn anchor(&mut self, index: u64, position: u64) {
        let last = self.anchors.last().copied().unwrap_or_default();
        if index > last.0 && position >= last.1 + ANCHOR_BYTES {
            self.anchors.push((index, position));
        }
    }

    /// The nearest place before the entry `index`.
    fn before(&self, index: u64) -> u64 {
        let later = self.anchors.partition_point(|(anchor, _)| *anchor <= index);
        let before = self.anchors.get(later.saturating_sub(1));
        before.map_or(SEGMENT_HEADER_BYTES as u64, |(_, position)| *position)
    }
}

impl Segments {
    /// Goes along the frames, beginning at the entry `from` or before it.
    ///
    /// # Errors
    /// `Corrupt` naming file and position; `Storage`.
    pub(super) fn walk(
        &mut self,
        home: &Home,
        from: u64,
        visit: &mut dyn FnMut(At, &FrameHeader, &[u8]) -> Step,
    ) -> Result<()> {
        let begun = self
            .list
            .partition_point(|segment| segment.header.first_index <= from);
        for at in begun.saturating_sub(1)..self.list.len() {
            let Some(segment) = self.list.get_mut(at) else {
                return Ok(());
            };
            if let Step::Stop = walk_segment(segment, home, from, |position, header, payload| {
                let at = At {
                    segment: at,
                    position,
                };
                visit(at, header, payload)
            })? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Where the log ends behind the entry `index`, or behind what comes before the first entry.
    ///
    /// # Errors
    /// As for [`walk`](Self::walk).
    pub(super) fn cut(&mut self, home: &Home, index: u64) -> Result<Option<Cut>> {
        let Some(first) = self.list.front() else {
            return Ok(None);
        };
        let mut cut = Cut {
            at: At {
                segment: 0,
                position: SEGMENT_HEADER_BYTES as u64,
            },
            order: Order {
                index: first.header.previous_index,
                term: first.header.previous_term,
            },
            entry_term: None,
        };
        self.walk(home, index, &mut |at, header, _| {
            if header.index > index {
                return Step::Stop;
            }
            cut.at = At {
                position: at.position + header.padded_bytes(),
                ..at
            };
            cut.order = Order {
                index: header.index,
                term: header.term,
            };
            if header.takes_index() {
                cut.entry_term = Some(header.term);
            }
            Step::Go
        })?;
        Ok((cut.order.index == index).then_some(cut))
    }
}

fn walk_segment(
    segment: &mut Segment,
    home: &Home,
    from: u64,
    mut visit: impl FnMut(u64, &FrameHeader, &[u8]) -> Step,
) -> Result<Step> {
    let mut position = segment.before(from);
    if position >= segment.end {
        return Ok(Step::Go);
    }
    let path = segment::path(&home.dir, segment.header.segment);
    let io = |error: io::Error| error_of(&error);
    let file = home.storage.open(&path, true).map_err(io)?;
    let seed = CrcSeed::new(&home.log_uuid, segment.header.segment);
    let mut scanner = Scanner::new(file.as_ref(), seed, segment.end);
    while position < segment.end {
        let header = match scanner.find(position).map_err(io)? {
            Found::Frame(header) => header,
            Found::End => return Err(corrupt(&path, position, &"zeros")),
            Found::Damage(error, _) => return Err(corrupt(&path, position, &error)),
        };
        if header.takes_index() {
            segment.anchor(header.index, position);
        }
        let payload = scanner.payload(position, &header).map_err(io)?;
        if let Step::Stop = visit(position, &header, payload) {
            return Ok(Step::Stop);
        }
        position += header.padded_bytes();
    }
    Ok(Step::Go)
}

fn corrupt(path: &str, position: u64, problem: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorCode::CorruptSegment,
        format!("{path}, position {position}: {problem}"),
    )
}

/// A segment that has begun, and is durable.
pub(super) struct Begun {
    pub(super) header: SegmentHeader,
    pub(super) active: ActiveSegment,
    /// The order behind what stands in it.
    pub(super) order: Order,
}

/// Begins segment `number` behind `at`, durably. Everything before is durable, up to `at`.
///
/// The order is the point: the name before any byte, so that bytes of this name are never an older file's;
/// the VOTE before the header, because from its header on the segment counts, and cuts. Zeros hold the
/// header's place until then: what a power cut leaves there is a header or none, and not somebody else's.
///
/// # Errors
/// The storage's. Then nothing is known of the file.
pub(super) fn begin(
    home: &Home,
    number: u64,
    at: Order,
    vote: &Vote,
    reached: u32,
) -> io::Result<Begun> {
    let first_index = at.index.checked_add(1);
    let header = SegmentHeader {
        log_uuid: home.log_uuid,
        segment: number,
        first_index: first_index
            .ok_or_else(|| io::Error::other("indexes have come to their end"))?,
        previous_index: at.index,
        previous_term: at.term,
        durable: at.index,
        created_ms: home.now_ms(),
        // No frame of a lower segment is of a higher term, also none that is cut.
        incarnation: reached,
        vote_term: vote.term.into(),
        vote_node: vote.node,
        vote_flags: if vote.is_committed { VOTE_COMMITTED } else { 0 },
        ..SegmentHeader::default()
    };
    let file = home.storage.create(&segment::path(&home.dir, number))?;
    home.storage.sync_dir(&home.dir)?;
    let start = SEGMENT_HEADER_BYTES as u64;
    let is_durable = home.storage.is_durable();
    let mut active = ActiveSegment::new(Arc::clone(&file), &header, start, start, is_durable);
    let mut order = at;
    let mut bytes = vec![0; SEGMENT_HEADER_BYTES];
    // Behind others always: a vote that is none must not leave that of a segment before it to be the last.
    if number > FIRST_SEGMENT || *vote != Vote::default() {
        order.term = at.term.max(1);
        // It promises nothing: before the header is there, `at` may be beyond the end of the log.
        let (frame, payload) = vote_frame(vote, order, 0, home.now_ms())?;
        push_frame(&mut bytes, active.seed, start, frame, &payload);
    }
    active.position = bytes.len() as u64;
    active.reserve(active.position, home.options.segment_bytes)?;
    file.write_at(&[IoSlice::new(&bytes)], 0)?;
    file.sync()?;
    file.write_at(&[IoSlice::new(&header.encode())], 0)?;
    file.sync()?;
    Ok(Begun {
        header,
        active,
        order,
    })
}

/// The VOTE frame that stands behind `order`, and its payload.
///
/// # Errors
/// `InvalidData` if it cannot be encoded, which no field of it allows.
pub(super) fn vote_frame(
    vote: &Vote,
    order: Order,
    durable: u64,
    time_ms: i64,
) -> io::Result<(FrameHeader, Vec<u8>)> {
    let invalid = |error: Error| io::Error::new(io::ErrorKind::InvalidData, error);
    let payload = control::encode(vote).map_err(invalid)?;
    let header = FrameHeader {
        len: (FRAME_HEADER_BYTES + payload.len()) as u32,
        crc: 0,
        index: order.index,
        durable,
        time_ms,
        term: order.term,
        partition: 0,
        kind: Kind::Vote.number(),
        flags: 0,
        version: PAYLOAD_VERSION,
        reserved: 0,
    };
    Ok((header, payload))
}

/// Appends a frame that will stand at `position`, with its padding, to `bytes`.
pub(super) fn push_frame(
    bytes: &mut Vec<u8>,
    seed: CrcSeed,
    position: u64,
    header: FrameHeader,
    payload: &[u8],
) {
    bytes.extend_from_slice(&frame::seal(header, seed, position, payload));
    bytes.extend_from_slice(payload);
    let padding = header.padded_bytes() - u64::from(header.len);
    bytes.resize(bytes.len() + padding as usize, 0);
}
