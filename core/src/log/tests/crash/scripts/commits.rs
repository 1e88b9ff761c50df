//! Commits of both versions.

use super::*;
use crate::log::control::{DetailedOffsetCommit, OFFSET_COMMIT_VERSION, OffsetCommit};

/// An offset commit of about `len` bytes.
pub(super) fn commit(stage: &mut Stage, len: usize) -> Request {
    let value = stage.value(len);
    let commit = OffsetCommit {
        group: value.iter().map(|byte| char::from(byte & 0x7f)).collect(),
        generation: stage.value(8)[0].into(),
        offsets: Vec::new(),
    };
    if len.is_multiple_of(2) {
        return control(Kind::OffsetCommit, 0, &commit);
    }
    Request {
        version: OFFSET_COMMIT_VERSION,
        ..control(Kind::OffsetCommit, 0, &DetailedOffsetCommit::from(commit))
    }
}
