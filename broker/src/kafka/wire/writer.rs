//! Writes an answer field by field, in both of Kafka's forms: for answers with records in them, which pass through
//! as they are, and for those that are written often.

use bytes::{BufMut, Bytes, BytesMut};

/// An answer that is being written.
#[derive(Debug)]
pub(crate) struct Writer {
    pieces: Vec<Bytes>,
    buffer: BytesMut,
    is_flexible: bool,
}

impl Writer {
    /// Nothing yet.
    pub(crate) fn new(is_flexible: bool) -> Self {
        Self {
            pieces: Vec::new(),
            buffer: BytesMut::new(),
            is_flexible,
        }
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: &[u8; 16]) {
        self.buffer.extend_from_slice(value);
    }

    fn uvarint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.buffer.put_u8((value & 0x7F) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8(value as u8);
    }

    /// A string; none is null. (Ours have 4 KiB at most.)
    pub(crate) fn string(&mut self, value: Option<&str>) {
        let bytes = value.map(str::as_bytes);
        match (self.is_flexible, bytes) {
            (true, None) => self.buffer.put_u8(0),
            (true, Some(bytes)) => self.uvarint(bytes.len() as u64 + 1),
            (false, None) => self.buffer.put_i16(-1),
            (false, Some(bytes)) => {
                self.buffer
                    .put_i16(i16::try_from(bytes.len()).unwrap_or(i16::MAX));
            }
        }
        self.buffer.extend_from_slice(bytes.unwrap_or_default());
    }

    /// The count of an array's elements, which follow; none is a null array.
    pub(crate) fn count(&mut self, count: Option<usize>) {
        match (self.is_flexible, count) {
            (true, count) => self.uvarint(count.map_or(0, |count| count as u64 + 1)),
            (false, count) => {
                let count = count.map_or(-1, |count| i32::try_from(count).unwrap_or(i32::MAX));
                self.buffer.put_i32(count);
            }
        }
    }

    /// Bytes in pieces, which are not copied.
    pub(crate) fn pieces(&mut self, pieces: impl Iterator<Item = Bytes> + Clone) {
        let len = pieces.clone().map(|piece| piece.len()).sum();
        self.count(Some(len));
        if !self.buffer.is_empty() {
            self.pieces.push(self.buffer.split().freeze());
        }
        self.pieces.extend(pieces);
    }

    /// The end of a struct, without tagged fields.
    pub(crate) fn tags(&mut self) {
        if self.is_flexible {
            self.buffer.put_u8(0);
        }
    }

    /// The end of a struct with one tagged field, in the flexible form alone.
    pub(crate) fn tag(&mut self, tag: u8, field: &[u8]) {
        self.buffer.put_u8(1);
        self.uvarint(u64::from(tag));
        self.uvarint(field.len() as u64);
        self.buffer.extend_from_slice(field);
    }

    /// What was written.
    pub(crate) fn finish(mut self) -> Vec<Bytes> {
        self.pieces.push(self.buffer.freeze());
        self.pieces
    }
}
