"""Many processes, one folder: the first serves the others, and another takes over when it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import headwater
import pytest
from support import start

# Opens the folder, says so, and sends each line that it is given; says where it went.
SEND = """
import sys, headwater
with headwater.connect(sys.argv[1]) as db:
    db.admin.create_topic("t", exist_ok=True)
    with db.producer() as p:
        print("open", flush=True)
        for line in sys.stdin:
            print(p.send("t", line.strip().encode()).result(60).offset, flush=True)
"""


def say(process: subprocess.Popen[str], line: str) -> str:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + "\n")
    process.stdin.flush()
    return process.stdout.readline().strip()


def opened(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None and process.stdout.readline() == "open\n"


def values(db: headwater.Client) -> list[bytes | None]:
    with db.consumer("t", until="end") as c:
        return [msg.value for msg in c]


def test_processes_share_a_folder(folder: Path) -> None:
    with start(SEND, folder, stdin=True) as one, start(SEND, folder, stdin=True) as two:
        opened(one)
        opened(two)
        offsets = [say(one, "a"), say(two, "b"), say(one, "c")]
        assert offsets == ["0", "1", "2"]
        with headwater.connect(folder) as db:
            assert values(db) == [b"a", b"b", b"c"]
        one.communicate()
        two.communicate()
    with headwater.connect(folder) as db:
        assert values(db) == [b"a", b"b", b"c"]


def test_killed_owner_is_replaced_unnoticed(folder: Path) -> None:
    with start(SEND, folder, stdin=True) as owner:
        opened(owner)
        assert say(owner, "a") == "0"
        with headwater.connect(folder) as db, db.producer() as p:
            assert p.send("t", b"b").result(60).offset == 1
            owner.kill()
            assert p.send("t", b"c").result(60).offset == 2
            assert values(db) == [b"a", b"b", b"c"]
            # And the next to come is served from here.
            with start(SEND, folder, stdin=True) as other:
                opened(other)
                assert say(other, "d") == "3"
                other.communicate()
            assert values(db) == [b"a", b"b", b"c", b"d"]


FORKED_OWNER = """
import os, sys, time, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t", exist_ok=True)
print("open", flush=True)
sys.stdin.readline()
child = os.fork()
if child == 0:
    time.sleep(600)
print(child, flush=True)
time.sleep(600)
"""


def test_killed_owner_is_replaced_though_a_forked_child_keeps_its_sockets(folder: Path) -> None:
    with start(FORKED_OWNER, folder, stdin=True) as owner:
        opened(owner)
        with headwater.connect(folder) as db, db.producer() as p:
            assert p.send("t", b"a").result(60).offset == 0
            child = int(say(owner, ""))
            try:
                owner.kill()
                assert p.send("t", b"b").result(60).offset == 1
                assert values(db) == [b"a", b"b"]
                # Nor are those sockets in the way of who comes next.
                with start(SEND, folder, stdin=True) as other:
                    opened(other)
                    assert say(other, "c") == "2"
                    other.communicate()
            finally:
                os.kill(child, signal.SIGKILL)


def test_stopped_owner_is_named(folder: Path) -> None:
    with start(SEND, folder, stdin=True) as owner:
        opened(owner)
        owner.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(headwater.Unavailable, match=str(owner.pid)) as refused:
                headwater.connect(folder)
            assert refused.value.code == "OWNER_SILENT" and refused.value.retriable
        finally:
            owner.send_signal(signal.SIGCONT)
        owner.communicate()


# What gunicorn and celery do: a process that has a log open forks workers, which open it themselves.
WORKERS = """
import os, sys, warnings
warnings.simplefilter("ignore", DeprecationWarning)
import headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t", exist_ok=True)
children = []
for number in range(4):
    child = os.fork()
    if child == 0:
        with headwater.connect(sys.argv[1]) as own, own.producer() as p:
            for i in range(100):
                p.send("t", b"%d %d" % (number, i))
        sys.exit(0)
    children.append(child)
for child in children:
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
db.close()
"""


def test_forked_workers_share_the_folder_of_their_parent(folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", WORKERS, str(folder)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    with headwater.connect(folder) as db:
        assert sorted(filter(None, values(db))) == sorted(b"%d %d" % (n, i) for n in range(4) for i in range(100))
