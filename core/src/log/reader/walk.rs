//! The walk itself: segment after segment, frame after frame, and on behind damage.

use std::io::{self, ErrorKind};
use std::ops::ControlFlow;
use std::sync::Arc;

use super::{Candidate, Damage, Ending, FoundFrame, FoundSegment, Item, Reader, Visit};
use crate::log::Kind;
use crate::log::control::{self, Vote};
use crate::log::error::{OpenError, Problem};
use crate::log::frame::{CrcSeed, FrameError, FrameHeader};
use crate::log::order::Order;
use crate::log::rebuild;
use crate::log::recovery::{Limits, Reached};
use crate::log::replay::effect_of;
use crate::log::scan::{Found, Scanner};
use crate::log::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use crate::log::set::Part;
use crate::log::storage::StorageFile;

/// One reading of a log's files.
pub(super) struct Walk<'a, 'v> {
    reader: &'a Reader<'a>,
    visit: &'a mut Visit<'v>,
    limits: Limits,
    order: Order,
    durable: u64,
    is_clean: bool,
    /// Whether `durable` knows of everything behind the first damage too.
    is_rest_searched: bool,
    /// Whether a place was passed that was never promised: nothing behind it is the log's.
    is_torn: bool,
    /// Whether the end of the last segment could not be read.
    is_lost: bool,
}

/// What came of looking at a position.
enum Step {
    Frame(u64),
    End,
    Damage(FrameError, Option<FrameHeader>),
    Stop,
}

/// Whether to go on.
pub(super) type Flow = Result<ControlFlow<()>, OpenError>;

impl<'a, 'v> Walk<'a, 'v> {
    pub(super) fn new(reader: &'a Reader<'a>, visit: &'a mut Visit<'v>) -> Self {
        Self {
            reader,
            visit,
            limits: Limits::new(&reader.segments, Reached::default()),
            order: Order::default(),
            durable: 0,
            is_clean: false,
            is_rest_searched: false,
            is_torn: false,
            is_lost: false,
        }
    }

    /// Where it has come to.
    pub(super) fn ending(&self) -> Ending {
        Ending {
            last_index: self.order.index,
            durable: self.durable.min(self.order.index),
            term: self.order.term,
            is_clean: self.is_clean,
        }
    }

    /// Reads one of the reader's segments, after those before it.
    ///
    /// # Errors
    /// [`OpenError`] of the storage, and for a frame of a newer version.
    pub(super) fn segment(&mut self, at: usize) -> Flow {
        let Some(listed) = self.reader.segments.get(at) else {
            return Ok(ControlFlow::Continue(()));
        };
        let (header, limit) = (listed.header_after(self.order.term), self.limits.of(at));
        let is_cut = self.is_torn
            || match &header {
                Ok(header) => header.previous_index > limit,
                // Never finished, and left behind by a later cut.
                Err(error) => error.may_be_torn() && self.order.index >= limit,
            };
        let found = Item::Segment(FoundSegment {
            path: &listed.path,
            length: listed.length,
            header: header.as_ref().ok(),
            is_cut,
            cold: None,
        });
        if (self.visit)(&found).is_break() {
            return Ok(ControlFlow::Break(()));
        }
        let start = SEGMENT_HEADER_BYTES as u64;
        match &header {
            _ if is_cut => self.cut_frames(listed, start),
            Ok(header) => {
                if let Some(problem) = self.take_header(at, header)?
                    && self.damage(at, 0, problem, None)?.is_break()
                {
                    return Ok(ControlFlow::Break(()));
                }
                if self.is_torn {
                    return self.cut_frames(listed, start);
                }
                self.order = Order {
                    index: header.previous_index,
                    term: header.previous_term,
                };
                self.frames(at, listed)
            }
            Err(error) => {
                let told = self.damage(at, 0, error.clone().into(), None)?;
                if told.is_break() {
                    return Ok(told);
                }
                if self.is_torn {
                    return self.cut_frames(listed, start);
                }
                // Its frames can be read without it: where they go on is told by the first of them.
                self.resume(at, listed, start)
            }
        }
    }

