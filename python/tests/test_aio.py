"""The same for asyncio: awaiting, scopes, iteration, room, cancellation."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Callable, Coroutine
from functools import wraps
from pathlib import Path
from typing import Any

import headwater
import pytest
from headwater import aio
from stalling import Stalling
from support import run


def looped(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run a test in an event loop of its own, in debug mode: a slow callback is an error."""

    @wraps(test)
    def run_it(*arguments: Any, **keywords: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*arguments, **keywords), 120))

    return run_it


async def fill(db: aio.Client, count: int, partition: int = 0) -> None:
    async with db.producer() as p:
        await (await p.send_many("orders", [b"%d" % i for i in range(count)], partition=partition))


@looped
async def test_quickstart_works(folder: Path) -> None:
    async with aio.connect(folder) as db:
        await db.admin.create_topic("orders", partitions=2)
        async with db.producer() as p:
            done = await p.send("orders", b"hello", key=b"k1", headers={"trace": b"ab"})
            assert (done.offset, done.durability) == (0, "disk")
            deliveries = [p.send("orders", b"%d" % i, partition=0) for i in range(1_000)]
            offsets = [(await delivery).offset for delivery in deliveries]
            assert offsets == list(range(offsets[0], offsets[0] + 1_000))
            p.enqueue("orders", b"fast")
            await p.flush()
        async with db.consumer("orders", group="billing", until="end") as c:
            msgs = [msg async for msg in c]
        assert len(msgs) == 1_002
        group = await db.admin.describe_group("billing")
        assert sum(at.offset for at in group.offsets) == 1_002
    assert db.closed


@looped
async def test_connect_can_be_awaited_and_fails_as_the_blocking_one() -> None:
    db = await aio.connect("mem:")
    assert repr(db) == "<headwater.aio.Client of mem:>" and db.address == "mem:"
    assert (await db.close()).complete
    with pytest.raises(headwater.InvalidArgument) as refused:
        await aio.connect("localhost")
    assert refused.value.code == "INVALID_ADDRESS"
    with pytest.raises(headwater.InvalidArgument):
        async with aio.connect("mem:", segment_bytes=1):
            pass


@looped
async def test_errors_come_out_of_await() -> None:
    async with aio.connect("mem:") as db:
        with pytest.raises(headwater.NotFound):
            await db.admin.describe_topic("nothing")
        async with db.producer() as p:
            with pytest.raises(headwater.NotFound):
                await p.send("nothing", b"v")
        async with db.consumer("nothing") as c:
            with pytest.raises(headwater.NotFound):
                async for _ in c:
                    pass
            with pytest.raises(headwater.HeadwaterError):
                async for _ in c:
                    pass


@looped
async def test_admin_has_every_call() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders", partitions=2)
        await db.admin.create_topic("orders", exist_ok=True)
        await db.admin.alter_topic("orders", max_message_bytes=5_000)
        assert [topic.name for topic in await db.admin.list_topics()] == ["orders"]
        assert (await db.admin.describe_topic("orders")).config["max_message_bytes"] == "5000"
        assert await db.admin.list_offsets([("orders", 0, "latest")]) == [0]
        assert await db.admin.delete_records("orders", {0: -1, 1: 0}) == {0: 0, 1: 0}
        await db.admin.commit_offsets("g", [("orders", 0, 0)])
        assert [group.group for group in await db.admin.list_groups()] == ["g"]
        await db.admin.delete_group("g")
        with pytest.raises(headwater.NotFound):
            await db.admin.describe_group("g")
        await db.admin.delete_topic("orders")


@looped
async def test_iteration_waits_for_what_comes_later_and_others_run_meanwhile() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0.001)

        async def produce() -> None:
            async with db.producer() as p:
                for i in range(20):
                    await p.send("orders", b"%d" % i)
                    await asyncio.sleep(0.002)

        ticking, producing = asyncio.create_task(tick()), asyncio.create_task(produce())
        async with db.consumer("orders") as c:
            seen = []
            async for msg in c:
                seen.append(msg.offset)
                if len(seen) == 20:
                    break
        assert seen == list(range(20))
        assert ticks > 10
        await producing
        ticking.cancel()


@looped
async def test_break_does_not_process_the_record_in_hand() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill(db, 10)
        async with db.consumer("orders", group="g", until="end") as c:
            async for msg in c:
                if msg.offset == 3:
                    break
        async with db.consumer("orders", group="g", until="end") as c:
            assert [msg.offset async for msg in c] == [3, 4, 5, 6, 7, 8, 9]


