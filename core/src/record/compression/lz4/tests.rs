use std::io::{Read as _, Write as _};

use lz4::liblz4::BlockChecksum;
use lz4::{BlockMode, BlockSize, ContentChecksum, EncoderBuilder};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().compress(content, &mut out);
    out
}

/// Text that compresses about as well as records do.
fn text(bytes: usize) -> Vec<u8> {
    let mut state = 1u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        format!("record {} ", state >> 22).into_bytes()
    })
    .flatten()
    .take(bytes)
    .collect()
}

/// What the C library reads in a frame.
fn read_by_c(frame: &[u8]) -> Vec<u8> {
    let mut content = Vec::new();
    let mut decoder = lz4::Decoder::new(frame).unwrap();
    decoder.read_to_end(&mut content).unwrap();
    decoder.finish().1.unwrap();
    content
}

#[test]
fn a_frame_begins_as_those_of_kafkas_clients() {
    let start = [0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
    assert_eq!(frame(b"")[..], [&start[..], &[0; 4]].concat());
    // What does not get shorter is stored; 65,536 bytes are one block, and one more are two.
    assert_eq!(frame(b"abc")[7..], *b"\x03\0\0\x80abc\0\0\0\0");
    let two = frame(&text(65_537));
    assert!(two.starts_with(&start));
    assert!(two.ends_with(b"\x01\0\0\x80r\0\0\0\0") || two.ends_with(b"\0\0\0\0"));
    assert_eq!(decompress(&two, 65_537).unwrap(), text(65_537));
}

#[test]
fn frames_of_the_c_library_are_read_whatever_they_flag() {
    let sizes = [
        BlockSize::Max64KB,
        BlockSize::Max256KB,
        BlockSize::Max1MB,
        BlockSize::Max4MB,
    ];
    let content = text(600_000);
    for (case, size) in sizes.into_iter().cycle().take(64).enumerate() {
        let is = |bit: usize| case >> (2 + bit) & 1 == 1;
        let mut builder = EncoderBuilder::new();
        builder.block_size(size).level(if is(0) { 9 } else { 1 });
        builder.block_mode(match is(1) {
            true => BlockMode::Linked,
            false => BlockMode::Independent,
        });
        builder.checksum(match is(2) {
            true => ContentChecksum::ChecksumEnabled,
            false => ContentChecksum::NoChecksum,
        });
        builder.block_checksum(match is(3) {
            true => BlockChecksum::BlockChecksumEnabled,
            false => BlockChecksum::NoBlockChecksum,
        });
        let mut encoder = builder.build(Vec::new()).unwrap();
        encoder.write_all(&content).unwrap();
        let (frame, done) = encoder.finish();
        done.unwrap();
        assert!(
            decompress(&frame, content.len()).unwrap() == content,
            "{case}"
        );
        let max = content.len() - 1;
        assert_eq!(
            decompress(&frame, max),
            Err(CompressionProblem::TooLarge { max }),
            "{case}"
        );
        let last = frame.len() - 1;
        let mut damaged = frame.clone();
        damaged[last] ^= 1;
        let cut = decompress(&frame[..last], content.len());
        assert!(matches!(cut, Err(CompressionProblem::Cut { .. })), "{case}");
        assert!(decompress(&damaged, content.len()).is_err(), "{case}");
    }
}

#[test]
fn a_content_size_is_read_and_must_be_true() {
    let content = text(1_000);
    let mut encoder = EncoderBuilder::new()
        .content_size(1_000)
        .build(Vec::new())
        .unwrap();
    encoder.write_all(&content).unwrap();
    let mut frame = encoder.finish().0;
    assert_eq!(decompress(&frame, 1_000).unwrap(), content);
    assert_eq!(frame[6..14], 1_000u64.to_le_bytes());
    frame[6..14].copy_from_slice(&999u64.to_le_bytes());
    frame[14] = header_checksum(&frame[4..14]);
    assert_eq!(
        decompress(&frame, 1_000),
        Err(CompressionProblem::ContentSize {
            found: 1_000,
            expected: 999
        })
    );
}

#[test]
fn what_is_wrong_with_a_frame_is_named_and_placed() {
    let good = frame(&text(1_000));
    let refused = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bad = good.clone();
        change(&mut bad);
        decompress(&bad, 1 << 20).unwrap_err().to_string()
    };
    let described = |flags: u8, block: u8| {
        refused(&|bad| {
            bad[4..6].copy_from_slice(&[flags, block]);
            bad[6] = header_checksum(&bad[4..6]);
        })
    };
    assert_eq!(
        refused(&|bad| bad[0] = 0x02),
        "0x184d2202 is not what a frame begins with"
    );
    assert_eq!(
        described(0x61, 0x40),
        "flags 0x61 and block descriptor 0x40 are not those of a frame we read"
    );
    for (flags, block) in [
        (0xa0, 0x40),
        (0x62, 0x40),
        (0x60, 0x30),
        (0x60, 0xc0),
        (0x60, 0x41),
    ] {
        assert!(
            described(flags, block).starts_with("flags "),
            "{flags:#x} {block:#x}"
        );
    }
    assert_eq!(
        refused(&|bad| bad[6] = 0x83),
        "checksum 0x82 of the header computed, 0x83 expected at byte 6"
    );
    assert_eq!(
        refused(&|bad| bad[9] = 0x02),
        format!(
            "a block of {} bytes at byte 7, the frame's blocks have 65536 at most",
            u32::from(good[7]) + (u32::from(good[8]) << 8) + 0x2_0000
        )
    );
    assert_eq!(
        refused(&|bad| bad.truncate(2)),
        "the bytes end at 2, within the frame's magic"
    );
    assert_eq!(
        refused(&|bad| bad.truncate(30)),
        "the bytes end at 30, within the frame's block"
    );
    assert_eq!(
        refused(&|bad| bad.extend([7; 3])),
        format!("3 bytes follow the frame, at byte {}", good.len())
    );
    assert!(
        refused(&|bad| bad[11] = 0).starts_with("the block at byte 7 is damaged: "),
        "a token that promises nothing"
    );
}