    /// Whether the segment goes on where the log ends.
    fn take_header(
        &mut self,
        at: usize,
        header: &SegmentHeader,
    ) -> Result<Option<Problem>, OpenError> {
        self.promise(header.durable);
        let found = Order {
            index: header.previous_index,
            term: header.previous_term,
        };
        let is_lost = std::mem::take(&mut self.is_lost);
        let is_front = at == 0 && self.reader.base.is_some();
        if is_front || found == self.order || (is_lost && found.index >= self.order.index) {
            return Ok(None);
        }
        // Of a group's log: what is missing was purged, for its member had a snapshot instead.
        if found.index > self.order.index && self.purged_from(at)? >= Some(found.index) {
            return Ok(None);
        }
        if at == 0 {
            // Promised by those who put it at the front.
            self.promise(header.previous_index);
        }
        Ok(Some(Problem::Chain {
            index: found.index,
            term: found.term,
            last_index: self.order.index,
            last_term: self.order.term,
        }))
    }

    /// Up to which index a group's log is purged, as one of its VOTE frames from this segment on says.
    fn purged_from(&self, at: usize) -> Result<Option<u64>, OpenError> {
        let mut purged = None;
        for listed in self.reader.segments.iter().skip(at) {
            let file = self.open(listed)?;
            let mut scanner = self.scanner(listed, file.as_ref())?;
            let mut position = SEGMENT_HEADER_BYTES as u64;
            while let Some((found, header)) = scanner.search(position)? {
                position = found + header.padded_bytes();
                if header.known_kind() == Some(Kind::Vote)
                    && let Ok(vote) = control::decode::<Vote>(scanner.payload(found, &header)?)
                {
                    purged = purged.max(Some(vote.purged.index));
                }
            }
        }
        Ok(purged)
    }

    fn frames(&mut self, at: usize, listed: &Candidate) -> Flow {
        self.frames_from(at, listed, SEGMENT_HEADER_BYTES as u64)
    }

    fn frames_from(&mut self, at: usize, listed: &Candidate, start: u64) -> Flow {
        let file = self.open(listed)?;
        let mut scanner = self.scanner(listed, file.as_ref())?;
        let mut position = start;
        let mut looked_again_at = None;
        loop {
            let step = match self.step(&mut scanner, at, listed, position) {
                // Its owner has just closed it, and shortened it to its data.
                Err(OpenError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                    scanner.refresh(file.length()?);
                    self.step(&mut scanner, at, listed, position)?
                }
                step => step?,
            };
            match step {
                Step::Stop => return Ok(ControlFlow::Break(())),
                Step::End => return Ok(ControlFlow::Continue(())),
                Step::Frame(next) => position = next,
                Step::Damage(..) if self.order.index >= self.limits.of(at) => {
                    return self.cut_frames(listed, position);
                }
                Step::Damage(..) if looked_again_at != Some(position) => {
                    self.search_rest(at, position)?;
                    scanner.refresh(file.length()?);
                    looked_again_at = Some(position);
                }
                Step::Damage(error, header) => {
                    let about = header.filter(|header| header.kind == Kind::Records.number());
                    let partition = about.map(|header| header.partition);
                    if self
                        .damage(at, position, error.into(), partition)?
                        .is_break()
                    {
                        return Ok(ControlFlow::Break(()));
                    }
                    if self.is_torn {
                        return self.cut_frames(listed, position);
                    }
                    return self.resume(at, listed, position + 1);
                }
            }
        }
    }

    /// Goes on at the next frame from `position` on, if there is one.
    fn resume(&mut self, at: usize, listed: &Candidate, position: u64) -> Flow {
        let file = self.open(listed)?;
        match self.scanner(listed, file.as_ref())?.search(position)? {
            None => {
                self.is_lost = true;
                Ok(ControlFlow::Continue(()))
            }
            Some((found, header)) => {
                self.order.resume_at(&header);
                self.frames_from(at, listed, found)
            }
        }
    }

    fn step(
        &mut self,
        scanner: &mut Scanner<'_>,
        at: usize,
        listed: &Candidate,
        position: u64,
    ) -> Result<Step, OpenError> {
        let header = match scanner.find(position)? {
            Found::End => return Ok(Step::End),
            Found::Damage(error, header) => return Ok(Step::Damage(error, header)),
            Found::Frame(header) => header,
        };
        let reached = Reached {
            segment: listed.segment,
            term: header.term,
        };
        self.limits.reach(&self.reader.segments, reached);
        let is_cut = header.index > self.limits.of(at);
        let payload = scanner.payload(position, &header)?;
        let parts = match parts_of(&header, payload) {
            Ok(parts) => parts,
            Err(source @ FrameError::TooNew { .. }) => {
                return Err(OpenError::FrameTooNew {
                    path: listed.path.clone(),
                    position,
                    source,
                });
            }
            Err(error) => return Ok(Step::Damage(error, Some(header))),
        };
        if !is_cut {
            if let Err(error) = self.order.take(&header) {
                return Ok(Step::Damage(error, Some(header)));
            }
            self.is_clean = header.is_closed_mark();
            self.promise(header.durable);
        }
        let frame = Item::Frame(FoundFrame {
            segment: listed.segment,
            position,
            header,
            parts,
            is_cut,
            is_cold: false,
        });
        if (self.visit)(&frame).is_break() {
            return Ok(Step::Stop);
        }
        Ok(Step::Frame(position + header.padded_bytes()))
    }

