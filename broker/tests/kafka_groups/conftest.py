"""A broker, members that are processes, and what they say."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = os.environ.get("HEADWATER_PROGRAM", str(ROOT / "target/debug/headwater"))
#: Generous: what is waited for comes, or the test is stuck.
PATIENCE_S = 90


def eventually(holds, what):
    """Waits until it holds; what it returned last is told if it never does."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        found = holds()
        if found:
            return found
        assert time.monotonic() < deadline, f"never: {what()}"
        time.sleep(0.05)


class Broker:
    """The program, serving a folder on one port."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.address = f"127.0.0.1:{self.port}"
        self.process = None
        self.start()

    def start(self):
        command = [PROGRAM, "serve", "--data", str(self.folder), "--listen", self.address]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(self.is_there, lambda: f"a broker at {self.address}")

    def is_there(self):
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self):
        self.process.kill()
        self.process.wait()

    def create(self, topic, partitions):
        admin = AdminClient({"bootstrap.servers": self.address})
        try:
            admin.create_topics([NewTopic(topic, partitions)])[topic].result(30)
        except Exception:  # noqa: BLE001 - the API may not be spoken yet
            self.run("topic", "create", topic, "--partitions", str(partitions))

    def run(self, *arguments):
        command = [PROGRAM, *arguments, "--address", self.address]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=PATIENCE_S)
        assert done.returncode == 0, done
        return done.stdout

    def produce(self, topic, partitions, count):
        """So many records to each partition."""
        producer = Producer({"bootstrap.servers": self.address})
        for number in range(count):
            for partition in range(partitions):
                producer.produce(topic, f"value {number}", partition=partition)
            producer.poll(0)
        assert producer.flush(PATIENCE_S) == 0

    def committed(self, group, topic, partitions):
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group})
        places = [TopicPartition(topic, number) for number in range(partitions)]
        found = [it.offset for it in consumer.committed(places, 30)]
        consumer.close()
        return found


class Member:
    """One process, and what it has said."""

    def __init__(self, broker, client, group="g", topic="t", assignor="range", instance=""):
        command = [sys.executable, str(Path(__file__).with_name("member.py")), client]
        command += [broker.address, group, topic, assignor, instance]
        self.said = []
        self.is_cooperative = assignor == "cooperative-sticky"
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def signal(self, number):
        self.process.send_signal(number)

    def leave(self):
        self.signal(signal.SIGTERM)
        self.process.wait(PATIENCE_S)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def holds(self):
        """The partitions it has by now."""
        held = set()
        for said in list(self.said):
            if said["what"] == "assigned":
                own = set(said["partitions"])
                held = held | own if self.is_cooperative else own
            elif said["what"] in ("revoked", "lost"):
                held -= set(said["partitions"])
        return held

    def count(self, what):
        return sum(said["what"] == what for said in list(self.said))

    def records(self):
        return [(it["partition"], it["offset"]) for it in list(self.said) if it["what"] == "record"]


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path / "folder")
    yield broker
    broker.kill()


@pytest.fixture
def member(broker):
    members = []

    def start(client, **kwargs):
        members.append(Member(broker, client, **kwargs))
        return members[-1]

    yield start
    for member in members:
        if member.process.poll() is None:
            member.kill()
