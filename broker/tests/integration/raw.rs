//! The other end of a broker's connection, that keeps to no rule: any bytes out, frames in.

use std::io::{Read, Write};
use std::net::TcpStream;

use bytes::BytesMut;
use headwater::limits;
use headwater::protocol::decoder::FrameDecoder;
use headwater::protocol::frame::{self, Frame, FrameKind};
use headwater::protocol::version::{ClientHello, MAGIC};
use serde::Serialize;

#[derive(Debug)]
pub(crate) struct Raw {
    pub(crate) stream: TcpStream,
    decoder: FrameDecoder,
}

impl Raw {
    /// A connection on which nothing was said.
    pub(crate) fn dial(address: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        let decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, limits::RESPONSE_BYTES_MAX);
        Self { stream, decoder }
    }

    /// A connection whose handshake is done.
    pub(crate) fn greet(address: &str) -> Self {
        let mut raw = Self::dial(address);
        raw.stream.write_all(&hello()).unwrap();
        raw.expect_magic();
        let frame = raw.next().unwrap();
        assert_eq!(frame.kind, FrameKind::ServerHello);
        raw
    }

    pub(crate) fn send<H: Serialize>(&mut self, id: u64, kind: FrameKind, header: &H) {
        self.stream
            .write_all(&encoded(id, kind, header, b""))
            .unwrap();
    }

    /// The next frame; none where the broker has closed.
    pub(crate) fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().unwrap() {
                return Some(frame);
            }
            if !self.read() {
                return None;
            }
        }
    }

    /// Everything that the broker still says, until it closes.
    pub(crate) fn rest(mut self) -> Vec<Frame> {
        std::iter::from_fn(|| self.next()).collect()
    }

    /// Reads whatever the broker still says, until it closes; how many bytes that were.
    pub(crate) fn drain(mut self) -> usize {
        let (mut chunk, mut bytes) = ([0; 64 * 1_024], 0);
        while let Ok(count @ 1..) = self.stream.read(&mut chunk) {
            bytes += count;
        }
        bytes
    }

    fn expect_magic(&mut self) {
        while self.decoder.unread().len() < MAGIC.len() {
            assert!(self.read(), "closed before the magic");
        }
        assert!(self.decoder.unread().starts_with(&MAGIC));
        self.decoder.skip(MAGIC.len());
    }

    /// Whether something came. A reset is an end as any other.
    fn read(&mut self) -> bool {
        let mut chunk = [0; 64 * 1_024];
        let count = self.stream.read(&mut chunk).unwrap_or(0);
        self.decoder.extend(&chunk[..count]);
        count > 0
    }
}

/// What a client says first.
pub(crate) fn hello() -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    let hello = ClientHello::ours("a test");
    bytes.extend(encoded(0, FrameKind::ClientHello, &hello, b""));
    bytes
}

/// A frame's bytes.
pub(crate) fn encoded<H: Serialize>(
    id: u64,
    kind: FrameKind,
    header: &H,
    payload: &[u8],
) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    frame::encode(
        &mut bytes,
        id,
        kind,
        header,
        payload.len(),
        limits::FRAME_BYTES_MAX,
    )
    .unwrap();
    bytes.extend_from_slice(payload);
    bytes.to_vec()
}
