//! Keyword arguments as core's options.
//!
//! Core knows the names, types, ranges and defaults; here a value only becomes the text that core
//! reads. None means core's default. Also here: the plain Python types of `headwater._types`.

use headwater::ErrorCode;
use headwater::client::{
    ConnectOptions, ConsumerOptions, ProcessOptions, ProducerOptions, ServeOptions, TopicOptions,
    options,
};
use headwater::protocol::request::PartitionOffset;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyList, PyModule, PyString, PyTuple};

use crate::error::{OrRaise, raise};

/// A group of core's options.
pub(crate) trait Options: Default {
    /// The names.
    const ROWS: &'static [options::OptionRow];

    /// Sets one from text.
    fn set_text(&mut self, name: &str, text: &str) -> headwater::Result<()>;
}

macro_rules! groups {
    ($($group:ty),*) => {$(
        impl Options for $group {
            const ROWS: &'static [options::OptionRow] = Self::ROWS;

            fn set_text(&mut self, name: &str, text: &str) -> headwater::Result<()> {
                self.set(name, text)
            }
        }
    )*};
}

groups!(
    ConnectOptions,
    ProducerOptions,
    ConsumerOptions,
    ProcessOptions,
    TopicOptions,
    ServeOptions
);

/// The options that `keywords` set.
pub(crate) fn options_of<T: Options>(
    py: Python<'_>,
    keywords: Option<&Bound<'_, PyDict>>,
) -> PyResult<T> {
    let mut options = T::default();
    let Some(keywords) = keywords else {
        return Ok(options);
    };
    for (name, value) in keywords {
        let name = name.cast::<PyString>()?.to_str()?;
        let is_known = || T::ROWS.iter().any(|row| row.name == name);
        if value.is_none() && is_known() {
            continue;
        }
        options.set_text(name, &text_of(&value)?).or_raise(py)?;
    }
    Ok(options)
}

fn text_of(value: &Bound<'_, PyAny>) -> PyResult<String> {
    let py = value.py();
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(text.to_str()?.into());
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(flag.is_true().to_string());
    }
    if value.is_instance_of::<PyList>() || value.is_instance_of::<PyTuple>() {
        let parts = value.try_iter()?.map(|part| text_of(&part?));
        return Ok(parts.collect::<PyResult<Vec<_>>>()?.join(","));
    }
    if value.hasattr(intern!(py, "__fspath__"))? {
        return value.call_method0(intern!(py, "__fspath__"))?.extract();
    }
    if value.hasattr(intern!(py, "timestamp"))? {
        return Ok(format!("time:{}", milliseconds(value)?));
    }
    Ok(value.str()?.to_str()?.into())
}

/// Milliseconds since 1970 UTC: a whole number, or a `datetime`.
pub(crate) fn milliseconds(value: &Bound<'_, PyAny>) -> PyResult<i64> {
    let py = value.py();
    if value.hasattr(intern!(py, "timestamp"))? {
        let seconds: f64 = value.call_method0(intern!(py, "timestamp"))?.extract()?;
        return Ok((seconds * 1_000.0).round() as i64);
    }
    value.extract()
}

/// Every row of core's table: group, name, type, default, range, documentation.
#[pyfunction]
pub(crate) fn option_table(py: Python<'_>) -> PyResult<Vec<Bound<'_, PyTuple>>> {
    let row = |row: &options::OptionRow| {
        let range = range_of(py, &row.range)?;
        (row.group, row.name, row.kind, row.default, range, row.doc).into_pyobject(py)
    };
    options::table().iter().map(row).collect()
}

/// A range as the golden file of options says it.
fn range_of<'py>(py: Python<'py>, range: &options::Range) -> PyResult<Bound<'py, PyDict>> {
    let said = PyDict::new(py);
    match range {
        options::Range::Numbers { min, max } => {
            said.set_item("min", min)?;
            said.set_item("max", max)?;
        }
        options::Range::Limit => {
            said.set_item("or", -1)?;
            said.set_item("min", 1)?;
        }
        options::Range::Words(words) => said.set_item("words", PyList::new(py, *words)?)?,
        options::Range::Any(text) => said.set_item("text", text)?,
    }
    Ok(said)
}

/// The object of a class of `headwater._types`.
pub(crate) fn make<'py>(
    py: Python<'py>,
    class: &str,
    arguments: impl pyo3::call::PyCallArgs<'py>,
) -> PyResult<Py<PyAny>> {
    static TYPES: PyOnceLock<Py<PyModule>> = PyOnceLock::new();
    let types = TYPES.get_or_try_init(py, || py.import("headwater._types").map(Bound::unbind))?;
    Ok(types.bind(py).getattr(class)?.call1(arguments)?.unbind())
}

/// `PartitionOffset` tuples for Python.
pub(crate) fn offsets_to_py(py: Python<'_>, offsets: Vec<PartitionOffset>) -> PyResult<Py<PyAny>> {
    let made = offsets.into_iter().map(|at| {
        let PartitionOffset {
            topic,
            partition,
            offset,
        } = at;
        make(py, "PartitionOffset", (topic, partition, offset))
    });
    Ok(PyList::new(py, made.collect::<PyResult<Vec<_>>>()?)?
        .into_any()
        .unbind())
}

/// `TopicPartition` tuples for Python.
pub(crate) fn partitions_to_py(
    py: Python<'_>,
    partitions: Vec<headwater::TopicPartition>,
) -> PyResult<Py<PyAny>> {
    let made = partitions.into_iter().map(|it| {
        let headwater::TopicPartition { topic, partition } = it;
        make(py, "TopicPartition", (&*topic, partition))
    });
    Ok(PyList::new(py, made.collect::<PyResult<Vec<_>>>()?)?
        .into_any()
        .unbind())
}

/// Partitions from Python: `(topic, partition)` tuples.
pub(crate) fn partitions_of(
    partitions: &Bound<'_, PyAny>,
) -> PyResult<Vec<headwater::TopicPartition>> {
    let mut found = Vec::new();
    for at in partitions.try_iter()? {
        let (topic, partition) = at?.extract::<(String, i32)>()?;
        found.push(headwater::TopicPartition {
            topic: topic.into(),
            partition,
        });
    }
    Ok(found)
}

/// Offsets from Python: `(topic, partition, offset)` tuples.
pub(crate) fn offsets_of(offsets: &Bound<'_, PyAny>) -> PyResult<Vec<PartitionOffset>> {
    let mut found = Vec::new();
    for at in offsets.try_iter()? {
        let (topic, partition, offset) = at?.extract()?;
        found.push(PartitionOffset {
            topic,
            partition,
            offset,
        });
    }
    if found.is_empty() {
        let py = offsets.py();
        return Err(raise(
            py,
            ErrorCode::InvalidArgument,
            "there is no offset to commit",
        ));
    }
    Ok(found)
}
