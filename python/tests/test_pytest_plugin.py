"""The plugin for pytest, in test suites of its own: what users write, and what they get wrong."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import tomllib

import pytest
from support import ROOT

PLUGIN = "pytest_headwater"


@pytest.fixture(autouse=True)
def plugin(pytester: pytest.Pytester) -> None:
    """A suite of its own loads the plugin, also where the package is not installed."""
    pytester.plugins.append(PLUGIN)
    pytester.makeini("[pytest]\naddopts = --strict-markers -p no:cacheprovider")


def passes(pytester: pytest.Pytester, *arguments: str, **outcomes: int) -> pytest.RunResult:
    """Run the suite in a process of its own."""
    result = pytester.runpytest_subprocess("-p", "no:xdist", *arguments)
    result.assert_outcomes(**outcomes)
    return result


def test_package_tells_pytest_of_it() -> None:
    project = tomllib.loads((ROOT / "python" / "pyproject.toml").read_text())
    assert project["project"]["entry-points"]["pytest11"] == {PLUGIN: PLUGIN}
    assert PLUGIN in project["tool"]["maturin"]["python-packages"]


def test_each_test_has_a_broker_of_its_own_and_the_session_has_one(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import headwater, pytest

        seen = set()

        def names(address):
            with headwater.connect(address) as db:
                return [topic.name for topic in db.admin.list_topics()]

        def send(address, topic):
            with headwater.connect(address) as db, db.producer() as p:
                p.send(topic, b"v").result(60)

        @pytest.mark.parametrize("number", [1, 2])
        def test_own(headwater_broker, kafka_bootstrap, number):
            assert kafka_bootstrap == headwater_broker.address
            assert names(kafka_bootstrap) == []
            send(kafka_bootstrap, "orders")

        @pytest.mark.parametrize("number", [1, 2])
        def test_shared(headwater_session_broker, kafka_session_bootstrap, number):
            assert kafka_session_bootstrap == headwater_session_broker.address
            assert names(kafka_session_bootstrap) == ["first", "second"][:number - 1]
            send(kafka_session_bootstrap, ["first", "second"][number - 1])

        def test_both(kafka_bootstrap, kafka_session_bootstrap):
            assert kafka_bootstrap != kafka_session_bootstrap
        """
    )
    passes(pytester, passed=5)


def test_marker_and_configuration_say_what_a_broker_is(pytester: pytest.Pytester) -> None:
    pytester.makepyprojecttoml(
        """
        [tool.pytest.ini_options]
        addopts = ["--strict-markers"]
        headwater_topics = ["orders:3", "payments"]
        headwater_auto_create_topics = false
        """
    )
    pytester.path.joinpath("tox.ini").unlink()
    pytester.makepyfile(
        """
        import headwater, pytest

        pytestmark = pytest.mark.headwater(topics={"audit": 2})

        def partitions(address):
            with headwater.connect(address) as db:
                return {topic.name: len(topic.partitions) for topic in db.admin.list_topics()}

        def use(address):
            with headwater.connect(address) as db, db.producer(delivery_timeout_ms=60_000) as p:
                p.send("new", b"v").result(60)

        def test_module(kafka_bootstrap):
            assert partitions(kafka_bootstrap) == {"audit": 2, "orders": 3, "payments": 1}
            with pytest.raises(headwater.NotFound):
                use(kafka_bootstrap)

        @pytest.mark.headwater(topics=["orders:5", "new"], auto_create_topics=True)
        def test_function(kafka_bootstrap):
            assert partitions(kafka_bootstrap) == {"orders": 5, "new": 1, "payments": 1}
            use(kafka_bootstrap)

        def test_session(kafka_session_bootstrap):
            assert partitions(kafka_session_bootstrap) == {"orders": 3, "payments": 1}

        @pytest.mark.headwater(data="data")
        def test_folder(headwater_broker, request):
            assert headwater_broker.address.startswith("127.0.0.1:")
            assert headwater_broker.address != "127.0.0.1:9092"
        """
    )
    passes(pytester, passed=4)


