//! Reads the fields of a request, one after the other, in both of Kafka's forms.
//!
//! ```text
//!                classic                        flexible
//! string         length i16, bytes              length + 1 uvarint, bytes
//! bytes          length i32, bytes              length + 1 uvarint, bytes
//! array          count i32, elements            count + 1 uvarint, elements
//! null           length or count -1             0
//! struct's end   nothing                        count uvarint, (tag uvarint, size uvarint, bytes)*
//! ```
//!
//! A count is compared with the bytes that are left before anything is kept, and a request has a bounded number of
//! elements in all: what is built of it is bounded by more than its length.

use bytes::Bytes;
use headwater::limits;

use super::{Malformed, Problem};

type Result<T> = std::result::Result<T, Malformed>;

/// What is left of a frame to be read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    frame: &'a Bytes,
    rest: &'a [u8],
    is_flexible: bool,
    /// How many elements its arrays may still have.
    elements_left: usize,
}

impl<'a> Reader<'a> {
    /// Reads these bytes from their beginning.
    pub(crate) fn new(frame: &'a Bytes, is_flexible: bool) -> Self {
        Self {
            frame,
            rest: frame,
            is_flexible,
            elements_left: limits::KAFKA_REQUEST_ELEMENTS_MAX,
        }
    }

    /// Whether what follows is in the flexible form.
    pub(crate) fn set_flexible(&mut self, is_flexible: bool) {
        self.is_flexible = is_flexible;
    }

    fn position(&self) -> usize {
        self.frame.len() - self.rest.len()
    }

    fn wrong<T>(&self, field: &'static str, problem: Problem) -> Result<T> {
        Err(Malformed {
            field,
            position: self.position(),
            problem,
        })
    }

    fn take(&mut self, field: &'static str, needed: usize) -> Result<&'a [u8]> {
        match self.rest.split_at_checked(needed) {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(taken)
            }
            None => {
                let left = self.rest.len();
                self.wrong(field, Problem::TooShort { needed, left })
            }
        }
    }

    /// Passes over so many bytes.
    pub(crate) fn skip(&mut self, field: &'static str, bytes: usize) -> Result<()> {
        self.take(field, bytes).map(|_| ())
    }

    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N]> {
        match self.rest.split_first_chunk::<N>() {
            Some((taken, rest)) => {
                self.rest = rest;
                Ok(*taken)
            }
            None => {
                let left = self.rest.len();
                self.wrong(field, Problem::TooShort { needed: N, left })
            }
        }
    }

    /// A boolean: anything but 0 is true, as for Kafka.
    pub(crate) fn bool(&mut self, field: &'static str) -> Result<bool> {
        Ok(self.fixed::<1>(field)? != [0])
    }

    pub(crate) fn i8(&mut self, field: &'static str) -> Result<i8> {
        self.fixed(field).map(i8::from_be_bytes)
    }

    pub(crate) fn i16(&mut self, field: &'static str) -> Result<i16> {
        self.fixed(field).map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self, field: &'static str) -> Result<i32> {
        self.fixed(field).map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self, field: &'static str) -> Result<i64> {
        self.fixed(field).map(i64::from_be_bytes)
    }

    /// A uuid; all zeros stand for none.
    pub(crate) fn uuid(&mut self, field: &'static str) -> Result<[u8; 16]> {
        self.fixed(field)
    }

    /// An unsigned varint of up to 32 bits.
    fn uvarint(&mut self, field: &'static str) -> Result<u32> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let [byte] = self.fixed::<1>(field)?;
            value |= u64::from(byte & 0x7F) << shift;
            if byte & 0x80 == 0 {
                return match u32::try_from(value) {
                    Ok(value) => Ok(value),
                    Err(_) => self.wrong(field, Problem::Varint),
                };
            }
        }
        self.wrong(field, Problem::Varint)
    }

    /// A length or count; none if it is null.
    fn length(&mut self, field: &'static str, is_short: bool) -> Result<Option<usize>> {
        let length = if self.is_flexible {
            i64::from(self.uvarint(field)?) - 1
        } else if is_short {
            i64::from(self.i16(field)?)
        } else {
            i64::from(self.i32(field)?)
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => self.wrong(field, Problem::Length(length)),
        }
    }

    fn present<T>(&self, field: &'static str, value: Option<T>) -> Result<T> {
        match value {
            Some(value) => Ok(value),
            None => self.wrong(field, Problem::Null),
        }
    }

    /// A string that may be null.
    pub(crate) fn nullable_string(&mut self, field: &'static str) -> Result<Option<&'a str>> {
        let Some(length) = self.length(field, true)? else {
            return Ok(None);
        };
        match std::str::from_utf8(self.take(field, length)?) {
            Ok(string) => Ok(Some(string)),
            Err(_) => self.wrong(field, Problem::Utf8),
        }
    }

    /// A string.
    pub(crate) fn string(&mut self, field: &'static str) -> Result<&'a str> {
        let string = self.nullable_string(field)?;
        self.present(field, string)
    }

    /// Bytes that may be null; they share the frame's memory.
    pub(crate) fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>> {
        let Some(length) = self.length(field, false)? else {
            return Ok(None);
        };
        let taken = self.take(field, length)?;
        Ok(Some(self.frame.slice_ref(taken)))
    }

    /// Bytes; they share the frame's memory.
    pub(crate) fn bytes(&mut self, field: &'static str) -> Result<Bytes> {
        let bytes = self.nullable_bytes(field)?;
        self.present(field, bytes)
    }

    /// An array that may be null, element by element. An element that is a struct ends with [`tags`](Self::tags).
    pub(crate) fn nullable_array<T>(
        &mut self,
        field: &'static str,
        mut element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = self.length(field, false)? else {
            return Ok(None);
        };
        let left = self.rest.len();
        if count > left {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            return self.wrong(field, Problem::Count { count, left });
        }
        let Some(elements_left) = self.elements_left.checked_sub(count) else {
            let max = limits::KAFKA_REQUEST_ELEMENTS_MAX;
            return self.wrong(field, Problem::TooMany { max });
        };
        self.elements_left = elements_left;
        // Not with the capacity that was asked for: most elements take more than the byte they were counted as.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(Some(elements))
    }

    /// An array, element by element. An element that is a struct ends with [`tags`](Self::tags).
    pub(crate) fn array<T>(
        &mut self,
        field: &'static str,
        element: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let array = self.nullable_array(field, element)?;
        self.present(field, array)
    }

    /// Passes over the tagged fields at the end of a struct; in the classic form there are none.
    pub(crate) fn tags(&mut self) -> Result<()> {
        if !self.is_flexible {
            return Ok(());
        }
        for _ in 0..self.uvarint("tagged fields")? {
            self.uvarint("tag")?;
            let size = self.uvarint("size of a tagged field")?;
            self.take("tagged field", size as usize)?;
        }
        Ok(())
    }

    /// The end of the request: its own tagged fields, and nothing behind them.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.end_within(0)
    }

    /// The end of a request behind which some clients send so many bytes more, which are passed over.
    pub(crate) fn end_within(&mut self, spare: usize) -> Result<()> {
        self.tags()?;
        match self.rest.len() {
            left if left <= spare => Ok(()),
            left => self.wrong("end", Problem::Trailing { left }),
        }
    }
}

#[cfg(test)]
mod tests;
