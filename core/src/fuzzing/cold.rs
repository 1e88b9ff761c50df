//! A cold segment's file: see [`crate::log::cold::fuzzing`].

use super::Target;
use crate::log::cold::fuzzing;

pub(super) const COLD_SEGMENT: Target = Target {
    name: "cold_segment",
    run: fuzzing::run,
    seeds: || fuzzing::seeds(&super::records::batches()),
};