def test_what_is_wrong_is_said(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.headwater("orders")
        def test_positional(kafka_bootstrap): pass

        @pytest.mark.headwater(topics="orders")
        def test_text(kafka_bootstrap): pass

        @pytest.mark.headwater(topics=["orders:many"])
        def test_count(kafka_bootstrap): pass

        @pytest.mark.headwater(auto_create_topic=True)
        def test_option(kafka_bootstrap): pass
        """
    )
    result = passes(pytester, errors=4)
    result.stdout.fnmatch_lines(
        [
            "*takes keywords only: ('orders',)*",
            "*a list or a dict, found the string 'orders'*",
            "*'orders:many' names no topic*",
            "*auto_create_topic*",
        ]
    )


def test_suite_that_does_not_use_it_does_not_load_it(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_nothing():
            assert "pytest_headwater" in sys.modules
            assert not [name for name in sys.modules if name.split(".")[0] == "headwater"]
        """
    )
    passes(pytester, passed=1)


def test_package_does_not_need_pytest() -> None:
    code = "import sys, headwater, headwater.aio; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_fixtures_are_for_asynchronous_tests_too(pytester: pytest.Pytester) -> None:
    pytest.importorskip("pytest_asyncio")
    pytest.importorskip("aiokafka")
    pytester.makepyfile(
        """
        import pytest, pytest_asyncio
        from aiokafka import AIOKafkaProducer

        @pytest_asyncio.fixture
        async def producer(kafka_bootstrap):
            async with AIOKafkaProducer(bootstrap_servers=kafka_bootstrap) as producer:
                yield producer

        @pytest.mark.asyncio
        async def test_send(producer):
            assert (await producer.send_and_wait("orders", b"v")).offset == 0
        """
    )
    passes(pytester, passed=1)


def test_each_worker_of_xdist_has_its_brokers(pytester: pytest.Pytester) -> None:
    pytest.importorskip("xdist")
    pytester.makepyfile(
        """
        import pathlib, pytest

        @pytest.mark.parametrize("number", range(8))
        def test_worker(kafka_session_bootstrap, kafka_bootstrap, worker_id, number):
            assert kafka_session_bootstrap != kafka_bootstrap
            pathlib.Path(worker_id).write_text(kafka_session_bootstrap)
        """
    )
    result = pytester.runpytest_subprocess("-n", "2")
    result.assert_outcomes(passed=8)
    addresses = [path.read_text() for path in pytester.path.glob("gw*")]
    assert addresses and len(set(addresses)) == len(addresses)


def test_clients_that_a_test_leaves_open_hold_nobody_up(pytester: pytest.Pytester) -> None:
    pytest.importorskip("confluent_kafka")
    pytester.makepyfile(
        """
        import threading
        import confluent_kafka, headwater

        kept = []

        def test_leaves_a_consumer_that_reads_on(kafka_bootstrap):
            consumer = confluent_kafka.Consumer(
                {"bootstrap.servers": kafka_bootstrap, "group.id": "g", "fetch.wait.max.ms": 60000,
                 "auto.offset.reset": "earliest", "log_level": 0})
            producer = confluent_kafka.Producer(
                {"bootstrap.servers": kafka_bootstrap, "log_level": 0})
            producer.produce("orders", b"v")
            producer.flush(60)
            consumer.subscribe(["orders"])
            while consumer.poll(1) is None:
                pass
            kept.extend([consumer, producer])
            assert False, "on purpose"

        def test_leaves_a_broker_and_a_client(kafka_session_bootstrap):
            broker = headwater.Broker()
            db = headwater.connect(broker.address)
            consumer = db.consumer("orders")
            threading.Thread(target=lambda: list(consumer), daemon=True).start()
            kept.extend([broker, db, consumer])
            assert False, "on purpose"
        """
    )
    passes(pytester, failed=2)


def test_ctrl_c_ends_a_run_that_waits_for_a_record(pytester: pytest.Pytester) -> None:
    pytest.importorskip("confluent_kafka")
    pytester.makepyfile(
        """
        import confluent_kafka, pathlib

        def test_waits_for_ever(kafka_bootstrap, kafka_session_bootstrap):
            consumer = confluent_kafka.Consumer(
                {"bootstrap.servers": kafka_bootstrap, "group.id": "g", "log_level": 0})
            consumer.subscribe(["orders"])
            pathlib.Path("waiting").touch()
            while True:
                consumer.poll(1)
        """
    )
    command = [sys.executable, "-m", "pytest", "-p", PLUGIN, "-p", "no:xdist"]
    with subprocess.Popen(
        command, cwd=pytester.path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as running:
        while not (pytester.path / "waiting").exists():
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.wait(0.05)
            assert running.returncode is None
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate(timeout=120)
    assert running.returncode == pytest.ExitCode.INTERRUPTED, out
    assert "KeyboardInterrupt" in out
