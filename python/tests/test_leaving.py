"""Leaving a block by Ctrl-C, `sys.exit` or cancellation, while the broker says nothing."""

from __future__ import annotations

import signal
import textwrap

import pytest
from support import start

#: Says when a close begins, so that the next Ctrl-C comes while it waits.
TELLING = """
import asyncio, sys, time, headwater, stalling
from headwater import aio

def telling(of):
    close = of.close
    def told(self, timeout=None):
        print("closing", of.__name__, flush=True)
        return close(self, timeout)
    of.close = told

for of in (headwater.Client, headwater.Producer, headwater.Consumer, aio.Client, aio.Producer):
    telling(of)

broker = headwater.Broker()
proxy = stalling.Stalling(broker.address)
OPTIONS = {"close_timeout_ms": 600_000, "exit_timeout_ms": EXIT_TIMEOUT_MS}
"""

BLOCKING = """
try:
    with headwater.connect(proxy.address, **OPTIONS) as db:
        db.admin.create_topic("t")
        with db.producer() as p:
            p.send("t", b"first").result(60)
            proxy.stall()
            p.send_many("t", [b"more"] * 10)
            print("waiting", flush=True)
            END
except KeyboardInterrupt:
    print("interrupted", flush=True)
except SystemExit as leaving:
    print("left with", leaving.code, flush=True)
proxy.close()
broker.close()
"""

ASYNC = """
async def main():
    async with aio.connect(proxy.address, **OPTIONS) as db:
        await db.admin.create_topic("t")
        async with db.producer() as p:
            await p.send("t", b"first")
            proxy.stall()
            for _ in range(10):
                p.enqueue("t", b"more")
            print("waiting", flush=True)
            END

try:
    asyncio.run(main())
except KeyboardInterrupt:
    print("interrupted", flush=True)
proxy.close()
broker.close()
"""

#: No test waits for the long one: one that does hangs, and is ended.
LONG, SHORT = 600_000, 100


def leave(code: str, exit_timeout_ms: int, *interrupt_after: str) -> tuple[list[str], str]:
    """Run it, with a Ctrl-C after each of these lines: what it said, and its warnings."""
    code = TELLING.replace("EXIT_TIMEOUT_MS", str(exit_timeout_ms)) + code
    said, awaited = [], list(interrupt_after)
    with start(code) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            said.append(line.rstrip())
            if awaited and said[-1] == awaited[0]:
                awaited.pop(0)
                process.send_signal(signal.SIGINT)
        err = process.stderr.read()
    assert process.returncode == 0, err
    assert not awaited, said
    return said, err


def ending(code: str, end: str) -> str:
    """The program, its innermost block ending so."""
    return code.replace("END", textwrap.indent(textwrap.dedent(end), " " * 12).strip())


CLOSINGS = ["closing Producer", "closing Client"]
PROGRAMS = {
    "wait": ending(BLOCKING, "while True: time.sleep(0.05)"),
    "flush": ending(BLOCKING, "p.flush()"),
    "consumer": ending(
        BLOCKING,
        """
        with db.consumer("t", group="g") as c:
            for msg in c: pass
        """,
    ),
    "aio wait": ending(ASYNC, "await asyncio.sleep(3_600)"),
    "aio flush": ending(ASYNC, "await p.flush()"),
}


def assert_warned_once(err: str) -> None:
    """The counts are told, and no more often than there is news."""
    assert err.count("10 records were not delivered") == 1, err
    assert "RuntimeWarning" in err and "Traceback" not in err


@pytest.mark.parametrize("name", PROGRAMS)
def test_interrupt_leaves_within_the_exit_timeout_and_warns_with_counts(name: str) -> None:
    # It had `close_timeout_ms`.
    said, err = leave(PROGRAMS[name], SHORT, "waiting")

    closings = [*(["closing Consumer"] if name == "consumer" else []), *CLOSINGS]
    assert said == ["waiting", *closings, "interrupted"]
    assert_warned_once(err)


@pytest.mark.parametrize("name", ["wait", "aio wait"])
def test_second_interrupt_leaves_at_once(name: str) -> None:
    said, err = leave(PROGRAMS[name], LONG, "waiting", "closing Producer")

    # It is closed once more, without time.
    assert said == ["waiting", "closing Producer", *CLOSINGS, "interrupted"]
    assert_warned_once(err)


@pytest.mark.parametrize("program", [BLOCKING, ASYNC], ids=["blocking", "aio"])
def test_interrupt_of_a_close_shortens_it(program: str) -> None:
    said, err = leave(ending(program, "pass"), SHORT, "closing Producer")

    assert said == ["waiting", "closing Producer", *CLOSINGS, "interrupted"]
    assert_warned_once(err)


def test_exit_leaves_within_the_exit_timeout_with_its_code() -> None:
    said, err = leave(ending(BLOCKING, "sys.exit(7)"), SHORT)

    assert said == ["waiting", *CLOSINGS, "left with 7"]
    assert_warned_once(err)


def test_cancelled_task_leaves_within_the_exit_timeout() -> None:
    end = """
    try:
        async with asyncio.timeout(0.05), db.producer() as other:
            other.enqueue("t", b"another")
            await asyncio.sleep(3_600)
    except TimeoutError:
        print("cancelled", flush=True)
        await asyncio.sleep(3_600)
    """
    said, err = leave(ending(ASYNC, end), SHORT, "cancelled")

    assert said == ["waiting", "closing Producer", "cancelled", *CLOSINGS, "interrupted"]
    assert err.count("1 records were not delivered") == 1, err
    assert_warned_once(err)