    /// Tells of the frames from `position` on, none of which is the log's.
    fn cut_frames(&mut self, listed: &Candidate, position: u64) -> Flow {
        let file = self.open(listed)?;
        let mut scanner = self.scanner(listed, file.as_ref())?;
        let mut at = position;
        while let Some((position, header)) = scanner.search(at)? {
            at = position + header.padded_bytes();
            // One that is damaged inside was told of before, or is nobody's concern.
            let Ok(parts) = parts_of(&header, scanner.payload(position, &header)?) else {
                continue;
            };
            let frame = Item::Frame(FoundFrame {
                segment: listed.segment,
                position,
                header,
                parts,
                is_cut: true,
                is_cold: false,
            });
            if (self.visit)(&frame).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Judges a place where the log is not what it should be, and tells of it.
    fn damage(
        &mut self,
        at: usize,
        position: u64,
        problem: Problem,
        partition: Option<u32>,
    ) -> Flow {
        self.search_rest(at, position.max(SEGMENT_HEADER_BYTES as u64))?;
        let index = self.order.index.saturating_add(1);
        let is_promised = index <= self.durable || !problem.may_be_torn();
        self.is_torn = !is_promised;
        self.is_clean = false;
        let Some(listed) = self.reader.segments.get(at) else {
            return Ok(ControlFlow::Continue(()));
        };
        Ok((self.visit)(&Item::Damage(Damage {
            path: &listed.path,
            position,
            problem: problem.to_string(),
            index,
            durable: self.durable,
            is_promised,
            partition,
        })))
    }

    /// Finds out what the frames and headers from a place on promise; once is enough.
    fn search_rest(&mut self, at: usize, position: u64) -> Result<(), OpenError> {
        if std::mem::replace(&mut self.is_rest_searched, true) {
            return Ok(());
        }
        let mut position = position;
        for listed in self.reader.segments.iter().skip(at) {
            if let Ok(header) = &listed.header {
                self.promise(header.durable);
            }
            let file = self.open(listed)?;
            let mut scanner = self.scanner(listed, file.as_ref())?;
            while let Some((found, header)) = scanner.search(position)? {
                self.promise(header.durable);
                position = found + header.padded_bytes();
            }
            position = SEGMENT_HEADER_BYTES as u64;
        }
        Ok(())
    }

    fn promise(&mut self, durable: u64) {
        self.durable = self.durable.max(durable);
    }

    fn open(&self, listed: &Candidate) -> io::Result<Arc<dyn StorageFile>> {
        self.reader.storage.open(&listed.path, true)
    }

    fn scanner<'f>(
        &self,
        listed: &Candidate,
        file: &'f dyn StorageFile,
    ) -> io::Result<Scanner<'f>> {
        let seed = CrcSeed::new(&self.reader.log_uuid, listed.segment);
        Ok(Scanner::new(file, seed, file.length()?))
    }
}

/// What a frame holds, with every checksum checked that the frame's own does not cover.
pub(super) fn parts_of<'a>(
    header: &FrameHeader,
    payload: &'a [u8],
) -> Result<Vec<Part<'a>>, FrameError> {
    let known = header.known_kind().filter(|kind| {
        let is_read = kind.is_supported() || kind.is_of_group();
        *kind == Kind::Footer || (is_read && kind.reads_version(header.version))
    });
    let Some(kind) = known else {
        let (kind, version) = (header.kind, header.version);
        return if header.may_skip() {
            Ok(Vec::new())
        } else {
            Err(FrameError::TooNew { kind, version })
        };
    };
    if !kind.takes_index() && kind != Kind::Vote {
        return Ok(Vec::new());
    }
    let parts = rebuild::parts_of(kind, header, payload)?;
    for part in &parts {
        effect_of(part)?;
    }
    Ok(parts)
}
