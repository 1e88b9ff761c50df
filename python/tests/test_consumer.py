"""The consumer: iteration, batches, positions, acknowledgements, seeking."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterable

import headwater
import pytest


def fill(db: headwater.Client, count: int = 10, partition: int = 0) -> None:
    with db.producer() as p:
        p.send_many("orders", [b"%d" % i for i in range(count)], partition=partition).result(30)


def values(msgs: Iterable[headwater.Msg]) -> list[int]:
    return [int(msg.value or b"") for msg in msgs]


def test_iteration_gives_every_record_in_order_and_ends(db: headwater.Client) -> None:
    fill(db, 5_000)
    fill(db, 10, partition=1)
    with db.consumer("orders", until="end", max_block_records=333) as c:
        msgs = list(c)
        assert c.finished
        assert list(c) == []
    assert values(msg for msg in msgs if msg.partition == 0) == list(range(5_000))
    assert [msg.offset for msg in msgs if msg.partition == 1] == list(range(10))
    assert {msg.topic for msg in msgs} == {"orders"}


def test_empty_topic_ends_at_once(db: headwater.Client) -> None:
    with db.consumer("orders", until="end") as c:
        assert list(c) == []
        assert list(c.batches()) == []


def test_unknown_topic_is_not_found(db: headwater.Client) -> None:
    with db.consumer("nothing") as c, pytest.raises(headwater.NotFound, match="nothing") as refused:
        next(iter(c))
    assert refused.value.code == "UNKNOWN_TOPIC_OR_PARTITION"
    with pytest.raises(headwater.InvalidArgument):
        db.consumer()


def test_record_that_comes_later_is_read(db: headwater.Client) -> None:
    with db.consumer("orders") as c:
        later = threading.Timer(0.2, fill, (db, 3))
        later.start()
        msgs = iter(c)
        assert [next(msgs).offset for _ in range(3)] == [0, 1, 2]
        later.join()


def test_several_topics_are_read(db: headwater.Client) -> None:
    db.admin.create_topic("more")
    fill(db, 3)
    with db.producer() as p:
        p.send("more", b"7").result(30)
    with db.consumer("orders", "more", until="end") as c:
        assert sorted((msg.topic, msg.value) for msg in c) == [
            ("more", b"7"),
            ("orders", b"0"),
            ("orders", b"1"),
            ("orders", b"2"),
        ]


def test_group_goes_on_where_it_was(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders", group="g", until="end") as c:
        assert values(msg for msg, _ in zip(c, range(4), strict=False)) == [0, 1, 2, 3]
    with db.consumer("orders", group="g", until="end") as c:
        assert values(c) == [4, 5, 6, 7, 8, 9]
    with db.consumer("orders", group="other", until="end") as c:
        assert len(list(c)) == 10
    with db.consumer("orders", until="end") as c:
        assert len(list(c)) == 10


def test_break_does_not_process_the_record_in_hand(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders", group="g", until="end") as c:
        for msg in c:
            if msg.offset == 3:
                break
    assert db.admin.describe_group("g").offsets[0].offset == 3
    with db.consumer("orders", group="g", until="end") as c:
        assert values(c) == [3, 4, 5, 6, 7, 8, 9]


def test_exception_does_not_process_the_record_in_hand(db: headwater.Client) -> None:
    fill(db, 10)
    with pytest.raises(ZeroDivisionError), db.consumer("orders", group="g", until="end") as c:
        for msg in c:
            assert 1 / (5 - msg.offset)
    with db.consumer("orders", group="g", until="end") as c:
        assert values(c) == [5, 6, 7, 8, 9]


def test_new_loop_goes_on_and_processes_what_was_in_hand(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders", group="g", until="end") as c:
        first = next(iter(c))
        second = next(iter(c))
        assert (first.offset, second.offset) == (0, 1)
        assert ("orders", 0, 1) in c.positions()
    assert db.admin.describe_group("g").offsets[0].offset == 1


def test_break_out_of_a_batch_does_not_process_it(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders", group="g", until="end") as c:
        for batch in c.batches(max_records=4):
            if batch[0].offset == 4:
                break
    with db.consumer("orders", group="g", until="end") as c:
        assert values(c) == [4, 5, 6, 7, 8, 9]


def test_batches_have_at_most_as_many_records_as_asked(db: headwater.Client) -> None:
    fill(db, 1_000)
    with db.consumer("orders", until="end", max_block_records=300) as c:
        batches = list(c.batches(max_records=128))
    assert max(len(batch) for batch in batches) == 128
    assert values(msg for batch in batches for msg in batch) == list(range(1_000))
    assert [int(value or b"") for batch in batches for value in batch.values()] == list(
        range(1_000)
    )
    with db.consumer("orders", until="end") as c, pytest.raises(headwater.InvalidArgument):
        next(c.batches(max_records=0))


def test_batches_end_when_nothing_came_for_the_timeout(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders") as c:
        for count in (10, 5):
            found = 0
            # Nothing may come in time; then the loop ends, and is begun again.
            while found < count:
                found += sum(len(batch) for batch in c.batches(timeout=0.05))
            assert found == count
            assert not c.finished
            fill(db, 5)


def test_closing_ends_a_loop_in_the_middle_of_a_block_and_fails_the_next(
    db: headwater.Client,
) -> None:
    # A loop went on to the end of its block; one that began after the close gave nothing.
    fill(db, 10)
    for loop in (iter, lambda c: c.batches(max_records=1)):
        c = db.consumer("orders")
        running = loop(c)
        given = [next(running) for _ in range(3)]
        c.close()
        assert len(given) == 3 and list(running) == []
        with pytest.raises(headwater.Closed):
            iter(c)
        with pytest.raises(headwater.Closed):
            next(c.batches())
        assert list(running) == []


def test_batch_outlives_its_consumer(db: headwater.Client) -> None:
    fill(db, 100)
    with db.consumer("orders", until="end") as c:
        batch = next(c.batches())
        msg = batch[5]
    assert msg.value == b"5"
    assert values(batch) == list(range(100))


def test_manual_ack_commits_the_first_offset_that_is_not_done(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders", group="g", until="end", ack="manual") as c:
        msgs = list(c)
        for offset in (0, 1, 3, 9):
            c.ack(msgs[offset])
        assert ("orders", 0, 2) in c.positions()
        c.commit()
        assert ("orders", 0, 2) in c.committed()
        c.ack(msgs[2])
        assert ("orders", 0, 4) in c.positions()
    with db.consumer("orders", group="g", until="end") as c:
        assert values(c) == [4, 5, 6, 7, 8, 9]


def test_manual_ack_takes_batches_old_and_new(db: headwater.Client) -> None:
    fill(db, 30)
    with db.consumer("orders", group="g", until="end", ack="manual", max_block_records=10) as c:
        first, second, third = list(c.batches())
        c.ack(third)
        c.ack(first)
        assert ("orders", 0, 10) in c.positions()
        c.ack(second[:5])
        assert ("orders", 0, 15) in c.positions()
        c.ack(second)
    assert db.admin.describe_group("g").offsets[0].offset == 30


def test_ack_of_something_else_is_refused(db: headwater.Client) -> None:
    fill(db, 1)
    with db.consumer("orders", group="g", until="end") as c:
        msg = next(iter(c))
        with pytest.raises(headwater.InvalidArgument) as refused:
            c.ack(msg)
        assert refused.value.code == "INVALID_STATE"
        with pytest.raises(TypeError, match="Msg or a Batch"):
            c.ack(0)  # type: ignore[arg-type]


def test_commit_is_explicit_too(db: headwater.Client) -> None:
    fill(db, 10)
    with db.consumer("orders", group="g", until="end") as c:
        for msg in c:
            if msg.offset == 6:
                c.commit()
                assert ("orders", 0, 6) in c.committed()
                break
        c.commit([("orders", 0, 8)])
        assert ("orders", 0, 8) in c.committed(timeout=30)
        with pytest.raises(headwater.InvalidArgument):
            c.commit([])
    with (
        db.consumer("orders", until="end") as c,
        pytest.raises(headwater.InvalidArgument) as refused,
    ):
        c.commit()
    assert refused.value.code == "INVALID_STATE"


def test_seek_goes_on_elsewhere(db: headwater.Client) -> None:
    fill(db, 100)
    with db.consumer("orders", until="end") as c:
        msgs = iter(c)
        assert values(next(msgs) for _ in range(5)) == [0, 1, 2, 3, 4]
        c.seek("orders", 0, 90)
        assert values(next(msgs) for _ in range(3)) == [90, 91, 92]
        c.seek("orders", 0, "earliest")
        assert values(msgs) == list(range(100))
        with pytest.raises(headwater.InvalidArgument, match="newest"):
            c.seek("orders", 0, "newest")
        with pytest.raises(headwater.NotFound):
            c.seek("orders", 9, 0)


def test_seek_leaves_other_partitions_alone(db: headwater.Client) -> None:
    fill(db, 50)
    fill(db, 50, partition=1)
    with db.consumer("orders", until="end") as c:
        msgs = iter(c)
        first = next(msgs)
        c.seek("orders", first.partition, 40)
        rest = list(msgs)
    mine = [msg.offset for msg in rest if msg.partition == first.partition]
    others = [msg.offset for msg in rest if msg.partition != first.partition]
    assert mine == list(range(40, 50))
    assert others == list(range(50))


def test_assignment_says_what_is_read(db: headwater.Client) -> None:
    with db.consumer("orders", until="end", partitions=[1]) as c:
        c.open(30)
        assert c.assignment() == [("orders", 1, 0)]


def test_close_from_another_thread_ends_the_loop(db: headwater.Client) -> None:
    fill(db, 3)
    c = db.consumer("orders")
    msgs = iter(c)
    for _ in range(3):
        next(msgs)
    closing = threading.Timer(0.2, c.close)
    closing.start()
    assert list(msgs) == []
    closing.join()


def test_two_threads_cannot_read_one_consumer(db: headwater.Client) -> None:
    with db.consumer("orders") as c:
        ended: list[int] = []

        def read_to_the_end() -> None:
            while not ended:
                # Whoever comes first reads: until that is this thread, it is the one that is refused.
                with contextlib.suppress(headwater.InvalidArgument):
                    ended.append(len(list(c)))

        waiting = threading.Thread(target=read_to_the_end)
        waiting.start()
        refused = None
        while refused is None:
            try:
                list(c.batches(timeout=0.05))
            except headwater.InvalidArgument as error:
                refused = error
        c.close()
        waiting.join()
    assert refused.code == "INVALID_STATE"
    assert ended == [0]


def test_members_of_a_group_share_the_partitions_and_who_leaves_leaves_them_to_the_others(
    db: headwater.Client,
) -> None:
    db.admin.create_topic("shared", partitions=2)

    def send(value: str) -> None:
        with db.producer() as p:
            for partition in range(2):
                p.enqueue("shared", f"{value}-{partition}".encode(), partition=partition)

    def holds(member: headwater.Consumer, count: int) -> None:
        while len(member.assignment()) != count:
            time.sleep(0.001)

    with db.consumer("shared", group="g") as second:
        with db.consumer("shared", group="g") as first:
            first.open(30)
            second.open(30)
            holds(first, 1)
            holds(second, 1)
            send("early")
            given = {next(iter(member)).partition for member in (first, second)}
            assert given == {0, 1}
        holds(second, 2)
        send("late")
        # What the first had in hand it had not processed: it comes again.
        seen: list[bytes] = []
        for message in second:
            assert message.value is not None
            seen.append(message.value)
            if {b"late-0", b"late-1"} <= set(seen):
                break
        assert len([value for value in seen if value.startswith(b"early")]) >= 1


def test_slow_loop_tells_core_how_far_it_is(db: headwater.Client) -> None:
    fill(db, 100)
    with db.consumer("orders", group="g", until="end", commit_interval_ms=10) as c:
        for msg in c:
            if msg.offset >= 20:
                break
            threading.Event().wait(0.02)
        # No call but the iteration itself: what was told in between is committed in the background.
        for _ in range(500):
            if db.admin.describe_group("g").offsets:
                break
            threading.Event().wait(0.02)
        assert db.admin.describe_group("g").offsets[0].offset > 0
