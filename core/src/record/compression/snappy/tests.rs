use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn frame(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().compress(content, &mut out);
    out
}

fn raw(content: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(content).unwrap()
}

/// A frame of blocks that are compressed already.
fn frame_of(blocks: &[&[u8]]) -> Vec<u8> {
    let mut out = [&MAGIC[..], &[0, 0, 0, 1, 0, 0, 0, 1]].concat();
    for block in blocks {
        out.extend_from_slice(&(block.len() as u32).to_be_bytes());
        out.extend_from_slice(block);
    }
    out
}

fn block_problem(bytes: &[u8]) -> (usize, &'static str) {
    match decompress(bytes, 1 << 20) {
        Err(CompressionProblem::Block { position, reason }) => (position, reason),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_frame_has_the_header_of_javas_clients_and_blocks_of_32_kib() {
    let content: Vec<u8> = (0..70_000u32).map(|place| (place >> 6) as u8).collect();
    let frame = frame(&content);
    assert_eq!(frame[..16], *b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01");
    let (mut position, mut held) = (HEADER_BYTES, Vec::new());
    while position < frame.len() {
        let (length, block) = block_at(&frame, position).unwrap();
        held.push(decompress_len(block).unwrap());
        position += 4 + length;
    }
    assert_eq!(held, [32 << 10, 32 << 10, 70_000 - (64 << 10)]);
    assert_eq!(decompress(&frame, 70_000).unwrap(), content);
}

#[test]
fn a_block_without_a_frame_is_read_as_other_clients_write_it() {
    let content = b"again and again ".repeat(10_000);
    assert_eq!(decompress(&raw(&content), 1 << 20).unwrap(), content);
}

#[test]
fn blocks_of_any_size_are_read_and_so_is_an_older_version() {
    let blocks = [raw(b"one"), raw(&[b'x'; 100_000]), raw(b"two")];
    let blocks: Vec<_> = blocks.iter().map(Vec::as_slice).collect();
    let mut frame = frame_of(&blocks);
    let expected = [b"one", &[b'x'; 100_000][..], b"two"].concat();
    assert_eq!(decompress(&frame, 1 << 20).unwrap(), expected);
    frame[15] = 0;
    assert_eq!(decompress(&frame, 1 << 20).unwrap(), expected);
    frame[15] = 2;
    let reason = "it is of a version that is not known";
    assert_eq!(
        decompress(&frame, 1 << 20),
        Err(CompressionProblem::Frame { reason })
    );
}

#[test]
fn every_prefix_is_refused() {
    let content = b"again and again and again";
    for whole in [frame(content), raw(content)] {
        for length in 0..whole.len() {
            let error = decompress(&whole[..length], 1 << 20).unwrap_err();
            assert!(
                matches!(
                    error,
                    CompressionProblem::Cut { .. } | CompressionProblem::Block { .. }
                ),
                "{length}: {error:?}"
            );
        }
    }
}

#[test]
fn a_length_that_the_bytes_cannot_stand_for_sets_nothing_aside() {
    // 512 KiB, and a literal of one byte.
    let lie = [0x80, 0x80, 0x20, 0, b'x'];
    let reason = "it says that it holds more than its bytes can";
    assert_eq!(block_problem(&lie), (0, reason));
    assert_eq!(
        block_problem(&frame_of(&[&raw(b"one"), &lie])),
        (29, reason)
    );
    // What is above the limit is told first: it is refused whoever says it.
    let max = 1_000;
    for lie in [&lie[..], &[0xff, 0xff, 0xff, 0xff, 0x0f, 0, b'x']] {
        assert_eq!(
            decompress(lie, max),
            Err(CompressionProblem::TooLarge { max })
        );
    }
    let mut frame = frame(b"again");
    frame[16..20].copy_from_slice(&u32::MAX.to_be_bytes());
    assert_eq!(
        decompress(&frame, 1 << 20),
        Err(CompressionProblem::Cut {
            position: frame.len(),
            part: "block"
        })
    );
}

#[test]
fn what_shrinks_the_most_is_within_what_bytes_can_stand_for() {
    // A literal of one byte, then copies of 64 in three bytes each: no block has more in it.
    let copies = 10_000;
    let length = 1 + 64 * copies;
    let mut block = vec![
        length as u8 | 0x80,
        (length >> 7) as u8 | 0x80,
        (length >> 14) as u8,
        0,
        b'x',
    ];
    block.extend([(64 - 1) << 2 | 2, 1, 0].repeat(copies));
    assert_eq!(decompress(&block, 1 << 20).unwrap(), vec![b'x'; length]);
}

#[test]
fn what_is_wrong_with_a_block_is_said() {
    for (bytes, reason) in [
        (&[][..], "it is empty"),
        (&[0xff; 12], "its length cannot be read"),
        (&[4, 0, b'x'], "less comes out than it says"),
        (&[8, 7 << 2, b'x'], "it ends within its literals"),
        (&[8, 0, b'x', 1], "it ends too early"),
        (&[4, 0, b'x', 4 << 2 | 1, 1], "more comes out than it says"),
        (&[8, 0, b'x', 1, 9], "it refers to what stands before it"),
    ] {
        assert_eq!(block_problem(bytes), (0, reason), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(content in vec(any::<u8>(), 1..5_000), repeated in 1..50usize) {
        let content = content.repeat(repeated);
        let mut encoder = Encoder::default();
        for _ in 0..2 {
            let mut out = Vec::new();
            encoder.compress(&content, &mut out);
            prop_assert_eq!(decompress(&out, 1 << 20).unwrap(), content.clone());
        }
        prop_assert_eq!(decompress(&raw(&content), 1 << 20).unwrap(), content);
    }

    #[test]
    fn any_bytes_end_in_an_answer(bytes in vec(any::<u8>(), 0..400), is_framed in any::<bool>()) {
        let bytes = if is_framed { frame_of(&[&bytes]) } else { bytes };
        let found = decompress(&bytes, 1_000);
        prop_assert!(found.is_err() || found.unwrap().len() <= 1_000);
    }
}
