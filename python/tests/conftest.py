"""A log, and a folder for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import headwater
import pytest


@pytest.fixture
def db() -> Iterator[headwater.Client]:
    """A log in memory with the topic `orders` of two partitions."""
    with headwater.connect("mem:") as client:
        client.admin.create_topic("orders", partitions=2)
        yield client


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder for a log, which does not exist yet."""
    return tmp_path / "log"
