"""Ctrl-C: every wait ends with KeyboardInterrupt, and what was written stays."""

from __future__ import annotations

import signal
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
print("waiting", flush=True)
"""

AFTER = """
except KeyboardInterrupt:
    print("interrupted", flush=True)
    db.close()
    print("closed", flush=True)
"""

WAITS = {
    "iterate": "for msg in c: pass",
    "batches": "for batch in c.batches(): pass",
    "result": "while True: headwater.connect('mem:').consumer('t') and d.result() and next(iter(c)) and [m for m in c]",
    "full": "while True: p.send('t', b'x' * 10_000)",
}


@pytest.mark.parametrize("name", WAITS)
def test_wait_is_interrupted(name: str, folder: Path) -> None:
    code = f"{BEFORE}\ntry:\n    {WAITS[name]}\n{AFTER}"
    with start(code, folder) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        try:
            process.wait(0.5)
        except Exception:  # noqa: BLE001 - it is still waiting, as it should
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "interrupted\nclosed\n", "")


def test_interrupt_without_a_handler_ends_the_process_and_keeps_the_records(folder: Path) -> None:
    code = f"{BEFORE}\nfor msg in c: pass"
    with start(code, folder) as process:
        assert process.stdout is not None and process.stdout.readline() == "waiting\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")
    with headwater.connect(folder) as db, db.consumer("t", until="end") as c:
        assert [msg.value for msg in c] == [b"v"]
