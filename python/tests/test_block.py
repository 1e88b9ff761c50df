"""Batches and records: the sequence, the buffer, Arrow."""

from __future__ import annotations

import gc
import json

import headwater
import pytest
from support import GOLDEN


def golden(name: str) -> headwater.Batch:
    return headwater.Batch.from_block((GOLDEN / "block" / f"{name}.bin").read_bytes())


def test_batch_is_a_sequence_of_its_records() -> None:
    batch = golden("hundred")

    assert len(batch) == 100
    assert [msg.offset for msg in batch] == [batch[row].offset for row in range(100)]
    assert batch[-1].offset == batch[99].offset
    assert batch[0] is not batch[0]
    with pytest.raises(IndexError):
        batch[100]
    with pytest.raises(IndexError):
        batch[-101]


def test_slice_of_a_batch_has_the_rows_between() -> None:
    batch = golden("hundred")

    part = batch[10:20]

    assert isinstance(part, headwater.Batch)
    assert part.rows == (10, 20)
    assert [msg.offset for msg in part] == [msg.offset for msg in batch][10:20]
    assert part.values() == batch.values()[10:20]
    assert len(part[5:]) == 5
    assert len(batch[50:10]) == 0
    assert [msg.offset for msg in reversed(part)] == list(reversed([msg.offset for msg in part]))
    with pytest.raises(headwater.InvalidArgument, match="step"):
        batch[::2]


def test_values_and_keys_are_lists_with_none_for_what_is_absent() -> None:
    batch = golden("null_and_empty")

    assert batch.values() == [msg.value for msg in batch]
    assert batch.keys() == [msg.key for msg in batch]
    assert None in batch.values() and b"" in batch.values()
    assert None in batch.keys() and b"" in batch.keys()


def test_views_keep_the_block_alive() -> None:
    data = (GOLDEN / "block" / "simple.bin").read_bytes()
    batch = headwater.Batch.from_block(data)
    view, msg = memoryview(batch), batch[0]
    value = msg.value

    del batch
    gc.collect()

    assert bytes(view) == data
    assert view.readonly
    assert msg.value == value


def test_repr_says_where_a_record_is() -> None:
    msg = golden("simple")[0]

    assert repr(msg).startswith(f"Msg({msg.topic!r}, {msg.partition}, {msg.offset}, ")
    assert repr(golden("hundred")) == "<Batch of 100 records>"


def test_every_golden_block_is_the_same_in_arrow() -> None:
    pytest.importorskip("pyarrow")
    for path in sorted((GOLDEN / "block").glob("*.json")):
        batch, expected = golden(path.stem), json.loads(path.read_text())["records"]

        table = batch.to_arrow()

        table.validate(full=True)
        assert table.column("value").to_pylist() == batch.values(), path.stem
        assert table.column("key").to_pylist() == batch.keys(), path.stem
        for column in ("topic", "partition", "offset"):
            assert table.column(column).to_pylist() == [record[column] for record in expected]
        times = table.column("timestamp").cast("int64").to_pylist()
        assert times == [record["timestamp_ms"] for record in expected]
        if "headers" in table.schema.names:
            pairs = [
                [(pair["key"], pair["value"]) for pair in row]
                for row in table.column("headers").to_pylist()
            ]
            assert pairs == [list(msg.headers) for msg in batch]


def test_slice_in_arrow_has_the_rows_of_the_slice() -> None:
    pytest.importorskip("pyarrow")
    batch = golden("headers")
    part = batch[1:]

    assert part.to_arrow().to_pylist() == batch.to_arrow().to_pylist()[1:]


def test_arrow_values_are_not_copied() -> None:
    pa = pytest.importorskip("pyarrow")
    batch = golden("hundred")
    block = pa.py_buffer(batch)

    values = batch.to_arrow().column("value").buffers()[2]

    assert block.address <= values.address < block.address + block.size
