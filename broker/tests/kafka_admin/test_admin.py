"""Administration by real clients of Kafka's: topics, partitions, records and options.

Run by `.ci/kafka-groups -k administers`, beside the groups of real clients; `HEADWATER_PROGRAM` names another program.
"""

import asyncio
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from aiokafka import TopicPartition as AioPartition
from aiokafka.admin import AIOKafkaAdminClient, RecordsToDelete
from aiokafka.admin import NewPartitions as AioNewPartitions
from aiokafka.admin import NewTopic as AioNewTopic
from aiokafka.admin.config_resource import ConfigResource as AioResource
from aiokafka.admin.config_resource import ConfigResourceType as AioResourceType
from confluent_kafka import KafkaException, Producer, TopicPartition, admin
from kafka import TopicPartition as PyPartition
from kafka.admin import AlterConfigOp, KafkaAdminClient
from kafka.admin import ConfigResource as PyResource
from kafka.admin import NewPartitions as PyNewPartitions
from kafka.admin import NewTopic as PyNewTopic
from kafka.errors import InvalidConfigurationError, InvalidReplicationFactorError, TopicAlreadyExistsError

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("HEADWATER_PROGRAM", str(ROOT / "target/debug/headwater"))
#: Generous: what is waited for comes, or the test is stuck.
PATIENCE_S = 90


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"127.0.0.1:{port}"
    command = [PROGRAM, "serve", "--data", str(tmp_path_factory.mktemp("data")), "--listen", address]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            break
        except OSError:
            assert time.monotonic() < deadline, f"no broker at {address}"
            time.sleep(0.05)
    yield address
    process.kill()
    process.wait()


def one(futures):
    [future] = futures.values()
    return future.result(PATIENCE_S)


def refused(futures):
    with pytest.raises(KafkaException) as error:
        one(futures)
    return error.value.args[0].name(), error.value.args[0].str()


def test_confluent_kafka_administers_topics(broker):
    client = admin.AdminClient({"bootstrap.servers": broker})
    new = admin.NewTopic("c-orders", 2, 1, config={"retention.ms": "60000", "segment.bytes": "52428800"})
    one(client.create_topics([new], validate_only=True))
    assert "c-orders" not in client.list_topics(timeout=PATIENCE_S).topics
    one(client.create_topics([new]))
    assert refused(client.create_topics([new]))[0] == "TOPIC_ALREADY_EXISTS"
    assert refused(client.create_topics([admin.NewTopic("c-x", 1, 3)]))[0] == "INVALID_REPLICATION_FACTOR"
    code, said = refused(client.create_topics([admin.NewTopic("c-x", 1, 1, config={"flush.ms": "1"})]))
    assert (code, "flush.ms" in said) == ("INVALID_CONFIG", True)
    one(client.create_partitions([admin.NewPartitions("c-orders", 4)]))
    assert len(client.list_topics("c-orders", timeout=PATIENCE_S).topics["c-orders"].partitions) == 4
    assert refused(client.create_partitions([admin.NewPartitions("c-orders", 3)]))[0] == "INVALID_PARTITIONS"
    producer = Producer({"bootstrap.servers": broker})
    for number in range(10):
        producer.produce("c-orders", str(number), partition=3)
    assert producer.flush(PATIENCE_S) == 0
    assert one(client.delete_records([TopicPartition("c-orders", 3, 4)])).low_watermark == 4
    assert refused(client.delete_records([TopicPartition("c-orders", 3, 11)]))[0] == "OFFSET_OUT_OF_RANGE"
    one(client.delete_topics(["c-orders"]))
    assert refused(client.delete_topics(["c-orders"]))[0] == "UNKNOWN_TOPIC_OR_PART"


