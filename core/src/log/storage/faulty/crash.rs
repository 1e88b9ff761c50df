//! What a power cut leaves.

use std::collections::BTreeMap;

use super::super::image::Image;
use super::super::tree::Tree;
use super::names::Names;
use super::state::{Base, Inode, State, copy};

const SECTOR_BYTES: u64 = 512;

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
}

/// The state a storage has after a cut: what survived is live and durable, nothing else is there.
pub(super) fn image_of(state: &State, mode: CrashMode) -> State {
    match mode {
        CrashMode::OnlySynced => {
            let names = state.names.after_crash(|| false);
            rebuilt(names, state, |_, inode| inode.durable.clone())
        }
        CrashMode::AllWritten => rebuilt(state.names.live.clone(), state, |_, inode| {
            inode.live.clone()
        }),
        CrashMode::SubsetOfSectors(seed) => {
            let mut random = Random(seed);
            let names = state.names.after_crash(|| random.coin());
            rebuilt(names, state, |_, inode| some_sectors(inode, &mut random))
        }
        CrashMode::TornLastWrite(count) => {
            rebuilt(state.names.live.clone(), state, |file, inode| {
                torn(state, file, count).unwrap_or_else(|| inode.live.clone())
            })
        }
    }
}

fn rebuilt(
    names: Tree<u64>,
    state: &State,
    mut surviving: impl FnMut(u64, &Inode) -> Image,
) -> State {
    let mut files = BTreeMap::new();
    for (_, &file) in names.files() {
        if let Some(inode) = state.files.get(&file) {
            let image = surviving(file, inode);
            let inode = Inode::settled(image);
            files.insert(file, inode);
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
    State {
        names: names.clone(),
        files,
        base: Base { names, lengths },
        ..State::default()
    }
}

fn some_sectors(inode: &Inode, random: &mut Random) -> Image {
    let mut image = inode.durable.clone();
    // A new length without the bytes: they read as zero.
    if random.coin() && image.set_length(inode.live.length()).is_err() {
        image = inode.durable.clone();
    }
    for range in inode.dirty.iter().chain(inode.in_flight.iter()) {
        let mut start = range.start;
        while start < range.end {
            let end = range.end.min((start / SECTOR_BYTES + 1) * SECTOR_BYTES);
            if random.coin() && copy(&inode.live, &mut image, start..end).is_err() {
                break;
            }
            start = end;
        }
    }
    image
}

fn torn(state: &State, file: u64, count: usize) -> Option<Image> {
    let last = state.last_write.as_ref().filter(|last| last.file == file)?;
    let kept = last.position + count.min(last.length) as u64;
    let mut image = last.before.clone();
    copy(
        &state.files.get(&file)?.live,
        &mut image,
        last.position..kept,
    )
    .ok()?;
    Some(image)
}

/// SplitMix64: enough for coins, and the same on every machine.
struct Random(u64);

impl Random {
    fn coin(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}
