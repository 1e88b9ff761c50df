"""Ctrl-C: every wait ends with KeyboardInterrupt, and what was written stays."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from pathlib import Path

import headwater
import pytest
from support import start

BEFORE = """
import sys, headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t", exist_ok=True)
p = db.producer(linger_ms=60_000, buffer_bytes=256 << 10, batch_bytes=64 << 10)
c = db.consumer("t")
d = p.send("t", b"v")
"""

AFTER = """
except KeyboardInterrupt:
    print("interrupted", flush=True)
    db.close()
    print("closed", flush=True)
"""

WAITING = 'print("waiting", flush=True)'

WAITS = {
    "iterate": "for msg in c: pass",
    "batches": "for batch in c.batches(): pass",
    "full": "while True: p.send('t', b'x' * 10_000)",
}


def interrupted(code: str, *arguments: object) -> tuple[int, str, str]:
    """Run `code`, send it SIGINT once it says that it waits, and see how it ends."""
    with start(code, *arguments) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.5)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    return process.returncode, out, err


@pytest.mark.parametrize("name", WAITS)
def test_wait_is_interrupted(name: str, folder: Path) -> None:
    # Within `try`: the interruption may come before the wait has begun.
    code = f"{BEFORE}\ntry:\n    {WAITING}\n    {WAITS[name]}\n{AFTER}"

    assert interrupted(code, folder) == (0, "interrupted\nclosed\n", "")


STALLED = """
import headwater, stalling
broker = headwater.Broker()
proxy = stalling.Stalling(broker.address)
db = headwater.connect(proxy.address)
db.admin.create_topic("t")
p = db.producer()
p.send("t", b"first").result(30)
proxy.stall()
d = p.send("t", b"second")
many = p.send_many("t", [b"more"] * 10)
try:
    print("waiting", flush=True)
    {wait}
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(db.close(timeout=0.2).unsent_records, flush=True)
proxy.close()
broker.close()
"""


@pytest.mark.parametrize(
    "wait",
    [
        "d.result()",
        "many.result()",
        "p.flush()",
        "p.close()",
        "db.close()",
        "db.admin.list_topics()",
        "headwater.connect(proxy.address)",
        "list(db.consumer('t'))",
    ],
)
def test_wait_for_a_broker_that_says_nothing_is_interrupted(wait: str) -> None:
    code, out, err = interrupted(STALLED.format(wait=wait))

    assert (code, err) == (0, "")
    # A close that was interrupted goes on, until a shorter one ends it, which tells all of it.
    assert out.splitlines() == ["interrupted", "11"]


def test_interrupt_without_a_handler_ends_the_process_and_keeps_the_records(folder: Path) -> None:
    code = f"{BEFORE}\n{WAITING}\nfor msg in c: pass"
    with start(code, folder) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    with headwater.connect(folder) as db, db.consumer("t", until="end") as c:
        assert [msg.value for msg in c] == [b"v"]
