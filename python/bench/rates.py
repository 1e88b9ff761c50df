"""Records per second of each way to send and to read, from Python, in one process.

    python bench/rates.py [--records N] [--size B] [--durability os|disk] [--address A] [--json]

Each way is timed on its own: sending until everything is acknowledged, reading until the end. Build
in release (`pip install ./python`) before believing a figure.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections.abc import Callable
from typing import Any

import headwater
from headwater import aio


def timed(count: int, run: Callable[[], Any]) -> float:
    """Records per second."""
    start = time.perf_counter()
    run()
    return count / (time.perf_counter() - start)


def sending(db: headwater.Client, count: int, value: bytes) -> dict[str, float]:
    """Each way to send, into a topic of its own."""
    found = {}
    values = [value] * count

    def send() -> None:
        with db.producer() as p:
            put = p.send
            for _ in range(count):
                put("send", value)
            p.flush()

    def send_with_key() -> None:
        with db.producer() as p:
            put = p.send
            for _ in range(count):
                put("send_key", value, key=b"key")
            p.flush()

    def enqueue() -> None:
        with db.producer() as p:
            put, ready = p.enqueue, p.ready
            for _ in range(count):
                try:
                    put("enqueue", value)
                except headwater.Full:
                    ready()
                    put("enqueue", value)
            p.flush()

    def send_many() -> None:
        with db.producer() as p:
            for first in range(0, count, 10_000):
                p.send_many("send_many", values[first : first + 10_000])
            p.flush()

    for name, way in {
        "send": send,
        "send_key": send_with_key,
        "enqueue": enqueue,
        "send_many": send_many,
    }.items():
        found[name] = timed(count, way)
    return found


def reading(db: headwater.Client, count: int) -> dict[str, float]:
    """Each way to read what was sent."""

    def iterate() -> None:
        with db.consumer("send", until="end") as c:
            assert sum(1 for _ in c) == count

    def iterate_values() -> None:
        with db.consumer("send", until="end") as c:
            size = 0
            for msg in c:
                size += len(msg.value or b"")
            assert size

    def batches_values() -> None:
        with db.consumer("send", until="end") as c:
            assert sum(len(batch.values()) for batch in c.batches()) == count

    def batches() -> None:
        with db.consumer("send", until="end") as c:
            assert sum(len(batch) for batch in c.batches()) == count

    ways = {
        "iterate": iterate,
        "iterate_value": iterate_values,
        "batches_values": batches_values,
        "batches": batches,
    }
    return {name: timed(count, way) for name, way in ways.items()}


async def looped(address: str, count: int, value: bytes) -> dict[str, float]:
    """Sending and reading in an event loop."""
    async with aio.connect(address) as db:
        start = time.perf_counter()
        async with db.producer() as p:
            for _ in range(0, count, 1_000):
                for delivery in [p.send("aio", value) for _ in range(1_000)]:
                    await delivery
        sent = count / (time.perf_counter() - start)
        start = time.perf_counter()
        async with db.consumer("aio", until="end") as c:
            async for _ in c:
                pass
        return {"aio_send_await": sent, "aio_iterate": count / (time.perf_counter() - start)}


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--size", type=int, default=100)
    options.add_argument("--durability", choices=["os", "disk"], default="os")
    options.add_argument("--address", help="by default a folder that is removed afterwards")
    options.add_argument("--json", action="store_true")
    asked = options.parse_args()
    value = b"x" * asked.size
    with tempfile.TemporaryDirectory(prefix="headwater-rates-") as folder:
        address = asked.address or folder
        with headwater.connect(address) as db:
            for name in ("send", "send_key", "enqueue", "send_many", "aio"):
                db.admin.create_topic(name, durability=asked.durability)
            found = sending(db, asked.records, value)
            found |= reading(db, asked.records)
            found |= asyncio.run(looped(address, asked.records, value))
    told = {"records": asked.records, "size_bytes": asked.size, "durability": asked.durability}
    if asked.json:
        print(
            json.dumps(
                {**told, "records_per_s": {name: round(rate) for name, rate in found.items()}}
            )
        )
        return
    print(", ".join(f"{name}: {value}" for name, value in told.items()))
    for name, rate in found.items():
        print(f"{name:16} {rate / 1e6:8.2f} M/s  {1e9 / rate:8.0f} ns a record")


if __name__ == "__main__":
    main()