@looped
async def test_batches_acks_commits_and_seeks() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill(db, 100)
        async with db.consumer("orders", group="g", ack="manual", until="end") as c:
            await c.open()
            batches = [batch async for batch in c.batches(max_records=30)]
            assert max(len(batch) for batch in batches) <= 30
            assert sum(len(batch) for batch in batches) == 100
            c.ack(batches[0])
            await c.commit()
            assert await c.committed() == [("orders", 0, len(batches[0]))] == c.positions()
            await c.seek("orders", 0, 95)
            assert [msg.offset async for msg in c] == [95, 96, 97, 98, 99]
            await c.seek("orders", 0, "earliest")
            assert len([msg async for msg in c]) == 100
            await c.commit([("orders", 0, 7)])
            assert await c.committed() == [("orders", 0, 7)]


@looped
async def test_batches_end_when_nothing_came_for_the_timeout() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill(db, 10)
        async with db.consumer("orders") as c:
            for count in (10, 5):
                found = 0
                # Nothing may come in time; then the loop ends, and is begun again.
                while found < count:
                    found += sum([len(batch) async for batch in c.batches(timeout=0.05)])
                assert found == count
                await fill(db, 5)


@looped
async def test_cancelled_wait_for_records_loses_none() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        async with db.consumer("orders") as c, db.producer() as p:
            seen: list[int] = []

            async def read() -> None:
                async for msg in c:
                    seen.append(msg.offset)

            for _ in range(20):
                reading = asyncio.create_task(read())
                await asyncio.sleep(0.002)
                p.enqueue("orders", b"v")
                await asyncio.sleep(0)
                reading.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await reading
            await p.flush()
            async for msg in c:
                seen.append(msg.offset)
                if len(seen) >= 20:
                    break
        assert seen == list(range(20))


@looped
async def test_two_tasks_cannot_read_one_consumer() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        async with db.consumer("orders") as c:

            async def read() -> int:
                return len([msg async for msg in c])

            tasks = [asyncio.create_task(read()) for _ in range(2)]
            await asyncio.sleep(0.05)
            await fill(db, 1)
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            with pytest.raises(headwater.InvalidArgument):
                await done.pop()
            await c.close()
            await asyncio.wait(tasks)


@looped
async def test_close_ends_a_waiting_iteration() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        c = db.consumer("orders")

        async def read() -> list[headwater.Msg]:
            return [msg async for msg in c]

        reading = asyncio.create_task(read())
        await asyncio.sleep(0.05)
        await c.close()
        assert await reading == []


@looped
async def test_send_without_room_is_kept_in_order_and_enqueue_refused() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        async with db.producer(buffer_bytes=256 << 10, batch_bytes=64 << 10) as p:
            deliveries = [p.send("orders", b"%06d" % i * 1_000) for i in range(500)]
            assert any(isinstance(delivery, aio.KeptDelivery) for delivery in deliveries)
            with pytest.raises(headwater.Full):
                p.enqueue("orders", b"late")
            assert [(await delivery).offset for delivery in deliveries] == list(range(500))
            assert all(delivery.done() for delivery in deliveries)
            await p.ready()
            p.enqueue("orders", b"fits")
        async with db.consumer("orders", until="end") as c:
            values = [msg.value async for msg in c]
        assert values == [b"%06d" % i * 1_000 for i in range(500)] + [b"fits"]


@looped
async def test_more_than_can_be_kept_is_full() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        async with db.producer(buffer_bytes=256 << 10, batch_bytes=64 << 10) as p:
            sent = []
            with pytest.raises(headwater.Full) as refused:
                for _ in range(3_000):
                    sent.append(p.send("orders", b"x" * 10_000))
            assert refused.value.code == "BUFFER_FULL"
            assert sum(isinstance(delivery, aio.KeptDelivery) for delivery in sent) == 1_024
            await p.flush()
            assert [(await delivery).offset for delivery in sent] == list(range(len(sent)))


@looped
async def test_kept_record_that_is_cancelled_is_not_sent() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        async with db.producer(buffer_bytes=256 << 10, batch_bytes=64 << 10) as p:
            sent = [p.send("orders", b"x" * 10_000) for _ in range(100)]
            last = sent.pop()
            assert isinstance(last, aio.KeptDelivery)
            waiting = asyncio.ensure_future(last)
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await waiting
            await p.flush()
            assert [(await delivery).offset for delivery in sent] == list(range(99))
        assert await db.admin.list_offsets([("orders", 0, "latest")]) == [99]


@looped
async def test_send_many_waits_for_room() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        async with db.producer(buffer_bytes=256 << 10, batch_bytes=64 << 10) as p:
            sent = await p.send_many("orders", [b"x" * 10_000] * 1_000, headers={"h": b"1"})
            assert len(sent) == 1_000
            assert [at.offset for at in await sent] == list(range(1_000))
            with pytest.raises(TypeError) as refused:
                await p.send_many("orders", [b"a", 1])  # type: ignore[list-item]
            assert len(refused.value.sent) == 1  # type: ignore[attr-defined]


