"""The producer: send, enqueue, send_many, flush, and what fails."""

from __future__ import annotations

import array
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import headwater
import pytest


def read(db: headwater.Client, topic: str = "orders") -> list[headwater.Msg]:
    with db.consumer(topic, until="end") as c:
        return list(c)


def test_delivery_says_where_the_record_went(db: headwater.Client) -> None:
    with db.producer() as p:
        delivery = p.send("orders", b"hello", key=b"k1", partition=1, timestamp=1_700_000_000_123)
        done = delivery.result(timeout=30)

        assert delivery.done()
        assert (done.topic, done.partition, done.offset) == ("orders", 1, 0)
        assert (done.timestamp, done.durability) == (1_700_000_000_123, "os")
        assert repr(done) == "RecordMetadata(orders-1 @ 0, os)"
        assert delivery.result().offset == 0
        assert p.send("orders", b"again", partition=1).result(30).offset == 1


def test_record_comes_back_as_it_was_sent(db: headwater.Client) -> None:
    headers = [
        ("trace", b"ab"),
        ("trace", b"cd"),
        ("empty", b""),
        ("none", None),
        ("text", "\u00e4"),
    ]
    with db.producer() as p:
        p.send("orders", "\u00fcber", key="k", headers=headers, partition=0, timestamp=5)
        p.send("orders", bytearray(b"array"), key=memoryview(b"view"), partition=0)
        p.send("orders", None, key=array.array("B", [1, 2]), headers={"a": "b"}, partition=0)
        p.send("orders", b"", partition=0, timestamp=datetime(2024, 1, 1, tzinfo=UTC))

    a, b, c, d = read(db)
    assert (a.topic, a.partition, a.offset, a.timestamp) == ("orders", 0, 0, 5)
    assert (a.key, a.value) == (b"k", "\u00fcber".encode())
    assert a.headers == (*headers[:4], ("text", "\u00e4".encode()))
    assert (b.key, b.value, b.headers) == (b"view", b"array", ())
    assert (c.key, c.value, c.headers) == (b"\x01\x02", None, (("a", b"b"),))
    assert (d.key, d.value, d.timestamp) == (None, b"", 1_704_067_200_000)


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_compressed_records_come_back_as_they_were_sent(
    folder: Path, compression: Literal["none", "gzip", "snappy", "lz4", "zstd"]
) -> None:
    values = [b"%d: a value like many others" % number for number in range(2_000)]
    with headwater.connect(folder) as db:
        db.admin.create_topic("orders")
        with db.producer(compression=compression, linger_ms=1_000) as p:
            p.send_many("orders", values)
        assert [msg.value for msg in read(db)] == values
        assert [msg.offset for msg in read(db)] == list(range(2_000))
    segment = (folder / "0000" / "00000000000000000001.log").read_bytes()
    assert (values[1_500] in segment) is (compression == "none")


def test_headers_of_a_record_can_be_sent_on(db: headwater.Client) -> None:
    with db.producer() as p:
        p.send("orders", b"v", headers={"a": b"1", "b": None}, partition=0)
        p.flush(30)
        (msg,) = read(db)
        p.send("orders", msg.value, headers=msg.headers, partition=0)
    first, second = read(db)
    assert first.headers == second.headers == (("a", b"1"), ("b", None))


@pytest.mark.parametrize("value", [1, 1.5, object(), ["a"], array.array("i", [1])])
def test_value_that_is_no_bytes_is_a_type_error(db: headwater.Client, value: object) -> None:
    with db.producer() as p:
        for call in (p.send, p.enqueue):
            with pytest.raises(TypeError, match="bytes"):
                call("orders", value)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="bytes"):
            p.send_many("orders", [b"fine", value])  # type: ignore[list-item]


def test_wrong_arguments_are_refused_before_anything_is_sent(db: headwater.Client) -> None:
    with db.producer() as p:
        with pytest.raises(TypeError):
            p.send("orders")  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            p.send("orders", b"v", b"k")  # type: ignore[call-arg]
        with pytest.raises(TypeError):
            p.send("orders", b"v", headers={"a": 1})  # type: ignore[arg-type]
        with pytest.raises(OverflowError):
            p.send("orders", b"v", partition=1 << 40)
        with pytest.raises(headwater.InvalidArgument, match="2 keys were given for 3 values"):
            p.send_many("orders", [b"a", b"b", b"c"], keys=[b"k", b"l"])
    assert read(db) == []


