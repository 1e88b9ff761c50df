use proptest::collection::vec;
use proptest::prelude::*;
use zstd_safe::CParameter;

use super::*;

fn frame(content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::default().compress(content, &mut out);
    out
}

/// A frame as a client writes it that does not know how much will come.
fn streamed(content: &[u8], window_log: u32, has_checksum: bool) -> Vec<u8> {
    let mut context = CCtx::create();
    for parameter in [
        CParameter::WindowLog(window_log),
        CParameter::ContentSizeFlag(false),
        CParameter::ChecksumFlag(has_checksum),
    ] {
        context.set_parameter(parameter).unwrap();
    }
    let mut out = Vec::with_capacity(zstd_safe::compress_bound(content.len()));
    context.compress2(&mut out, content).unwrap();
    out
}

/// A frame without a content size, of blocks that each stand for 128 KiB in four bytes.
fn bomb(blocks: usize) -> Vec<u8> {
    // The magic, a descriptor that says nothing, a window of 128 KiB.
    let mut frame = vec![0x28, 0xb5, 0x2f, 0xfd, 0x00, 7 << 3];
    for block in 1..=blocks {
        // Bit 0: the last one; bits 1-2: one byte, repeated; then how often.
        let header = u32::from(block == blocks) | 1 << 1 | (128 << 10) << 3;
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(0);
    }
    frame
}

#[test]
fn a_frame_says_how_much_it_holds_and_has_no_checksum() {
    let content: Vec<u8> = (0..1_000u32)
        .map(|place| ((place * place) >> 5) as u8)
        .collect();
    let frame = frame(&content);
    assert_eq!(frame[..4], [0x28, 0xb5, 0x2f, 0xfd]);
    assert_eq!(frame[4] & 0b100, 0);
    let size = zstd_safe::get_frame_content_size(&frame).unwrap();
    assert_eq!(size, Some(1_000));
    // Memory for that and no more, where so much comes out of the bytes there are.
    assert!(frame.len() * EXPANSION > 1_000);
    assert_eq!(decompress(&frame, 1 << 20).unwrap().capacity(), 1_000);
}

#[test]
fn frames_that_do_not_say_how_much_they_hold_are_read_whatever_their_window() {
    let content = b"again and again ".repeat(20_000);
    for window_log in [10, 17, 21, 27] {
        for has_checksum in [false, true] {
            let frame = streamed(&content, window_log, has_checksum);
            assert_eq!(zstd_safe::get_frame_content_size(&frame).unwrap(), None);
            assert!(decompress(&frame, content.len()).unwrap() == content);
            let max = content.len() - 1;
            assert_eq!(
                decompress(&frame, max),
                Err(CompressionProblem::TooLarge { max })
            );
        }
    }
}

#[test]
fn what_is_wrong_with_a_frame_is_named() {
    let content = b"again and again ".repeat(100);
    let refused = |frame: &[u8]| decompress(frame, 1 << 20).unwrap_err().to_string();
    let mut damaged = streamed(&content, 17, true);
    *damaged.last_mut().unwrap() ^= 1;
    assert_eq!(
        refused(&damaged),
        "the frame is damaged: Restored data doesn't match checksum"
    );
    assert_eq!(
        refused(b"no frame at all"),
        "the frame is damaged: Unknown frame descriptor"
    );
    let whole = frame(&content);
    assert_eq!(
        refused(&whole[..whole.len() - 1]),
        "the frame is damaged: Src size is incorrect"
    );
    assert!(refused(&[&whole[..], b"behind"].concat()).starts_with("the frame is damaged: "));
}

#[test]
fn a_frame_that_says_it_holds_too_much_is_refused_at_once() {
    let mut frame = frame(&[7; 100_000]);
    // Four bytes of content size behind the magic and the descriptor.
    assert_eq!(frame[5..9], 100_000u32.to_le_bytes());
    frame[5..9].copy_from_slice(&u32::MAX.to_le_bytes());
    let max = 1 << 20;
    assert_eq!(
        decompress(&frame, max),
        Err(CompressionProblem::TooLarge { max })
    );
    // One that says too little is damaged.
    frame[5..9].copy_from_slice(&99_999u32.to_le_bytes());
    assert!(matches!(
        decompress(&frame, max),
        Err(CompressionProblem::Frame { .. })
    ));
}

#[test]
fn a_bomb_that_says_nothing_goes_off_at_the_limit() {
    let max = 1 << 20;
    assert_eq!(decompress(&bomb(8), max).unwrap().len(), max);
    assert_eq!(
        decompress(&bomb(9), max),
        Err(CompressionProblem::TooLarge { max })
    );
    assert_eq!(
        decompress(&bomb(100_000), max),
        Err(CompressionProblem::TooLarge { max })
    );
}

#[test]
fn a_thread_keeps_little_whatever_it_decoded() {
    let content = b"again and again ".repeat(1 << 20);
    decompress(&streamed(&content, 27, true), content.len()).unwrap();
    decompress(b"no frame at all", 100).unwrap_err();
    let kept = CONTEXT.with_borrow(|kept| kept.as_ref().map(DCtx::sizeof));
    assert!(kept.unwrap() < 200 << 10, "{kept:?}");
}

proptest! {
    #[test]
    fn any_content_comes_back(piece in vec(any::<u8>(), 0..2_000), repeated in 1..100usize) {
        let content = piece.repeat(repeated);
        let frame = frame(&content);
        prop_assert!(decompress(&frame, content.len()).unwrap() == content);
        if let Some(max) = content.len().checked_sub(1) {
            prop_assert_eq!(decompress(&frame, max), Err(CompressionProblem::TooLarge { max }));
        }
    }
}
