"""Brokers by the hundred, and brokers that nobody closed."""

from __future__ import annotations

import gc
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import headwater
import pytest
from support import run

#: What one more broker in memory, with a topic and a record, may take of the process.
BROKER_BYTES_MAX = 1 << 20


def resident_bytes() -> int:
    """What the process has in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc tells the memory")
def test_hundred_brokers_at_once_take_bounded_memory() -> None:
    kafka = pytest.importorskip("kafka")
    # The first of all brings the threads that serve sockets, and the client's modules.
    with headwater.Broker() as first:
        use(kafka, first)
    gc.collect()
    before = resident_bytes()

    brokers = [headwater.Broker() for _ in range(100)]
    with ThreadPoolExecutor(10) as pool:
        for used in [pool.submit(use, kafka, broker) for broker in brokers]:
            used.result()
    grown = resident_bytes() - before

    assert len({broker.address for broker in brokers}) == 100
    for broker in brokers:
        with headwater.connect(broker.address) as db, db.consumer("orders", until="end") as c:
            assert [msg.value for msg in c] == [broker.address.encode()]
    for broker in brokers:
        broker.close(timeout=0)
    assert grown < 100 * BROKER_BYTES_MAX, f"{grown >> 20} MiB for 100 brokers"


def use(kafka: object, broker: headwater.Broker) -> None:
    """Send one record by Kafka's protocol."""
    producer = kafka.KafkaProducer(bootstrap_servers=broker.bootstrap_servers)  # type: ignore[attr-defined]
    producer.send("orders", broker.address.encode()).get(60)
    producer.close()


@pytest.mark.parametrize("ending", ["pass", "sys.exit(3)", "raise RuntimeError('on purpose')"])
def test_broker_that_is_left_open_does_not_keep_the_process(ending: str) -> None:
    code, _, err = run(
        f"""
import sys, headwater
brokers = [headwater.Broker() for _ in range(3)]
db = headwater.connect(brokers[0].address)
db.producer().send("orders", b"v").result(60)
consumer = iter(db.consumer("orders"))
next(consumer)
{ending}
"""
    )
    assert code == {"pass": 0, "sys.exit(3)": 3}.get(ending, 1), err


def test_client_of_kafka_that_is_left_open_beside_its_broker_does_not_keep_the_process() -> None:
    pytest.importorskip("confluent_kafka")
    code, out, err = run(
        """
import confluent_kafka, headwater
broker = headwater.Broker()
servers = {"bootstrap.servers": broker.bootstrap_servers, "log_level": 0}
producer = confluent_kafka.Producer(servers)
producer.produce("orders", b"v")
assert producer.flush(60) == 0
consumer = confluent_kafka.Consumer({**servers, "group.id": "g", "auto.offset.reset": "earliest"})
consumer.subscribe(["orders"])
while consumer.poll(1) is None:
    pass
print("read")
"""
    )
    assert (code, out) == (0, "read\n"), err
