//! What Python gives as key, value and headers, as bytes.

use std::borrow::Cow;

use headwater::ErrorCode;
use headwater::client::Record;
use headwater::record::Header;
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::PyTypeError;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyMapping, PyString};

use crate::error::raise;

/// Bytes of an object: borrowed from `bytes` and `str` (as UTF-8), copied from other buffers.
pub(crate) enum Data<'a> {
    /// Of an immutable object.
    Borrowed(&'a [u8]),
    /// Of `bytearray`, `memoryview`, arrays.
    Copied(Vec<u8>),
}

impl Data<'_> {
    /// The bytes.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Borrowed(bytes) => bytes,
            Self::Copied(bytes) => bytes,
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Data<'a> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyBytes>() {
            return Ok(Self::Borrowed(object.extract()?));
        }
        if object.is_instance_of::<PyString>() {
            return Ok(Self::Borrowed(object.extract::<&'a str>()?.as_bytes()));
        }
        copied(object)
    }
}

#[cold]
fn copied<'a>(object: Borrowed<'_, '_, PyAny>) -> PyResult<Data<'a>> {
    let py = object.py();
    match PyBuffer::<u8>::get(&object) {
        Ok(buffer) => Ok(Data::Copied(buffer.to_vec(py)?)),
        Err(_) => {
            let found = object.get_type().name()?;
            let message = format!("bytes, str, a buffer of bytes or None expected, not {found}");
            Err(PyTypeError::new_err(message))
        }
    }
}

/// Headers of one record, copied.
#[derive(Default)]
pub(crate) struct Headers(Vec<(String, Option<Vec<u8>>)>);

impl Headers {
    /// Headers as a mapping, or as pairs where a key may repeat.
    pub(crate) fn of(headers: Option<&Bound<'_, PyAny>>) -> PyResult<Self> {
        let Some(headers) = headers.filter(|headers| !headers.is_none()) else {
            return Ok(Self::default());
        };
        let items = match headers.cast::<PyMapping>() {
            Ok(mapping) => mapping.items()?.into_any(),
            Err(_) => headers.clone(),
        };
        let mut found = Vec::new();
        for item in items.try_iter()? {
            let (key, value): (String, Bound<'_, PyAny>) = item?.extract()?;
            let value = match value.is_none() {
                true => None,
                false => Some(value.extract::<Data<'_>>()?.bytes().to_vec()),
            };
            found.push((key, value));
        }
        Ok(Self(found))
    }

    /// The headers as pairs, to be kept.
    pub(crate) fn owned(&self) -> Vec<(String, Option<Cow<'_, [u8]>>)> {
        let pairs = self.0.iter();
        pairs
            .map(|(key, value)| (key.clone(), value.as_deref().map(Cow::Borrowed)))
            .collect()
    }

    /// The headers as core takes them.
    pub(crate) fn borrowed(&self) -> Vec<Header<'_>> {
        let pairs = self.0.iter();
        pairs
            .map(|(key, value)| Header {
                key,
                value: value.as_deref(),
            })
            .collect()
    }
}

/// The arguments of one send, but for its topic.
pub(crate) struct Parts<'a> {
    pub(crate) value: Option<Data<'a>>,
    pub(crate) key: Option<Data<'a>>,
    pub(crate) headers: Option<Headers>,
    pub(crate) partition: Option<i32>,
    pub(crate) timestamp_ms: Option<i64>,
}

impl Parts<'_> {
    /// Calls `send` with the record that the parts make.
    #[inline]
    pub(crate) fn with<T>(&self, send: impl FnOnce(&Record<'_>) -> T) -> T {
        let mut record = Record {
            partition: self.partition,
            key: self.key.as_ref().map(Data::bytes),
            value: self.value.as_ref().map(Data::bytes),
            headers: &[],
            timestamp_ms: self.timestamp_ms,
        };
        match &self.headers {
            None => send(&record),
            Some(headers) => {
                let headers = headers.borrowed();
                record.headers = &headers;
                send(&record)
            }
        }
    }
}

/// One argument for each of many records: none, one for all, or as many as there are.
pub(crate) enum PerRecord<'py> {
    /// The same for all.
    One(Option<Bound<'py, PyAny>>),
    /// Each its own.
    Each(Vec<Bound<'py, PyAny>>),
}

impl<'py> PerRecord<'py> {
    /// A sequence as long as there are records, or none.
    pub(crate) fn each(
        name: &str,
        argument: Option<Bound<'py, PyAny>>,
        count: usize,
    ) -> PyResult<Self> {
        let Some(argument) = argument else {
            return Ok(Self::One(None));
        };
        let all = argument.try_iter()?.collect::<PyResult<Vec<_>>>()?;
        if all.len() != count {
            let message = format!("{} {name} were given for {count} values", all.len());
            return Err(raise(argument.py(), ErrorCode::InvalidArgument, message));
        }
        Ok(Self::Each(all))
    }

    /// Headers: a mapping is for all records, a sequence has one for each.
    pub(crate) fn headers(argument: Option<Bound<'py, PyAny>>, count: usize) -> PyResult<Self> {
        match argument {
            Some(argument) if argument.cast::<PyMapping>().is_ok() => Ok(Self::One(Some(argument))),
            other => Self::each("headers", other, count),
        }
    }

    /// What record `index` has.
    pub(crate) fn get(&self, index: usize) -> Option<&Bound<'py, PyAny>> {
        let found = match self {
            Self::One(one) => one.as_ref(),
            Self::Each(all) => all.get(index),
        };
        found.filter(|found| !found.is_none())
    }
}

/// A timestamp argument: milliseconds since 1970 UTC, or a `datetime`.
pub(crate) fn timestamp_of(timestamp: Option<&Bound<'_, PyAny>>) -> PyResult<Option<i64>> {
    let Some(timestamp) = timestamp else {
        return Ok(None);
    };
    if timestamp.hasattr(intern!(timestamp.py(), "timestamp"))? {
        return crate::config::milliseconds(timestamp).map(Some);
    }
    timestamp.extract().map(Some)
}
