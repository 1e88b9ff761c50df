"""Kafka's own clients and the broker in this process: they produce, consume, commit in a group."""

from __future__ import annotations

import asyncio
from pathlib import Path

import headwater
import pytest
from headwater import aio

VALUES = [b"%d" % number for number in range(20)]


def committed(broker: headwater.Broker, group: str) -> list[tuple[str, int, int]]:
    """What a group has committed, as the native protocol tells it."""
    with headwater.connect(broker.address) as db:
        offsets = db.admin.describe_group(group).offsets
    return sorted((at.topic, at.partition, at.offset) for at in offsets)


def test_bootstrap_servers_are_what_kafka_calls_addresses(tmp_path: Path) -> None:
    with headwater.Broker() as broker:
        assert broker.bootstrap_servers == broker.address
    listen = ["127.0.0.1:0", f"unix:{tmp_path / 'socket'}", "127.0.0.1:0"]
    with headwater.Broker(listen=listen) as broker:
        first, _, last = broker.addresses
        assert broker.bootstrap_servers == f"{first},{last}"


def test_socket_of_this_machine_is_nothing_for_kafkas_clients(tmp_path: Path) -> None:
    with headwater.Broker(listen=f"unix:{tmp_path / 'socket'}") as broker:
        with pytest.raises(headwater.InvalidArgument, match="need a port") as refused:
            _ = broker.bootstrap_servers
        assert refused.value.code == "INVALID_STATE"


def test_confluent_kafka_produces_consumes_and_commits(headwater_broker: headwater.Broker) -> None:
    confluent_kafka = pytest.importorskip("confluent_kafka")
    servers = {"bootstrap.servers": headwater_broker.bootstrap_servers}
    producer = confluent_kafka.Producer(servers)
    for value in VALUES:
        producer.produce("orders", value, key=b"k")
    assert producer.flush(60) == 0

    consumer = confluent_kafka.Consumer(
        {
            **servers,
            "group.id": "billing",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["orders"])
    messages: list[bytes] = []
    while len(messages) < len(VALUES):
        message = consumer.poll(60)
        assert message is not None and message.error() is None, message and message.error()
        messages.append(message.value())
    consumer.commit(asynchronous=False)
    consumer.close()

    assert messages == VALUES
    assert committed(headwater_broker, "billing") == [("orders", 0, len(VALUES))]


def test_kafka_python_produces_consumes_and_commits(headwater_broker: headwater.Broker) -> None:
    kafka = pytest.importorskip("kafka")
    servers = headwater_broker.bootstrap_servers
    producer = kafka.KafkaProducer(bootstrap_servers=servers)
    for value in VALUES:
        producer.send("orders", value)
    producer.flush(60)
    producer.close()

    consumer = kafka.KafkaConsumer(
        "orders",
        bootstrap_servers=servers,
        group_id="billing",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=60_000,
    )
    messages = [next(consumer).value for _ in VALUES]
    consumer.commit()
    consumer.close()

    assert messages == VALUES
    assert committed(headwater_broker, "billing") == [("orders", 0, len(VALUES))]


def test_aiokafka_produces_consumes_and_commits(headwater_broker: headwater.Broker) -> None:
    asyncio.run(through_aiokafka(headwater_broker.bootstrap_servers))

    assert committed(headwater_broker, "billing") == [("orders", 0, len(VALUES))]


async def through_aiokafka(servers: str) -> None:
    """Produce, then consume and commit in the group `billing`."""
    aiokafka = pytest.importorskip("aiokafka")
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=servers) as producer:
        for value in VALUES:
            await producer.send_and_wait("orders", value)
    consumer = aiokafka.AIOKafkaConsumer(
        "orders",
        bootstrap_servers=servers,
        group_id="billing",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with consumer:
        messages = [await asyncio.wait_for(consumer.getone(), 60) for _ in VALUES]
        await consumer.commit()
    assert [message.value for message in messages] == VALUES


def test_broker_in_an_event_loop() -> None:
    async def main() -> None:
        async with aio.Broker() as broker:
            assert repr(broker) == f"<headwater.aio.Broker on {broker.address}>"
            assert broker.bootstrap_servers == broker.address == broker.addresses[0]
            await through_aiokafka(broker.bootstrap_servers)
            async with aio.connect(broker.address) as db:
                assert (await db.admin.describe_group("billing")).offsets
                assert broker.connection_count == 1
        await broker.close()
        host, port = broker.address.rsplit(":", 1)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))

    asyncio.run(main())


def test_broker_of_an_event_loop_starts_when_it_is_awaited() -> None:
    async def main() -> None:
        broker = aio.Broker()
        assert repr(broker) == "<headwater.aio.Broker not started>"
        with pytest.raises(headwater.InvalidArgument, match="not started") as refused:
            _ = broker.address
        assert refused.value.code == "INVALID_STATE"
        await broker.close()
        assert await broker is broker
        address = broker.address
        assert (await broker).address == address
        await broker.close()

    asyncio.run(main())


def test_kafkas_words_and_ours_are_one_log(headwater_broker: headwater.Broker) -> None:
    kafka = pytest.importorskip("kafka")
    with headwater.connect(headwater_broker.address) as db, db.producer() as p:
        db.admin.create_topic("orders", partitions=1)
        p.send("orders", b"native", key=b"k", headers={"trace": b"1"}).result(60)
    consumer = kafka.KafkaConsumer(
        "orders",
        bootstrap_servers=headwater_broker.bootstrap_servers,
        group_id=None,
        auto_offset_reset="earliest",
        consumer_timeout_ms=60_000,
    )
    message = next(consumer)
    consumer.close()
    assert (message.key, message.value, message.headers) == (b"k", b"native", [("trace", b"1")])
