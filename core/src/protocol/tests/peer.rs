//! The other end of a connection, for tests: says any bytes and reads frames.

use bytes::Bytes;
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use crate::limits;
use crate::protocol::decoder::FrameDecoder;
use crate::protocol::frame::{self, Frame, FrameKind};
use crate::protocol::version::MAGIC;

/// One end of a duplex stream.
pub(crate) struct Peer {
    pub(crate) stream: DuplexStream,
    decoder: FrameDecoder,
}

impl Peer {
    pub(crate) fn new(stream: DuplexStream) -> Self {
        let decoder = FrameDecoder::new(limits::FRAME_BYTES_MAX, limits::RESPONSE_BYTES_MAX);
        Self { stream, decoder }
    }

    pub(crate) async fn say(&mut self, bytes: &[u8]) {
        self.stream
            .write_all(bytes)
            .await
            .expect("the other side reads");
    }

    pub(crate) async fn send<H: Serialize>(&mut self, id: u64, kind: FrameKind, header: &H) {
        self.send_with(id, kind, header, b"").await;
    }

    pub(crate) async fn send_with<H: Serialize>(
        &mut self,
        id: u64,
        kind: FrameKind,
        header: &H,
        payload: &[u8],
    ) {
        self.say(&encode(id, kind, header, payload)).await;
    }

    /// Reads the magic, which must come first.
    pub(crate) async fn expect_magic(&mut self) {
        while self.decoder.unread().len() < MAGIC.len() {
            assert_ne!(self.read().await, 0, "closed before the magic");
        }
        assert!(self.decoder.unread().starts_with(&MAGIC));
        self.decoder.skip(MAGIC.len());
    }

    /// The next frame; none when the other side closed.
    pub(crate) async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("a frame") {
                return Some(frame);
            }
            if self.read().await == 0 {
                assert!(self.decoder.unread().is_empty(), "closed within a frame");
                return None;
            }
        }
    }

    /// The next frame, which must be of this kind.
    pub(crate) async fn expect(&mut self, kind: FrameKind) -> Frame {
        let frame = self.next().await.expect("a frame, not the end");
        assert_eq!(frame.kind, kind);
        frame
    }

    /// All bytes until the other side closes.
    pub(crate) async fn rest(&mut self) -> Bytes {
        while self.read().await > 0 {}
        Bytes::copy_from_slice(self.decoder.unread())
    }

    async fn read(&mut self) -> usize {
        let count = self.stream.read_buf(self.decoder.room()).await.unwrap_or(0);
        self.decoder.received(count);
        count
    }
}

/// A frame's bytes.
pub(crate) fn encode<H: Serialize>(
    id: u64,
    kind: FrameKind,
    header: &H,
    payload: &[u8],
) -> Vec<u8> {
    let mut buffer = bytes::BytesMut::new();
    let limit = limits::FRAME_BYTES_MAX;
    frame::encode(&mut buffer, id, kind, header, payload.len(), limit).expect("a small frame");
    buffer.extend_from_slice(payload);
    buffer.to_vec()
}
