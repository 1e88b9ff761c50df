//! What a faulty storage holds, and every operation on it, under its lock.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::super::image::{Image, end_of};
use super::names::Names;
use super::ranges::Ranges;
use super::{Action, Operation};

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) names: Names,
    pub(super) files: BTreeMap<u64, Inode>,
    pub(super) operations: Vec<Operation>,
    pub(super) faults: Faults,
    /// What was there, and durable, before the first operation.
    pub(super) base: Base,
    pub(super) last_write: Option<LastWrite>,
    pub(super) waiting_syncs: usize,
}

/// Durable names, and the length of each file.
#[derive(Clone, Debug, Default)]
pub(super) struct Base {
    pub(super) names: Names,
    pub(super) lengths: BTreeMap<u64, u64>,
}

#[derive(Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Image,
    pub(super) durable: Image,
    /// Written since a sync last began.
    pub(super) dirty: Ranges,
    /// Being synced.
    pub(super) in_flight: Ranges,
    /// The shortest the file has been since its last sync: what lay beyond is gone from the disk too.
    shortest: Option<u64>,
}

#[derive(Debug, Default)]
pub(super) struct Faults {
    pub(super) at: BTreeMap<u64, ErrorKind>,
    pub(super) is_next_sync_failing: bool,
    pub(super) power_off_at: Option<u64>,
    pub(super) space_bytes: Option<u64>,
    pub(super) are_syncs_paused: bool,
}

/// The last write and what it wrote over, until it is synced or the file's length changes.
#[derive(Debug)]
pub(super) struct LastWrite {
    pub(super) file: u64,
    pub(super) position: u64,
    pub(super) length: usize,
    pub(super) before: Image,
}

/// A sync that has begun: what it will make durable.
#[derive(Debug)]
pub(super) struct BegunSync {
    began_at: u64,
    ranges: Ranges,
    live: Image,
    shortest: Option<u64>,
}

impl Inode {
    /// A file of which everything is durable.
    pub(super) fn settled(image: Image) -> Self {
        Self {
            live: image.clone(),
            durable: image,
            ..Self::default()
        }
    }
}

impl State {
    pub(super) fn now(&self) -> u64 {
        self.operations.len() as u64
    }

    pub(super) fn check_power(&self) -> io::Result<()> {
        match self.faults.power_off_at {
            Some(off_at) if self.now() >= off_at => Err(io::Error::other("the power is off")),
            _ => Ok(()),
        }
    }

    /// The file of a handle: inodes are never removed while the storage lives.
    pub(super) fn inode(&mut self, file: u64) -> &mut Inode {
        self.files.entry(file).or_default()
    }

