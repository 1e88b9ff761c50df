"""How a client is: well, without its broker, with a consumer that is stuck, closed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import headwater
from headwater import aio


def until(is_so: Callable[[], bool]) -> None:
    """Wait for it; pytest ends what never comes."""
    while not is_so():
        time.sleep(0.01)


def test_client_is_well_until_it_is_closed(db: headwater.Client) -> None:
    health = db.health()
    assert (health.healthy, health.reason, health.closed) == (True, None, False)
    assert (health.address, health.connected, health.last_error) == ("mem:", True, None)
    assert (health.members, health.buffered_bytes, health.buffered_records) == ([], 0, 0)
    assert health.since_ms >= 0 and health.oldest_unsent_ms is None
    with db.consumer("orders", group="billing") as c:
        c.open()
        (member,) = db.health().members
        assert (member.group, member.state, member.partitions) == ("billing", "stable", 2)
        assert member.generation > 0 and member.member_id and member.reason is None
        assert member.last_heartbeat_ms is not None
    assert db.health().members == []
    db.close()
    health = db.health()
    assert (health.healthy, health.closed, health.connected) == (False, True, False)
    assert health.reason == "the client of mem: is closed"


def test_without_its_broker_it_says_why_and_what_waits() -> None:
    broker = headwater.Broker()
    db = headwater.connect(broker.address)
    db.admin.create_topic("orders")
    assert db.health().address == broker.address
    broker.close()
    until(lambda: not db.health().connected)
    p = db.producer()
    p.enqueue("orders", b"x")
    until(lambda: db.health().last_error is not None)
    health = db.health()
    assert not health.healthy and not health.closed
    assert isinstance(health.last_error, headwater.HeadwaterError)
    assert health.reason is not None and health.reason.startswith("no connection to ")
    assert health.buffered_records == 1 and health.buffered_bytes > 0
    assert health.oldest_unsent_ms is not None
    assert db.close(timeout=0).unsent_records == 1
    assert db.health().closed


def test_consumer_that_is_stuck_makes_it_unwell_until_somebody_reads(db: headwater.Client) -> None:
    with db.producer() as p:
        p.send("orders", b"x").result(30)
    options = {"heartbeat_ms": 100, "session_timeout_ms": 1_000, "processing_timeout_ms": 1_000}
    with db.consumer("orders", group="billing", **options) as c:  # type: ignore[arg-type]
        next(iter(c))
        until(lambda: not db.health().healthy)
        (member,) = db.health().members
        assert member.state == "lost" and member.reason is not None
        assert "processing_timeout_ms is 1000" in member.reason
        reason = db.health().reason
        assert reason is not None and reason.startswith("the member of group `billing`: ")
        try:
            next(iter(c))
        except headwater.HeadwaterError as error:
            assert error.code == "PROCESSING_TIMED_OUT"
        next(iter(c))
        until(lambda: db.health().healthy)


def test_aio_is_the_same() -> None:
    async def main() -> None:
        async with aio.connect("mem:") as db:
            assert db.health().healthy
        assert db.health().reason == "the client of mem: is closed"

    asyncio.run(asyncio.wait_for(main(), 120))
