"""Kafka in a test suite: a broker for each test, in the test's process.

pytest finds this plugin by itself once headwater is installed. ``kafka_bootstrap`` is what any of
Kafka's clients connects to::

    def test_order_is_sent(kafka_bootstrap):
        producer = Producer({"bootstrap.servers": kafka_bootstrap})
        ...

Fixtures:

- ``headwater_broker``: a :class:`headwater.Broker` of the test alone, in memory, on a free port.
- ``kafka_bootstrap``: its ``"127.0.0.1:54321"``.
- ``headwater_session_broker`` and ``kafka_session_bootstrap``: the same for all tests of the
  process (with pytest-xdist: of the worker). What one test has sent there, the next one reads.

Topics are created as they are used, with one partition. What a test wants otherwise it says with a
marker, whose arguments are those of :class:`headwater.Broker` and ``topics``; what the whole suite
wants stands in its configuration, and holds for the session's broker too::

    @pytest.mark.headwater(topics={"orders": 4}, auto_create_topics=False)
    def test_order_keeps_its_partition(kafka_bootstrap): ...

    [tool.pytest.ini_options]
    headwater_topics = ["orders:4", "payments"]
    headwater_auto_create_topics = false

A test that wants neither pays nothing: headwater is imported by the first fixture that is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import headwater

__all__ = [
    "headwater_broker",
    "headwater_session_broker",
    "kafka_bootstrap",
    "kafka_session_bootstrap",
]

MARKER = "headwater"


def pytest_addoption(parser: pytest.Parser) -> None:
    """What a suite can say for all of its brokers."""
    parser.addini(
        "headwater_topics",
        "topics that each broker has from its start: `orders` or, with 4 partitions, `orders:4`",
        type="args",
        default=[],
    )
    parser.addini(
        "headwater_auto_create_topics",
        "whether a broker creates a topic when it is used first (default: true)",
        type="bool",
        default=True,
    )


def pytest_configure(config: pytest.Config) -> None:
    """The marker is known, also with --strict-markers."""
    config.addinivalue_line(
        "markers",
        f"{MARKER}(topics=None, **options): the broker of this test has these topics (a list, or a "
        "dict of their partitions) and these options of headwater.Broker",
    )


@pytest.fixture
def headwater_broker(request: pytest.FixtureRequest) -> Iterator[headwater.Broker]:
    """A broker of this test alone: in memory, native and Kafka's protocol on one free port."""
    marked: dict[str, Any] = {}
    # The closest comes last: the function's word counts before the class's and the module's.
    for mark in reversed(list(request.node.iter_markers(MARKER))):
        if mark.args:
            raise pytest.UsageError(f"pytest.mark.{MARKER} takes keywords only: {mark.args!r}")
        marked.update(mark.kwargs)
    yield from _broker(request.config, **marked)


@pytest.fixture(scope="session")
def headwater_session_broker(request: pytest.FixtureRequest) -> Iterator[headwater.Broker]:
    """A broker for all tests of this process; what one test leaves there, the next one finds."""
    yield from _broker(request.config)


@pytest.fixture
def kafka_bootstrap(headwater_broker: headwater.Broker) -> str:
    """Bootstrap servers of ``headwater_broker``, such as ``"127.0.0.1:54321"``."""
    return headwater_broker.bootstrap_servers


@pytest.fixture(scope="session")
def kafka_session_bootstrap(headwater_session_broker: headwater.Broker) -> str:
    """Bootstrap servers of ``headwater_session_broker``."""
    return headwater_session_broker.bootstrap_servers


def _broker(
    config: pytest.Config, topics: Mapping[str, int] | list[str] | None = None, **options: Any
) -> Iterator[headwater.Broker]:
    """Start a broker with the topics, and close it behind the test."""
    import headwater

    options.setdefault("listen", "127.0.0.1:0")
    options.setdefault("auto_create_topics", config.getini("headwater_auto_create_topics"))
    wanted = _partitions(config.getini("headwater_topics")) | _partitions(topics or [])
    broker = headwater.Broker(**options)
    try:
        if wanted:
            with headwater.connect(broker.address) as db:
                for topic, partitions in wanted.items():
                    db.admin.create_topic(topic, partitions=partitions)
        yield broker
    finally:
        # Clients that a test has left open, or that still ask for more, are not waited for.
        broker.close(timeout=0)


def _partitions(topics: Mapping[str, int] | list[str]) -> dict[str, int | None]:
    """The number of partitions by the topic's name, of which a list says `orders` or `orders:4`."""
    if isinstance(topics, Mapping):
        return dict(topics)
    if isinstance(topics, str):
        raise pytest.UsageError(f"topics are a list or a dict, found the string {topics!r}")
    found: dict[str, int | None] = {}
    for topic in topics:
        name, colon, count = topic.partition(":")
        if colon and not count.isdecimal():
            message = f"{topic!r} names no topic: `orders` or, with 4 partitions, `orders:4`"
            raise pytest.UsageError(message)
        found[name] = int(count) if colon else None
    return found