@looped
async def test_failure_hook_runs_in_the_event_loop() -> None:
    async with aio.connect("mem:") as db:
        heard: list[tuple[str, int]] = []

        def hook(failure: headwater.DeliveryFailure) -> None:
            heard.append((failure.topic, threading.get_ident()))

        p = db.producer(on_failure=hook, linger_ms=20)
        await db.admin.create_topic("gone")
        await p.send("gone", b"kept")
        await db.admin.delete_topic("gone")
        p.enqueue("gone", b"lost")
        with pytest.raises(headwater.NotFound):
            await p.flush()
        while not heard:
            await asyncio.sleep(0.01)
        assert heard == [("gone", threading.get_ident())]
        await p.close()


@looped
async def test_closing_the_client_counts_the_records_that_are_kept() -> None:
    # It told of those that core had.
    with headwater.Broker() as broker, Stalling(broker.address) as proxy:
        db = await aio.connect(proxy.address)
        await db.admin.create_topic("orders")
        p = db.producer(buffer_bytes=256 << 10, batch_bytes=64 << 10)
        await p.send("orders", b"first")
        proxy.stall()
        sent = [p.send("orders", b"x" * 10_000) for _ in range(100)]
        assert isinstance(sent[-1], aio.KeptDelivery)
        report = await db.close(timeout=0.1)
        assert report.unsent_records == 100
        assert (await db.close()).unsent_records == 100
        ends = await asyncio.gather(*sent, return_exceptions=True)
        assert {getattr(end, "code", end) for end in ends} == {"CLOSED"}


@looped
async def test_closing_ends_a_loop_in_the_middle_of_a_block_and_fails_the_next() -> None:
    async with aio.connect("mem:") as db:
        await db.admin.create_topic("orders")
        await fill(db, 10)
        for loop in ("records", "batches"):
            c = db.consumer("orders")
            seen = 0
            async for _ in c if loop == "records" else c.batches(max_records=1):
                seen += 1
                if seen == 3:
                    await c.close()
            assert seen == 3
            with pytest.raises(headwater.Closed):
                await anext(aiter(c))
            with pytest.raises(headwater.Closed):
                await anext(c.batches())
            with pytest.raises(headwater.Closed):
                await c.process(print)


def test_many_loops_after_each_other_work() -> None:
    with headwater.connect("mem:loops") as keep:
        keep.admin.create_topic("orders")

        async def once() -> int:
            async with aio.connect("mem:loops") as db, db.producer() as p:
                return (await p.send("orders", b"v")).offset

        assert [asyncio.run(once()) for _ in range(5)] == list(range(5))
    gc.collect()


def test_loop_that_ends_with_answers_on_their_way_is_fine() -> None:
    waiting: list[asyncio.Future[Any]] = []

    async def leave() -> None:
        db = await aio.connect("mem:")
        await db.admin.create_topic("orders")
        p = db.producer(linger_ms=50)
        waiting.append(asyncio.ensure_future(p.send("orders", b"v")))
        waiting.append(asyncio.ensure_future(db.consumer("orders")._fill()))
        await asyncio.sleep(0)

    for _ in range(3):
        asyncio.run(leave())
    assert all(future.done() for future in waiting)
    waiting.clear()
    gc.collect()


def test_exit_with_an_open_loop_ends_in_order(folder: Path) -> None:
    code, out, err = run(
        """
import asyncio, sys
from headwater import aio
async def main():
    db = await aio.connect(sys.argv[1])
    await db.admin.create_topic("t")
    p = db.producer()
    for i in range(1000):
        p.send("t", b"%d" % i)
    async for msg in db.consumer("t"):
        if msg.offset == 10:
            break
    print("left")
asyncio.run(main())
""",
        folder,
    )
    assert (code, out, err) == (0, "left\n", "")
    with headwater.connect(folder) as db, db.consumer("t", until="end") as c:
        assert len(list(c)) == 1_000


def test_ctrl_c_cancels_the_main_task(folder: Path) -> None:
    code, out, err = run(
        """
import asyncio, os, signal, sys, threading
from headwater import aio
async def main():
    async with aio.connect(sys.argv[1]) as db:
        await db.admin.create_topic("t")
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            async for msg in db.consumer("t"):
                pass
        except asyncio.CancelledError:
            print("cancelled")
            raise
try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted")
""",
        folder,
    )
    assert (code, out, err) == (0, "cancelled\ninterrupted\n", "")
