//! What the records of a bench consist of.

use super::super::args::Bench;

/// What records consist of: one value over and over, which costs nothing, or what a codec is worth
/// trying on.
pub(super) struct Values {
    text: Vec<u8>,
    size: usize,
    next: usize,
}

/// Bytes of text that values are cut out of where they are compressed: more than a batch holds.
const TEXT_BYTES: usize = 4 << 20;

impl Values {
    pub(super) fn new(args: &Bench) -> Self {
        let is_compressed = args.compression.as_ref().is_some_and(|it| it != "none");
        let more = if is_compressed { TEXT_BYTES } else { 0 };
        Self {
            text: text(args.size + more),
            size: args.size,
            next: 0,
        }
    }

    pub(super) fn next(&mut self) -> &[u8] {
        let begin = self.next;
        let last = self.text.len() - self.size;
        self.next = if begin + self.size > last {
            0
        } else {
            begin + self.size
        };
        self.text.get(begin..begin + self.size).unwrap_or_default()
    }
}

/// Words of some hundred, in any order: it compresses about as well as what programs log.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut text = Vec::with_capacity(bytes + 20);
    while text.len() < bytes {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        let word = (state >> 56) * 0x9e37_79b9;
        text.extend_from_slice(format!("{word:x} ").as_bytes());
    }
    text.truncate(bytes);
    text
}
