//! The target that `HEADWATER_FUZZ_TARGET` names, with everything that is allocated for an input counted. Without one
//! it lists the targets; with `HEADWATER_FUZZ_SEEDS` it writes the target's seeds into that folder.
#![no_main]

use std::alloc::{GlobalAlloc, Layout, System};
use std::path::Path;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use headwater_broker::fuzzing::{Target, target, targets};

struct Counting;

static LIVE_BYTES: AtomicUsize = AtomicUsize::new(0);
static PEAK_BYTES: AtomicUsize = AtomicUsize::new(0);

/// More is there; fewer bytes than before are a wrapping sum.
fn count(more: usize) {
    let live_bytes = LIVE_BYTES.fetch_add(more, Relaxed).wrapping_add(more);
    PEAK_BYTES.fetch_max(live_bytes, Relaxed);
}

// SAFETY: everything is the system's allocator, whose rules the caller keeps; beside it numbers are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller's.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as the caller's.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.dealloc(place, layout) }
    }

    unsafe fn realloc(&self, place: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // The old and the new may be there at the same time.
        count(size);
        LIVE_BYTES.fetch_sub(layout.size(), Relaxed);
        // SAFETY: as the caller's.
        unsafe { System.realloc(place, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let Ok(name) = std::env::var("HEADWATER_FUZZ_TARGET") else {
        targets().for_each(|target| println!("{}", target.name()));
        std::process::exit(0);
    };
    target(&name).unwrap_or_else(|| panic!("no target `{name}`"))
});

/// Names the target, and writes its seeds where they are wanted.
fn begin() {
    let target = *TARGET;
    let Some(folder) = std::env::var_os("HEADWATER_FUZZ_SEEDS") else {
        return;
    };
    std::fs::create_dir_all(&folder).expect("a folder for seeds");
    for (number, seed) in target.seeds().iter().enumerate() {
        let file = Path::new(&folder).join(format!("seed-{number}"));
        std::fs::write(file, seed).expect("a seed is written");
    }
    std::process::exit(0);
}

libfuzzer_sys::fuzz_target!(init: begin(), |bytes: &[u8]| {
    let target = *TARGET;
    let before_bytes = LIVE_BYTES.load(Relaxed);
    PEAK_BYTES.store(before_bytes, Relaxed);
    target.run(bytes);
    let allocated_bytes = PEAK_BYTES.load(Relaxed).saturating_sub(before_bytes);
    let max_bytes = target.allocated_bytes_max();
    assert!(
        allocated_bytes <= max_bytes,
        "{allocated_bytes} bytes were allocated for an input of {}; at most {max_bytes} may be",
        bytes.len()
    );
});
