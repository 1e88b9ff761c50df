"""The golden files that every language is tested with: blocks, and a data folder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
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


def test_golden_folder_holds_what_its_manifest_says(folder: Path) -> None:
    expected = json.loads((GOLDEN / "folder.json").read_text())
    # Opening a folder writes to it.
    shutil.copytree(GOLDEN / "folder", folder)

    with headwater.connect(folder, create=False) as db:
        assert found_topics(db) == expected["topics"]
        groups = [
            {"group": group.group, "offsets": [offset._asdict() for offset in group.offsets]}
            for group in db.admin.list_groups()
        ]
        assert groups == expected["groups"]


def found_topics(db: headwater.Client) -> list[dict[str, Any]]:
    """What a log holds, as the golden folder's manifest describes it."""
    return [
        {
            "topic": topic.name,
            "durability": topic.config["durability"],
            "partitions": [
                {
                    "partition": partition.partition,
                    "log_start_offset": partition.log_start_offset,
                    "end_offset": partition.high_watermark,
                    "records": found_records(db, topic.name, partition.partition),
                }
                for partition in topic.partitions
            ],
        }
        for topic in db.admin.list_topics()
    ]


def found_records(db: headwater.Client, topic: str, partition: int) -> list[dict[str, Any]]:
    """The records of a partition; the time of an append is another one for every folder made."""
    with db.consumer(topic, partitions=[partition], until="end") as c:
        records = [said(msg) for msg in c]
    for record in records:
        assert (record.pop("topic"), record.pop("partition")) == (topic, partition)
        if topic == "appended":
            record["timestamp_ms"] = None
    return records
