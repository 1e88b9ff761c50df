"""``process``: order, concurrency, retries, dead letters, and every way to end."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from pathlib import Path
from typing import Any

import headwater
import pytest
from headwater import aio
from test_aio import looped
from test_signals import interrupted


def fill(db: headwater.Client, count: int, keys: int = 0, topic: str = "orders") -> None:
    """Records whose values are their numbers, with one of so many keys."""
    with db.producer(linger_ms=1_000) as p:
        for number in range(count):
            key = b"k%d" % (number % keys) if keys else None
            p.enqueue(topic, b"%d" % number, key=key)


def number(msg: headwater.Msg) -> int:
    return int(msg.value or b"")


def committed(db: headwater.Client) -> dict[int, int]:
    offsets = db.admin.describe_group("g").offsets
    return {at.partition: at.offset for at in offsets}


class Seen:
    """What handlers were given, and how many of them ran at once."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.by_key: dict[bytes | None, list[int]] = defaultdict(list)
        self.attempts: dict[int, int] = defaultdict(int)

    def add(self, msg: headwater.Msg) -> int:
        """Count an attempt; return which it is."""
        with self.lock:
            self.attempts[number(msg)] += 1
            return self.attempts[number(msg)]

    def done(self, msg: headwater.Msg) -> None:
        with self.lock:
            self.by_key[msg.key].append(number(msg))

    def every(self) -> list[int]:
        return sorted(number for numbers in self.by_key.values() for number in numbers)


@pytest.mark.parametrize("handler", [5, None])
def test_handler_that_cannot_be_called_is_refused(db: headwater.Client, handler: Any) -> None:
    # It waited for a record, and failed with that.
    with db.consumer("orders") as c, pytest.raises(TypeError, match="callable"):
        c.process(handler)


def test_records_of_a_key_are_handled_in_order_and_all_are_committed(db: headwater.Client) -> None:
    fill(db, 1_000, keys=20)
    seen = Seen()

    def handle(msg: headwater.Msg) -> None:
        if seen.add(msg) == 1 and number(msg) % 7 == 0:
            raise ValueError("not yet")
        seen.done(msg)

    with db.consumer("orders", group="g", until="end") as c:
        c.process(handle, backoff_ms=1)
        assert c.finished
    assert seen.every() == list(range(1_000))
    assert all(numbers == sorted(numbers) for numbers in seen.by_key.values())
    assert sum(committed(db).values()) == 1_000


def test_behind_a_broker_it_is_the_same() -> None:
    with headwater.Broker() as broker, headwater.connect(broker.address) as db:
        db.admin.create_topic("orders", partitions=2)
        db.admin.create_topic("dead")
        fill(db, 300, keys=10)
        seen = Seen()

        def handle(msg: headwater.Msg) -> None:
            if number(msg) % 100 == 50:
                raise ValueError("never")
            if seen.add(msg) == 1 and number(msg) % 7 == 0:
                raise ValueError("not yet")
            seen.done(msg)

        with db.consumer("orders", group="g", until="end", max_unacked=50) as c:
            c.process(handle, attempts=2, backoff_ms=1, dead_letter="dead")
        assert len(seen.every()) == 297
        assert all(numbers == sorted(numbers) for numbers in seen.by_key.values())
        assert sum(committed(db).values()) == 300
        with db.consumer("dead", until="end") as c:
            assert sorted(number(msg) for msg in c) == [50, 150, 250]


def test_handlers_run_at_once_as_many_as_concurrency_says(db: headwater.Client) -> None:
    fill(db, 24)
    # Nobody passes it unless eight are there at once.
    barrier = threading.Barrier(8)
    with db.consumer("orders", until="end") as c:
        c.process(lambda _: barrier.wait(60), concurrency=8)


