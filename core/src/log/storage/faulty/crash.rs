//! What a power cut leaves.

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;

use super::super::image::Image;
use super::super::tree::Tree;
use super::inode::{Inode, SECTOR_BYTES, copy, copy_or_zero};
use super::names::{NameChange, Names};
use super::random::Random;
use super::ranges::Ranges;
use super::state::{Base, Stale, State};

/// How much of what was not synced survives a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashMode {
    /// Nothing: only synced bytes under synced names.
    OnlySynced,
    /// Everything written, as if the cut came after the kernel had caught up.
    AllWritten,
    /// Of what was not synced: each 512-byte sector, each file's length and each name with even odds,
    /// by this seed.
    SubsetOfSectors(u64),
    /// Everything written, but of the last write, if it was not synced, only so many bytes.
    TornLastWrite(usize),
    /// Names and lengths, and no byte: what was not synced reads as zero, or as what was synced there.
    Zeroes,
    /// Names, lengths, and anything at all where nothing was synced, also in space that is only
    /// reserved: what was written, zeros, noise, what an older file of this name held there, pieces of
    /// other files. By this seed.
    GarbageTail(u64),
    /// Every byte of the files whose names were synced; names created, changed and removed since are
    /// as they were.
    NamesLost,
    /// Of the files with anything that was not synced, so many of the youngest, whole and by name; the
    /// others as they were synced.
    LaterFirst(usize),
}

/// The state a storage has after a cut: what survived is live and durable, nothing else is there.
pub(super) fn image_of(state: &State, mode: CrashMode) -> io::Result<State> {
    let live = || state.names.live.clone();
    let durable = || state.names.after_crash(|_| false);
    match mode {
        CrashMode::OnlySynced => rebuilt(durable(), state, |_, _, inode| Ok(synced(inode))),
        CrashMode::AllWritten => rebuilt(live(), state, |_, _, inode| arrived(inode)),
        CrashMode::SubsetOfSectors(seed) => {
            let mut random = Random(seed);
            let names = state.names.after_crash(|_| random.coin());
            rebuilt(names, state, |_, _, inode| some_sectors(inode, &mut random))
        }
        CrashMode::TornLastWrite(count) => rebuilt(live(), state, |_, file, inode| {
            torn(state, file, inode, count)
        }),
        CrashMode::Zeroes => rebuilt(live(), state, |_, _, inode| inode.lengthened()),
        CrashMode::GarbageTail(seed) => {
            let mut random = Random(seed);
            let sources = Sources::of(state);
            rebuilt(live(), state, |path, _, inode| {
                sources.garbage(path, inode, &mut random)
            })
        }
        CrashMode::NamesLost => rebuilt(durable(), state, |_, _, inode| arrived(inode)),
        CrashMode::LaterFirst(count) => {
            let young = youngest_unsettled(state, count);
            let keeps = |change: &NameChange| {
                change.is_folder() || change.file().is_some_and(|file| young.contains(&file))
            };
            rebuilt(
                state.names.after_crash(keeps),
                state,
                |_, file, inode| match young.contains(&file) {
                    true => arrived(inode),
                    false => Ok(synced(inode)),
                },
            )
        }
    }
}

/// What of a file survived, and which of it because it was written.
type Survivor = (Image, Ranges);

fn rebuilt(
    names: Tree<u64>,
    state: &State,
    mut surviving: impl FnMut(&str, u64, &Inode) -> io::Result<Survivor>,
) -> io::Result<State> {
    let mut files = BTreeMap::new();
    for (path, &file) in names.files() {
        if let Some(inode) = state.files.get(&file) {
            let (image, solid) = surviving(path, file, inode)?;
            files.insert(file, Inode::settled(image, solid));
        }
    }
    // Numbers are given by count: those of files that did not survive stay taken.
    for &file in state.files.keys() {
        files.entry(file).or_default();
    }
    let lengths = files
        .iter()
        .map(|(file, inode)| (*file, inode.live.length()))
        .collect();
    let names = Names {
        live: names.clone(),
        durable: names,
        pending: Vec::new(),
    };
    let mut after = State {
        names: names.clone(),
        files,
        base: Base { names, lengths },
        stale: state.stale.clone(),
        ..State::default()
    };
    for (path, &file) in state.names.live.files() {
        if let Some(inode) = state.files.get(&file).filter(|inode| inode.is_unsettled()) {
            after.remember(path, inode.live.clone());
        }
    }
    Ok(after)
}

fn synced(inode: &Inode) -> Survivor {
    (inode.durable.clone(), inode.solid.clone())
}

