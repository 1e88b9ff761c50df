//! What scenarios compare: results as plain values, and how an expectation is held against one.

use headwater::record::block::BlockRecord;
use headwater::{CloseReport, Error, Health, PartitionOffset, RecordMetadata};
use serde_json::{Map, Value, json};

/// A map of a scenario. Taking a field out says that it is known; what is left in the end is not.
pub(crate) struct Fields(Map<String, Value>);

impl Fields {
    pub(crate) fn of(value: &Value) -> Result<Self, String> {
        match value {
            Value::Object(map) => Ok(Self(map.clone())),
            other => Err(format!("{other} is no map")),
        }
    }

    pub(crate) fn take(&mut self, name: &str) -> Option<Value> {
        self.0.remove(name)
    }

    pub(crate) fn need(&mut self, name: &str) -> Result<Value, String> {
        let found = self.0.remove(name);
        found.ok_or_else(|| format!("`{name}` is missing"))
    }

    pub(crate) fn text(&mut self, name: &str) -> Result<String, String> {
        let value = self.need(name)?;
        let wrong = || format!("`{name}` is {value}, and no text");
        value.as_str().map(str::to_owned).ok_or_else(wrong)
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<i64, String> {
        let value = self.need(name)?;
        value
            .as_i64()
            .ok_or_else(|| format!("`{name}` is {value}, and no whole number"))
    }

    pub(crate) fn list(&mut self, name: &str) -> Result<Vec<Value>, String> {
        match self.need(name)? {
            Value::Array(list) => Ok(list),
            other => Err(format!("`{name}` is {other}, and no list")),
        }
    }

    /// The name of a handle, or what it is called if nobody says.
    pub(crate) fn name(&mut self, field: &str, unless_said: &str) -> String {
        let name = self.take(field);
        let name = name.as_ref().and_then(Value::as_str);
        name.unwrap_or(unless_said).to_owned()
    }

    /// Nothing may be left.
    pub(crate) fn end(self) -> Result<(), String> {
        let left: Vec<_> = self.0.keys().collect();
        if left.is_empty() {
            Ok(())
        } else {
            Err(format!("unknown: {left:?}"))
        }
    }

    /// What is left, by name.
    pub(crate) fn left(self) -> Vec<(String, Value)> {
        self.0.into_iter().collect()
    }

    /// What is left, as options: names and texts.
    pub(crate) fn options(self) -> impl Iterator<Item = (String, String)> {
        self.0.into_iter().map(|(name, value)| (name, text(&value)))
    }
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// What is otherwise than wanted. Of a map only what is named counts.
pub(crate) fn differs(wanted: &Value, found: &Value, at: &str) -> Result<(), String> {
    if let Some(unwanted) = only(wanted, "not") {
        let is_other = differs(unwanted, found, at).is_err();
        return is_other
            .then_some(())
            .ok_or_else(|| format!("{at} is {found}"));
    }
    if let Some(said) = only(wanted, "says").and_then(Value::as_str) {
        let is_said = found.as_str().is_some_and(|found| found.contains(said));
        return is_said
            .then_some(())
            .ok_or_else(|| format!("{at} is {found} and does not say `{said}`"));
    }
    match (wanted, found) {
        (Value::Object(wanted), Value::Object(found)) => {
            wanted.iter().try_for_each(|(key, value)| {
                let has = found
                    .get(key)
                    .ok_or_else(|| format!("{at} has no `{key}`"))?;
                differs(value, has, &format!("{at}.{key}"))
            })
        }
        (Value::Array(wanted), Value::Array(found)) => {
            if wanted.len() != found.len() {
                let (found, wanted) = (found.len(), wanted.len());
                return Err(format!("{at} has {found} entries, not {wanted}"));
            }
            let mut both = wanted.iter().zip(found).enumerate();
            both.try_for_each(|(index, (want, has))| differs(want, has, &format!("{at}[{index}]")))
        }
        // A record that was read may be written as its value alone.
        (_, Value::Object(record)) if record.contains_key("offset") => match record.get("value") {
            Some(value) => differs(wanted, value, &format!("{at}.value")),
            None => Err(format!("{at} is {found}, not {wanted}")),
        },
        _ if wanted == found => Ok(()),
        _ => Err(format!("{at} is {found}, not {wanted}")),
    }
}

/// What a map with this one field holds.
fn only<'a>(value: &'a Value, field: &str) -> Option<&'a Value> {
    let map = value.as_object().filter(|map| map.len() == 1)?;
    map.get(field)
}

