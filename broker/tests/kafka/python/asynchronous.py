"""Driver of aiokafka: its event loop on a thread of its own, which the requests' threads hand their calls to."""

import asyncio
import sys
import threading
import uuid

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError
from aiokafka.structs import OffsetAndMetadata
from driving import IDLE_MS, WAIT_MS, NotPossible, Refused, decoded, record_of, serve

BROKER = sys.argv[1]
TIMEOUT_S = 60


class Loop:
    """A consumer that reads, keeps and commits until it is stopped."""

    def __init__(self, consumer):
        self.records = []
        self.task = asyncio.ensure_future(self.run(consumer))

    async def run(self, consumer):
        while True:
            found = await poll(consumer, None)
            if found:
                try:
                    await consumer.commit()
                except KafkaError as error:
                    print(f"commit: {error!r}", file=sys.stderr)
                self.records += found

    async def stop(self):
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


async def poll(consumer, most):
    found = await consumer.getmany(timeout_ms=100, max_records=most)
    return [
        record_of(one.topic, one.partition, one.offset, one.timestamp, one.key, one.value, one.headers)
        for records in found.values()
        for one in records
    ]


class Steps:
    """The steps, on the event loop."""

    def __init__(self):
        self.admin_client = None
        self.consumers = {}
        self.loops = {}
        self.producers = {}

    async def admin(self):
        if not self.admin_client:
            self.admin_client = AIOKafkaAdminClient(bootstrap_servers=BROKER)
            await self.admin_client.start()
        return self.admin_client

    # --- records ---

    async def produce(self, topic, records, compression="none", acks="all", idempotent=False, max_request_bytes=1 << 20):
        if any(value is None for record in records for _, value in record["headers"]):
            raise NotPossible("a header's value cannot be null")
        config = {
            "compression_type": None if compression == "none" else compression,
            "acks": acks if acks == "all" else int(acks),
            "enable_idempotence": idempotent,
            "max_request_size": max_request_bytes,
            "linger_ms": 5,
        }
        key = tuple(sorted(map(str, config.items())))
        if key not in self.producers:
            self.producers[key] = AIOKafkaProducer(bootstrap_servers=BROKER, **config)
            await self.producers[key].start()
        futures = [
            await self.producers[key].send(
                topic,
                key=decoded(record["key"]),
                value=decoded(record["value"]),
                headers=[(name, decoded(value)) for name, value in record["headers"]],
                partition=record.get("partition"),
                timestamp_ms=record.get("timestamp"),
            )
            for record in records
        ]
        done = await asyncio.gather(*futures)
        return [one and {"topic": topic, "partition": one.partition, "offset": one.offset} for one in done]

    async def consumer(
        self, topics=None, group=None, assign=None, start="earliest", auto_commit=False, instance=None,
        max_wait_ms=500, max_bytes=1_048_576, assignor=None, **more,
    ):  # fmt: skip
        if assignor:
            raise NotPossible("no cooperative assignor")
        consumer = AIOKafkaConsumer(
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
        )
        self.consumers[more.get("as", "consumer")] = consumer
        if assign is None:
            consumer.subscribe(topics)
        else:
            consumer.assign([TopicPartition(topic, partition) for topic, partition, _ in assign])
        await consumer.start()
        for topic, partition, offset in assign or []:
            if offset is not None:
                consumer.seek(TopicPartition(topic, partition), offset)

    async def consume(self, consumer="consumer", count=None, wait_ms=None):
        records = []
        clock = asyncio.get_running_loop().time
        wait_s = (wait_ms or (IDLE_MS if count is None else WAIT_MS)) / 1000
        deadline = clock() + wait_s
        while (count is None or len(records) < count) and clock() < deadline:
            found = await poll(self.consumers[consumer], None if count is None else count - len(records))
            records += found
            if found and count is None:
                deadline = clock() + wait_s
        return records

    async def loop(self, consumer="consumer"):
        self.loops[consumer] = Loop(self.consumers[consumer])

    async def looped(self, consumers):
        return [record for name in consumers for record in self.loops[name].records]

    async def seek(self, topic, partition, to, consumer="consumer"):
        one = TopicPartition(topic, partition)
        reader = self.consumers[consumer]
        if isinstance(to, dict):
            to = (await reader.offsets_for_times({one: to["time"]}))[one].offset
        if to == "earliest":
            await reader.seek_to_beginning(one)
        elif to == "latest":
            await reader.seek_to_end(one)
        else:
            reader.seek(one, to)

    async def assignment(self, consumer="consumer"):
        return [{"topic": one.topic, "partition": one.partition} for one in self.consumers[consumer].assignment()]

    async def commit(self, offsets=None, consumer="consumer"):
        if offsets is not None:
            offsets = {TopicPartition(t, p): OffsetAndMetadata(o, m[0] if m else "") for t, p, o, *m in offsets}
        await self.consumers[consumer].commit(offsets)

    async def committed(self, topic, partition, consumer="consumer"):
        group = self.consumers[consumer]._group_id
        one = TopicPartition(topic, partition)
        found = (await (await self.admin()).list_consumer_group_offsets(group, partitions=[one]))[one]
        return None if found.offset < 0 else {"offset": found.offset, "metadata": found.metadata}

    async def close(self, consumer="consumer"):
        if consumer in self.loops:
            await self.loops[consumer].stop()
        await self.consumers.pop(consumer).stop()

    async def reset(self):
        for name in list(self.consumers):
            await self.close(name)
        self.loops = {}

    # --- administration ---

    async def create_topic(self, topic, partitions=1, config=None, replication_factor=1):
        new = NewTopic(topic, partitions, replication_factor, topic_configs=config or {})
        raise_first((await (await self.admin()).create_topics([new])).topic_errors)

    async def delete_topic(self, topic):
        raise_first((await (await self.admin()).delete_topics([topic])).topic_error_codes)

    async def list_topics(self):
        return list(await (await self.admin()).list_topics())

    async def describe_topic(self, topic):
        found = (await (await self.admin()).describe_topics([topic]))[0]
        raise_first([(topic, found["error_code"])])
        return {"topic": found["topic"], "partitions": len(found["partitions"])}

    async def add_partitions(self, topic, total):
        found = await (await self.admin()).create_partitions({topic: NewPartitions(total)})
        raise_first(found.topic_errors)

    async def topic_config(self, topic, names):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = (await (await self.admin()).describe_configs([resource]))[0].resources[0]
        values = {entry[0]: entry[1] for entry in found[4]}
        return {name: values[name] for name in names}

    async def alter_topic_config(self, topic, config):
        if len(config) == 1:
            # The call sets all, so what is to stay is given again.
            config = {**await self.given_config(topic), **config}
        found = await (await self.admin()).alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)])
        raise_first([(one[3], one[0], one[1]) for one in found[0].resources])

    async def given_config(self, topic):
        resource = ConfigResource(ConfigResourceType.TOPIC, topic)
        found = (await (await self.admin()).describe_configs([resource]))[0].resources[0]
        # Name, value, read only, source (1: of this topic), ..
        return {entry[0]: entry[1] for entry in found[4] if entry[3] == 1}

    async def list_offsets(self, topic, partition, at):
        one = TopicPartition(topic, partition)
        consumer = AIOKafkaConsumer(bootstrap_servers=BROKER, group_id=f"none-{uuid.uuid4()}", enable_auto_commit=False)
        await consumer.start()
        try:
            if at == "earliest":
                return (await consumer.beginning_offsets([one]))[one]
            if at == "latest":
                return (await consumer.end_offsets([one]))[one]
            found = (await consumer.offsets_for_times({one: at}))[one]
            return -1 if found is None else found.offset
        finally:
            await consumer.stop()

    async def delete_records(self, before):
        wanted = {TopicPartition(t, p): RecordsToDelete(o) for t, p, o in before}
        found = await (await self.admin()).delete_records(wanted)
        return [found[TopicPartition(t, p)] for t, p, _ in before]

    async def list_groups(self):
        return [one[0] for one in await (await self.admin()).list_consumer_groups()]

    async def describe_group(self, group):
        found = (await (await self.admin()).describe_consumer_groups([group]))[0].groups[0]
        # Error, group, state, protocol type, protocol, members.
        return {"state": found[2], "members": len(found[5])}

    async def delete_group(self, group):
        raise NotPossible("the administration has no deletion of groups")

    async def group_offsets(self, group):
        found = await (await self.admin()).list_consumer_group_offsets(group)
        rows = sorted((one.topic, one.partition, at.offset, at.metadata) for one, at in found.items())
        return [dict(zip(("topic", "partition", "offset", "metadata"), row, strict=True)) for row in rows]

    async def alter_group_offsets(self, group, offsets):
        raise NotPossible("the administration has no setting of offsets")

    async def describe_cluster(self):
        found = await (await self.admin()).describe_cluster()
        return {"brokers": len(found["brokers"]), "controller": found["controller_id"]}


def raise_first(errors):
    for _, code, *says in errors:
        if code:
            raise Refused(code, *says)


class Client:
    """Each step of `Steps`, called from any thread."""

    def __init__(self):
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        self._steps = Steps()

    def __getattr__(self, name):
        step = getattr(self._steps, name)
        return lambda **fields: asyncio.run_coroutine_threadsafe(step(**fields), self._loop).result(TIMEOUT_S)


def code_of(error):
    return error.errno if isinstance(error, KafkaError) and error.errno and error.errno > 0 else None


if __name__ == "__main__":
    serve(Client(), code_of)