fn arrived(inode: &Inode) -> io::Result<Survivor> {
    Ok((inode.arrived()?, inode.arriving()))
}

fn some_sectors(inode: &Inode, random: &mut Random) -> io::Result<Survivor> {
    let (mut image, mut solid) = if random.coin() {
        // A new length without the bytes: they read as zero.
        inode.lengthened()?
    } else {
        synced(inode)
    };
    for sector in inode.unsynced_sectors() {
        if random.coin() {
            copy(&inode.live, &mut image, sector.clone())?;
            solid.insert(sector);
        }
    }
    solid.remove(image.length()..u64::MAX);
    Ok((image, solid))
}

fn torn(state: &State, file: u64, inode: &Inode, count: usize) -> io::Result<Survivor> {
    let Some(last) = state.last_write.as_ref().filter(|last| last.file == file) else {
        return arrived(inode);
    };
    let end = last.position + last.length as u64;
    let kept = last.position + count.min(last.length) as u64;
    let (mut image, mut solid) = arrived(inode)?;
    copy_or_zero(&last.before, &mut image, kept..end)?;
    if image.length() == end {
        image.set_length(kept.max(last.before.length()))?;
    }
    // What was durable there before the write still is.
    let mut lost = Ranges::default();
    lost.insert(kept..end);
    lost.remove_all(&inode.solid);
    solid.remove_all(&lost);
    Ok((image, solid))
}

/// The numbers of the `count` youngest files that have anything unsynced.
fn youngest_unsettled(state: &State, count: usize) -> Vec<u64> {
    let is_unnamed = |file: u64| {
        let mut named = state.names.pending.iter().filter_map(NameChange::file);
        named.any(|named| named == file)
    };
    let files = state.files.iter().rev();
    files
        .filter(|(file, inode)| inode.is_unsettled() || is_unnamed(**file))
        .map(|(file, _)| *file)
        .take(count)
        .collect()
}

/// Where garbage comes from.
struct Sources<'a> {
    stale: &'a [Stale],
    live: Vec<&'a Image>,
}

impl<'a> Sources<'a> {
    fn of(state: &'a State) -> Self {
        let files = state.names.live.files();
        let inodes = files.filter_map(|(_, file)| state.files.get(file));
        Self {
            stale: &state.stale,
            live: inodes.map(|inode| &inode.live).collect(),
        }
    }

    /// What was synced stays, or is what was written over it; everything else is anything.
    fn garbage(&self, path: &str, inode: &Inode, random: &mut Random) -> io::Result<Survivor> {
        let (mut image, mut solid) = inode.lengthened()?;
        let mut loose = Ranges::default();
        loose.insert(0..image.length());
        loose.remove_all(&solid);
        for sector in inode.unsynced_sectors() {
            if random.coin() {
                copy(&inode.live, &mut image, sector.clone())?;
                loose.remove(sector.clone());
                solid.insert(sector);
            }
        }
        for range in loose.iter() {
            let mut start = range.start;
            while start < range.end {
                // Long runs too: a whole frame has to come from one source to be one.
                let sectors = 1 << random.below(6);
                let end = range
                    .end
                    .min((start / SECTOR_BYTES + sectors) * SECTOR_BYTES);
                self.fill(path, inode, &mut image, start..end, random)?;
                start = end;
            }
        }
        Ok((image, solid))
    }

    fn fill(
        &self,
        path: &str,
        inode: &Inode,
        image: &mut Image,
        range: Range<u64>,
        random: &mut Random,
    ) -> io::Result<()> {
        let of_this_name: Vec<_> = self.stale.iter().filter(|old| old.path == path).collect();
        match random.below(6) {
            0 => Ok(()),
            1 => copy(&inode.live, image, range),
            2 | 3 if !of_this_name.is_empty() => {
                let old = of_this_name[random.below(of_this_name.len() as u64) as usize];
                copy(&old.image, image, range)
            }
            4 if !self.live.is_empty() => {
                let other = self.live[random.below(self.live.len() as u64) as usize];
                let from = random.below(other.length() / 8 + 1) * 8;
                let count = (range.end - range.start).min(other.length() - from);
                let mut bytes = vec![0; usize::try_from(count).unwrap_or_default()];
                other.read_at(&mut bytes, from)?;
                image.write_at(&bytes, range.start)
            }
            _ => {
                let count = usize::try_from(range.end - range.start).unwrap_or_default();
                image.write_at(&random.bytes(count), range.start)
            }
        }
    }
}
