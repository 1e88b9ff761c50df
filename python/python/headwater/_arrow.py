"""A batch as Arrow columns. Keys and values are not copied: they are buffers of the batch."""

from __future__ import annotations

import struct
from array import array
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

    from headwater._native import Batch

#: Positions in the header of a block: see `core/src/record/block/mod.rs`.
HEADER = struct.Struct("<4sHHIII11I")
RUN = struct.Struct("<qIIiiIII")


def record_batch(batch: Batch) -> pa.RecordBatch:
    """The batch as a record batch: topic, partition, offset, timestamp, key, value, headers."""
    import pyarrow as pa

    block = memoryview(batch)
    buffer = pa.py_buffer(batch)
    header = HEADER.unpack_from(block)
    n, r, runs_pos, deltas_pos, timestamps_pos = header[4:9]
    key_present, key_ends, value_present, value_ends, header_ends, keys, values, _ = header[9:17]

    runs = [RUN.unpack_from(block, runs_pos + 40 * index) for index in range(r)]
    timestamps = buffer.slice(timestamps_pos, 8 * n)
    columns = {
        "topic": _topics(pa, block, runs),
        "partition": _repeat(pa, "i", pa.int32(), [(run[3], run[2]) for run in runs]),
        "offset": _offsets(pa, block, runs, deltas_pos),
        "timestamp": pa.Array.from_buffers(pa.timestamp("ms", "UTC"), n, [None, timestamps]),
        "key": _binary(pa, buffer, block, n, key_present, key_ends, keys),
        "value": _binary(pa, buffer, block, n, value_present, value_ends, values),
    }
    if header_ends:
        columns["headers"] = _headers(pa, batch, n)
    first, end = batch.rows
    return pa.RecordBatch.from_pydict(columns).slice(first, end - first)


def _binary(
    pa: Any, buffer: Any, block: memoryview, n: int, present: int, ends: int, data: int
) -> Any:
    if not ends:
        return pa.nulls(n, pa.binary())
    (length,) = struct.unpack_from("<I", block, ends + 4 * n)
    validity = buffer.slice(present, (n + 7) // 8) if present else None
    parts = [validity, buffer.slice(ends, 4 * (n + 1)), buffer.slice(data, length)]
    return pa.Array.from_buffers(pa.binary(), n, parts)


def _topics(pa: Any, block: memoryview, runs: list[tuple[int, ...]]) -> Any:
    names: list[str] = []
    counts = []
    for run in runs:
        name = str(block[run[5] : run[5] + run[6]], "utf-8")
        if name not in names:
            names.append(name)
        counts.append((names.index(name), run[2]))
    indices = _repeat(pa, "i", pa.int32(), counts)
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()))


def _offsets(pa: Any, block: memoryview, runs: list[tuple[int, ...]], deltas_pos: int) -> Any:
    offsets = array("q")
    for base, first_row, count, *_ in runs:
        if deltas_pos:
            deltas = struct.unpack_from(f"<{count}I", block, deltas_pos + 4 * first_row)
            offsets.extend(base + delta for delta in deltas)
        else:
            offsets.extend(range(base, base + count))
    return pa.Array.from_buffers(pa.int64(), len(offsets), [None, pa.py_buffer(offsets)])


def _repeat(pa: Any, code: str, kind: Any, counts: list[tuple[int, int]]) -> Any:
    column = array(code)
    for value, count in counts:
        column.extend(array(code, [value]) * count)
    return pa.Array.from_buffers(kind, len(column), [None, pa.py_buffer(column)])


def _headers(pa: Any, batch: Batch, n: int) -> Any:
    pair = pa.struct([("key", pa.string()), ("value", pa.binary())])
    first, end = batch.rows
    rows: list[list[dict[str, Any]]] = [[] for _ in range(n)]
    for row, msg in zip(range(first, end), batch, strict=True):
        rows[row] = [{"key": key, "value": value} for key, value in msg.headers]
    return pa.array(rows, pa.list_(pair))
