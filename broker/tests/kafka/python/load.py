"""load HOST:PORT WORK TOPIC RECORDS BYTES: one work of librdkafka (confluent-kafka), measured; prints JSON.

`produce` sends as fast as it goes, `one` waits for each acknowledgement, `consume` reads all from the beginning,
`again` does so ten times.
Everything is acknowledged by all replicas, and nothing is compressed.
"""

import json
import sys
import time

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition

TIMEOUT_S = 120


def main():
    broker, work, topic, records, size = sys.argv[1:]
    found = WORKS[work](broker, topic, int(records), int(size))
    json.dump(found, sys.stdout)


def producer_of(broker, **more):
    return Producer({"bootstrap.servers": broker, "acks": "all", "queue.buffering.max.messages": 500_000, **more})


def produce(broker, topic, records, size):
    failed = []

    def report(error, _):
        if error:
            failed.append(error)

    producer, value = producer_of(broker), b"x" * size
    begun = time.perf_counter()
    for _ in range(records):
        while True:
            try:
                producer.produce(topic, value, partition=0, on_delivery=report)
                break
            except BufferError:
                producer.poll(0.01)
        producer.poll(0)
    if producer.flush(TIMEOUT_S) or failed:
        raise KafkaException(failed[0] if failed else "not all was sent")
    return {"records_per_s": records / (time.perf_counter() - begun)}


def one(broker, topic, records, size):
    producer, value, times = producer_of(broker, **{"linger.ms": 0}), b"x" * size, []
    for _ in range(records):
        begun = time.perf_counter()
        producer.produce(topic, value, partition=0)
        if producer.flush(TIMEOUT_S):
            raise KafkaException("not acknowledged")
        times.append((time.perf_counter() - begun) * 1e6)
    times.sort()
    at = lambda part: times[min(int(len(times) * part), len(times) - 1)]
    return {"p50_us": at(0.5), "p99_us": at(0.99), "p999_us": at(0.999)}


def consume(broker, topic, records, _, times=1):
    config = {"bootstrap.servers": broker, "group.id": "load", "enable.auto.commit": False}
    # By default librdkafka asks for nothing for a second once it holds 100,000 records, which a server that is faster
    # than the application meets and a slower one does not: a fifth of the speed. And what goes back waits until the
    # request for what comes next is answered.
    config |= {"fetch.queue.backoff.ms": 10, "fetch.wait.max.ms": 10}
    consumer = Consumer(config)
    beginning = TopicPartition(topic, 0, OFFSET_BEGINNING)
    consumer.assign([beginning])
    begun, deadline = time.perf_counter(), time.monotonic() + TIMEOUT_S
    for turn in range(times):
        if turn > 0:
            consumer.seek(beginning)
        seen = 0
        while seen < records:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{seen} of {records} records in {TIMEOUT_S} s")
            # It waits until it has as many as it is asked for.
            for message in consumer.consume(min(1_000, records - seen), 1):
                if message.error():
                    raise KafkaException(message.error())
                seen += 1
    elapsed = time.perf_counter() - begun
    consumer.close()
    return {"records_per_s": times * records / elapsed}


def again(broker, topic, records, size):
    return consume(broker, topic, records, size, times=10)


WORKS = {"produce": produce, "one": one, "consume": consume, "again": again}

if __name__ == "__main__":
    main()
