//! Topics, groups and offsets: one request each, answered by a `Pending`.

use std::collections::BTreeMap;

use headwater::client::{self, TopicOptions};
use headwater::protocol::request::{OffsetAt, OffsetQuery};
use headwater::protocol::response::{
    GroupDescription, GroupDetails, GroupMember, PartitionDescription, TopicDescription,
};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};

use crate::config::{make, milliseconds, offsets_of, offsets_to_py, options_of, partitions_to_py};
use crate::error::raise;
use crate::pending::PyPending;

/// Administration of a log.
#[pyclass(frozen, module = "headwater._native")]
pub(crate) struct Admin {
    pub(crate) inner: client::Admin,
}

#[pymethods]
impl Admin {
    #[pyo3(signature = (name, **options))]
    fn create_topic(
        &self,
        py: Python<'_>,
        name: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyPending> {
        let options = options_of::<TopicOptions>(py, options)?;
        Ok(PyPending::done(
            "create_topic",
            self.inner.create_topic(name, options),
        ))
    }

    fn delete_topic(&self, name: &str) -> PyPending {
        PyPending::done("delete_topic", self.inner.delete_topic(name))
    }

    fn delete_records(&self, topic: &str, before: BTreeMap<i32, i64>) -> PyPending {
        let pending = self.inner.delete_records(topic, before);
        PyPending::new("delete_records", pending, |py, starts| {
            Ok(starts.into_pyobject(py)?.into_any().unbind())
        })
    }

    #[pyo3(signature = (name, **options))]
    fn alter_topic(
        &self,
        py: Python<'_>,
        name: &str,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<PyPending> {
        let options = options_of::<TopicOptions>(py, options)?;
        Ok(PyPending::done(
            "alter_topic",
            self.inner.alter_topic(name, options),
        ))
    }

    fn list_topics(&self) -> PyPending {
        PyPending::new("list_topics", self.inner.list_topics(), |py, topics| {
            list(py, topics.into_iter().map(|topic| topic_to_py(py, topic)))
        })
    }

    fn describe_topic(&self, name: &str) -> PyPending {
        PyPending::new(
            "describe_topic",
            self.inner.describe_topic(name),
            topic_to_py,
        )
    }

    fn list_groups(&self) -> PyPending {
        PyPending::new("list_groups", self.inner.list_groups(), |py, groups| {
            list(py, groups.into_iter().map(|group| group_to_py(py, group)))
        })
    }

    fn describe_group(&self, group: &str) -> PyPending {
        PyPending::new(
            "describe_group",
            self.inner.describe_group(group),
            details_to_py,
        )
    }

    fn delete_group(&self, group: &str) -> PyPending {
        PyPending::done("delete_group", self.inner.delete_group(group))
    }

    /// `queries` are `(topic, partition, at)`, where `at` is a word, ms since 1970, or a datetime.
    fn list_offsets(&self, queries: &Bound<'_, PyAny>) -> PyResult<PyPending> {
        let mut asked = Vec::new();
        for query in queries.try_iter()? {
            let (topic, partition, at): (String, i32, Bound<'_, PyAny>) = query?.extract()?;
            asked.push(OffsetQuery {
                topic,
                partition,
                at: offset_at(&at)?,
            });
        }
        let pending = self.inner.list_offsets(asked);
        Ok(PyPending::new("list_offsets", pending, |py, offsets| {
            Ok(PyList::new(py, offsets)?.into_any().unbind())
        }))
    }

    fn commit_offsets(&self, group: &str, offsets: &Bound<'_, PyAny>) -> PyResult<PyPending> {
        let pending = self.inner.commit_offsets(group, offsets_of(offsets)?);
        Ok(PyPending::done("commit_offsets", pending))
    }
}

/// An offset by its meaning: `earliest`, `latest`, or a time.
pub(crate) fn offset_at(at: &Bound<'_, PyAny>) -> PyResult<OffsetAt> {
    let Ok(word) = at.cast::<PyString>() else {
        return milliseconds(at).map(OffsetAt::Time);
    };
    match word.to_str()? {
        "earliest" => Ok(OffsetAt::Earliest),
        "latest" => Ok(OffsetAt::Latest),
        other => {
            let message = format!("`{other}` is no place; it must be `earliest`, `latest`, a time");
            Err(raise(
                at.py(),
                headwater::ErrorCode::InvalidArgument,
                message,
            ))
        }
    }
}

fn topic_to_py(py: Python<'_>, topic: TopicDescription) -> PyResult<Py<PyAny>> {
    let TopicDescription {
        name,
        uuid,
        config,
        notes,
        partitions,
    } = topic;
    let options = PyDict::new(py);
    for (name, value) in config {
        options.set_item(name, value)?;
    }
    let partitions = list(
        py,
        partitions
            .iter()
            .map(|partition| partition_to_py(py, partition)),
    )?;
    make(
        py,
        "TopicDescription",
        (name, PyBytes::new(py, &uuid), options, notes, partitions),
    )
}

fn partition_to_py(py: Python<'_>, partition: &PartitionDescription) -> PyResult<Py<PyAny>> {
    let arguments = (
        partition.partition,
        partition.log_start_offset,
        partition.high_watermark,
        partition.log_end_offset,
        partition.leader_epoch,
        partition.size_bytes,
    );
    make(py, "PartitionDescription", arguments)
}

fn group_to_py(py: Python<'_>, group: GroupDescription) -> PyResult<Py<PyAny>> {
    let GroupDescription {
        group,
        state,
        generation,
        members,
        offsets,
    } = group;
    let offsets = offsets_to_py(py, offsets)?;
    make(
        py,
        "GroupDescription",
        (group, state, generation, members, offsets),
    )
}

fn details_to_py(py: Python<'_>, details: GroupDetails) -> PyResult<Py<PyAny>> {
    let GroupDetails {
        group,
        state,
        generation,
        members,
        offsets,
    } = details;
    let members = members.into_iter().map(|member| member_to_py(py, member));
    let arguments = (
        group,
        state,
        generation,
        list(py, members)?,
        offsets_to_py(py, offsets)?,
    );
    make(py, "GroupDetails", arguments)
}

fn member_to_py(py: Python<'_>, member: GroupMember) -> PyResult<Py<PyAny>> {
    let GroupMember {
        member_id,
        instance_id,
        client_name,
        host,
        generation,
        partitions,
    } = member;
    let partitions = partitions.into_iter().flat_map(|held| {
        let topic: std::sync::Arc<str> = held.topic.into();
        let partitions = held.partitions.into_iter();
        partitions.map(move |partition| headwater::TopicPartition {
            topic: std::sync::Arc::clone(&topic),
            partition,
        })
    });
    let arguments = (
        member_id,
        instance_id,
        client_name,
        host,
        generation,
        partitions_to_py(py, partitions.collect())?,
    );
    make(py, "GroupMember", arguments)
}

fn list(py: Python<'_>, items: impl Iterator<Item = PyResult<Py<PyAny>>>) -> PyResult<Py<PyAny>> {
    Ok(PyList::new(py, items.collect::<PyResult<Vec<_>>>()?)?
        .into_any()
        .unbind())
}