def test_order_none_runs_one_key_at_once(db: headwater.Client) -> None:
    fill(db, 8, keys=1)
    barrier = threading.Barrier(8)
    with db.consumer("orders", until="end") as c:
        c.process(lambda _: barrier.wait(60), concurrency=8, order="none")


def test_dead_letter_says_where_it_comes_from(db: headwater.Client) -> None:
    db.admin.create_topic("dead")
    with db.producer() as p:
        p.send("orders", b"bad", key=b"k", headers={"trace": b"ab"}, partition=1)
        p.send("orders", b"good", key=b"k", partition=1)

    def handle(msg: headwater.Msg) -> None:
        if msg.value == b"bad":
            raise ValueError("it is bad")

    with db.consumer("orders", group="g", until="end") as c:
        c.process(handle, attempts=2, backoff_ms=1, dead_letter="dead")
    assert committed(db)[1] == 2
    with db.consumer("dead", until="end") as c:
        (letter,) = c
    assert (letter.key, letter.value) == (b"k", b"bad")
    assert letter.headers == (
        ("trace", b"ab"),
        ("headwater.dlq.topic", b"orders"),
        ("headwater.dlq.partition", b"1"),
        ("headwater.dlq.offset", b"0"),
        ("headwater.dlq.attempts", b"2"),
        ("headwater.dlq.error", b"ValueError: it is bad"),
    )


def test_without_dead_letter_the_exception_comes_out_and_nothing_is_skipped(
    db: headwater.Client,
) -> None:
    fill(db, 10, keys=1)
    raised = ValueError("five")
    seen = Seen()

    def handle(msg: headwater.Msg) -> None:
        seen.add(msg)
        if number(msg) == 5:
            raise raised

    with db.consumer("orders", group="g", until="end") as c:
        with pytest.raises(ValueError, match="five") as caught:
            c.process(handle, attempts=3, backoff_ms=1)
        assert caught.value is raised
        assert "at offset 5 of orders-" in caught.value.__notes__[0]
        assert seen.attempts[5] == 3 and 6 not in seen.attempts
        # Whoever reads it next begins with what failed.
        assert number(next(iter(c))) == 5
    assert sum(committed(db).values()) == 5


def test_dead_letter_that_cannot_be_written_is_the_error(db: headwater.Client) -> None:
    fill(db, 1)

    def handle(_: headwater.Msg) -> None:
        raise ValueError

    with db.consumer("orders", group="g", until="end") as c:
        with pytest.raises(headwater.NotFound, match="nowhere"):
            c.process(handle, attempts=1, dead_letter="nowhere")
        with pytest.raises(headwater.InvalidArgument, match="dead_letter"):
            c.process(handle, dead_letter="orders")
    assert committed(db) == {}


def test_close_from_elsewhere_ends_it_after_the_handlers(db: headwater.Client) -> None:
    fill(db, 3)
    c = db.consumer("orders")
    handled = []
    entered, closed = threading.Event(), threading.Event()

    def handle(msg: headwater.Msg) -> None:
        entered.set()
        closed.wait(60)
        handled.append(number(msg))

    def close() -> None:
        entered.wait(60)
        c.close()
        closed.set()

    closing = threading.Thread(target=close)
    closing.start()
    c.process(handle)
    closing.join()
    assert handled


def test_close_of_the_client_ends_it_too() -> None:
    db = headwater.connect("mem:")
    db.admin.create_topic("orders")
    fill(db, 3)
    db.consumer("orders").process(lambda _: db.close())


def test_exit_of_a_handler_comes_out(db: headwater.Client) -> None:
    fill(db, 1)

    def handle(_: headwater.Msg) -> None:
        raise SystemExit(3)

    with db.consumer("orders", until="end") as c, pytest.raises(SystemExit):
        c.process(handle)


