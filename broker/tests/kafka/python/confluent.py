"""Driver of librdkafka, through confluent-kafka."""

import sys
import uuid

import confluent_kafka
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition, admin
from driving import Looping, decoded, gather, record_of, serve

BROKER = sys.argv[1]
TIMEOUT_S = 20


class Client:
    def __init__(self):
        self.admin = admin.AdminClient({"bootstrap.servers": BROKER})
        self.consumers = {}
        self.loops = {}
        self.producers = {}

    # --- records ---

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, max_request_bytes=None):
        config = {
            "bootstrap.servers": BROKER,
            "compression.type": compression,
            "acks": acks,
            "enable.idempotence": idempotent,
            "linger.ms": 5,
        }
        if max_request_bytes:
            config["message.max.bytes"] = max_request_bytes
        key = tuple(sorted(config.items()))
        if key not in self.producers:
            self.producers[key] = Producer(config)
        producer = self.producers[key]
        reports = [None] * len(records)
        for i, record in enumerate(records):
            more = {name: record[name] for name in ("partition", "timestamp") if record.get(name) is not None}

            def report(error, message, i=i):
                reports[i] = error or {"topic": topic, "partition": message.partition(), "offset": message.offset()}

            producer.produce(
                topic,
                key=decoded(record["key"]),
                value=decoded(record["value"]),
                headers=[(name, decoded(value)) for name, value in record["headers"]] or None,
                on_delivery=report,
                **more,
            )
            producer.poll(0)
        left = producer.flush(TIMEOUT_S)
        if left:
            raise RuntimeError(f"{left} records not sent in {TIMEOUT_S} s")
        for report in reports:
            if isinstance(report, KafkaError):
                raise KafkaException(report)
        return reports

    def consumer(
        self, topics=None, group=None, assign=None, start="earliest", auto_commit=False, instance=None,
        max_wait_ms=500, max_bytes=None, assignor=None, **more,
    ):  # fmt: skip
        config = {
            "bootstrap.servers": BROKER,
            "group.id": group or f"none-{uuid.uuid4()}",
            "auto.offset.reset": start,
            "enable.auto.commit": auto_commit,
            "fetch.wait.max.ms": max_wait_ms,
            "session.timeout.ms": 10_000,
            "heartbeat.interval.ms": 500,
            "topic.metadata.refresh.interval.ms": 1_000,
            "fetch.message.max.bytes": max_bytes or 1_048_576,
        }
        if instance:
            config["group.instance.id"] = instance
        if assignor:
            config["partition.assignment.strategy"] = assignor
        name = more.get("as", "consumer")
        consumer = Consumer(config)
        self.consumers[name] = consumer
        if assign is not None:
            where = {None: confluent_kafka.OFFSET_BEGINNING}
            consumer.assign([TopicPartition(t, p, where.get(o, o)) for t, p, o in assign])
        else:
            consumer.subscribe(topics)

    def _poll(self, name, most):
        found = []
        for message in self.consumers[name].consume(min(most or 500, 500), 0.1):
            error = message.error()
            if error and error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._PARTITION_EOF):
                continue
            if error:
                raise KafkaException(error)
            found.append(
                record_of(
                    message.topic(), message.partition(), message.offset(), message.timestamp()[1],
                    message.key(), message.value(), message.headers(),
                )  # fmt: skip
            )
        return found

    def consume(self, consumer="consumer", count=None, wait_ms=None):
        return gather(lambda most: self._poll(consumer, most), count, wait_ms)

    def loop(self, consumer="consumer"):
        commit = lambda: self.consumers[consumer].commit(asynchronous=False)
        self.loops[consumer] = Looping(lambda: self._poll(consumer, None), commit, lambda: self._assignment(consumer))

    def looped(self, consumers):
        return [record for name in consumers for record in self.loops[name].records]

    def seek(self, topic, partition, to, consumer="consumer"):
        where = {"earliest": confluent_kafka.OFFSET_BEGINNING, "latest": confluent_kafka.OFFSET_END}
        if isinstance(to, dict):
            times = self.consumers[consumer].offsets_for_times([TopicPartition(topic, partition, to["time"])], TIMEOUT_S)
            to = times[0].offset
        elif isinstance(to, str):
            to = where[to]
        self.consumers[consumer].seek(TopicPartition(topic, partition, to))

    def position(self, topic, partition, consumer="consumer"):
        return self.consumers[consumer].position([TopicPartition(topic, partition)])[0].offset

    def assignment(self, consumer="consumer"):
        return self.loops[consumer].assignment if consumer in self.loops else self._assignment(consumer)

    def _assignment(self, consumer):
        return [{"topic": one.topic, "partition": one.partition} for one in self.consumers[consumer].assignment()]

    def commit(self, offsets=None, consumer="consumer"):
        if offsets is None:
            self.consumers[consumer].commit(asynchronous=False)
            return
        partitions = [TopicPartition(t, p, o, *([m[0]] if m else [])) for t, p, o, *m in offsets]
        for one in self.consumers[consumer].commit(offsets=partitions, asynchronous=False):
            if one.error:
                raise KafkaException(one.error)

    def committed(self, topic, partition, consumer="consumer"):
        one = self.consumers[consumer].committed([TopicPartition(topic, partition)], TIMEOUT_S)[0]
        return None if one.offset < 0 else {"offset": one.offset, "metadata": one.metadata or ""}

    def close(self, consumer="consumer"):
        if consumer in self.loops:
            self.loops[consumer].stop()
        self.consumers.pop(consumer).close()

    def reset(self):
        for name in list(self.consumers):
            self.close(name)
        self.loops = {}

    # --- administration ---

    def _one(self, futures):
        (future,) = futures.values()
        return future.result(TIMEOUT_S)

    def create_topic(self, topic, partitions=1, config=None, replication_factor=1):
        new = admin.NewTopic(topic, partitions, replication_factor, config=config or {})
        self._one(self.admin.create_topics([new]))

    def delete_topic(self, topic):
        self._one(self.admin.delete_topics([topic]))

    def list_topics(self):
        return list(self.admin.list_topics(timeout=TIMEOUT_S).topics)

    def describe_topic(self, topic):
        found = self.admin.describe_topics(confluent_kafka.TopicCollection([topic]))[topic].result(TIMEOUT_S)
        return {"topic": found.name, "partitions": len(found.partitions), "internal": found.is_internal}

    def add_partitions(self, topic, total):
        self._one(self.admin.create_partitions([admin.NewPartitions(topic, total)]))

    def topic_config(self, topic, names):
        found = self._one(self.admin.describe_configs([admin.ConfigResource("topic", topic)]))
        return {name: found[name].value for name in names}

    def alter_topic_config(self, topic, config):
        operations = [
            admin.ConfigEntry(name, value, incremental_operation=admin.AlterConfigOpType.SET)
            for name, value in config.items()
        ]
        resource = admin.ConfigResource("topic", topic, incremental_configs=operations)
        self._one(self.admin.incremental_alter_configs([resource]))

    def list_offsets(self, topic, partition, at):
        specs = {"earliest": admin.OffsetSpec.earliest, "latest": admin.OffsetSpec.latest}
        spec = admin.OffsetSpec.for_timestamp(at) if isinstance(at, int) else specs[at]()
        return self._one(self.admin.list_offsets({TopicPartition(topic, partition): spec})).offset

    def delete_records(self, before):
        futures = self.admin.delete_records([TopicPartition(*one) for one in before])
        return [future.result(TIMEOUT_S).low_watermark for future in futures.values()]

    def list_groups(self):
        return [one.group_id for one in self.admin.list_consumer_groups().result(TIMEOUT_S).valid]

    def describe_group(self, group):
        found = self._one(self.admin.describe_consumer_groups([group]))
        return {"state": found.state.name.title(), "members": len(found.members)}

    def delete_group(self, group):
        self._one(self.admin.delete_consumer_groups([group]))

    def group_offsets(self, group):
        found = self._one(self.admin.list_consumer_group_offsets([confluent_kafka.ConsumerGroupTopicPartitions(group)]))
        rows = sorted((one.topic, one.partition, one.offset, one.metadata or "") for one in found.topic_partitions)
        return [dict(zip(("topic", "partition", "offset", "metadata"), row, strict=True)) for row in rows]

    def alter_group_offsets(self, group, offsets):
        partitions = [TopicPartition(topic, partition, offset) for topic, partition, offset in offsets]
        asked = confluent_kafka.ConsumerGroupTopicPartitions(group, partitions)
        for one in self._one(self.admin.alter_consumer_group_offsets([asked])).topic_partitions:
            if one.error:
                raise KafkaException(one.error)

    def describe_cluster(self):
        found = self.admin.describe_cluster().result(TIMEOUT_S)
        return {"brokers": len(found.nodes), "controller": found.controller.id if found.controller else None}


def code_of(error):
    found = error.args[0] if error.args else None
    return found.code() if isinstance(found, KafkaError) else None


if __name__ == "__main__":
    serve(Client(), code_of)
