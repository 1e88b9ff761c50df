//! Damaged inputs, the same ones for the same seed.

/// Makes inputs out of well-formed ones: bits flipped, numbers replaced, bytes cut, doubled, moved.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
}

/// Longest input that is made.
const INPUT_BYTES_MAX: usize = 64 * 1_024;

/// Numbers at which decoders go wrong.
const EDGES: [u64; 12] = [
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    i64::MAX as u64,
    u64::MAX,
];

impl Mutator {
    /// A mutator that makes the inputs of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An input made of one of `seeds`; now and then of no seed at all.
    pub fn input(&mut self, seeds: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match self.below(20) {
            0 => self.noise(),
            _ => self.choose(seeds).cloned().unwrap_or_default(),
        };
        for _ in 0..=self.below(4) {
            self.change(&mut input, seeds);
        }
        input.truncate(INPUT_BYTES_MAX);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>]) {
        match self.below(8) {
            0 | 1 => {
                let at = self.below(input.len());
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << (self.state >> 61);
                }
            }
            2 | 3 => self.replace_number(input),
            4 => input.truncate(self.below(input.len() + 1)),
            5 => {
                let (start, end) = self.range(input.len());
                input.extend_from_within(start..end);
            }
            6 => {
                let (start, end) = self.range(input.len());
                input.drain(start..end);
            }
            _ => {
                let other = self.choose(seeds).cloned().unwrap_or_default();
                let (start, end) = self.range(other.len());
                let at = self.below(input.len() + 1);
                input.splice(at..at, other[start..end].iter().copied());
            }
        }
    }

    /// Puts an edge, or a number near what stands there, in place of 1, 2, 4 or 8 bytes.
    fn replace_number(&mut self, input: &mut [u8]) {
        let width = 1 << self.below(4);
        let at = self.below(input.len());
        let is_big_endian = self.below(2) == 0;
        let Some(field) = input.get_mut(at..at + width) else {
            return;
        };
        let mut number = [0; 8];
        number[..width].copy_from_slice(field);
        if is_big_endian {
            number[..width].reverse();
        }
        let number = match self.below(3) {
            0 => u64::from_le_bytes(number)
                .wrapping_add(self.below(17) as u64)
                .wrapping_sub(8),
            _ => EDGES[self.below(EDGES.len())],
        };
        field.copy_from_slice(&number.to_le_bytes()[..width]);
        if is_big_endian {
            field.reverse();
        }
    }

    fn noise(&mut self) -> Vec<u8> {
        let length = self.below(300);
        (0..length).map(|_| self.next().to_le_bytes()[0]).collect()
    }

    fn range(&mut self, length: usize) -> (usize, usize) {
        let (one, other) = (self.below(length + 1), self.below(length + 1));
        (one.min(other), one.max(other))
    }

    fn choose<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        from.get(self.below(from.len()))
    }

    /// A number below `end`; 0 if that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}
