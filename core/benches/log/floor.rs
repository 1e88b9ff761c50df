//! The plain calls that a log cannot do without.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use headwater::Durability;

pub(crate) struct Floor {
    file: File,
}

impl Floor {
    pub(crate) fn new(folder: &Path) -> Self {
        let file = tempfile::tempfile_in(folder).expect("a file");
        Self { file }
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
