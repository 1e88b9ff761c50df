//! One file: what the process sees of it, what the disk holds, and what is on its way between the two.

use std::io;
use std::ops::Range;

use super::super::image::Image;
use super::random::Random;
use super::ranges::Ranges;

pub(super) const SECTOR_BYTES: u64 = 512;

#[derive(Clone, Debug, Default)]
pub(super) struct Inode {
    pub(super) live: Image,
    pub(super) durable: Image,
    /// Written since a sync last began.
    pub(super) dirty: Ranges,
    /// Being synced.
    pub(super) in_flight: Ranges,
    /// Dropped by failed syncs: the cache shows these bytes, and nothing will write them.
    pub(super) lost: Ranges,
    /// Bytes that were written and are durable. What else lies below `durable`'s end is space that was
    /// reserved, or whatever a crash left there.
    pub(super) solid: Ranges,
    /// The shortest the file has been since its last sync: what lay beyond is gone from the disk too.
    shortest: Option<u64>,
}

/// A sync that has begun: what it will make durable.
#[derive(Debug)]
pub(super) struct BegunSync {
    ranges: Ranges,
    live: Image,
    shortest: Option<u64>,
}

impl Inode {
    /// A file whose bytes are all durable, `solid` of them because they were written.
    pub(super) fn settled(image: Image, solid: Ranges) -> Self {
        Self {
            live: image.clone(),
            durable: image,
            solid,
            ..Self::default()
        }
    }

    pub(super) fn write(&mut self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.live.write_at(bytes, position)?;
        let range = position..position + bytes.len() as u64;
        self.lost.remove(range.clone());
        self.dirty.insert(range);
        Ok(())
    }

    pub(super) fn set_length(&mut self, length: u64) -> io::Result<()> {
        self.shortest = Some(length.min(self.shortest.unwrap_or(length)));
        self.lost.remove(length..u64::MAX);
        self.live.set_length(length)
    }

    pub(super) fn begin_sync(&mut self) -> BegunSync {
        let ranges = std::mem::take(&mut self.dirty);
        self.in_flight.insert_all(&ranges);
        BegunSync {
            ranges,
            live: self.live.clone(),
            shortest: self.shortest.take(),
        }
    }

    pub(super) fn finish_sync(&mut self, begun: &BegunSync) -> io::Result<()> {
        self.in_flight.remove_all(&begun.ranges);
        self.cut_durable(begun.shortest)?;
        self.durable.set_length(begun.live.length())?;
        for range in begun.ranges.iter() {
            copy(&begun.live, &mut self.durable, range.clone())?;
            self.solid
                .insert(range.start..range.end.min(begun.live.length()));
        }
        Ok(())
    }

    /// The pages count as clean now, though not all of them (`written`: some, by this seed; else none)
    /// were written. That the file was shorter is in the journal all the same.
    pub(super) fn fail_sync(&mut self, begun: &BegunSync, written: Option<u64>) -> io::Result<()> {
        self.in_flight.remove_all(&begun.ranges);
        self.shortest = begun.shortest.into_iter().chain(self.shortest).min();
        let mut lost = begun.ranges.clone();
        if let Some(seed) = written {
            let mut random = Random(seed);
            for sector in begun.ranges.iter().flat_map(sectors) {
                if random.coin() {
                    copy(&begun.live, &mut self.durable, sector.clone())?;
                    self.solid.insert(sector.clone());
                    lost.remove(sector);
                }
            }
        }
        lost.remove_all(&self.dirty);
        self.lost.insert_all(&lost);
        Ok(())
    }

    /// The cache lets go of clean pages: of what failed syncs dropped, the disk's bytes are seen now.
    pub(super) fn evict(&mut self) -> io::Result<()> {
        self.live = self.arrived()?;
        self.lost = Ranges::default();
        Ok(())
    }

    /// What the disk holds once everything that is on its way has arrived.
    pub(super) fn arrived(&self) -> io::Result<Image> {
        let mut image = self.live.clone();
        for range in self.lost.iter() {
            copy_or_zero(&self.durable, &mut image, range)?;
        }
        Ok(image)
    }

    /// What the disk holds once the file's length has arrived, and no byte: new ones read as zero. With
    /// the bytes that are there because they were written.
    pub(super) fn lengthened(&self) -> io::Result<(Image, Ranges)> {
        let (mut image, mut solid) = (self.durable.clone(), self.solid.clone());
        if let Some(shortest) = self.shortest {
            solid.remove(shortest..u64::MAX);
            image.set_length(shortest.min(image.length()))?;
        }
        image.set_length(self.live.length())?;
        Ok((image, solid))
    }

    /// The bytes that are on their way, by sectors.
    pub(super) fn unsynced_sectors(&self) -> impl Iterator<Item = Range<u64>> {
        let mut ranges = self.dirty.clone();
        ranges.insert_all(&self.in_flight);
        ranges.remove(self.live.length()..u64::MAX);
        let whole: Vec<_> = ranges.iter().flat_map(sectors).collect();
        whole.into_iter()
    }

    /// Bytes that were written and survive if everything on its way arrives.
    pub(super) fn arriving(&self) -> Ranges {
        let mut solid = self.solid.clone();
        solid.remove(self.shortest.unwrap_or(u64::MAX)..u64::MAX);
        solid.insert_all(&self.dirty);
        solid.insert_all(&self.in_flight);
        solid.remove(self.live.length()..u64::MAX);
        solid
    }

    /// Whether there is anything that a crash may take.
    pub(super) fn is_unsettled(&self) -> bool {
        !self.dirty.is_empty()
            || !self.in_flight.is_empty()
            || self.live.length() != self.durable.length()
    }

    fn cut_durable(&mut self, shortest: Option<u64>) -> io::Result<()> {
        if let Some(shortest) = shortest {
            self.solid.remove(shortest..u64::MAX);
            self.durable
                .set_length(shortest.min(self.durable.length()))?;
        }
        Ok(())
    }
}

/// A range, cut where sectors end.
pub(super) fn sectors(range: Range<u64>) -> impl Iterator<Item = Range<u64>> {
    let mut start = range.start;
    std::iter::from_fn(move || {
        let end = range.end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
        let sector = start..end;
        start = end;
        (!sector.is_empty()).then_some(sector)
    })
}

/// Copies the bytes of `range` that `from` has; `to` grows if they lie beyond its end.
pub(super) fn copy(from: &Image, to: &mut Image, range: Range<u64>) -> io::Result<()> {
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

/// Copies `range`, as zeros where `from` ends before.
pub(super) fn copy_or_zero(from: &Image, to: &mut Image, range: Range<u64>) -> io::Result<()> {
    copy(from, to, range.clone())?;
    let missing = range.start.max(from.length())..range.end;
    if !missing.is_empty() {
        let count = usize::try_from(missing.end - missing.start).unwrap_or_default();
        to.write_at(&vec![0; count], missing.start)?;
    }
    Ok(())
}
