//! What is decoded from sockets and files, fed with anything: bodies shared by the fuzzer (`core/fuzz`)
//! and by a test that runs each of them over some thousands of damaged inputs.
//!
//! A target takes bytes and panics if something is wrong with our answer: a decoder that panics itself,
//! or says two things that contradict each other. Formats under a checksum are also tried with the
//! checksum put right, or nothing behind it would be reached. Feature `testing` only.

mod address;
mod blocks;
mod cold;
mod compression;
mod consumer_protocol;
mod folder;
mod group;
mod index;
mod log;
mod mutate;
mod protocol;
mod records;
mod segments;
mod service;
mod snapshot;
#[cfg(test)]
mod tests;

pub use mutate::Mutator;

/// One thing to feed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, also that of the fuzzer's binary.
    pub name: &'static str,
    /// Panics if the code under test is wrong about these bytes.
    pub run: fn(&[u8]),
    /// Inputs that are well formed: to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// Every target.
pub const TARGETS: &[Target] = &[
    records::RECORD_BATCH,
    records::VARINT,
    compression::COMPRESSED_RECORDS,
    blocks::RECEIVE_BLOCK,
    blocks::SEND_ROWS,
    blocks::COMPLETION_ROWS,
    folder::FOLDER_FORMAT,
    log::SEGMENT_FILE,
    log::LOG_FRAMES,
    group::GROUP_FRAMES,
    consumer_protocol::CONSUMER_PROTOCOL,
    index::FOOTER,
    snapshot::SNAPSHOT,
    cold::COLD_SEGMENT,
    service::SERVICE,
    protocol::OPENING,
    protocol::NATIVE_FRAMES,
    address::ADDRESS,
];

/// Runs the target of this name.
///
/// # Panics
/// If there is none, or as the target does.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name);
    (target
        .expect("the fuzzer's binaries are named after targets")
        .run)(bytes);
}
