"""What scenarios compare: results as plain values, and how an expectation is held against one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import headwater

Map: TypeAlias = dict[str, Any]

RECORD_FIELDS = {"key", "value", "headers", "partition", "timestamp"}


class Wrong(AssertionError):
    """What is found is not what the scenario says, or the scenario says what has no meaning."""


def check_fields(found: Map, needed: set[str], known: set[str]) -> None:
    """Refuse what is missing and what has no meaning."""
    missing, unknown = needed - found.keys(), found.keys() - needed - known
    if missing or unknown:
        raise Wrong(f"missing: {sorted(missing)}, unknown: {sorted(unknown)}, in {found}")


def differs(wanted: Any, found: Any, where: str = "it") -> str | None:
    """What is otherwise than wanted, or None. Of a map only what is named counts."""
    if isinstance(wanted, dict) and wanted.keys() == {"not"}:
        return f"{where} is {found!r}" if differs(wanted["not"], found) is None else None
    if isinstance(wanted, dict) and wanted.keys() == {"says"}:
        is_said = isinstance(found, str) and wanted["says"] in found
        return None if is_said else f"{where} is {found!r} and does not say {wanted['says']!r}"
    if isinstance(wanted, dict) and isinstance(found, dict):
        for key, value in wanted.items():
            if key not in found:
                return f"{where} has no `{key}`"
            if difference := differs(value, found[key], f"{where}.{key}"):
                return difference
        return None
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return f"{where} has {len(found)} entries, not {len(wanted)}"
        places = enumerate(zip(wanted, found, strict=True))
        differences = (differs(want, have, f"{where}[{at}]") for at, (want, have) in places)
        return next(filter(None, differences), None)
    if is_message(found) and not isinstance(wanted, dict):
        return differs(wanted, found["value"], f"{where}.value")
    same = type(wanted) is type(found) and wanted == found
    return None if same else f"{where} is {found!r}, not {wanted!r}"


def is_message(found: Any) -> bool:
    """Whether it is a record that was read: it may be written as its value alone."""
    return isinstance(found, dict) and {"offset", "value"} <= found.keys()


def to_bytes(value: Any) -> bytes | None:
    """A key or a value as it is written: text, absent, or `{hex: ..}`."""
    if isinstance(value, dict):
        check_fields(value, {"hex"}, set())
        return bytes.fromhex(value["hex"])
    return None if value is None else str(value).encode()


def from_bytes(data: bytes | None) -> Any:
    """The same, the other way."""
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"hex": data.hex()}


def row(record: Map) -> Map:
    """A record to be sent, as arguments."""
    check_fields(record, {"value"}, RECORD_FIELDS)
    arguments = record | {"value": to_bytes(record["value"])}
    if "key" in record:
        arguments["key"] = to_bytes(record["key"])
    if "headers" in record:
        arguments["headers"] = [(name, to_bytes(value)) for name, value in record["headers"]]
    return arguments


def plain_message(message: headwater.Msg) -> Map:
    """A record that was read."""
    return {
        "topic": message.topic,
        "partition": message.partition,
        "offset": message.offset,
        "timestamp": message.timestamp,
        "key": from_bytes(message.key),
        "value": from_bytes(message.value),
        "headers": [[name, from_bytes(value)] for name, value in message.headers],
    }


def plain_metadata(sent: headwater.RecordMetadata) -> Map:
    """Where a record went."""
    fields = ("topic", "partition", "offset", "timestamp", "durability")
    return {field: getattr(sent, field) for field in fields}


def plain_offsets(offsets: list[headwater.PartitionOffset]) -> list[Map]:
    """Offsets, by partition."""
    return [offset._asdict() for offset in sorted(offsets)]


def plain_error(error: headwater.HeadwaterError) -> Map:
    """What programs go by, and the text."""
    return {
        "kind": error.kind,
        "code": error.code,
        "outcome": error.outcome,
        "message": str(error),
    }


def plain_health(health: headwater.Health) -> Map:
    """How a client is, by the names that core has for it."""
    is_so = {f"is_{name}": getattr(health, name) for name in ("healthy", "closed", "connected")}
    error = health.last_error
    return {
        **health._asdict(),
        **is_so,
        "last_error": error and plain_error(error),
        "members": [member._asdict() for member in health.members],
    }


def moment(time_ms: int) -> datetime:
    """A time that is given in milliseconds since 1970 UTC."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=time_ms)
