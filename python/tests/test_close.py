"""Closing: by hand, by a scope, at exit, after a fork, by kill."""

from __future__ import annotations

import gc
import os
import random
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import headwater
import pytest
from stalling import Stalling
from support import run


def test_close_says_that_everything_was_delivered() -> None:
    db = headwater.connect("mem:")
    db.admin.create_topic("t")
    p = db.producer()
    p.send_many("t", [b"v"] * 100)
    report = p.close()
    assert report == headwater.CloseReport(0, 0, None)
    assert report.complete and str(report) == "everything was delivered"
    assert not db.closed
    assert db.close(timeout=30).complete
    assert db.closed


def test_timeout_that_is_no_number_is_refused() -> None:
    with headwater.connect("mem:") as db, db.producer() as p:
        with pytest.raises(headwater.InvalidArgument, match="not a number"):
            p.flush(timeout=float("nan"))
        p.flush(timeout=float("inf"))
        p.flush(timeout=-1)


def test_closing_twice_is_fine() -> None:
    with headwater.connect("mem:") as db:
        db.admin.create_topic("t")
        p, c = db.producer(), db.consumer("t")
        assert p.close() == p.close()
        assert c.close() == c.close()
    assert db.close().complete


def test_closing_the_client_commits_what_the_loops_have_passed(folder: Path) -> None:
    # It committed only what core had been told of, which it is ten times a second.
    with headwater.connect(folder) as db:
        db.admin.create_topic("t")
        with db.producer() as p:
            p.send_many("t", [b"a", b"b", b"c"])
        records = iter(db.consumer("t", group="g"))
        assert [next(records).value, next(records).value] == [b"a", b"b"]
    with headwater.connect(folder) as db:
        assert [at.offset for at in db.admin.describe_group("g").offsets] == [1]


def test_closed_handles_say_closed() -> None:
    db = headwater.connect("mem:")
    db.admin.create_topic("t")
    p, c = db.producer(), db.consumer("t", until="end")
    db.close()
    for call in (
        lambda: p.send("t", b"v"),
        lambda: p.enqueue("t", b"v"),
        lambda: p.send_many("t", [b"v"]),
        lambda: db.producer(),
        lambda: db.consumer("t"),
        lambda: db.admin.list_topics(),
    ):
        with pytest.raises(headwater.Closed) as refused:
            call()
        assert refused.value.code == "CLOSED" and refused.value.fatal
    c.close()


def test_closing_the_client_delivers_what_its_producers_have() -> None:
    with headwater.connect("mem:kept") as other:
        db = headwater.connect("mem:kept")
        db.admin.create_topic("t")
        p = db.producer(linger_ms=10_000)
        delivery = p.send("t", b"v")
        assert db.close().complete
        assert delivery.result(30).offset == 0
        with other.consumer("t", until="end") as c:
            assert [msg.value for msg in c] == [b"v"]


def lose(db: headwater.Client, p: headwater.Producer) -> None:
    """Send a record that fails on its way: its topic goes once the producer knows it."""
    db.admin.create_topic("gone")
    p.send("gone", b"kept").result(30)
    db.admin.delete_topic("gone")
    p.enqueue("gone", b"lost")


def test_close_says_what_failed() -> None:
    with headwater.connect("mem:") as db:
        p = db.producer(linger_ms=50)
        lose(db, p)
        report = p.close()
    assert (report.unsent_records, report.failed_records) == (0, 1)
    assert not report.complete
    assert isinstance(report.first_error, headwater.NotFound)
    assert "1 failed" in str(report)


def test_scope_raises_what_was_lost() -> None:
    with headwater.connect("mem:") as db:
        with (
            pytest.raises(headwater.NotFound, match="gone") as lost,
            db.producer(linger_ms=50) as p,
        ):
            lose(db, p)
        assert lost.value.code == "UNKNOWN_TOPIC_OR_PARTITION"
        assert "1 failed" in lost.value.__notes__[0]


