//! Kafka's encoding: frames out of a stream, fields out of a frame, and fields into an answer.
//!
//! Whatever comes, nothing is indexed unchecked, and memory grows with the bytes that came, never by a number
//! among them.

mod frames;
mod malformed;
mod reader;
mod writer;

pub(crate) use frames::FrameReader;
pub(crate) use malformed::{Malformed, Problem};
pub(crate) use reader::Reader;
pub(crate) use writer::Writer;
