//! The plain calls that a log cannot do without.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater::Durability;
use rustix::fs::FallocateFlags;

const MIB: usize = 1_024 * 1_024;

/// What a plain file is before it is written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ground {
    /// As long as what was written.
    Growing,
    /// It has its space, of which nothing was ever written.
    Reserved,
    /// It was written, with zeros.
    Written,
}

pub(crate) struct Floor {
    file: File,
}

impl Floor {
    pub(crate) fn new(folder: &Path) -> Self {
        let file = tempfile::tempfile_in(folder).expect("a file");
        Self { file }
    }

    /// Makes the file what it is to be, for so many bytes.
    pub(crate) fn prepare(&self, ground: Ground, bytes: u64) {
        if ground != Ground::Growing {
            rustix::fs::fallocate(&self.file, FallocateFlags::empty(), 0, bytes)
                .expect("the space");
        }
        if ground == Ground::Written {
            let zeros = vec![0; MIB];
            for position in (0..bytes).step_by(MIB) {
                let left = usize::try_from(bytes - position).expect("a length");
                let zeros = &zeros[..left.min(MIB)];
                self.file.write_all_at(zeros, position).expect("the zeros");
            }
        }
        self.file.sync_all().expect("the sync");
    }

    /// Time per batch: one `pwrite`, and `fdatasync` behind it where it has to be on the disk.
    pub(crate) fn times(&self, batch: &[u8], count: usize, ack: Durability) -> Vec<Duration> {
        let mut position = 0;
        let mut time = || {
            let payload = batch.to_vec();
            let begin = Instant::now();
            self.file
                .write_all_at(&payload, position)
                .expect("the write");
            if ack == Durability::Disk {
                self.file.sync_data().expect("the sync");
            }
            position += payload.len() as u64;
            begin.elapsed()
        };
        (0..count).map(|_| time()).collect()
    }
}