/// A key or a value as it is written: text, absent, or `{hex: ..}`.
pub(crate) fn to_bytes(value: &Value) -> Result<Option<Vec<u8>>, String> {
    match (value, only(value, "hex").and_then(Value::as_str)) {
        (Value::Null, _) => Ok(None),
        (Value::String(text), _) => Ok(Some(text.clone().into_bytes())),
        (_, Some(hex)) => {
            let digits = (0..hex.len()).step_by(2);
            let bytes = digits.map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap());
            Ok(Some(bytes.collect()))
        }
        (other, None) => Err(format!("{other} is no key and no value")),
    }
}

/// The same, the other way.
pub(crate) fn from_bytes(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else {
        return Value::Null;
    };
    str::from_utf8(bytes).map_or_else(|_| json!({"hex": hex(bytes)}), Value::from)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A record that was read.
pub(crate) fn message(record: &BlockRecord<'_>) -> Value {
    let headers = record.headers().map(|header| {
        let header = header.unwrap();
        json!([header.key, from_bytes(header.value)])
    });
    json!({
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp": record.timestamp_ms,
        "key": from_bytes(record.key),
        "value": from_bytes(record.value),
        "headers": headers.collect::<Vec<_>>(),
    })
}

/// Where a record went.
pub(crate) fn metadata(sent: &RecordMetadata) -> Value {
    json!({
        "topic": *sent.topic,
        "partition": sent.partition,
        "offset": sent.offset,
        "timestamp": sent.timestamp_ms,
        "durability": sent.durability.to_string(),
    })
}

/// Offsets, by topic and partition.
pub(crate) fn offsets(mut offsets: Vec<PartitionOffset>) -> Value {
    offsets.sort_by(|a, b| (&a.topic, a.partition).cmp(&(&b.topic, b.partition)));
    let one = |it: PartitionOffset| json!({"topic": it.topic, "partition": it.partition, "offset": it.offset});
    offsets.into_iter().map(one).collect()
}

/// An offset as it is written: `[topic, partition, offset]`.
pub(crate) fn place(value: &Value) -> Result<PartitionOffset, String> {
    let parts: (String, i32, i64) =
        serde_json::from_value(value.clone()).map_err(|error| format!("{value}: {error}"))?;
    Ok(PartitionOffset {
        topic: parts.0,
        partition: parts.1,
        offset: parts.2,
    })
}

/// What programs go by, and the text.
pub(crate) fn error(error: &Error) -> Value {
    json!({
        "kind": error.kind().name(),
        "code": error.code().name(),
        "outcome": error.outcome().name(),
        "message": error.message(),
    })
}

pub(crate) fn health(health: &Health) -> Value {
    let members = health.members.iter().map(|member| {
        json!({
            "group": member.group,
            "member_id": member.member_id,
            "generation": member.generation,
            "state": member.state.name(),
            "partitions": member.partitions,
            "last_heartbeat_ms": member.last_heartbeat_ms,
            "reason": member.reason,
        })
    });
    json!({
        "is_healthy": health.is_healthy,
        "reason": health.reason,
        "is_closed": health.is_closed,
        "address": health.address,
        "is_connected": health.is_connected,
        "since_ms": health.since_ms,
        "last_error": health.last_error.as_ref().map(error),
        "members": members.collect::<Vec<_>>(),
        "buffered_bytes": health.buffered_bytes,
        "buffered_records": health.buffered_records,
        "oldest_unsent_ms": health.oldest_unsent_ms,
    })
}

pub(crate) fn report(report: &CloseReport) -> Value {
    json!({
        "unsent_records": report.unsent_records,
        "failed_records": report.failed_records,
        "first_error": report.first_error.as_ref().map(error),
    })
}