def test_exception_in_the_scope_wins_over_what_was_lost() -> None:
    with headwater.connect("mem:") as db, pytest.raises(KeyError) as mine:
        with db.producer(linger_ms=50) as p:
            lose(db, p)
            raise KeyError("mine")
    assert "1 failed" in mine.value.__notes__[0]


def test_close_returns_in_time_and_says_what_was_not_delivered() -> None:
    with headwater.Broker() as broker, Stalling(broker.address) as proxy:
        db = headwater.connect(proxy.address)
        db.admin.create_topic("t")
        p = db.producer()
        p.send("t", b"first").result(30)
        proxy.stall()
        delivery = p.send("t", b"second")
        with pytest.raises(headwater.Timeout, match=r"0\.05 s") as late:
            delivery.result(timeout=0.05)
        assert (late.value.code, late.value.outcome) == ("REQUEST_TIMED_OUT", "unknown")
        with pytest.raises(headwater.Timeout):
            p.flush(timeout=0.05)
        with pytest.raises(headwater.Timeout):
            p.send_many("t", [b"third"] * 9).result(timeout=0.05)
        report = p.close(timeout=0.2)
        assert report.unsent_records == 10 and not report.complete
        assert "10 records were not delivered" in str(report)
        db.close(timeout=0.2)
        with pytest.raises(headwater.HeadwaterError) as unknown:
            delivery.result(20)
        assert unknown.value.outcome == "unknown"


def test_scope_raises_what_was_not_delivered() -> None:
    with headwater.Broker() as broker, Stalling(broker.address) as proxy:
        db = headwater.connect(proxy.address, close_timeout_ms=200)
        db.admin.create_topic("t")
        with pytest.raises(headwater.Timeout) as late, db.producer() as p:
            p.send("t", b"first").result(30)
            proxy.stall()
            p.enqueue("t", b"second")
        assert (late.value.code, late.value.outcome) == ("DELIVERY_TIMED_OUT", "unknown")
        db.close()


def test_handles_may_be_dropped_in_any_order() -> None:
    db = headwater.connect("mem:")
    db.admin.create_topic("t")
    p = db.producer()
    delivery = p.send("t", b"v")
    msgs = iter(db.consumer("t"))
    del db
    gc.collect()
    assert delivery.result(30).offset == 0
    assert next(msgs).value == b"v"
    del p, delivery, msgs
    gc.collect()


def test_exit_with_work_in_flight_ends_in_order(folder: Path) -> None:
    code, out, err = run(
        """
import sys, threading, headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t")
p = db.producer()
def read():
    for msg in db.consumer("t"):
        pass
threading.Thread(target=read, daemon=True).start()
for i in range(20_000):
    p.send("t", b"%d" % i)
print("sent")
""",
        folder,
    )
    assert (code, out, err) == (0, "sent\n", "")
    with headwater.connect(folder) as db, db.consumer("t", until="end") as c:
        assert sum(len(batch) for batch in c.batches()) == 20_000


def test_exit_warns_of_what_failed() -> None:
    code, _, err = run(
        """
import headwater
db = headwater.connect("mem:")
db.admin.create_topic("gone")
p = db.producer(linger_ms=1000)
p.send("gone", b"kept").result(30)
db.admin.delete_topic("gone")
p.enqueue("gone", b"lost")
"""
    )
    assert code == 0
    assert "RuntimeWarning" in err and "1 failed" in err and "gone" in err


def test_exit_warns_of_what_was_not_delivered() -> None:
    # It said that closing had timed out, without counts.
    code, _, err = run(
        """
import headwater, stalling
broker = headwater.Broker()
proxy = stalling.Stalling(broker.address)
db = headwater.connect(proxy.address, exit_timeout_ms=100)
db.admin.create_topic("t")
p = db.producer()
p.send("t", b"first").result(60)
proxy.stall()
p.send_many("t", [b"more"] * 10)
"""
    )
    assert code == 0
    assert "RuntimeWarning" in err and "10 records were not delivered" in err