def test_nobody_else_reads_meanwhile(db: headwater.Client) -> None:
    fill(db, 1)
    refused: list[str | None] = []

    with db.consumer("orders", until="end") as c:

        def handle(_: headwater.Msg) -> None:
            for read in (lambda: next(iter(c)), lambda: c.process(print)):
                with pytest.raises(headwater.InvalidArgument) as caught:
                    read()
                refused.append(caught.value.code)

        c.process(handle)
    assert refused == ["INVALID_STATE", "INVALID_STATE"]


def test_record_in_hand_of_a_loop_that_was_left_is_processed(db: headwater.Client) -> None:
    fill(db, 5, keys=1)
    seen = Seen()
    with db.consumer("orders", group="g", until="end") as c:
        for msg in c:
            if number(msg) == 2:
                break
        c.process(seen.done)
    assert seen.every() == [2, 3, 4]
    assert sum(committed(db).values()) == 5


def test_seek_of_a_handler_is_followed(db: headwater.Client) -> None:
    fill(db, 3, keys=1)
    seen: list[int] = []
    with db.consumer("orders", group="g", until="end") as c:

        def handle(msg: headwater.Msg) -> None:
            seen.append(number(msg))
            if seen == [0, 1]:
                c.seek("orders", msg.partition, 0)

        c.process(handle)
    assert seen == [0, 1, 0, 1, 2]
    assert sum(committed(db).values()) == 3


def test_wrong_options_are_refused(db: headwater.Client) -> None:
    with db.consumer("orders") as c:
        with pytest.raises(headwater.InvalidArgument, match="concurrency"):
            c.process(print, concurrency=0)
        with pytest.raises(headwater.InvalidArgument, match="attempts"):
            c.process(print, attempt=3)  # type: ignore[call-overload]


INTERRUPTED = """
import sys, threading, headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t", exist_ok=True)
with db.producer() as p:
    p.send("t", b"v").result()
c = db.consumer("t", group="g")
try:
    c.process(lambda msg: print("waiting", flush=True))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    c.close()
    print([at.offset for at in db.admin.describe_group("g").offsets], flush=True)
    db.close()
"""


def test_interrupt_ends_it_and_what_is_done_is_committed(folder: Path) -> None:
    assert interrupted(INTERRUPTED, folder) == (0, "interrupted\n[1]\n", "")


async def fill_aio(db: aio.Client, count: int, keys: int) -> None:
    async with db.producer() as p:
        for i in range(count):
            await p.send("orders", b"%d" % i, key=b"k%d" % (i % keys))


@looped
async def test_aio_handles_each_key_in_order_and_many_at_once() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders", partitions=2)
        await fill_aio(db, 100, keys=10)
        seen = Seen()
        running, most = 0, 0

        async def handle(msg: headwater.Msg) -> None:
            nonlocal running, most
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            if seen.add(msg) == 1 and number(msg) % 7 == 0:
                raise ValueError("not yet")
            seen.done(msg)

        async with db.consumer("orders", group="g", until="end") as c:
            await c.process(handle, concurrency=4, backoff_ms=1)
        assert seen.every() == list(range(100))
        assert all(numbers == sorted(numbers) for numbers in seen.by_key.values())
        assert 2 <= most <= 4
        group = await db.admin.describe_group("g")
        assert sum(at.offset for at in group.offsets) == 100


@looped
async def test_aio_takes_a_plain_function_and_raises_what_it_raises() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill_aio(db, 4, keys=1)

        def handle(msg: headwater.Msg) -> None:
            if number(msg) == 2:
                raise ValueError("two")

        async with db.consumer("orders", group="g", until="end") as c:
            with pytest.raises(ValueError, match="two"):
                await c.process(handle, attempts=2, backoff_ms=1)
        group = await db.admin.describe_group("g")
        assert [at.offset for at in group.offsets] == [2]


