"""Folders: what is written is there again, and what cannot be opened is said in words."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import headwater
import pytest
from support import run, start

OWN = """
import sys, headwater
db = headwater.connect(sys.argv[1])
print("open", flush=True)
sys.stdin.read()
db.close()
"""


def test_records_are_there_after_closing(folder: Path) -> None:
    with headwater.connect(folder) as db:
        db.admin.create_topic("t", partitions=2)
        with db.producer() as p:
            p.send_many("t", [b"%d" % i for i in range(1_000)], partition=1)
    with headwater.connect(folder, create=False) as db, db.consumer("t", until="end") as c:
        assert [msg.value for msg in c] == [b"%d" % i for i in range(1_000)]


def test_folder_that_python_wrote_passes_the_check(folder: Path) -> None:
    with headwater.connect(folder) as db:
        db.admin.create_topic("t", partitions=2)
        with db.producer() as p:
            p.send_many("t", [b"%d" % i for i in range(1_000)], headers={"h": b"1"})
            p.send("t", None, key=b"gone")
        with db.consumer("t", group="g", until="end") as c:
            assert len(list(c)) == 1_001
    dump: list[str | Path] = [sys.executable, "-m", "headwater", "dump", folder, "--verify"]
    done = subprocess.run(dump, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr


def test_missing_folder_is_created_unless_told_not_to(folder: Path) -> None:
    with pytest.raises(headwater.NotFound, match=folder.name) as refused:
        headwater.connect(folder, create=False)
    assert refused.value.code == "FOLDER_NOT_FOUND"
    assert not folder.exists()
    headwater.connect(folder / "deeper").close()
    assert folder.exists()


def test_path_that_is_a_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    with pytest.raises(headwater.InvalidArgument, match="file") as refused:
        headwater.connect(file)
    assert refused.value.code == "NOT_A_FOLDER"
    assert file.read_text() == "text"


def test_folder_of_another_process_that_is_wanted_alone_is_locked(folder: Path) -> None:
    with start(OWN, folder, stdin=True) as owner:
        assert owner.stdout is not None and owner.stdout.readline() == "open\n"
        with pytest.raises(headwater.Locked, match=str(owner.pid)) as refused:
            headwater.connect(folder, sharing="exclusive")
        assert refused.value.code == "FOLDER_LOCKED" and refused.value.retriable
        assert isinstance(refused.value, BlockingIOError)
        owner.communicate()
    headwater.connect(folder).close()


def test_folder_is_shared_within_the_process(folder: Path) -> None:
    with headwater.connect(folder) as first, headwater.connect(folder) as second:
        first.admin.create_topic("t")
        with second.producer() as p:
            p.send("t", b"v").result(30)
        with first.consumer("t", until="end") as c:
            assert [msg.value for msg in c] == [b"v"]


def test_folder_from_a_newer_version_is_refused(folder: Path) -> None:
    headwater.connect(folder).close()
    lines = (folder / "format").read_text().splitlines(keepends=True)
    lines[0] = "headwater-folder 99\n"
    lines[-1] = f"crc32c {crc32c(''.join(lines[:-1]).encode()):08x}\n"
    newest = "".join(lines).encode()
    (folder / "format").write_bytes(newest)
    with pytest.raises(headwater.Unsupported, match="99") as refused:
        headwater.connect(folder)
    assert refused.value.code == "FOLDER_TOO_NEW"
    assert (folder / "format").read_bytes() == newest


def crc32c(data: bytes) -> int:
    """The checksum of the format file, bit by bit."""
    crc = 0xFFFF_FFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F6_3B78 if crc & 1 else 0)
    return crc ^ 0xFFFF_FFFF


def test_memory_is_shared_by_name_and_gone_without() -> None:
    with headwater.connect("mem:shared") as first, headwater.connect("mem:shared") as second:
        first.admin.create_topic("t")
        assert [topic.name for topic in second.admin.list_topics()] == ["t"]
    with headwater.connect("mem:") as one, headwater.connect("mem:") as other:
        one.admin.create_topic("t")
        assert other.admin.list_topics() == []


def test_exit_without_close_loses_nothing(folder: Path) -> None:
    code, _, err = run(
        """
import sys, headwater
db = headwater.connect(sys.argv[1])
db.admin.create_topic("t")
p = db.producer(linger_ms=1000)
for i in range(10_000):
    p.enqueue("t", b"%d" % i)
""",
        folder,
    )
    assert (code, err) == (0, "")
    with headwater.connect(folder) as db, db.consumer("t", until="end") as c:
        assert [msg.value for msg in c] == [b"%d" % i for i in range(10_000)]
