//! What frames decode to: those we sent, and random and hostile bytes.

mod golden;
#[cfg(feature = "tcp")]
mod link;
#[cfg(feature = "tcp")]
pub(crate) mod peer;
mod random;

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};

use golden::{golden_frames, requests, responses};

use super::decoder::FrameDecoder;
use super::frame::{Frame, FrameError, FrameHead, FrameKind, HEAD_BYTES, LENGTH_BYTES, encode};
use super::header::{Credit, Push, WireError};
use super::outbox::Outbox;
use super::request::Request;
use super::response::Response;
use super::version::{ClientHello, MAGIC, NegotiationError, Opening, negotiate};
use crate::error::{Error, ErrorCode, ErrorKind, Outcome};
use crate::limits;

/// A frame's bytes.
fn frame<H: serde::Serialize>(id: u64, kind: FrameKind, header: &H, payload: &[u8]) -> Vec<u8> {
    let mut outbox = Outbox::new(limits::FRAME_BYTES_MAX);
    let payload = Bytes::copy_from_slice(payload);
    outbox
        .push(id, kind, header, std::iter::once(&payload))
        .unwrap();
    bytes_of(&mut outbox)
}

fn bytes_of(outbox: &mut Outbox) -> Vec<u8> {
    let mut pieces = VecDeque::new();
    outbox.take(&mut pieces);
    pieces.iter().flatten().copied().collect()
}

fn decode_all(bytes: &[u8]) -> Result<Vec<Frame>, FrameError> {
    let mut decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, limits::RESPONSE_BYTES_MAX);
    decoder.extend(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

#[test]
fn every_golden_frame_decodes_to_what_was_encoded() {
    let all = golden_frames()
        .into_iter()
        .flat_map(|(_, bytes)| bytes)
        .collect::<Vec<_>>();
    let frames = decode_all(&all).unwrap();
    let found = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Request)
        .map(|frame| frame.read_header().unwrap())
        .collect::<Vec<Request>>();
    assert_eq!(
        found,
        requests()
            .into_iter()
            .map(|(_, request)| request)
            .collect::<Vec<_>>()
    );
    let found = frames
        .iter()
        .filter(|frame| frame.kind == FrameKind::Response)
        .map(|frame| frame.read_header().unwrap())
        .collect::<Vec<Response>>();
    assert_eq!(
        found,
        responses()
            .into_iter()
            .map(|(_, response)| response)
            .collect::<Vec<_>>()
    );
    let push = frames
        .iter()
        .find(|frame| frame.kind == FrameKind::Push)
        .unwrap();
    let header = push.read_header::<Push<'_>>().unwrap();
    assert_eq!((header.assignment, header.batches[1].batch_bytes), (2, 6));
    assert_eq!(&push.payload[..], b"first batchsecond");
}

#[test]
fn the_layout_is_where_the_module_says() {
    let bytes = frame(
        0x0102_0304_0506_0708,
        FrameKind::Credit,
        &Credit { bytes: 1 },
        b"xyz",
    );
    assert_eq!(bytes[0..4], (bytes.len() as u32 - 4).to_le_bytes());
    assert_eq!(bytes[4..12], [8, 7, 6, 5, 4, 3, 2, 1]);
    assert_eq!(bytes[12], 9);
    assert_eq!(bytes[13..17], 1_u32.to_le_bytes());
    assert_eq!(bytes[17..], [1, b'x', b'y', b'z']);
}

#[test]
fn numbers_of_kinds_and_kinds_belong_together() {
    for kind in FrameKind::ALL {
        assert_eq!(FrameKind::from_number(*kind as u8), Some(*kind));
    }
    assert_eq!(
        (FrameKind::from_number(0), FrameKind::from_number(16)),
        (None, None)
    );
}

#[test]
fn a_length_beyond_the_limit_is_refused_from_its_four_bytes() {
    let mut decoder = FrameDecoder::new(1_000, 100);
    decoder.extend(&997_u32.to_le_bytes());
    let error = decoder.next_frame().unwrap_err();
    assert!(
        matches!(
            error,
            FrameError::TooLong {
                found: 1_001,
                limit: 1_000
            }
        ),
        "{error}"
    );
    let mut decoder = FrameDecoder::new(1_000, 100);
    decoder.extend(&996_u32.to_le_bytes());
    assert!(matches!(decoder.next_frame(), Ok(None)));
}

