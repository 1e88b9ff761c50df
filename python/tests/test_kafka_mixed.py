"""One log, two protocols: what Kafka's clients write is read natively, and the other way round."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

import headwater
import pytest

confluent_kafka: Any = pytest.importorskip("confluent_kafka")

PARTITIONS = 3
Codec = Literal["none", "gzip", "snappy", "lz4", "zstd"]
CODECS: list[Codec] = ["none", "gzip", "snappy", "lz4", "zstd"]

Headers = list[tuple[str, bytes | None]]


class Sent(NamedTuple):
    """A record as it is sent."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: int


#: A record by its partition and offset: key, value, headers, timestamp.
Log = dict[tuple[int, int], tuple[bytes | None, bytes | None, Headers, int]]

KEYS = [b"key", b"", None, b"\x00\xff"]
VALUES = [b"value", b"", None, b"v" * 2_000]
HEADERS: list[Headers] = [
    [],
    [("b", b"1"), ("a", b"2"), ("b", b"3"), ("b", b"1")],
    [("empty", b""), ("absent", None), ("", b"nameless"), ("\u00e4", b"\xe4")],
]


def records() -> list[Sent]:
    """Each key with each value and each of the headers, in every partition; then many alike."""
    kinds = [(key, value, headers) for key in KEYS for value in VALUES for headers in HEADERS]
    kinds += [(b"%d" % (number % 7), b"number %d" % number, []) for number in range(1_000)]
    times = iter(range(1_700_000_000_000, 1_800_000_000_000, 7))
    return [
        Sent(partition, key, value, headers, next(times))
        for key, value, headers in kinds
        for partition in range(PARTITIONS)
    ]


def create(broker: headwater.Broker, **options: Any) -> None:
    with headwater.connect(broker.address) as db:
        db.admin.create_topic("orders", partitions=PARTITIONS, **options)


def send_by_kafka(broker: headwater.Broker, sent: Iterable[Sent], codec: Codec) -> Log:
    """What each record became, by where its delivery says that it is."""
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "compression.type": codec,
            "linger.ms": 20,
        }
    )
    log: Log = {}

    def note(record: Sent) -> Any:
        def delivered(error: object, message: Any) -> None:
            assert error is None, error
            place = (message.partition(), message.offset())
            log[place] = (record.key, record.value, record.headers, record.timestamp)

        return delivered

    for record in sent:
        producer.produce(
            "orders",
            record.value,
            record.key,
            record.partition,
            on_delivery=note(record),
            timestamp=record.timestamp,
            headers=record.headers,
        )
    assert producer.flush(60) == 0
    return log


def refusal_by_kafka(broker: headwater.Broker, record: Sent) -> str:
    """What a record is refused with."""
    producer = confluent_kafka.Producer({"bootstrap.servers": broker.bootstrap_servers})
    refusals: list[str] = []

    def delivered(error: Any, _: Any) -> None:
        assert error is not None
        refusals.append(error.name())

    producer.produce("orders", record.value, record.key, on_delivery=delivered)
    assert producer.flush(60) == 0
    return refusals[0]


def send_natively(broker: headwater.Broker, sent: Iterable[Sent], codec: Codec) -> Log:
    """The same of the native protocol."""
    with headwater.connect(broker.address) as db:
        with db.producer(compression=codec, linger_ms=20) as p:
            deliveries = [
                (
                    record,
                    p.send(
                        "orders",
                        record.value,
                        key=record.key,
                        headers=record.headers,
                        partition=record.partition,
                        timestamp=record.timestamp,
                    ),
                )
                for record in sent
            ]
            p.flush(60)
        return {
            (at.partition, at.offset): (record.key, record.value, record.headers, record.timestamp)
            for record, at in ((record, delivery.result(60)) for record, delivery in deliveries)
        }