    /// Runs one operation on names, unless it is to fail, and records it.
    pub(super) fn run(
        &mut self,
        action: Action,
        path: &str,
        operation: impl FnOnce(&mut Self) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check_power()?;
        let file = self.names.live.file(path).copied().unwrap_or_default();
        let result = self.fault().and_then(|()| operation(self));
        self.record(action, path, file, &result);
        result
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<u64> {
        self.check_power()?;
        let file = self.files.len() as u64 + 1;
        let result = self.fault().and_then(|()| self.names.create(path, file));
        if result.is_ok() {
            self.files.insert(file, Inode::default());
        }
        self.record(Action::Create, path, file, &result);
        result.map(|()| file)
    }

    pub(super) fn write(
        &mut self,
        file: u64,
        path: &str,
        bytes: &[u8],
        position: u64,
    ) -> io::Result<()> {
        self.check_power()?;
        let mut result = self.fault();
        let mut count = if result.is_ok() {
            bytes.len()
        } else {
            bytes.len() / 2
        };
        let end = end_of(position, bytes.len())?;
        let free = self.free_bytes(file);
        if end > free && result.is_ok() {
            count = usize::try_from(free.saturating_sub(position)).unwrap_or(count);
            result = Err(ErrorKind::StorageFull.into());
        }
        let before = self.inode(file).live.clone();
        let inode = self.inode(file);
        inode.live.write_at(&bytes[..count], position)?;
        inode.dirty.insert(position..position + count as u64);
        self.last_write = Some(LastWrite {
            file,
            position,
            length: count,
            before,
        });
        let length = count as u64;
        self.record(Action::Write { position, length }, path, file, &result);
        result
    }

    pub(super) fn preallocate(
        &mut self,
        file: u64,
        path: &str,
        end_position: u64,
    ) -> io::Result<()> {
        self.check_power()?;
        let length = end_position.max(self.inode(file).live.length());
        self.set_length(Action::Preallocate { end_position }, file, path, length)
    }

    pub(super) fn truncate(&mut self, file: u64, path: &str, length: u64) -> io::Result<()> {
        self.check_power()?;
        self.set_length(Action::Truncate { length }, file, path, length)
    }

    fn set_length(&mut self, action: Action, file: u64, path: &str, length: u64) -> io::Result<()> {
        let free = self.free_bytes(file);
        let result = self.fault().and_then(|()| {
            let inode = self.inode(file);
            if length > free && length > inode.live.length() {
                return Err(ErrorKind::StorageFull.into());
            }
            inode.shortest = Some(length.min(inode.shortest.unwrap_or(length)));
            inode.live.set_length(length)
        });
        self.last_write.take_if(|last| last.file == file);
        self.record(action, path, file, &result);
        result
    }

    pub(super) fn begin_sync(&mut self, file: u64) -> io::Result<BegunSync> {
        self.check_power()?;
        let began_at = self.now();
        let inode = self.inode(file);
        let ranges = std::mem::take(&mut inode.dirty);
        ranges
            .iter()
            .for_each(|range| inode.in_flight.insert(range));
        Ok(BegunSync {
            began_at,
            ranges,
            live: inode.live.clone(),
            shortest: inode.shortest.take(),
        })
    }

    pub(super) fn end_sync(&mut self, file: u64, path: &str, begun: BegunSync) -> io::Result<()> {
        self.check_power()?;
        let mut result = self.fault();
        if std::mem::take(&mut self.faults.is_next_sync_failing) {
            result = Err(io::Error::other("sync failed by the test"));
        }
        let inode = self.inode(file);
        begun
            .ranges
            .iter()
            .for_each(|range| inode.in_flight.remove(range));
        if result.is_ok() {
            if let Some(shortest) = begun.shortest {
                let cut = shortest.min(inode.durable.length());
                inode.durable.set_length(cut)?;
            }
            inode.durable.set_length(begun.live.length())?;
            for range in begun.ranges.iter() {
                copy(&begun.live, &mut inode.durable, range)?;
            }
            self.last_write.take_if(|last| last.file == file);
        } else {
            // The pages count as clean now; that the file was shorter is in the journal all the same.
            inode.shortest = begun.shortest.into_iter().chain(inode.shortest).min();
        }
        self.record(Action::Sync, path, file, &result);
        if let Some(last) = self.operations.last_mut() {
            last.began_at = begun.began_at;
        }
        result
    }

    /// The fault set for the operation that runs now.
    fn fault(&mut self) -> io::Result<()> {
        let now = self.now();
        match self.faults.at.remove(&now) {
            Some(kind) => Err(io::Error::new(kind, "failed by the test")),
            None => Ok(()),
        }
    }

    /// How long this file may become.
    fn free_bytes(&self, file: u64) -> u64 {
        let Some(space) = self.faults.space_bytes else {
            return u64::MAX;
        };
        let others = self.names.live.files().filter(|(_, other)| **other != file);
        let lengths = others.filter_map(|(_, other)| self.files.get(other));
        space.saturating_sub(lengths.map(|inode| inode.live.length()).sum())
    }

    fn record(&mut self, action: Action, path: &str, file: u64, result: &io::Result<()>) {
        self.operations.push(Operation {
            action,
            path: path.to_owned(),
            file,
            began_at: self.now(),
            error: result.as_ref().err().map(io::Error::kind),
        });
    }
}

/// Copies the bytes of `range` that `from` has; `to` grows if they lie beyond its end.
pub(super) fn copy(from: &Image, to: &mut Image, range: std::ops::Range<u64>) -> io::Result<()> {
    let end = range.end.min(from.length());
    let mut position = range.start;
    while position < end {
        let count = (end - position).min(64 * 1_024);
        let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
        from.read_at(&mut bytes, position)?;
        to.write_at(&bytes, position)?;
        position += count;
    }
    Ok(())
}
