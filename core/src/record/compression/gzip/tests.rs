use flate2::{Crc, GzBuilder};
use proptest::collection::vec;
use proptest::prelude::*;
use std::io::Write as _;

use super::*;

fn frame(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().compress(content, &mut out);
    out
}

/// The frame of a program that says where the bytes are from.
fn named(content: &[u8], level: u32) -> Vec<u8> {
    let mut encoder = GzBuilder::new()
        .filename("records.bin")
        .comment("of a test")
        .extra(vec![7; 300])
        .mtime(1_700_000_000)
        .write(Vec::new(), Compression::new(level));
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A member around deflated bytes, with what belongs behind `content`.
fn member(deflated: &[u8], content: &[u8]) -> Vec<u8> {
    let mut crc = Crc::new();
    crc.update(content);
    let header = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    let (sum, length) = (crc.sum().to_le_bytes(), crc.amount().to_le_bytes());
    [&header[..], deflated, &sum, &length].concat()
}

#[test]
fn a_frame_begins_like_those_of_other_clients_and_has_no_time() {
    let frame = frame(&b"again and again ".repeat(100));
    // The magic, deflate, no flags, no time.
    assert_eq!(frame[..8], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0]);
    assert!(frame.len() < 100);
}

#[test]
fn frames_are_read_whatever_their_header_says_and_whatever_their_level() {
    let content = b"again and again ".repeat(20_000);
    for level in [0, 1, 6, 9] {
        let frame = named(&content, level);
        assert_eq!(decompress(&frame, 1 << 20).unwrap(), content, "{level}");
    }
}

#[test]
fn what_follows_the_member_is_refused_and_so_is_a_second_one() {
    let one = frame(b"one");
    let two = [&one[..], &one].concat();
    let problem = CompressionProblem::TrailingBytes {
        position: one.len(),
        found: one.len(),
    };
    assert_eq!(decompress(&two, 100), Err(problem));
}

#[test]
fn checksum_and_length_behind_the_member_are_looked_at() {
    let content = b"again and again ".repeat(20);
    let whole = frame(&content);
    for back in 1..=8 {
        let mut damaged = whole.clone();
        let at = damaged.len() - back;
        damaged[at] ^= 1;
        let error = decompress(&damaged, 1 << 20).unwrap_err();
        assert!(
            matches!(error, CompressionProblem::Block { .. }),
            "{back}: {error:?}"
        );
    }
}

#[test]
fn every_prefix_is_cut_and_other_bytes_are_no_gzip() {
    let whole = named(b"again and again and again", 6);
    for length in 0..whole.len() {
        let error = decompress(&whole[..length], 1 << 20).unwrap_err();
        assert!(
            matches!(error, CompressionProblem::Cut { .. }),
            "{length}: {error:?}"
        );
    }
    let found = 0x789c;
    assert_eq!(
        decompress(b"\x78\x9czlib", 100),
        Err(CompressionProblem::Magic { found })
    );
}

#[test]
fn what_would_come_out_is_not_set_aside_before_it_does() {
    // A thousand bytes for each: the most that deflate can.
    let content = vec![0; 8 << 20];
    let bomb = frame(&content);
    assert!(bomb.len() < 10_000);
    let max = 1 << 20;
    assert_eq!(
        decompress(&bomb, max),
        Err(CompressionProblem::TooLarge { max })
    );
    assert_eq!(decompress(&bomb, content.len()).unwrap(), content);
    // Exactly the limit, with nothing to spare.
    let at_limit = frame(&content[..max]);
    assert_eq!(decompress(&at_limit, max).unwrap().len(), max);
    // A frame of few bytes takes few, whatever comes to its end.
    let small = decompress(&frame(b"small"), max).unwrap();
    assert!(small.capacity() < 1_000, "{}", small.capacity());
}

#[test]
fn empty_blocks_without_end_are_cut_and_do_not_go_on_for_ever() {
    // Stored blocks that hold nothing, none of them the last.
    let blocks = [0, 0, 0, 0xff, 0xff].repeat(1_000);
    let error = decompress(&member(&blocks, b""), 100).unwrap_err();
    assert!(
        matches!(
            error,
            CompressionProblem::Cut { .. } | CompressionProblem::Block { .. }
        ),
        "{error:?}"
    );
    let last = [&blocks[..], &[1, 0, 0, 0xff, 0xff]].concat();
    assert_eq!(decompress(&member(&last, b""), 100), Ok(Vec::new()));
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(content in vec(any::<u8>(), 0..5_000), repeated in 1..50usize) {
        let content = content.repeat(repeated);
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            let mut out = Vec::new();
            encoder.compress(&content, &mut out);
            prop_assert_eq!(decompress(&out, 1 << 20).unwrap(), content.clone());
        }
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in vec(any::<u8>(), 0..400), is_gzip in any::<bool>()) {
        let deflated = if is_gzip { member(&bytes, &bytes) } else { bytes };
        let found = decompress(&deflated, 1_000);
        prop_assert!(found.is_err() || found.unwrap().len() <= 1_000);
    }
}