def read_by_kafka(broker: headwater.Broker) -> Log:
    """Every record, as Kafka's client tells it."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": "nobody",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
        }
    )
    consumer.assign(
        [confluent_kafka.TopicPartition("orders", number, 0) for number in range(PARTITIONS)]
    )
    log: Log = {}
    ended: set[int] = set()
    while len(ended) < PARTITIONS:
        message = consumer.poll(60)
        assert message is not None
        if message.error() is not None:
            assert message.error().code() == confluent_kafka.KafkaError._PARTITION_EOF
            ended.add(message.partition())
            continue
        place = (message.partition(), message.offset())
        assert place not in log
        headers = message.headers() or []
        log[place] = (message.key(), message.value(), headers, message.timestamp()[1])
    consumer.close()
    return log


def read_natively(broker: headwater.Broker) -> Log:
    """The same of the native protocol."""
    with headwater.connect(broker.address) as db, db.consumer("orders", until="end") as c:
        return {
            (msg.partition, msg.offset): (
                as_bytes(msg.key),
                as_bytes(msg.value),
                [(name, as_bytes(value)) for name, value in msg.headers],
                msg.timestamp,
            )
            for msg in c
        }


def as_bytes(data: Any) -> bytes | None:
    return None if data is None else bytes(data)


SENDERS = {"kafka": send_by_kafka, "native": send_natively}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("sender", SENDERS)
def test_what_one_writes_both_read(
    headwater_broker: headwater.Broker, sender: str, codec: Codec
) -> None:
    create(headwater_broker)
    sent = SENDERS[sender](headwater_broker, records(), codec)

    assert len(sent) == len(records())
    for partition in range(PARTITIONS):
        offsets = sorted(offset for number, offset in sent if number == partition)
        assert offsets == list(range(len(records()) // PARTITIONS))
    assert read_natively(headwater_broker) == sent
    assert read_by_kafka(headwater_broker) == sent


@pytest.mark.parametrize("sender", SENDERS)
def test_the_time_of_the_append_is_the_same_for_both(
    headwater_broker: headwater.Broker, sender: str
) -> None:
    create(headwater_broker, message_timestamp_type="log_append_time")
    began = time.time_ns() // 1_000_000
    sent = SENDERS[sender](headwater_broker, records(), "lz4")
    ended = time.time_ns() // 1_000_000

    found = read_natively(headwater_broker)
    assert read_by_kafka(headwater_broker) == found
    assert {place: record[:3] for place, record in found.items()} == {
        place: record[:3] for place, record in sent.items()
    }
    assert all(began <= timestamp <= ended for *_, timestamp in found.values())


def test_both_write_into_the_same_partitions(headwater_broker: headwater.Broker) -> None:
    create(headwater_broker)
    log: Log = {}
    for codec in CODECS:
        for send in SENDERS.values():
            more = send(headwater_broker, records()[:90], codec)
            assert not log.keys() & more.keys()
            log |= more

    assert len(log) == 90 * len(CODECS) * len(SENDERS)
    assert read_natively(headwater_broker) == log
    assert read_by_kafka(headwater_broker) == log


def test_keys_go_to_the_same_partitions(headwater_broker: headwater.Broker) -> None:
    create(headwater_broker)
    keys = [b"key %d" % number for number in range(100)]
    with headwater.connect(headwater_broker.address) as db, db.producer() as p:
        ours = [p.send("orders", b"", key=key) for key in keys]
        native = [delivery.result(60).partition for delivery in ours]
    producer = confluent_kafka.Producer(
        {
            "bootstrap.servers": headwater_broker.bootstrap_servers,
            # Java's; librdkafka has another by default.
            "partitioner": "murmur2_random",
        }
    )
    theirs: dict[bytes, int] = {}

    def delivered(error: object, message: Any) -> None:
        assert error is None, error
        theirs[message.key()] = message.partition()

    for key in keys:
        producer.produce("orders", b"", key, on_delivery=delivered)
    assert producer.flush(60) == 0

    assert [theirs[key] for key in keys] == native
    assert set(native) == set(range(PARTITIONS))


def test_a_compacted_topic_needs_keys_of_both_and_gives_both_the_same(
    headwater_broker: headwater.Broker,
) -> None:
    create(headwater_broker, cleanup_policy="compact")
    keyed = [record for record in records() if record.key is not None]
    log = send_by_kafka(headwater_broker, keyed, "zstd")
    log |= send_natively(headwater_broker, keyed, "zstd")
    keyless = Sent(0, None, b"x", [], 1_700_000_000_000)
    assert refusal_by_kafka(headwater_broker, keyless) == "INVALID_RECORD"
    with pytest.raises(headwater.HeadwaterError) as refused:
        send_natively(headwater_broker, [keyless], "none")

    assert refused.value.code == "INVALID_RECORD"
    found = read_natively(headwater_broker)
    assert read_by_kafka(headwater_broker) == found
    # Whatever was compacted by then: of each key the last one is there, as it was sent.
    assert found.items() <= log.items()
    last: dict[tuple[int, bytes | None], int] = {}
    for (partition, offset), (key, *_) in log.items():
        last[partition, key] = max(offset, last.get((partition, key), -1))
    assert {(partition, offset) for (partition, _), offset in last.items()} <= found.keys()


def consume_by_kafka(broker: headwater.Broker, group: str, count: int) -> Iterator[Any]:
    """Takes so many records as a member of the group, and commits them."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": broker.bootstrap_servers,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    consumer.subscribe(["orders"])
    for _ in range(count):
        message = consumer.poll(60)
        assert message is not None and message.error() is None, message and message.error()
        consumer.commit(message=message, asynchronous=False)
        yield message.partition(), message.offset()
    consumer.close()


def consume_natively(broker: headwater.Broker, group: str, count: int) -> Iterator[Any]:
    """The same of the native protocol."""
    with (
        headwater.connect(broker.address) as db,
        db.consumer("orders", group=group, ack="manual") as c,
    ):
        messages = iter(c)
        for _ in range(count):
            msg = next(messages)
            c.ack(msg)
            yield msg.partition, msg.offset


CONSUMERS = {"kafka": consume_by_kafka, "native": consume_natively}


@pytest.mark.parametrize("first", CONSUMERS)
def test_what_a_group_has_committed_by_one_it_goes_on_with_by_the_other(
    headwater_broker: headwater.Broker, first: str
) -> None:
    create(headwater_broker)
    sent = send_natively(headwater_broker, records()[:150], "none")
    turns = [first, *(name for name in CONSUMERS if name != first)] * 2
    counts = [40, 30, 50, 30]
    read = [
        place
        for name, count in zip(turns, counts, strict=True)
        for place in CONSUMERS[name](headwater_broker, "billing", count)
    ]

    # Nothing twice, nothing left out, and each partition in its order.
    assert sorted(read) == sorted(sent)
    for partition in range(PARTITIONS):
        offsets = [offset for number, offset in read if number == partition]
        assert offsets == sorted(offsets)
    with headwater.connect(headwater_broker.address) as db:
        committed = db.admin.describe_group("billing").offsets
    ends = {(at.topic, at.partition, at.offset) for at in committed}
    assert ends == {("orders", number, 50) for number in range(PARTITIONS)}
