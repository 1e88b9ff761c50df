//! The order of frames: which index and term the next one must carry.

use super::frame::{FrameError, FrameHeader};

/// Where in the order a walk along a log is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Order {
    /// Index of the last entry.
    pub(super) index: u64,
    /// Term of the last frame; 0 before the first.
    pub(super) term: u32,
}

impl Order {
    /// Takes the next frame.
    ///
    /// # Errors
    /// [`FrameError::Index`], [`FrameError::Term`], [`FrameError::Durable`]; then nothing was taken.
    pub(super) fn take(&mut self, header: &FrameHeader) -> Result<(), FrameError> {
        let expected = if header.takes_index() {
            self.index.saturating_add(1)
        } else {
            self.index
        };
        let found = header.index;
        if found != expected {
            return Err(FrameError::Index { found, expected });
        }
        let least = self.term.max(1);
        if header.term < least || header.term > i32::MAX as u32 {
            let found = header.term;
            return Err(FrameError::Term { found, least });
        }
        if header.durable > header.index {
            let (found, index) = (header.durable, header.index);
            return Err(FrameError::Durable { found, index });
        }
        self.index = header.index;
        self.term = header.term;
        Ok(())
    }

    /// Goes on at a frame behind damage: what stands there is where the order begins again.
    pub(super) fn resume_at(&mut self, header: &FrameHeader) {
        let before = u64::from(header.takes_index());
        self.index = header.index.saturating_sub(before);
        self.term = self.term.max(1).min(header.term);
    }
}
