"""Results that are sent with a commit, and groups described with their members."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import headwater
import pytest
from headwater import ProducerRecord, aio


@pytest.fixture
def shop(db: headwater.Client) -> headwater.Client:
    """Ten orders, and a topic for the bills."""
    db.admin.create_topic("bills", partitions=2)
    with db.producer() as p:
        p.send_many("orders", [b"%d" % i for i in range(10)], partition=0).result(30)
    return db


def offsets(db: headwater.Client) -> list[int]:
    return [at.offset for at in db.admin.describe_group("billing").offsets if at.partition == 0]


def bills(db: headwater.Client) -> list[tuple[bytes | None, ...]]:
    with db.consumer("bills", until="end") as c:
        return [(msg.key, msg.value) for msg in c]


def test_results_and_the_position_of_the_record_in_hand_are_one(shop: headwater.Client) -> None:
    with shop.consumer("orders", group="billing") as c:
        for msg in c:
            sent = c.commit_with([ProducerRecord("bills", msg.value, key=b"k")], timeout=30)
            assert [(at.topic, at.offset) for at in sent] == [("bills", msg.offset)]
            assert offsets(shop) == [msg.offset + 1]
            if msg.offset == 4:
                break
        assert [at.offset for at in c.positions() if at.partition == 0] == [5]
        # It was in hand when it was committed, and is not given again.
        assert next(iter(c)).offset == 5
    assert offsets(shop) == [5], "nothing is committed unasked"
    assert bills(shop) == [(b"k", b"%d" % i) for i in range(5)]


def test_batch_in_hand_is_committed_whole(shop: headwater.Client) -> None:
    with shop.consumer("orders", group="billing", until="end") as c:
        for batch in c.batches(max_records=4):
            c.commit_with([("bills", value) for value in batch.values()])
            assert offsets(shop) == [batch[-1].offset + 1]
    assert len(bills(shop)) == 10


def test_everything_that_a_record_has_gets_there(shop: headwater.Client) -> None:
    at = datetime(2024, 1, 2, tzinfo=UTC)
    with shop.consumer("orders", group="billing") as c:
        next(iter(c))
        records = [
            ProducerRecord("bills", "text", "k", {"a": b"1", "b": None}, 1, at),
            ("bills", None, b"k", [("a", b"1"), ("a", b"2")], 1, 7),
        ]
        sent = c.commit_with(records)
        assert [(it.partition, it.offset, it.durability) for it in sent] == [(1, 0, "os"), (1, 1, "os")]
        assert c.commit_with([]) == []
    with shop.consumer("bills", until="end") as c:
        one, other = list(c)
    assert (one.value, one.key, one.headers) == (b"text", b"k", (("a", b"1"), ("b", None)))
    assert one.timestamp == 1_704_153_600_000
    assert (other.value, other.headers, other.timestamp) == (None, (("a", b"1"), ("a", b"2")), 7)


@pytest.mark.parametrize(
    ("results", "refusal"),
    [
        ([("bills",)], TypeError),
        (["bills"], TypeError),
        (7, TypeError),
        ([("bills", 3)], TypeError),
        ([(3, b"x")], TypeError),
        ([("bills", b"x", None, 3)], TypeError),
        ([("bills", b"x", None, None, 9)], headwater.NotFound),
        ([("nothing", b"x")], headwater.NotFound),
    ],
)
def test_what_is_wrong_sends_and_commits_nothing(
    shop: headwater.Client, results: Any, refusal: type[Exception]
) -> None:
    with shop.consumer("orders", group="billing") as c:
        next(iter(c))
        with pytest.raises(refusal):
            c.commit_with([("bills", b"good"), *results] if isinstance(results, list) else results)
    assert bills(shop) == []
    assert shop.admin.describe_group("billing").offsets == []


@pytest.mark.parametrize("topic", ["nothing", "bills"])
def test_record_in_hand_is_not_committed_when_its_result_is_refused(
    shop: headwater.Client, topic: str
) -> None:
    with shop.consumer("orders", group="billing", until="end") as c:
        for msg in c:
            if msg.offset == 2:
                with pytest.raises(headwater.HeadwaterError) as refused:
                    c.commit_with([(topic, bytes(40 << 20) if topic == "bills" else b"x")])
                assert refused.value.outcome == "not_done"
                break
    if topic == "bills":
        # Refused before its turn came: what was passed before it is committed as ever.
        assert offsets(shop) == [2]
    else:
        assert shop.admin.describe_group("billing").offsets == []


def test_it_needs_a_group_and_an_open_consumer_that_acknowledges_by_itself(
    shop: headwater.Client,
) -> None:
    for options in ({}, {"group": "g"}, {"group": "g", "ack": "manual"}):
        with shop.consumer("orders", **options) as c:  # type: ignore[arg-type]
            if "ack" in options:
                c.open()
            with pytest.raises(headwater.InvalidArgument) as refused:
                c.commit_with([("bills", b"x")])
            assert refused.value.code == "INVALID_STATE"
        with pytest.raises(headwater.Closed):
            c.commit_with([("bills", b"x")])


def test_group_is_described_with_its_members(shop: headwater.Client) -> None:
    with shop.consumer("orders", group="billing", instance_id="one") as c:
        c.open()
        group = shop.admin.describe_group("billing")
        (member,) = group.members
        assert (group.state, member.instance_id, member.host) == ("Stable", "one", None)
        assert member.partitions == [("orders", 0), ("orders", 1)]
        assert member.client_name.startswith("headwater ") and member.generation == group.generation
        (listed,) = shop.admin.list_groups()
        assert listed.members == [member.member_id]


def test_aio_is_the_same() -> None:
    async def main() -> None:
        async with aio.connect("mem:") as db:
            for topic in ("orders", "bills"):
                await db.admin.create_topic(topic)
            async with db.producer() as p:
                await (await p.send_many("orders", [b"a", b"b"]))
            async with db.consumer("orders", group="billing") as c:
                async for msg in c:
                    sent = await c.commit_with([ProducerRecord("bills", msg.value)])
                    assert sent[0].offset == 0
                    break
                assert [at.offset for at in await c.committed()] == [1]
                async for msg in c:
                    assert msg.offset == 1
                    break
            with pytest.raises(headwater.Closed):
                await c.commit_with([("bills", b"x")])
            assert (await db.admin.describe_group("billing")).members == []

    asyncio.run(asyncio.wait_for(main(), 120))
