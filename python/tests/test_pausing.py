"""Pausing partitions, the lag, and members that keep their place: in memory, in a folder, over a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import headwater
import pytest
from headwater import TopicPartition, aio


@pytest.fixture(params=["mem:", "folder", "broker"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[headwater.Client]:
    """A log with twenty records in the two partitions of `orders`, ten each."""
    if request.param == "broker":
        with headwater.Broker() as broker, headwater.connect(broker.address) as client:
            yield filled(client)
    else:
        address = tmp_path / "log" if request.param == "folder" else "mem:"
        with headwater.connect(address) as client:
            yield filled(client)


def filled(client: headwater.Client) -> headwater.Client:
    client.admin.create_topic("orders", partitions=2)
    with client.producer() as p:
        for number in range(20):
            p.send("orders", b"%d" % number, partition=number % 2)
    return client


def read(c: headwater.Consumer, count: int) -> list[tuple[int, int]]:
    """So many records, however long they take, and whatever else comes in a moment."""
    found: list[tuple[int, int]] = []
    for batch in c.batches():
        found += [(m.partition, m.offset) for m in batch]
        if len(found) >= count:
            break
    return found + [(m.partition, m.offset) for batch in c.batches(timeout=0.05) for m in batch]


def test_paused_partition_gives_nothing_until_it_is_resumed(log: headwater.Client) -> None:
    with log.consumer("orders", group="billing") as c:
        c.open()
        assert c.paused() == []
        c.pause([("orders", 0)])
        assert c.paused() == [TopicPartition("orders", 0)]
        assert read(c, 10) == [(1, offset) for offset in range(10)]
        c.pause()
        assert c.paused() == [("orders", 0), ("orders", 1)]
        c.resume(iter([("orders", 0)]))
        assert read(c, 10) == [(0, offset) for offset in range(10)]
        c.resume()
        assert c.paused() == []
        c.commit()
        assert [at.offset for at in c.committed()] == [10, 10]


def test_rest_of_the_block_in_hand_is_given_and_positions_go_on(log: headwater.Client) -> None:
    with log.consumer("orders", group="billing", partitions=None) as c:
        msgs = iter(c)
        first = next(msgs)
        c.pause([(first.topic, first.partition)])
        # A block may have both partitions; what is in it comes in order, whatever is paused.
        assert next(msgs).offset == 1
        at = {position.partition: position.offset for position in c.positions()}
        assert at[first.partition] == 1


@pytest.mark.parametrize(
    ("partitions", "refusal"),
    [
        ([("orders", 7)], headwater.NotFound),
        ([("orders", 0), ("other", 0)], headwater.NotFound),
        ("orders", TypeError),
        (7, TypeError),
        ([("orders", "0")], TypeError),
        ([("orders",)], ValueError),
    ],
)
def test_what_is_not_assigned_or_no_partition_is_refused(
    db: headwater.Client, partitions: Any, refusal: type[Exception]
) -> None:
    with db.consumer("orders") as c:
        c.open()
        for call in (c.pause, c.resume):
            with pytest.raises(refusal):
                call(partitions)
        assert c.paused() == []


def test_before_it_is_open_and_after_it_is_closed(db: headwater.Client) -> None:
    with db.consumer("orders") as c:
        for call in (c.pause, c.resume):
            with pytest.raises(headwater.InvalidArgument) as early:
                call()
            assert early.value.code == "INVALID_STATE"
        assert c.lag() == []
    with pytest.raises(headwater.Closed):
        c.pause()
    with pytest.raises(headwater.Closed):
        c.resume()
    with pytest.raises(headwater.Closed):
        c.lag()
    assert c.paused() == []


def test_lag_is_counted_from_what_was_processed(log: headwater.Client) -> None:
    with log.consumer("orders", group="billing", max_block_records=4) as c:
        msgs = iter(c)
        read_of = next(msgs).partition
        next(msgs)
        c.commit()
        lags = {lag.partition: lag for lag in c.lag(timeout=30)}
        assert lags[read_of] == headwater.PartitionLag("orders", read_of, 1, 1, 10, 9)
        other = lags[1 - read_of]
        assert (other.position, other.committed, other.lag) == (0, None, 10)
    with log.consumer("orders") as c:
        c.open()
        assert [(lag.committed, lag.lag) for lag in c.lag()] == [(None, 10), (None, 10)]


def test_static_member_comes_back_to_its_partitions_and_is_known_by_its_name() -> None:
    with headwater.Broker() as broker, headwater.connect(broker.address) as db:
        filled(db)
        with db.consumer("orders", group="billing", instance_id="one") as c:
            c.open()
        before = db.admin.describe_group("billing")
        assert [member.instance_id for member in before.members] == ["one"], "it is expected back"
        with headwater.connect(broker.address) as other:
            with other.consumer("orders", group="billing", instance_id="one") as c:
                c.open()
                after = db.admin.describe_group("billing")
                assert after.generation == before.generation
                assert after.members[0].member_id != before.members[0].member_id
                assert after.members[0].partitions == [("orders", 0), ("orders", 1)]


def test_name_that_another_uses_is_fenced() -> None:
    with headwater.Broker() as broker, headwater.connect(broker.address) as db:
        filled(db)
        c = db.consumer("orders", group="billing", instance_id="one")
        c.open()
        with db.consumer("orders", group="billing", instance_id="one") as other:
            other.open()
            with pytest.raises(headwater.Fenced) as fenced:
                while True:
                    next(iter(c))
            assert fenced.value.code == "FENCED_INSTANCE_ID"
        c.close()


@pytest.mark.parametrize("options", [{"instance_id": "one"}, {"group": "g", "instance_id": ""}])
def test_name_that_names_no_member_is_refused(db: headwater.Client, options: Any) -> None:
    with pytest.raises(headwater.InvalidArgument) as refused:
        db.consumer("orders", **options)
    assert refused.value.code == "INVALID_OPTION"


def test_aio_is_the_same() -> None:
    async def main() -> None:
        async with aio.connect("mem:") as db:
            await db.admin.create_topic("orders", partitions=2)
            async with db.producer() as p:
                await (await p.send_many("orders", [b"a", b"b"], partition=1))
            async with db.consumer("orders", group="billing") as c:
                await c.open()
                c.pause([("orders", 1)])
                async for _ in c.batches(timeout=0.1):
                    raise AssertionError("it is paused")
                c.resume()
                assert len(await anext(c.batches())) == 2
                async for _ in c.batches(timeout=0.05):
                    raise AssertionError("that was all")
                lags = await c.lag()
                assert [(lag.high_watermark, lag.lag) for lag in lags] == [(0, 0), (2, 0)]
            with pytest.raises(headwater.Closed):
                await c.lag()

    asyncio.run(asyncio.wait_for(main(), 120))