#[test]
fn heads_that_contradict_themselves_are_refused_before_the_frame_is_there() {
    let head = |length: u32, kind: u8, header_len: u32| {
        let mut bytes = length.to_le_bytes().to_vec();
        bytes.extend_from_slice(&[0; 8]);
        bytes.push(kind);
        bytes.extend_from_slice(&header_len.to_le_bytes());
        FrameHead::read(&bytes, 1_000, 100)
    };
    assert!(matches!(
        head(12, 4, 0),
        Err(FrameError::TooShort { found: 16 })
    ));
    assert!(matches!(
        head(u32::MAX, 4, 0),
        Err(FrameError::TooLong { .. })
    ));
    assert!(matches!(
        head(100, 0, 0),
        Err(FrameError::UnknownKind { found: 0 })
    ));
    assert!(matches!(
        head(500, 4, 101),
        Err(FrameError::HeaderTooLong { found: 101, .. })
    ));
    assert!(matches!(
        head(20, 4, 8),
        Err(FrameError::HeaderBeyondFrame { header_len: 8, .. })
    ));
    assert!(matches!(
        head(20, 4, 7),
        Ok(Some(FrameHead {
            frame_len: 24,
            header_len: 7,
            ..
        }))
    ));
}

#[test]
fn a_header_with_bytes_after_its_end_is_refused_but_for_a_hello() {
    let mut bytes = frame(1, FrameKind::Credit, &(Credit { bytes: 5 }, 9_u8), b"");
    let error = decode_all(&bytes).unwrap()[0]
        .read_header::<Credit>()
        .unwrap_err();
    assert!(
        matches!(error, FrameError::TrailingBytes { count: 1, .. }),
        "{error}"
    );
    let hello = ClientHello::ours("newer");
    bytes = frame(
        0,
        FrameKind::ClientHello,
        &(hello.clone(), "what version 9 added"),
        b"",
    );
    assert_eq!(
        decode_all(&bytes).unwrap()[0]
            .read_hello::<ClientHello>()
            .unwrap(),
        hello
    );
}

#[test]
fn a_header_too_large_to_send_is_refused_and_leaves_nothing_behind() {
    let mut outbox = Outbox::new(limits::FRAME_BYTES_MAX);
    let names = vec!["x".repeat(limits::FRAME_HEADER_BYTES_MAX)];
    let request = Request::DescribeTopics { names };
    let error = outbox
        .push(1, FrameKind::Request, &request, [].iter())
        .unwrap_err();
    assert!(matches!(error, FrameError::HeaderTooLong { .. }), "{error}");
    let mut small = Outbox::new(64);
    let payload = Bytes::from_static(&[0; 64]);
    let error = small.push(
        1,
        FrameKind::Request,
        &Request::Ping,
        std::iter::once(&payload),
    );
    assert!(
        matches!(
            error,
            Err(FrameError::TooLong {
                found: 82,
                limit: 64
            })
        ),
        "{error:?}"
    );
    assert!(outbox.is_empty() && small.is_empty());
    assert_eq!((small.unsent_bytes(), small.written_position()), (0, 0));
    small
        .push(2, FrameKind::Request, &Request::Ping, [].iter())
        .unwrap();
    assert_eq!(
        bytes_of(&mut small),
        frame(2, FrameKind::Request, &Request::Ping, b"")
    );
}

#[test]
fn an_error_crosses_with_code_message_and_outcome() {
    for code in ErrorCode::ALL {
        let error = Error::new(*code, "in words").with_outcome(Outcome::Unknown);
        let back = Error::from(WireError::from(&error));
        assert_eq!((&back, back.kind()), (&error, code.kind()));
    }
    let unknown = WireError {
        code: 60_000,
        message: "new".to_owned(),
        outcome: Outcome::Unknown,
    };
    let error = Error::from(unknown);
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Internal, Outcome::Unknown)
    );
    assert!(error.message().contains("60000"), "{error}");
}

#[test]
fn a_message_too_long_for_the_wire_is_cut_between_characters() {
    let text = "\u{e9}".repeat(limits::WIRE_MESSAGE_BYTES_MAX);
    let wire = WireError::from(&Error::new(ErrorCode::InvalidRequest, format!("x{text}")));
    assert_eq!(wire.message.len(), limits::WIRE_MESSAGE_BYTES_MAX - 1);
}

#[test]
fn the_newest_version_both_speak_is_chosen() {
    let hello = |version_min, version_max| ClientHello {
        version_min,
        version_max,
        ..ClientHello::ours("test")
    };
    assert_eq!(negotiate(&hello(1, 1), &(1..=1)), Ok(1));
    assert_eq!(negotiate(&hello(1, 9), &(2..=4)), Ok(4));
    assert_eq!(negotiate(&hello(1, 3), &(2..=4)), Ok(3));
    let too_new = negotiate(&hello(5, 9), &(2..=4)).unwrap_err();
    assert!(matches!(too_new, NegotiationError::ClientTooNew { .. }));
    assert!(
        too_new.to_string().contains("upgrade the server"),
        "{too_new}"
    );
    let too_old = negotiate(&hello(0, 1), &(2..=4)).unwrap_err();
    assert!(
        too_old.to_string().contains("upgrade the client"),
        "{too_old}"
    );
    let empty = negotiate(&hello(4, 3), &(2..=4)).unwrap_err();
    assert_eq!(
        empty,
        NegotiationError::Empty {
            client_min: 4,
            client_max: 3
        }
    );
    assert_eq!(Error::from(too_old).code(), ErrorCode::UnsupportedVersion);
}

