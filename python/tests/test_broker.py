"""The broker in this process, and the command line of the package."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import headwater
import pytest
from headwater import aio


def test_broker_serves_the_same_calls() -> None:
    with headwater.Broker() as broker:
        assert repr(broker) == f"<headwater.Broker on {broker.address}>"
        with headwater.connect(broker.address) as db:
            db.admin.create_topic("orders", partitions=2)
            with db.producer() as p:
                sent = p.send_many("orders", [b"%d" % i for i in range(5_000)], partition=1)
                assert [at.offset for at in sent.result(30)] == list(range(5_000))
            with db.consumer("orders", group="g", until="end") as c:
                assert [msg.value for msg in c] == [b"%d" % i for i in range(5_000)]
            assert db.admin.describe_group("g").offsets
            assert broker.connection_count == 1


def test_broker_in_memory_creates_topics_as_they_are_used() -> None:
    with headwater.Broker() as broker, headwater.connect(broker.address) as db:
        with db.producer() as p:
            assert p.send("new", b"v").result(30).offset == 0


def test_broker_of_a_folder_leaves_it_to_others(folder: Path) -> None:
    with headwater.Broker(folder, listen="127.0.0.1:0") as broker:
        with headwater.connect(broker.address) as db:
            db.admin.create_topic("t")
            with db.producer() as p:
                assert p.send("t", b"v").result(30).durability == "disk"
    with headwater.connect(folder, create=False) as db, db.consumer("t", until="end") as c:
        assert [msg.value for msg in c] == [b"v"]


def test_port_in_use_is_said(folder: Path) -> None:
    with headwater.Broker() as broker:
        with pytest.raises(headwater.AlreadyExists) as refused:
            headwater.Broker(folder, listen=[broker.address])
        assert refused.value.code == "ADDRESS_IN_USE"
        assert broker.address in str(refused.value)
        assert isinstance(refused.value.__cause__, OSError)
    assert not folder.exists()


def test_address_that_others_can_reach_needs_leave() -> None:
    with pytest.raises(headwater.InvalidArgument, match=r"0\.0\.0\.0"):
        headwater.Broker(listen="0.0.0.0:0")
    with headwater.Broker(listen="0.0.0.0:0", allow_remote=True):
        pass
    with pytest.raises(headwater.InvalidArgument, match="max_connections"):
        headwater.Broker(max_connection=1)  # type: ignore[call-arg]


def test_garbage_on_the_port_does_no_harm() -> None:
    with headwater.Broker() as broker:
        host, port = broker.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as garbage:
            garbage.sendall(b"GET / HTTP/1.1\r\n\r\n" + os.urandom(1_000))
            garbage.settimeout(30)
            try:
                while garbage.recv(1_000):
                    pass
            except ConnectionError:
                pass
        with headwater.connect(broker.address) as db:
            db.admin.create_topic("t")


def test_clients_wait_for_a_broker_that_goes_and_closing_ends_the_wait() -> None:
    broker = headwater.Broker()
    db = headwater.connect(broker.address)
    db.admin.create_topic("t")
    p = db.producer()
    p.send("t", b"before").result(30)
    broker.close(timeout=1)

    sent = p.send("t", b"after")
    assert db.close(timeout=0.2).unsent_records == 1

    with pytest.raises(headwater.Closed) as failed:
        sent.result(30)
    assert failed.value.code == "CLOSED"


def test_broker_that_comes_back_on_its_folder_and_port_is_the_one_it_was(tmp_path: Path) -> None:
    first = headwater.Broker(data=tmp_path / "data")
    with headwater.connect(first.address) as db:
        db.admin.create_topic("t")
        with db.producer() as p, db.consumer("t") as c:
            messages = iter(c)
            for number in range(3):
                assert p.send("t", b"%d" % number).result(30).offset == number
                assert next(messages).offset == number
            first.close()
            sent = p.send("t", b"3")
            with headwater.Broker(data=tmp_path / "data", listen=[first.address]):
                assert sent.result(30).offset == 3
                assert next(messages).value == b"3"
                p.close()
                c.close()
                db.close()


def test_asyncio_through_a_broker() -> None:
    import asyncio

    async def main(address: str) -> None:
        async with aio.connect(address) as db:
            await db.admin.create_topic("t")
            async with db.producer() as p:
                sent = [p.send("t", b"%d" % i) for i in range(1_000)]
                assert [(await delivery).offset for delivery in sent] == list(range(1_000))
            async with db.consumer("t", until="end") as c:
                assert [msg.value async for msg in c] == [b"%d" % i for i in range(1_000)]

    with headwater.Broker() as broker:
        asyncio.run(main(broker.address))


def cli(*arguments: object, **keywords: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "headwater", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **keywords)  # type: ignore[call-overload, no-any-return]


def test_command_line_works_on_a_folder(folder: Path) -> None:
    headwater.connect(folder).close()
    assert (
        cli("--address", folder, "topic", "create", "orders", "--partitions", "2").returncode == 0
    )
    done = cli("--address", folder, "produce", "orders", "--partition", "0", input="a\nb\n")
    assert done.returncode == 0, done.stderr
    done = cli(
        "--json", "--address", folder, "consume", "orders", "--from", "earliest", "--exit-at-end"
    )
    assert done.returncode == 0, done.stderr
    assert [json.loads(line)["value"] for line in done.stdout.splitlines()] == ["a", "b"]


def test_exit_codes_are_those_of_the_program(folder: Path) -> None:
    assert cli("--version").returncode == 0
    assert cli("nonsense").returncode == 2
    missing = cli("--json", "--address", folder, "topic", "list")
    assert missing.returncode == 3
    assert json.loads(missing.stderr)["error"]["code"] == "FOLDER_NOT_FOUND"


def test_serve_ends_in_order_at_ctrl_c(folder: Path) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "headwater",
        "serve",
        "--data",
        folder,
        "--listen",
        "127.0.0.1:0",
    ]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stderr is not None
        line = serving.stderr.readline()
        serving.send_signal(signal.SIGINT)
        rest = serving.stderr.read()
    assert serving.returncode in (0, 130), line + rest
    assert "Traceback" not in rest
