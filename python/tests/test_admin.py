"""Administration: topics, groups, offsets."""

from __future__ import annotations

from datetime import UTC, datetime

import headwater
import pytest


def test_topic_is_created_listed_described_altered_and_deleted() -> None:
    with headwater.connect("mem:") as db:
        db.admin.create_topic("orders", partitions=4, durability="os")

        topic = db.admin.describe_topic("orders")
        assert (topic.name, len(topic.partitions), len(topic.uuid)) == ("orders", 4, 16)
        assert topic.config["durability"] == "os"
        assert [partition.partition for partition in topic.partitions] == [0, 1, 2, 3]
        assert all(partition.high_watermark == 0 for partition in topic.partitions)
        assert db.admin.list_topics() == [topic]

        db.admin.alter_topic("orders", max_message_bytes=2_000)
        assert db.admin.describe_topic("orders").config["max_message_bytes"] == "2000"

        db.admin.delete_topic("orders")
        assert db.admin.list_topics() == []


def test_topic_that_exists_is_refused_unless_that_is_fine(db: headwater.Client) -> None:
    with pytest.raises(headwater.AlreadyExists) as refused:
        db.admin.create_topic("orders")
    assert refused.value.code == "TOPIC_ALREADY_EXISTS"
    db.admin.create_topic("orders", exist_ok=True)
    assert len(db.admin.describe_topic("orders").partitions) == 2


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "x" * 250, "caf\u00e9"])
def test_name_that_no_topic_can_have_is_refused(db: headwater.Client, name: str) -> None:
    with pytest.raises(headwater.InvalidArgument) as refused:
        db.admin.create_topic(name)
    assert refused.value.code == "INVALID_TOPIC_EXCEPTION"


def test_topic_that_is_not_there_is_not_found(db: headwater.Client) -> None:
    for call in (
        lambda: db.admin.describe_topic("nothing"),
        lambda: db.admin.delete_topic("nothing"),
        lambda: db.admin.alter_topic("nothing", retention_ms=5),
        lambda: db.admin.list_offsets([("nothing", 0, "earliest")]),
    ):
        with pytest.raises(headwater.NotFound, match="nothing") as refused:
            call()
        assert refused.value.code == "UNKNOWN_TOPIC_OR_PARTITION"
        assert isinstance(refused.value, LookupError)


def test_offsets_are_found_by_their_meaning(db: headwater.Client) -> None:
    times = [datetime(2024, 5, day, tzinfo=UTC) for day in range(1, 5)]
    with db.producer() as p:
        for time in times:
            p.send("orders", b"v", partition=1, timestamp=time)

    found = db.admin.list_offsets(
        [
            ("orders", 1, "earliest"),
            ("orders", 1, "latest"),
            ("orders", 1, times[2]),
            ("orders", 1, int(times[1].timestamp() * 1_000)),
            ("orders", 0, "latest"),
        ]
    )

    assert found == [0, 4, 2, 1, 0]
    with pytest.raises(headwater.InvalidArgument, match="oldest"):
        db.admin.list_offsets([("orders", 1, "oldest")])


def test_records_before_an_offset_are_deleted(db: headwater.Client) -> None:
    with db.producer() as p:
        p.send_many("orders", [b"a", b"b", b"c"], partition=1).result(30)

    assert db.admin.delete_records("orders", {1: 1}) == {1: 1}
    assert db.admin.delete_records("orders", {1: 0, 0: -1}) == {0: 0, 1: 1}
    with db.consumer("orders", until="end") as c:
        assert [message.value for message in c] == [b"b", b"c"]

    with pytest.raises(headwater.OffsetOutOfRange, match="1 to 3") as refused:
        db.admin.delete_records("orders", {1: 4})
    assert refused.value.code == "OFFSET_OUT_OF_RANGE"
    with pytest.raises(headwater.NotFound):
        db.admin.delete_records("orders", {7: 0})
    assert db.admin.delete_records("orders", {1: -1}) == {1: 3}


def test_groups_are_listed_described_and_deleted(db: headwater.Client) -> None:
    with db.producer() as p:
        p.send_many("orders", [b"a", b"b"], partition=0).result(30)
    with db.consumer("orders", group="billing", until="end") as c:
        assert len(list(c)) == 2

    group = db.admin.describe_group("billing")
    assert (group.group, group.state, group.members) == ("billing", "Empty", [])
    assert headwater.PartitionOffset("orders", 0, 2) in group.offsets
    assert [found.group for found in db.admin.list_groups()] == ["billing"]

    db.admin.commit_offsets("billing", [("orders", 0, 1)])
    assert ("orders", 0, 1) in db.admin.describe_group("billing").offsets

    db.admin.delete_group("billing")
    with pytest.raises(headwater.NotFound) as refused:
        db.admin.describe_group("billing")
    assert refused.value.code == "GROUP_ID_NOT_FOUND"


def test_what_is_not_built_yet_says_so(db: headwater.Client) -> None:
    with pytest.raises(headwater.Unsupported):
        db.admin.create_topic("replicated", durability="quorum")
