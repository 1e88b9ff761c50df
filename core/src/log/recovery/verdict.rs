//! What to make of a place where the log does not go on: damage to what was promised, or the end of what
//! ever was.

use super::Walk;
use crate::log::entry::Kind;
use crate::log::error::{Damage, OpenError, Problem};
use crate::log::frame::{CrcSeed, FrameError, FrameHeader};
use crate::log::scan::Scanner;
use crate::log::segment::{self, SEGMENT_HEADER_BYTES};
use crate::record::BatchHeader;

/// Where a walk ended before its time.
pub(super) struct Failure {
    pub(super) candidate: usize,
    pub(super) position: u64,
    pub(super) problem: Problem,
    pub(super) about: Option<(u32, Option<i64>)>,
}

impl Walk<'_> {
    /// Decides about a failure: damage to what was promised, or the end of what ever was.
    pub(super) fn judge(&mut self, failure: Failure) -> Result<(), OpenError> {
        let bad_index = self.order.index.saturating_add(1);
        let durable = self.durable.max(self.search(&failure)?);
        let is_torn = failure.problem.may_be_torn();
        if bad_index <= durable || !is_torn {
            let segment = self
                .candidates
                .get(failure.candidate)
                .map_or(0, |bad| bad.segment);
            return Err(OpenError::Corrupt(Box::new(Damage {
                path: segment::path(self.place.dir, segment),
                position: failure.position,
                problem: failure.problem,
                index: bad_index,
                durable,
                about: failure.about,
            })));
        }
        let kept_segment = self.kept.last().map(|kept| kept.header.segment);
        let behind = self
            .candidates
            .iter()
            .skip(failure.candidate)
            .map(|bad| bad.segment);
        self.doomed
            .extend(behind.filter(|segment| Some(*segment) != kept_segment));
        Ok(())
    }

    /// The largest `durable` of any valid frame or header from a failure on.
    fn search(&self, failure: &Failure) -> Result<u64, OpenError> {
        let mut durable = 0;
        for (at, candidate) in self.candidates.iter().enumerate().skip(failure.candidate) {
            let mut position = SEGMENT_HEADER_BYTES as u64;
            if at == failure.candidate {
                position = position.max(failure.position);
            }
            if let Ok(header) = &candidate.header {
                durable = durable.max(header.durable);
            }
            let path = segment::path(self.place.dir, candidate.segment);
            let file = self.place.storage.open(&path, true);
            let file = file?;
            let seed = CrcSeed::new(self.place.log_uuid, candidate.segment);
            let mut scanner = Scanner::new(file.as_ref(), seed, candidate.length);
            loop {
                let found = scanner.search(position);
                let found = found?;
                let Some((found_at, header)) = found else {
                    break;
                };
                durable = durable.max(header.durable);
                position = found_at + header.padded_bytes();
            }
        }
        Ok(durable)
    }
}

impl Failure {
    pub(super) fn header(candidate: usize, problem: Problem) -> Self {
        Self {
            candidate,
            position: 0,
            problem,
            about: None,
        }
    }

    pub(super) fn frame(
        candidate: usize,
        position: u64,
        error: FrameError,
        frame: Option<FrameHeader>,
    ) -> Self {
        let about = frame.filter(|frame| frame.kind == Kind::Records as u8);
        let about = about.map(|frame| (frame.partition, None));
        Self {
            candidate,
            position,
            problem: error.into(),
            about,
        }
    }

    /// Reads which offset a damaged batch speaks of; its frame's checksum has vouched for these bytes.
    pub(super) fn read_about(&mut self, payload: &[u8]) {
        if let (Some((_, offset)), Ok(batch)) = (&mut self.about, BatchHeader::parse(payload)) {
            *offset = Some(batch.base_offset);
        }
    }
}
