//! Results that are sent with a commit, as Python gives them.

use headwater::Pending;
use headwater::client::{Consumer, Record, RecordMetadata};
use headwater::record::Header;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::data::{Data, Headers, timestamp_of};

/// What a tuple may have: topic, value, key, headers, partition, timestamp.
const FIELDS_MAX: usize = 6;

/// A result, in memory of its own.
pub(crate) struct Owned {
    topic: String,
    value: Option<Vec<u8>>,
    key: Option<Vec<u8>>,
    headers: Headers,
    partition: Option<i32>,
    timestamp_ms: Option<i64>,
}

/// The results of any iterable of tuples.
pub(crate) fn results_of(results: &Bound<'_, PyAny>) -> PyResult<Vec<Owned>> {
    results
        .try_iter()?
        .map(|result| result_of(&result?))
        .collect()
}

fn result_of(result: &Bound<'_, PyAny>) -> PyResult<Owned> {
    let fields = result.cast::<PyTuple>().map_err(|_| not_a_record(result))?;
    if !(2..=FIELDS_MAX).contains(&fields.len()) {
        return Err(not_a_record(result));
    }
    let field = |index: usize| {
        let found = fields.get_item(index).ok();
        found.filter(|found| !found.is_none())
    };
    Ok(Owned {
        topic: fields.get_item(0)?.extract()?,
        value: bytes_of(field(1))?,
        key: bytes_of(field(2))?,
        headers: Headers::of(field(3).as_ref())?,
        partition: field(4).map(|it| it.extract()).transpose()?,
        timestamp_ms: timestamp_of(field(5).as_ref())?,
    })
}

fn bytes_of(found: Option<Bound<'_, PyAny>>) -> PyResult<Option<Vec<u8>>> {
    let bytes = |found: Bound<'_, PyAny>| Ok(found.extract::<Data<'_>>()?.bytes().to_vec());
    found.map(bytes).transpose()
}

fn not_a_record(found: &Bound<'_, PyAny>) -> PyErr {
    let found = found.get_type().name();
    let found = found.map_or_else(|_| String::new(), |name| name.to_string());
    PyTypeError::new_err(format!(
        "a ProducerRecord, or a tuple of a topic, a value and what else it has, expected, not {found}"
    ))
}

/// Hands the results to core, which copies them.
pub(crate) fn commit_with(
    consumer: &Consumer,
    rows: u32,
    results: &[Owned],
) -> Pending<Vec<RecordMetadata>> {
    let headers: Vec<Vec<Header<'_>>> = results.iter().map(|it| it.headers.borrowed()).collect();
    let records = results.iter().zip(&headers).map(|(result, headers)| {
        let record = Record {
            partition: result.partition,
            key: result.key.as_deref(),
            value: result.value.as_deref(),
            headers,
            timestamp_ms: result.timestamp_ms,
        };
        (result.topic.as_str(), record)
    });
    consumer.commit_rows_with(rows, &records.collect::<Vec<_>>())
}
