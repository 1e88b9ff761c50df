"""member.py CLIENT BOOTSTRAP GROUP TOPIC ASSIGNOR INSTANCE: a member of a group, as an application has one.

Prints a line of JSON for all that happens to it, commits what it has read, and leaves at SIGTERM.
"""

import asyncio
import json
import signal
import sys

SESSION_MS = 6_000
HEARTBEAT_MS = 500

is_over = False


def say(what, **facts):
    sys.stdout.write(json.dumps({"what": what, **facts}) + "\n")
    sys.stdout.flush()


def end(*_):
    global is_over
    is_over = True


def confluent(bootstrap, group, topic, assignor, instance):
    from confluent_kafka import Consumer, KafkaException

    config = {
        "bootstrap.servers": bootstrap,
        "group.id": group,
        "partition.assignment.strategy": assignor,
        "session.timeout.ms": SESSION_MS,
        "heartbeat.interval.ms": HEARTBEAT_MS,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "reconnect.backoff.max.ms": 500,
    }
    if instance:
        config["group.instance.id"] = instance
    consumer = Consumer(config)

    def assigned(_, partitions):
        say("assigned", partitions=sorted(it.partition for it in partitions))

    def revoked(_, partitions):
        say("revoked", partitions=sorted(it.partition for it in partitions))

    def lost(_, partitions):
        say("lost", partitions=sorted(it.partition for it in partitions))

    consumer.subscribe([topic], on_assign=assigned, on_revoke=revoked, on_lost=lost)
    while not is_over:
        message = consumer.poll(0.1)
        if message is None:
            continue
        if message.error():
            say("error", error=str(message.error()))
            continue
        say("record", partition=message.partition(), offset=message.offset())
        try:
            consumer.commit(message=message, asynchronous=False)
        except KafkaException as error:
            say("uncommitted", error=str(error))
    consumer.close()


def pure(bootstrap, group, topic, assignor, instance):
    from kafka import ConsumerRebalanceListener, KafkaConsumer
    from kafka.coordinator.assignors.range import RangePartitionAssignor
    from kafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from kafka.errors import KafkaError

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            say("revoked", partitions=sorted(it.partition for it in revoked))

        def on_partitions_assigned(self, assigned):
            say("assigned", partitions=sorted(it.partition for it in assigned))

    assignors = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
    consumer = KafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance or None,
        partition_assignment_strategy=[assignors[assignor]],
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        reconnect_backoff_max_ms=500,
    )
    consumer.subscribe([topic], listener=Listener())
    # Asked before it joins: see broker/tests/kafka/python/pure.py.
    consumer.partitions_for_topic(topic)
    while not is_over:
        polled = consumer.poll(timeout_ms=100)
        for partition, records in polled.items():
            for record in records:
                say("record", partition=partition.partition, offset=record.offset)
        if polled:
            try:
                consumer.commit()
            except KafkaError as error:
                say("uncommitted", error=repr(error))
    consumer.close()


def asynchronous(bootstrap, group, topic, assignor, instance):
    asyncio.run(_asynchronous(bootstrap, group, topic, assignor, instance))


async def _asynchronous(bootstrap, group, topic, assignor, instance):
    from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
    from aiokafka.coordinator.assignors.range import RangePartitionAssignor
    from aiokafka.coordinator.assignors.roundrobin import RoundRobinPartitionAssignor
    from aiokafka.errors import KafkaError

    class Listener(ConsumerRebalanceListener):
        def on_partitions_revoked(self, revoked):
            say("revoked", partitions=sorted(it.partition for it in revoked))

        def on_partitions_assigned(self, assigned):
            say("assigned", partitions=sorted(it.partition for it in assigned))

    assignors = {"range": RangePartitionAssignor, "roundrobin": RoundRobinPartitionAssignor}
    consumer = AIOKafkaConsumer(
        bootstrap_servers=bootstrap,
        group_id=group,
        group_instance_id=instance or None,
        partition_assignment_strategy=[assignors[assignor]],
        session_timeout_ms=SESSION_MS,
        heartbeat_interval_ms=HEARTBEAT_MS,
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    consumer.subscribe([topic], listener=Listener())
    await consumer.start()
    while not is_over:
        polled = await consumer.getmany(timeout_ms=100)
        for partition, records in polled.items():
            for record in records:
                say("record", partition=partition.partition, offset=record.offset)
        if polled:
            try:
                await consumer.commit()
            except KafkaError as error:
                say("uncommitted", error=repr(error))
    await consumer.stop()


CLIENTS = {"confluent": confluent, "kafka-python": pure, "aiokafka": asynchronous}

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, end)
    CLIENTS[sys.argv[1]](*sys.argv[2:])