#[test]
fn the_first_bytes_tell_who_is_there() {
    let kafka_api_versions = [0, 0, 0, 35, 0, 18, 0, 3];
    for (bytes, expected) in [
        (&MAGIC[..], Opening::Native),
        (b"GET / HTTP/1.1", Opening::Http),
        (b"PRI * HTTP/2.0", Opening::Http),
        (&[0x16, 0x03, 0x01, 0x02], Opening::Tls),
        (&kafka_api_versions, Opening::Kafka),
        (b"hello, is this on?", Opening::Unknown),
        (&[0xFF; 8], Opening::Unknown),
        (&[0; 8], Opening::Unknown),
    ] {
        assert_eq!(Opening::of(bytes), expected, "{bytes:?}");
        for end in 0..bytes.len().min(Opening::OPENING_BYTES) {
            let early = Opening::of(&bytes[..end]);
            assert!(
                early == expected || early == Opening::Undecided,
                "{:?}",
                &bytes[..end]
            );
        }
    }
    assert_eq!(Opening::of(b""), Opening::Undecided);
    assert!(i32::from_be_bytes([MAGIC[0], MAGIC[1], MAGIC[2], MAGIC[3]]) < 0);
}

#[test]
fn large_payloads_are_pieces_of_their_own_and_small_frames_share_one() {
    let mut outbox = Outbox::new(limits::FRAME_BYTES_MAX);
    for id in 1..=10 {
        outbox
            .push(id, FrameKind::Request, &Request::Ping, [].iter())
            .unwrap();
    }
    let large = Bytes::from(vec![7; 100_000]);
    let position = outbox
        .push(
            11,
            FrameKind::Request,
            &Request::Ping,
            std::iter::once(&large),
        )
        .unwrap();
    outbox
        .push(12, FrameKind::Request, &Request::Ping, [].iter())
        .unwrap();
    assert_eq!(position, 10 * (HEAD_BYTES as u64 + 1));
    let mut pieces = VecDeque::new();
    outbox.take(&mut pieces);
    assert_eq!(pieces.len(), 3);
    assert_eq!(pieces[1].as_ptr(), large.as_ptr(), "the batch was copied");
    let total = pieces.iter().map(Bytes::len).sum::<usize>();
    assert_eq!(outbox.unsent_bytes(), total);
    outbox.written(total);
    assert_eq!(
        (outbox.unsent_bytes(), outbox.written_position()),
        (0, total as u64)
    );
}

#[test]
fn payloads_share_the_memory_they_were_read_into() {
    let batch = vec![3; 50_000];
    let produce = Request::Produce {
        topic: "t".to_owned(),
        partition: 0,
        durability: None,
    };
    let mut decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, 1_000);
    decoder
        .room()
        .extend_from_slice(&frame(1, FrameKind::Request, &produce, &batch));
    let range = decoder.unread().as_ptr_range();
    let found = decoder.next_frame().unwrap().unwrap();
    assert!(
        range.contains(&found.payload.as_ptr()),
        "the batch was copied"
    );
    assert_eq!(found.payload, batch);
}

#[test]
fn an_idle_decoder_gives_its_large_buffer_back() {
    let mut decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, 1_000);
    let large = frame(1, FrameKind::Request, &Request::Ping, &vec![0; 1 << 20]);
    for chunk in large.chunks(limits::READ_CHUNK_BYTES_MAX) {
        decoder.room().extend_from_slice(chunk);
        decoder.received(chunk.len());
        drop(decoder.next_frame().unwrap());
    }
    assert!(decoder.room().capacity() > limits::READ_CHUNK_BYTES_MIN);
    for id in 2..12 {
        let small = frame(id, FrameKind::Request, &Request::Ping, b"");
        decoder.room().extend_from_slice(&small);
        decoder.received(small.len());
        while decoder.next_frame().unwrap().is_some() {}
    }
    assert!(decoder.room().capacity() <= 2 * limits::READ_CHUNK_BYTES_MIN);
}

#[test]
fn an_encoded_length_counts_all_but_itself() {
    let mut buffer = BytesMut::new();
    let limit = limits::FRAME_BYTES_MAX;
    let frame_len = encode(
        &mut buffer,
        1,
        FrameKind::Request,
        &Request::Ping,
        10,
        limit,
    )
    .unwrap();
    assert_eq!(frame_len, HEAD_BYTES + 1 + 10);
    assert_eq!(buffer.get_u32_le() as usize, frame_len - LENGTH_BYTES);
}