def test_unknown_topic_is_not_found(db: headwater.Client) -> None:
    with db.producer() as p:
        with pytest.raises(headwater.NotFound, match="nothing") as refused:
            p.send("nothing", b"v").result(30)
        assert refused.value.code == "UNKNOWN_TOPIC_OR_PARTITION"
        with pytest.raises(headwater.NotFound):
            p.send("orders", b"v", partition=7).result(30)


def test_record_over_the_limit_is_refused(db: headwater.Client) -> None:
    db.admin.create_topic("small", max_message_bytes=2_000)
    with db.producer() as p:
        with pytest.raises(headwater.InvalidArgument) as refused:
            p.send("small", b"x" * 3_000).result(30)
        assert refused.value.code == "MESSAGE_TOO_LARGE"
        assert p.send("small", b"x" * 1_000).result(30).offset == 0


def test_send_many_is_as_many_sends(db: headwater.Client) -> None:
    values: list[bytes | None] = [b"%d" % i for i in range(1_000)]
    values[7] = None
    keys = [b"k%d" % (i % 10) if i % 3 else None for i in range(1_000)]
    headers = [{"i": b"%d" % i} if i % 2 else None for i in range(1_000)]
    times = range(1_000)
    with db.producer() as p:
        sent = p.send_many("orders", values, keys, headers, partition=0, timestamps=times)

        assert len(sent) == 1_000
        done = sent.result(30)
        assert sent.done()
        assert [at.offset for at in done] == list(range(1_000))
        assert sent[999].result(30).offset == sent[-1].result(30).offset == 999
        assert [delivery.result().offset for delivery in sent][:3] == [0, 1, 2]
        with pytest.raises(IndexError):
            sent[1_000]
    msgs = read(db)
    assert [msg.value for msg in msgs] == values
    assert [msg.key for msg in msgs] == keys
    assert [dict(msg.headers) for msg in msgs] == [header or {} for header in headers]
    assert [msg.timestamp for msg in msgs] == list(times)


def test_send_many_takes_any_iterable_and_one_mapping_of_headers(db: headwater.Client) -> None:
    with db.producer() as p:
        p.send_many("orders", (str(i) for i in range(3)), headers={"all": b"1"}, partition=0)
        assert len(p.send_many("orders", [])) == 0
        assert p.send_many("orders", []).result(30) == []
    assert [(msg.value, msg.headers) for msg in read(db)] == [
        (b"%d" % i, (("all", b"1"),)) for i in range(3)
    ]


def test_send_many_that_is_refused_says_what_was_sent(db: headwater.Client) -> None:
    with db.producer() as p:
        with pytest.raises(TypeError) as refused:
            p.send_many("orders", [b"a", b"b", 3], partition=0)  # type: ignore[list-item]
        sent: headwater.Deliveries = refused.value.sent  # type: ignore[attr-defined]
        assert [at.offset for at in sent.result(30)] == [0, 1]
    assert [msg.value for msg in read(db)] == [b"a", b"b"]


def test_enqueue_returns_nothing_and_flush_waits(db: headwater.Client) -> None:
    with db.producer() as p:
        for i in range(1_000):
            p.enqueue("orders", b"%d" % i, key=b"k", headers={"h": b"1"})
        p.flush(timeout=30)
        assert sorted(int(msg.value or b"") for msg in read(db)) == list(range(1_000))


def lose(db: headwater.Client, p: headwater.Producer, count: int) -> None:
    """Send records that fail on their way: their topic goes once the producer knows it."""
    db.admin.create_topic("gone")
    p.send("gone", b"kept").result(30)
    db.admin.delete_topic("gone")
    for _ in range(count):
        p.enqueue("gone", b"lost")


def test_failure_of_enqueue_comes_out_of_flush_once(db: headwater.Client) -> None:
    with db.producer(linger_ms=50) as p:
        lose(db, p, 3)
        with pytest.raises(headwater.NotFound, match="gone") as lost:
            p.flush(30)
        assert "3" in str(lost.value)
        p.flush(30)


def test_delivery_dropped_unread_is_told_of_by_flush(db: headwater.Client) -> None:
    with db.producer(linger_ms=50) as p:
        lose(db, p, 0)
        p.send("gone", b"dropped")
        sent = p.send_many("gone", [b"dropped"] * 2)
        del sent
        with pytest.raises(headwater.NotFound, match="3"):
            p.flush(30)


