//! What has happened in a world.

use std::fmt::Write as _;
use std::panic::Location;

/// Turns, numbers and words, in order.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    marks: Vec<(u64, u64)>,
    /// Words, each with the time and the number of marks before it.
    notes: Vec<(usize, u64, String)>,
    /// Where locks were taken, each with the number of marks before it: for finding out what chance is left.
    locks: Option<Vec<(usize, &'static Location<'static>)>>,
}

impl Trace {
    pub(super) fn mark(&mut self, at_us: u64, what: u64) {
        self.marks.push((at_us, what));
    }

    /// One that keeps all locks, if `HEADWATER_LOCKS` is there.
    pub(super) fn new() -> Self {
        Self {
            locks: std::env::var_os("HEADWATER_LOCKS").map(|_| Vec::new()),
            ..Self::default()
        }
    }

    /// A lock is about to be taken.
    pub(super) fn lock(&mut self, at: &'static Location<'static>) {
        if let Some(locks) = &mut self.locks {
            locks.push((self.marks.len(), at));
        }
    }

    pub(super) fn note(&mut self, at_us: u64, what: String) {
        let hash = fold(what.bytes().map(u64::from));
        self.notes.push((self.marks.len(), at_us, what));
        self.marks.push((at_us, hash));
    }

    /// One number that stands for all of it.
    #[must_use]
    pub fn hash(&self) -> u64 {
        fold(self.marks.iter().flat_map(|(at, what)| [*at, *what]))
    }

    /// How much has happened.
    #[must_use]
    pub fn mark_count(&self) -> usize {
        self.marks.len()
    }

    /// The last words.
    #[must_use]
    pub fn last(&self, count: usize) -> String {
        words(&self.notes[self.notes.len().saturating_sub(count)..])
    }

    /// Where two traces part, in words; none if they do not.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Option<String> {
        let same = self.marks.iter().zip(&other.marks);
        let same = same.take_while(|(one, other)| one == other).count();
        if same == self.marks.len() && same == other.marks.len() {
            return None;
        }
        let mut text = format!(
            "the traces part at {same}: {:x?} and {:x?}\n",
            self.marks.get(same),
            other.marks.get(same)
        );
        for trace in [self, other] {
            let until = trace.notes.partition_point(|(before, ..)| *before <= same);
            let from = until.saturating_sub(12);
            let to = (until + 3).min(trace.notes.len());
            let marks = &trace.marks[same.saturating_sub(6)..(same + 6).min(trace.marks.len())];
            _ = writeln!(text, "{}{marks:x?}", words(&trace.notes[from..to]));
            let locks = trace.locks.iter().flatten();
            for (before, at) in
                locks.filter(|(before, _)| (same.saturating_sub(1)..=same).contains(before))
            {
                _ = writeln!(text, "  {before} {at}");
            }
            text.push_str("--\n");
        }
        Some(text)
    }
}

fn words(notes: &[(usize, u64, String)]) -> String {
    let mut text = String::new();
    for (before, at_us, what) in notes {
        _ = writeln!(
            text,
            "{:>7} {:>10.3} ms {what}",
            before,
            *at_us as f64 / 1e3
        );
    }
    text
}

fn fold(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0xCBF2_9CE4_8422_2325, |hash, number| {
        (hash ^ number)
            .wrapping_mul(0x0000_0100_0000_01B3)
            .rotate_left(29)
    })
}
