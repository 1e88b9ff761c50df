//! What comes over a connection: its first bytes, and frames of the native protocol with their headers.

use std::fmt::Debug;

use bytes::BytesMut;
use serde::{Deserialize, Serialize};

use super::Target;
use crate::limits;
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{self, Frame, FrameKind};
use crate::protocol::header::{Credit, Goodbye, Push, Reassign, ReassignAt, WireError};
use crate::protocol::out_of_range::OutOfRange;
use crate::protocol::request::{Request, Subscribe, SubscribeAt};
use crate::protocol::response::Response;
use crate::protocol::version::{self, ClientHello, Opening, ServerHello};

pub(super) const NATIVE_FRAMES: Target = Target {
    name: "native_frames",
    run: check_frames,
    seeds: frames,
};

pub(super) const OPENING: Target = Target {
    name: "opening",
    run: check_opening,
    seeds: || {
        let openings: [&[u8]; 4] = [
            &version::MAGIC,
            b"GET / HTTP/1.1",
            &[0x16, 3, 1, 2],
            &[0, 0, 0, 20, 0, 18, 0, 3],
        ];
        openings.map(<[u8]>::to_vec).into()
    },
};

macro_rules! golden {
    ($($name:literal),* $(,)?) => {
        [$(include_str!(concat!("../../tests/golden/protocol/", $name, ".hex"))),*]
    };
}

/// The golden frames: each alone, and all in a row.
fn frames() -> Vec<Vec<u8>> {
    let golden = golden![
        "client_hello",
        "credit",
        "error",
        "goodbye",
        "push",
        "reassign",
        "request_commit_offsets",
        "request_create_topic",
        "request_list_offsets",
        "request_ping",
        "request_produce",
        "response_done",
        "response_group",
        "response_joined",
        "response_topics",
        "server_hello",
        "subscribe",
        "unsubscribe",
    ];
    let mut frames: Vec<_> = golden.iter().map(|hex| from_hex(hex)).collect();
    frames.push(frames.concat());
    frames
}

fn from_hex(hex: &str) -> Vec<u8> {
    let digits: Vec<_> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | *digit as u8))
        .collect()
}

fn check_frames(bytes: &[u8]) {
    let (whole, whole_error) = decode(bytes, bytes.len().max(1));
    // However the stream is cut, the same frames come out of it, and the same error.
    let step = usize::from(bytes.first().copied().unwrap_or_default()) % 23 + 1;
    let (cut, cut_error) = decode(bytes, step);
    assert_eq!(whole, cut);
    assert_eq!(whole_error, cut_error);
    let total: usize = whole.iter().map(Frame::size_bytes).sum();
    assert!(total <= bytes.len());
    whole.iter().for_each(check_header);
}

/// The frames of a stream that comes `step` bytes at a time, and why it ended early.
fn decode(bytes: &[u8], step: usize) -> (Vec<Frame>, Option<String>) {
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX, limits::FRAME_HEADER_BYTES_MAX);
    let mut frames = Vec::new();
    for part in bytes.chunks(step) {
        let room = decoder.room();
        // A length claimed must not make room for itself before its bytes have come.
        assert!(room.capacity() <= 4 * (bytes.len() + limits::READ_CHUNK_BYTES_MAX));
        room.extend_from_slice(part);
        decoder.received(part.len());
        loop {
            match decoder.next_frame() {
                Ok(Some(frame)) => frames.push(frame),
                Ok(None) => break,
                Err(error) => return (frames, Some(error.to_string())),
            }
        }
    }
    (frames, None)
}

fn check_header(frame: &Frame) {
    match frame.kind {
        FrameKind::ClientHello => {
            if let Ok(hello) = frame.read_hello::<ClientHello>() {
                let chosen = version::negotiate(&hello, &version::VERSIONS);
                let common = hello.version_min..=hello.version_max;
                assert!(chosen.is_ok_and(|chosen| common.contains(&chosen)) || chosen.is_err());
            }
        }
        FrameKind::ServerHello => drop(frame.read_hello::<ServerHello>()),
        FrameKind::Goodbye => check_encoded_again::<Goodbye>(frame),
        FrameKind::Request => check_encoded_again::<Request>(frame),
        FrameKind::Response => check_encoded_again::<Response>(frame),
        FrameKind::Error | FrameKind::SubscriptionError => {
            check_encoded_again::<WireError>(frame);
            if let Ok(error) = frame.read_header::<WireError>() {
                assert!(!crate::Error::from(error).code().name().is_empty());
            }
        }
        FrameKind::Subscribe => check_encoded_again::<Subscribe>(frame),
        FrameKind::Push => check_encoded_again::<Push<'_>>(frame),
        FrameKind::Credit => check_encoded_again::<Credit>(frame),
        FrameKind::Reassign => check_encoded_again::<Reassign>(frame),
        FrameKind::SubscribeAt => check_encoded_again::<SubscribeAt>(frame),
        FrameKind::ReassignAt => check_encoded_again::<ReassignAt>(frame),
        FrameKind::SubscriptionOutOfRange => {
            check_encoded_again::<OutOfRange>(frame);
            if let Ok(out_of_range) = frame.read_header::<OutOfRange>() {
                let error = crate::Error::from(out_of_range.clone());
                assert_eq!(OutOfRange::of(&error), Some(&out_of_range));
            }
        }
        FrameKind::Unsubscribe => drop(frame.check_no_payload()),
    }
}

/// What was read, written down and read again, is the same. (The bytes need not be: a number may come
/// with more digits than it needs.)
fn check_encoded_again<'a, T>(frame: &'a Frame)
where
    T: Deserialize<'a> + Serialize + PartialEq + Debug,
{
    let Ok(header) = frame.read_header::<T>() else {
        return;
    };
    let bytes = postcard::to_stdvec(&header).expect("it was read from bytes");
    assert!(bytes.len() <= frame.header.len());
    let mut encoded = BytesMut::new();
    let length = frame::encode(&mut encoded, 9, frame.kind, &header, 0, FRAME_BYTES_MAX);
    assert_eq!(length.expect("no longer than what was read"), encoded.len());
    let mut decoder = FrameDecoder::new(FRAME_BYTES_MAX, limits::FRAME_HEADER_BYTES_MAX);
    decoder.extend(&encoded);
    let again = decoder
        .next_frame()
        .expect("we wrote it")
        .expect("it is whole");
    assert_eq!((again.correlation_id, again.kind), (9, frame.kind));
    assert_eq!(again.header, bytes);
}

/// Once it is decided who is there, more bytes change nothing; with enough of them it is decided.
fn check_opening(bytes: &[u8]) {
    let mut decided = Opening::Undecided;
    for end in 0..=bytes.len().min(32) {
        let opening = Opening::of(&bytes[..end]);
        assert!(
            opening == decided || decided == Opening::Undecided,
            "changed at {end}"
        );
        assert!(opening != Opening::Undecided || end < Opening::OPENING_BYTES);
        decided = opening;
    }
}

/// Small, so that lengths beyond it are met.
const FRAME_BYTES_MAX: usize = 32 * 1_024;