@looped
async def test_aio_cancelled_cancels_the_handlers_and_gives_their_records_again() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill_aio(db, 3, keys=3)
        entered = asyncio.Event()
        cancelled: list[Any] = []

        async def handle(msg: headwater.Msg) -> None:
            entered.set()
            try:
                await asyncio.sleep(3_600)
            except asyncio.CancelledError:
                cancelled.append(number(msg))
                raise

        async with db.consumer("orders", group="g", until="end") as c:
            processing = asyncio.create_task(c.process(handle))
            await entered.wait()
            processing.cancel()
            with pytest.raises(asyncio.CancelledError):
                await processing
            assert cancelled
            assert sorted([number(msg) async for msg in c]) == [0, 1, 2]


@looped
async def test_aio_processes_after_a_loop_that_was_cancelled_and_is_remembered() -> None:
    # The task's traceback held the read: it was refused, as if somebody waited for that still.
    db = await aio.connect("mem:")
    await db.admin.create_topic("orders")
    c = db.consumer("orders")
    await c.open()

    async def read() -> None:
        async for _ in c:
            pass

    reading = asyncio.ensure_future(read())
    await asyncio.sleep(0.05)
    reading.cancel()
    await asyncio.wait([reading])
    processing = asyncio.ensure_future(c.process(print))
    await asyncio.sleep(0.05)
    await c.close()
    await processing
    assert reading.cancelled()
    await db.close()


@looped
async def test_aio_reads_after_a_read_that_was_cancelled() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        c = db.consumer("orders")
        reading = asyncio.ensure_future(anext(aiter(c)))
        await asyncio.sleep(0.01)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await fill_aio(db, 1, keys=1)
        handled = []

        async def handle(msg: headwater.Msg) -> None:
            handled.append(number(msg))
            await c.close()

        await c.process(handle)
        assert handled == [0]


@looped
async def test_aio_close_ends_it_after_the_handlers() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill_aio(db, 1, keys=1)
        c = db.consumer("orders")
        handled = []

        async def handle(msg: headwater.Msg) -> None:
            await c.close()
            await asyncio.sleep(0)
            handled.append(number(msg))

        await c.process(handle)
        assert handled == [0]


def test_batch_is_many_records_a_call_that_end_together(db: headwater.Client) -> None:
    fill(db, 100)
    sizes: list[int] = []
    values: list[int] = []

    def handle(batch: headwater.Batch) -> None:
        sizes.append(len(batch))
        values.extend(int(msg.value or b"") for msg in batch)

    with db.consumer("orders", group="g", until="end") as c:
        c.process(handle, batch=True, concurrency=40, order="none")
    assert sorted(values) == list(range(100))
    assert max(sizes) > 1 and all(size <= 40 for size in sizes)
    assert sum(committed(db).values()) == 100


def test_batch_that_fails_is_tried_again_whole_and_its_error_comes_out(db: headwater.Client) -> None:
    fill(db, 10)
    calls: list[list[int]] = []

    def handle(batch: headwater.Batch) -> None:
        calls.append([msg.offset for msg in batch])
        raise RuntimeError("bad")

    with db.consumer("orders", group="g", until="end") as c:
        with pytest.raises(RuntimeError, match="bad") as failed:
            c.process(handle, batch=True, attempts=2, backoff_ms=1)
    assert failed.value.__notes__[0].startswith("at offset ")
    assert len(calls) >= 2, "the first call is not the last attempt"
    assert sum(committed(db).values()) == 0


def test_batch_in_tasks_is_the_same() -> None:
    async def main() -> None:
        async with aio.connect("mem:") as db:
            await db.admin.create_topic("orders")
            async with db.producer() as p:
                await (await p.send_many("orders", [b"%d" % i for i in range(50)]))
            found: list[int] = []

            async def handle(batch: headwater.Batch) -> None:
                await asyncio.sleep(0)
                found.extend(msg.offset for msg in batch)

            async with db.consumer("orders", group="g", until="end") as c:
                await c.process(handle, batch=True)
            assert sorted(found) == list(range(50))

    asyncio.run(asyncio.wait_for(main(), 120))
