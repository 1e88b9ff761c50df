//! How records are kept: frames in segments, one log for everything.

pub mod storage;