#[test]
fn a_block_that_holds_more_than_its_descriptor_says_is_refused() {
    let mut block = vec![0; block::get_maximum_output_size(65_537)];
    let length = block::compress_into(&vec![0; 65_537], &mut block).unwrap();
    block.truncate(length);
    let start = frame(b"")[..7].to_vec();
    let parts = [&start[..], &(length as u32).to_le_bytes(), &block, &[0; 4]];
    assert_eq!(
        decompress(&parts.concat(), 1 << 20),
        Err(CompressionProblem::Block {
            position: 7,
            reason: "more comes out than a block may hold"
        })
    );
}

/// What is set aside for a block is bounded by its own length.
#[test]
fn a_block_of_few_bytes_takes_little_memory() {
    let parts = [&frame(b"")[..7], &[2, 0, 0, 0, 0x10, b'x'], &[0; 4]];
    let out = decompress(&parts.concat(), 1 << 20).unwrap();
    assert_eq!(out, b"x");
    assert!(out.capacity() <= 2 * EXPANSION_MAX, "{}", out.capacity());
}

proptest! {
    #[test]
    fn any_content_comes_back_here_and_from_the_c_library(
        piece in vec(any::<u8>(), 0..2_000),
        repeated in 1..100usize,
    ) {
        let content = piece.repeat(repeated);
        let frame = frame(&content);
        prop_assert!(decompress(&frame, content.len()).unwrap() == content);
        prop_assert!(read_by_c(&frame) == content);
        if let Some(max) = content.len().checked_sub(1) {
            prop_assert_eq!(decompress(&frame, max), Err(CompressionProblem::TooLarge { max }));
        }
    }
}