def test_sys_exit_in_a_loop_closes(folder: Path) -> None:
    code, _, err = run(
        """
import sys, headwater
with headwater.connect(sys.argv[1], exit_timeout_ms=600_000) as db:
    db.admin.create_topic("t")
    with db.producer() as p:
        p.send("t", b"a")
        p.send("t", b"b")
    with db.consumer("t", group="g") as c:
        for msg in c:
            if msg.offset == 1:
                sys.exit(7)
""",
        folder,
    )
    assert (code, err) == (7, "")
    with headwater.connect(folder) as db:
        assert db.admin.describe_group("g").offsets == [("t", 0, 1)]


def test_after_a_fork_old_handles_say_so_and_new_ones_work(folder: Path) -> None:
    code, out, err = run(
        """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t")
p = db.producer()
delivery = p.send("t", b"parent")
delivery.result(30)
child = os.fork()
if child == 0:
    for call in (lambda: p.flush(30), lambda: db.admin.list_topics(), lambda: db.producer(),
                 lambda: list(db.consumer("t", until="end"))):
        try:
            call()
            os._exit(1)
        except headwater.Closed as error:
            if error.code != "FORKED":
                print(error.code, flush=True)
                os._exit(2)
    with headwater.connect("mem:") as own:
        own.admin.create_topic("c")
        with own.producer() as cp:
            if cp.send("c", b"v").result(30).offset != 0:
                os._exit(3)
    # The folder is the parent's, who serves it to the child.
    with headwater.connect(sys.argv[1]) as shared, shared.consumer("t", until="end") as c:
        if [msg.value for msg in c] != [b"parent"]:
            os._exit(4)
    sys.exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
assert p.send("t", b"after").result(30).offset == 1
db.close()
print("done")
""",
        folder,
    )
    assert (code, out, err) == (0, "done\n", "")


def test_multiprocessing_by_fork_works(folder: Path) -> None:
    code, out, err = run(
        """
import multiprocessing, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import headwater
def work(n):
    with headwater.connect("mem:") as db:
        db.admin.create_topic("t")
        with db.producer() as p:
            return p.send("t", b"v").result(30).offset + n
with headwater.connect(sys.argv[1]) as db:
    db.admin.create_topic("t")
    with db.producer() as p:
        p.send("t", b"v")
    with multiprocessing.get_context("fork").Pool(2) as pool:
        print(pool.map(work, range(4)))
""",
        folder,
    )
    assert (code, out, err) == (0, "[0, 1, 2, 3]\n", "")


WRITER = """
import os, struct, sys, headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t", partitions=2, durability="os", exist_ok=True)
p = db.producer()
number = int(sys.argv[2])
out = os.fdopen(1, "wb", buffering=0)
window = []
while True:
    value = b"%d" % number
    window.append((number, p.send("t", value, partition=number % 2)))
    number += 1
    if len(window) == 50:
        acked = [(n, d.result(30)) for n, d in window]
        out.write(b"".join(struct.pack("<qiq", n, at.partition, at.offset) for n, at in acked))
        window.clear()
"""


def test_kill_of_a_writer_loses_no_record_it_was_told_of(folder: Path) -> None:
    """At `os` a record survives the process: every acknowledged one is at its offset, once."""
    acked: dict[int, tuple[int, int]] = {}
    number, dice = 0, random.Random(7)
    for _ in range(20):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder), str(number)], stdout=subprocess.PIPE
        )
        assert writer.stdout is not None
        told = writer.stdout.read(20)
        time.sleep(dice.uniform(0.0, 0.15))
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read()
        writer.stdout.close()
        writer.wait()
        whole = len(told) - len(told) % 20
        for n, partition, offset in struct.iter_unpack("<qiq", told[:whole]):
            acked[n] = (partition, offset)
        # Beyond what was sent and not acknowledged: at most a window.
        number = (max(acked, default=0) // 1_000 + 2) * 1_000
    assert acked

    with headwater.connect(folder) as db, db.consumer("t", until="end") as c:
        found: dict[int, tuple[int, int]] = {}
        times: dict[int, int] = {}
        for msg in c:
            n = int(msg.value or b"")
            found[n] = (msg.partition, msg.offset)
            times[n] = times.get(n, 0) + 1
    assert {n: found.get(n) for n in acked} == acked
    assert {times[n] for n in acked} == {1}
