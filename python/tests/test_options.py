"""Options: the typed dictionaries are core's table, and wrong ones are refused in words."""

from __future__ import annotations

import ast
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import headwater
import pytest
from headwater import _native, _options
from support import GOLDEN

GROUPS: dict[str, Any] = {
    "connect": _options.ConnectOptions,
    "producer": _options.ProducerOptions,
    "consumer": _options.ConsumerOptions,
    "process": _options.ProcessOptions,
    "topic": _options.TopicOptions,
    "serve": _options.ServeOptions,
}


@pytest.mark.parametrize("group", GROUPS)
def test_typed_dictionary_has_the_options_of_core(group: str) -> None:
    # The folder of a broker is an argument of its own.
    table = [row[1] for row in _native.option_table() if row[0] == group and row[1] != "data"]

    assert list(GROUPS[group].__annotations__) == table


def test_words_of_an_option_are_those_of_core() -> None:
    for group, name, kind, _, allowed, _ in _native.option_table():
        if group in GROUPS and kind == "word":
            text = GROUPS[group].__annotations__[name].__forward_arg__
            tree = ast.parse("Literal['os', 'disk', 'quorum']" if "Durability" in text else text)
            said = [
                node.value
                for node in ast.walk(tree)
                if isinstance(node, ast.Constant) and node.value
            ]
            assert said == allowed["words"], name


def test_table_of_options_is_the_golden_one() -> None:
    rows = json.loads((GOLDEN / "options.json").read_text())
    names = ("group", "name", "kind", "default", "range", "doc")

    assert [tuple(row[name] for name in names) for row in rows] == _native.option_table()


def test_unknown_option_names_the_nearest(db: headwater.Client) -> None:
    with pytest.raises(headwater.InvalidArgument, match="linger_ms") as refused:
        db.producer(linger=3)  # type: ignore[call-arg]
    assert refused.value.code == "UNKNOWN_OPTION"
    with pytest.raises(headwater.InvalidArgument, match="linger_ms"):
        db.producer(lingr_ms=None)  # type: ignore[call-arg]
    with pytest.raises(headwater.InvalidArgument, match="segment_bytes"):
        headwater.connect("mem:", segment_byte=1)  # type: ignore[call-arg]
    with pytest.raises(headwater.InvalidArgument, match="partitions"):
        db.admin.create_topic("t", partition=1)  # type: ignore[call-arg]
    with pytest.raises(headwater.InvalidArgument, match="group"):
        db.consumer("orders", grup="g")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("linger_ms", 60_001),
        ("linger_ms", -1),
        ("linger_ms", "soon"),
        ("linger_ms", 1.5),
        ("linger_ms", True),
        ("idempotence", 1),
        ("durability", "paper"),
        ("durability", 3),
        ("compression", b"none"),
    ],
)
def test_value_out_of_range_is_refused_with_option_and_range(
    db: headwater.Client, name: str, value: object
) -> None:
    with pytest.raises(headwater.InvalidArgument, match=name) as refused:
        db.producer(**{name: value})  # type: ignore[arg-type]
    assert refused.value.code == "INVALID_OPTION"
    assert isinstance(refused.value, ValueError)


def test_none_is_the_default(db: headwater.Client) -> None:
    every = dict.fromkeys(_options.ProducerOptions.__annotations__)
    with db.producer(**every) as p:
        assert p.send("orders", b"v").result(timeout=30).durability == "os"


def test_start_and_until_take_offsets_and_times(db: headwater.Client) -> None:
    day = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    with db.producer() as p:
        for at in day:
            p.send("orders", at.isoformat(), partition=0, timestamp=at)

    def read(**options: Any) -> list[int]:
        with db.consumer("orders", **{"until": "end", **options}) as c:
            return [msg.offset for msg in c]

    assert read() == [0, 1, 2]
    assert read(start="latest") == []
    assert read(start=1) == [1, 2]
    assert read(start=day[1]) == [1, 2]
    assert read(until=day[2]) == [0, 1]
    assert read(until=2, partitions=[0]) == [0, 1]
    assert read(partitions=[1]) == []
    assert read(partitions=(0, 1)) == [0, 1, 2]


def test_options_of_an_address_are_options(folder: Path) -> None:
    with pytest.raises(headwater.NotFound) as refused:
        headwater.connect(f"{folder}?create=false")
    assert refused.value.code == "FOLDER_NOT_FOUND"
    with pytest.raises(headwater.InvalidArgument, match="creat"):
        headwater.connect(f"{folder}?creat=false")
