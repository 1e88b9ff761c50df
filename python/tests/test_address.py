"""Addresses: the golden grammar, and what a user gets wrong."""

from __future__ import annotations

import json
import os
from pathlib import Path

import headwater
import pytest
from headwater import _native
from support import GOLDEN


def test_word_alone_is_neither_path_nor_host() -> None:
    with pytest.raises(headwater.InvalidArgument) as refused:
        headwater.connect("localhost")
    assert refused.value.code == "INVALID_ADDRESS"
    assert "`localhost:9092`" in str(refused.value) and "`./localhost`" in str(refused.value)


@pytest.mark.parametrize(
    "address", ["", "data", "localhost:99999", "http://localhost", "[::1]", "a b:1"]
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(headwater.InvalidArgument) as refused:
        headwater.connect(address)
    assert refused.value.code == "INVALID_ADDRESS"


def test_path_object_is_a_folder_whatever_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name = Path("local host?x=%41")
    with headwater.connect(name) as db:
        db.admin.create_topic("t")

    assert (tmp_path / name / "format").exists()
    assert os.listdir(tmp_path) == [str(name)]
    with headwater.connect(tmp_path / name, create=False) as db:
        assert [topic.name for topic in db.admin.list_topics()] == ["t"]


def test_no_broker_is_unavailable() -> None:
    with pytest.raises(headwater.Unavailable) as refused:
        headwater.connect("127.0.0.1:1")
    assert isinstance(refused.value, ConnectionError)
    assert "127.0.0.1:1" in str(refused.value)


def test_client_says_its_address_without_secrets() -> None:
    with headwater.connect("mem:there") as db:
        assert db.address == "mem:there"
        assert repr(db) == "<headwater.Client of mem:there>"
    assert repr(db) == "<headwater.Client of mem:there, closed>"


def test_golden_addresses() -> None:
    cases = json.loads((GOLDEN / "address.json").read_text())
    assert cases
    for case in cases:
        if "error" in case:
            with pytest.raises(headwater.InvalidArgument) as refused:
                _native.parse_address(case["address"])
            assert refused.value.code == case["error"], case
            assert case["says"] in str(refused.value), case
        else:
            assert _native.parse_address(case["address"]) == case["shown"], case
