"""The golden files that every language is tested with: blocks, addresses, options."""

from __future__ import annotations

import json
from typing import Any

import headwater
import pytest
from support import GOLDEN


def names(folder: str) -> list[str]:
    found = sorted(path.stem for path in (GOLDEN / folder).glob("*.bin"))
    assert found, f"no golden files in {folder}"
    return found


def said(msg: headwater.Msg) -> dict[str, Any]:
    """A record as the golden files describe it."""
    return {
        "topic": msg.topic,
        "partition": msg.partition,
        "offset": msg.offset,
        "timestamp_ms": msg.timestamp,
        "key": msg.key.hex() if msg.key is not None else None,
        "value": msg.value.hex() if msg.value is not None else None,
        "headers": [
            [key, value.hex() if value is not None else None] for key, value in msg.headers
        ],
    }


@pytest.mark.parametrize("name", names("block"))
def test_block_gives_the_records_of_its_description(name: str) -> None:
    data = (GOLDEN / "block" / f"{name}.bin").read_bytes()
    expected = json.loads((GOLDEN / "block" / f"{name}.json").read_text())["records"]

    batch = headwater.Batch.from_block(data)

    for record in expected:
        del record["is_append_time"], record["leader_epoch"]
    assert [said(msg) for msg in batch] == expected
    assert [said(batch[row]) for row in range(len(batch))] == expected
    assert bytes(memoryview(batch)) == data


@pytest.mark.parametrize("name", names("block_refused"))
def test_damaged_block_is_refused_with_its_kind(name: str) -> None:
    data = (GOLDEN / "block_refused" / f"{name}.bin").read_bytes()
    kind = json.loads((GOLDEN / "block_refused" / f"{name}.json").read_text())["kind"]

    with pytest.raises(headwater.HeadwaterError) as refused:
        headwater.Batch.from_block(data)

    assert refused.value.kind.lower() == kind
