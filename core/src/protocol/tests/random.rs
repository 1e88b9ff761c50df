//! Random frames come back as they were; random bytes neither panic nor make anything grow.

use bytes::{Buf, Bytes};
use proptest::prelude::*;

use super::golden::golden_frames;
use super::{bytes_of, decode_all};
use crate::limits;
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{Frame, FrameError, FrameKind};
use crate::protocol::header::{Goodbye, Push, Reassign, ReassignAt, WireError};
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::outbox::{self, Outbox};
use crate::protocol::request::{Request, Subscribe, SubscribeAt};
use crate::protocol::response::Response;
use crate::protocol::version::{ClientHello, Opening, ServerHello};

/// Feeds bytes in pieces, as a socket would, and checks what is allocated on the way.
fn feed(bytes: &[u8], pieces: &[usize]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, limits::FRAME_HEADER_BYTES_MAX);
    let mut frames = Vec::new();
    let mut rest = bytes;
    let mut sizes = pieces.iter().cycle();
    while !rest.is_empty() {
        let count = sizes.next().copied().unwrap_or(1).clamp(1, rest.len());
        let room = decoder.room();
        let count = count.min((room.capacity() - room.len()).max(1));
        room.extend_from_slice(&rest[..count]);
        decoder.received(count);
        rest = &rest[count..];
        let received = bytes.len() - rest.len();
        let bound = 2 * received + 2 * limits::READ_CHUNK_BYTES_MAX;
        assert!(decoder.room().capacity() <= bound, "allocated by a claim");
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame);
        }
    }
    Ok(frames)
}

proptest! {
    #[test]
    fn frames_come_out_as_they_went_in_however_they_are_cut(
        frames in prop::collection::vec(
            (any::<u64>(), 0..FrameKind::ALL.len(), ".{0,40}", prop::collection::vec(any::<u8>(), 0..9_000)),
            0..20,
        ),
        pieces in prop::collection::vec(1_usize..10_000, 1..10),
    ) {
        let mut outbox = Outbox::new(limits::FRAME_BYTES_MAX);
        for (id, kind, header, payload) in &frames {
            let (head, tail) = payload.split_at(payload.len() / 3);
            let parts = [Bytes::copy_from_slice(head), Bytes::copy_from_slice(tail)];
            outbox.push(*id, FrameKind::ALL[*kind], header, parts.iter()).unwrap();
        }
        let found = feed(&bytes_of(&mut outbox), &pieces).unwrap();
        prop_assert_eq!(found.len(), frames.len());
        for (frame, (id, kind, header, payload)) in found.iter().zip(&frames) {
            prop_assert_eq!((frame.correlation_id, frame.kind), (*id, FrameKind::ALL[*kind]));
            prop_assert_eq!(frame.read_header::<String>().unwrap(), header.as_str());
            prop_assert_eq!(&frame.payload[..], &payload[..]);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_never_allocate_by_a_claim(
        bytes in prop::collection::vec(any::<u8>(), 0..4_000),
        pieces in prop::collection::vec(1_usize..500, 1..5),
    ) {
        let _ = feed(&bytes, &pieces);
        let _ = Opening::of(&bytes);
    }

    #[test]
    fn arbitrary_headers_of_every_kind_never_panic(
        kind in 0..FrameKind::ALL.len(),
        header in prop::collection::vec(any::<u8>(), 0..300),
        payload in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let frame = Frame {
            correlation_id: 1,
            kind: FrameKind::ALL[kind],
            header: header.into(),
            payload: payload.into(),
        };
        let _ = frame.read_header::<Request>();
        let _ = frame.read_header::<Response>();
        let _ = frame.read_header::<Subscribe>();
        let _ = frame.read_header::<WireError>();
        let _ = frame.read_header::<Push<'_>>();
        let _ = frame.read_header::<Reassign>();
        let _ = frame.read_header::<SubscribeAt>();
        let _ = frame.read_header::<ReassignAt>();
        let _ = frame.read_header::<OutOfRange>();
        let _ = frame.read_hello::<ClientHello>();
        let _ = frame.read_hello::<ServerHello>();
        let _ = frame.read_hello::<Goodbye>();
    }

    #[test]
    fn a_flipped_bit_in_a_frame_is_another_frame_or_an_error_but_no_panic(
        which in any::<prop::sample::Index>(),
        position in any::<prop::sample::Index>(),
        bit in 0..8_u32,
    ) {
        let frames = golden_frames();
        let mut bytes = frames[which.index(frames.len())].1.clone();
        let position = position.index(bytes.len());
        bytes[position] ^= 1 << bit;
        for frame in decode_all(&bytes).unwrap_or_default() {
            let _ = frame.read_header::<Request>();
            let _ = frame.read_header::<Response>();
            let _ = frame.read_header::<Push<'_>>();
        }
    }

    #[test]
    fn advancing_pieces_drops_exactly_as_many_bytes(
        lengths in prop::collection::vec(1_usize..50, 0..10),
        steps in prop::collection::vec(0_usize..60, 0..10),
    ) {
        let mut left = lengths.iter().sum::<usize>();
        let mut pieces = lengths.iter().map(|len| Bytes::from(vec![1; *len])).collect();
        for step in steps {
            let step = step.min(left);
            outbox::advance(&mut pieces, step);
            left -= step;
            prop_assert_eq!(pieces.iter().map(Bytes::remaining).sum::<usize>(), left);
            prop_assert!(pieces.iter().all(|piece| !piece.is_empty()));
        }
    }
}
