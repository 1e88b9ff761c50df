"""Driver of kafka-python."""

import re
import sys
import threading

from driving import Looping, NotPossible, Refused, decoded, gather, record_of, serve
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition, errors
from kafka.admin import ConfigResource, ConfigResourceType, NewPartitions, NewTopic, OffsetSpec
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor
from kafka.errors import KafkaError, for_code

BROKER = sys.argv[1]
TIMEOUT_S = 20


class Client:
    def __init__(self):
        self._admin = None
        self.lock = threading.RLock()
        self.consumers = {}
        self.loops = {}
        self.producers = {}

    @property
    def admin(self):
        with self.lock:
            self._admin = self._admin or KafkaAdminClient(bootstrap_servers=BROKER)
            return self._admin

    # --- records ---

    def produce(self, topic, records, compression="none", acks="all", idempotent=False, max_request_bytes=1_048_576):
        config = {
            "compression_type": None if compression == "none" else compression,
            "acks": acks if acks == "all" else int(acks),
            "enable_idempotence": idempotent,
            "max_request_size": max_request_bytes,
            "linger_ms": 5,
        }
        key = tuple(sorted(map(str, config.items())))
        with self.lock:
            if key not in self.producers:
                self.producers[key] = KafkaProducer(bootstrap_servers=BROKER, **config)
        if any(value is None for record in records for _, value in record["headers"]):
            raise NotPossible("a header's value cannot be null")
        futures = [
            self.producers[key].send(
                topic,
                key=decoded(record["key"]),
                value=decoded(record["value"]),
                headers=[(name, decoded(value)) for name, value in record["headers"]],
                partition=record.get("partition"),
                timestamp_ms=record.get("timestamp"),
            )
            for record in records
        ]
        self.producers[key].flush(TIMEOUT_S)
        done = [future.get(TIMEOUT_S) for future in futures]
        return [{"topic": topic, "partition": one.partition, "offset": one.offset} for one in done]

    def consumer(
        self, topics=None, group=None, assign=None, start="earliest", auto_commit=False, instance=None,
        max_wait_ms=500, max_bytes=1_048_576, assignor=None, **more,
    ):  # fmt: skip
        assignors = [RangePartitionAssignor]
        if assignor == "cooperative-sticky":
            assignors = [CooperativeStickyAssignor]
        consumer = KafkaConsumer(
            bootstrap_servers=BROKER,
            group_id=group,
            group_instance_id=instance,
            auto_offset_reset=start,
            enable_auto_commit=auto_commit,
            fetch_max_wait_ms=max_wait_ms,
            max_partition_fetch_bytes=max_bytes,
            metadata_max_age_ms=1_000,
            session_timeout_ms=10_000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=assignors,
        )
        self.consumers[more.get("as", "consumer")] = consumer
        if assign is None:
            consumer.subscribe(topics)
            # kafka-python 3.0.12 forgets a join when its poll ends between the leader's assignment and the answer to it,
            # if what made it join was that it had not known the topic's partitions before: it has no partition from
            # then on and says nothing. A leader that knows them does not join again.
            for topic in topics:
                consumer.partitions_for_topic(topic)
            return
        consumer.assign([TopicPartition(topic, partition) for topic, partition, _ in assign])
        for topic, partition, offset in assign:
            if offset is not None:
                consumer.seek(TopicPartition(topic, partition), offset)

    def _poll(self, name, most):
        found = self.consumers[name].poll(timeout_ms=100, max_records=most)
        return [
            record_of(one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)
            for records in found.values()
            for one in records
        ]

    def consume(self, consumer="consumer", count=None, wait_ms=None):
        return gather(lambda most: self._poll(consumer, most), count, wait_ms)

    def loop(self, consumer="consumer"):
        commit = self.consumers[consumer].commit
        self.loops[consumer] = Looping(lambda: self._poll(consumer, None), commit, lambda: self._assignment(consumer))

    def looped(self, consumers):
        return [record for name in consumers for record in self.loops[name].records]

    def seek(self, topic, partition, to, consumer="consumer"):
        one = TopicPartition(topic, partition)
        reader = self.consumers[consumer]
        if isinstance(to, dict):
            to = reader.offsets_for_times({one: to["time"]})[one].offset
        if to == "earliest":
            reader.seek_to_beginning(one)
        elif to == "latest":
            reader.seek_to_end(one)
        else:
            reader.seek(one, to)

    def position(self, topic, partition, consumer="consumer"):
        return self.consumers[consumer].position(TopicPartition(topic, partition))

    def assignment(self, consumer="consumer"):
        return self.loops[consumer].assignment if consumer in self.loops else self._assignment(consumer)

    def _assignment(self, consumer):
        return [{"topic": one.topic, "partition": one.partition} for one in self.consumers[consumer].assignment()]

    def commit(self, offsets=None, consumer="consumer"):
        if offsets is not None:
            offsets = {TopicPartition(t, p): OffsetAndMetadata(o, m[0] if m else "", -1) for t, p, o, *m in offsets}
        self.consumers[consumer].commit(offsets)

    def committed(self, topic, partition, consumer="consumer"):
        found = self.consumers[consumer].committed(TopicPartition(topic, partition), metadata=True)
        return None if found is None or found.offset < 0 else {"offset": found.offset, "metadata": found.metadata}

    def close(self, consumer="consumer"):
        if consumer in self.loops:
            self.loops[consumer].stop()
        self.consumers.pop(consumer).close()

    def reset(self):
        for name in list(self.consumers):
            self.close(name)
        self.loops = {}

    # --- administration ---

    def create_topic(self, topic, partitions=1, config=None, replication_factor=1):
        new = NewTopic(topic, partitions, replication_factor, topic_configs=config or {})
        self.admin.create_topics([new])

    def delete_topic(self, topic):
        self.admin.delete_topics([topic])

    def list_topics(self):
        return list(self.admin.list_topics())

    def describe_topic(self, topic):
        found = self.admin.describe_topics([topic])[0]
        if found["error_code"]:
            raise for_code(found["error_code"])
        return {"topic": found["name"], "partitions": len(found["partitions"])}

    def add_partitions(self, topic, total):
        self.admin.create_partitions({topic: NewPartitions(total)})

    def topic_config(self, topic, names):
        found = self.admin.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
        return {name: found["topic"][topic][name]["value"] for name in names}

    def alter_topic_config(self, topic, config):
        said = self.admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)])
        if said["topic"][topic] != "OK":
            # A text, which begins with the number.
            raise Refused(int(re.search(r"\d+", said["topic"][topic])[0]), said["topic"][topic])

    def list_offsets(self, topic, partition, at):
        one = TopicPartition(topic, partition)
        spec = at if isinstance(at, int) else {"earliest": OffsetSpec.EARLIEST, "latest": OffsetSpec.LATEST}[at]
        return self.admin.list_partition_offsets({one: spec})[one].offset

    def delete_records(self, before):
        found = self.admin.delete_records({TopicPartition(t, p): o for t, p, o in before})
        return [found[TopicPartition(t, p)]["low_watermark"] for t, p, _ in before]

    def list_groups(self):
        return [one["group_id"] for one in self.admin.list_groups()]

    def describe_group(self, group):
        found = self.admin.describe_groups([group])[group]
        return {"state": found["group_state"], "members": len(found["members"])}

    def delete_group(self, group):
        said = self.admin.delete_groups([group])[group]
        if said != "OK":
            raise getattr(errors, said)()

    def group_offsets(self, group):
        found = self.admin.list_group_offsets(group)
        found = found.get(group, found)
        rows = sorted((one.topic, one.partition, at.offset, at.metadata) for one, at in found.items())
        return [dict(zip(("topic", "partition", "offset", "metadata"), row, strict=True)) for row in rows]

    def alter_group_offsets(self, group, offsets):
        wanted = {TopicPartition(t, p): OffsetAndMetadata(o, "", -1) for t, p, o in offsets}
        for error in self.admin.alter_group_offsets(group, wanted).values():
            if error.errno:
                raise error

    def describe_cluster(self):
        found = self.admin.describe_cluster()
        return {"brokers": len(found["brokers"]), "controller": found["controller_id"]}


def code_of(error):
    return error.errno if isinstance(error, KafkaError) and error.errno > 0 else None


if __name__ == "__main__":
    serve(Client(), code_of)