def test_confluent_kafka_administers_options(broker):
    client = admin.AdminClient({"bootstrap.servers": broker})
    one(client.create_topics([admin.NewTopic("c-options", 1, 1)]))

    def described(kind="topic", name="c-options"):
        return one(client.describe_configs([admin.ConfigResource(kind, name)]))

    def altered(*changes):
        entries = [admin.ConfigEntry(name, value, incremental_operation=op) for name, op, value in changes]
        resource = admin.ConfigResource("topic", "c-options", incremental_configs=entries)
        return client.incremental_alter_configs([resource])

    kinds = admin.AlterConfigOpType
    found = described()
    assert (found["cleanup.policy"].value, found["cleanup.policy"].is_default) == ("delete", True)
    assert found["retention.ms"].synonyms["log.retention.ms"].value == "604800000"
    one(altered(("retention.ms", kinds.SET, "90000"), ("cleanup.policy", kinds.APPEND, "compact")))
    found = described()
    assert found["cleanup.policy"].value == "compact,delete"
    assert found["retention.ms"].value == "90000"
    assert found["retention.ms"].source == admin.ConfigSource.DYNAMIC_TOPIC_CONFIG.value
    one(altered(("retention.ms", kinds.DELETE, None), ("cleanup.policy", kinds.SUBTRACT, "delete")))
    found = described()
    assert (found["retention.ms"].value, found["cleanup.policy"].value) == ("604800000", "compact")
    assert refused(altered(("compression.type", kinds.SET, "zstd")))[0] == "INVALID_CONFIG"
    assert described("broker", "0")["node.id"].value == "0"


def test_kafka_python_administers_topics_and_options(broker):
    client = KafkaAdminClient(bootstrap_servers=broker)
    new = PyNewTopic("p-orders", 1, 1, topic_configs={"cleanup.policy": "delete", "max.message.bytes": "2048"})
    client.create_topics([new])
    with pytest.raises(TopicAlreadyExistsError):
        client.create_topics([new])
    with pytest.raises(InvalidReplicationFactorError):
        client.create_topics([PyNewTopic("p-x", 1, 2)])
    client.create_partitions({"p-orders": PyNewPartitions(3)})
    [described] = client.describe_topics(["p-orders"])
    assert len(described["partitions"]) == 3
    resource = PyResource("topic", "p-orders")
    assert str(client.describe_configs([resource])).count("2048") > 0
    changes = {"max.message.bytes": (AlterConfigOp.DELETE, None), "retention.ms": (AlterConfigOp.SET, "70000")}
    client.alter_configs([PyResource("topic", "p-orders", changes)])
    found = str(client.describe_configs([resource], config_filter="all"))
    assert ("70000" in found, "1048588" in found, "2048" in found) == (True, True, False)
    with pytest.raises((InvalidConfigurationError, ValueError)):
        answer = client.alter_configs([PyResource("topic", "p-orders", {"flush.ms": "1"})], raise_on_unknown=False)
        # It tells what is refused in its answer.
        assert "INVALID_CONFIG" in str(answer) or "InvalidConfiguration" in str(answer)
        raise InvalidConfigurationError
    deleted = client.delete_records({PyPartition("p-orders", 0): -1})
    assert deleted[PyPartition("p-orders", 0)]["low_watermark"] == 0
    client.delete_topics(["p-orders"])
    assert "p-orders" not in client.list_topics()
    client.close()


def test_aiokafka_administers_topics_and_options(broker):
    async def administer():
        client = AIOKafkaAdminClient(bootstrap_servers=broker)
        await client.start()
        made = await client.create_topics([AioNewTopic("a-orders", 1, 1, topic_configs={"retention.ms": "81234"})])
        assert made.topic_errors[0][1] == 0
        again = await client.create_topics([AioNewTopic("a-orders", 1, 1)])
        assert again.topic_errors[0][1] == 36
        await client.create_partitions({"a-orders": AioNewPartitions(2)})
        [topic] = await client.describe_topics(["a-orders"])
        assert len(topic["partitions"]) == 2
        resource = AioResource(AioResourceType.TOPIC, "a-orders")
        [described] = await client.describe_configs([resource])
        assert "81234" in str(described.to_object())
        changed = AioResource(AioResourceType.TOPIC, "a-orders", {"max.message.bytes": "4096"})
        [altered] = await client.alter_configs([changed])
        assert altered.to_object()["resources"][0]["error_code"] == 0
        [described] = await client.describe_configs([resource])
        # All that was not named is the broker's to say again.
        assert ("4096" in str(described.to_object()), "81234" in str(described.to_object())) == (True, False)
        place = AioPartition("a-orders", 0)
        assert await client.delete_records({place: RecordsToDelete(before_offset=0)}) == {place: 0}
        gone = await client.delete_topics(["a-orders", "a-nothing"])
        assert [code for _, code in gone.topic_error_codes] == [0, 3]
        await client.close()

    asyncio.run(administer())