def test_delivery_that_was_read_is_not_told_of_again(db: headwater.Client) -> None:
    with db.producer(linger_ms=50) as p:
        lose(db, p, 0)
        delivery = p.send("gone", b"read")
        with pytest.raises(headwater.NotFound):
            delivery.result(30)
        p.flush(30)


def test_looking_whether_a_delivery_is_done_is_not_reading_it(db: headwater.Client) -> None:
    with db.producer(linger_ms=0) as p:
        lose(db, p, 0)
        delivery = p.send("gone", b"lost")
        while not delivery.done():
            time.sleep(0.001)
        assert "done" in repr(delivery)
        del delivery
        with pytest.raises(headwater.NotFound):
            p.flush(30)


def test_failure_that_nobody_waits_for_is_given_to_the_hook(db: headwater.Client) -> None:
    heard: list[headwater.DeliveryFailure] = []
    told = threading.Event()

    def hook(failure: headwater.DeliveryFailure) -> None:
        heard.append(failure)
        told.set()

    with pytest.raises(headwater.NotFound), db.producer(on_failure=hook, linger_ms=50) as p:
        lose(db, p, 3)
        p.flush(30)
    assert told.wait(30)
    assert (heard[0].topic, heard[0].records) == ("gone", 3)
    assert isinstance(heard[0].error, headwater.NotFound)


def test_hook_may_send_but_not_wait(db: headwater.Client) -> None:
    db.admin.create_topic("failed")
    refused: list[headwater.HeadwaterError] = []
    told = threading.Event()
    c = db.consumer("orders")
    p = db.producer(on_failure=lambda failure: hook(failure), linger_ms=50)

    def hook(failure: headwater.DeliveryFailure) -> None:
        p.enqueue("failed", f"{failure.records} of {failure.topic}")
        try:
            next(iter(c))
        except headwater.HeadwaterError as error:
            refused.append(error)
        told.set()

    lose(db, p, 2)
    assert told.wait(30)
    assert refused[0].code == "INVALID_STATE"
    p.close()
    assert [msg.value for msg in read(db, "failed")] == [b"2 of gone"]


def test_full_buffer_makes_send_wait_and_enqueue_refuse(db: headwater.Client) -> None:
    with db.producer(buffer_bytes=256 << 10, batch_bytes=64 << 10) as p:
        refused = 0
        for _ in range(2_000):
            try:
                p.enqueue("orders", b"x" * 10_000)
            except headwater.Full as full:
                refused += 1
                assert full.code == "BUFFER_FULL" and isinstance(full, BufferError)
                p.ready(timeout=30)
        sent = [p.send("orders", b"x" * 10_000) for _ in range(2_000)]
        assert all(delivery.result(30).offset >= 0 for delivery in sent)
    assert len(read(db)) == 4_000 - refused


def test_producers_of_many_threads_lose_nothing(db: headwater.Client) -> None:
    with db.producer() as p:

        def work(name: int) -> None:
            for i in range(2_000):
                p.send("orders", b"%d" % i, key=b"%d" % name)

        threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        p.flush(30)
    by_key: dict[bytes | None, list[bytes | None]] = {}
    for msg in read(db):
        by_key.setdefault(msg.key, []).append(msg.value)
    assert by_key == {b"%d" % name: [b"%d" % i for i in range(2_000)] for name in range(4)}


def test_disk_says_disk(db: headwater.Client, tmp_path: object) -> None:
    with headwater.connect(f"{tmp_path}/log") as folder:
        folder.admin.create_topic("t")
        with folder.producer() as p:
            assert p.send("t", b"v").result(30).durability == "disk"
        with folder.producer(durability="os") as p:
            assert p.send("t", b"v").result(30).durability in ("os", "disk")
    with pytest.raises(headwater.HeadwaterError), db.producer(durability="quorum") as p:
        p.send("orders", b"v").result(30)


def test_metrics_count_what_was_sent(db: headwater.Client) -> None:
    with db.producer() as p:
        p.send_many("orders", [b"a"] * 10).result(30)
        figures = db.metrics()
    assert figures["records_sent"] == figures["records_acknowledged"] == 10
    assert figures["producers"] == 1
