"""Who is tested: `headwater serve`, or one node of Apache Kafka, on free ports of loopback and in a folder of its own."""

import os
import shutil
import socket
import subprocess
import time

from . import ROOT, WORK, install

START_TIMEOUT_S = 60
STOP_TIMEOUT_S = 30
TARGET = ROOT / os.environ.get("CARGO_TARGET_DIR", "target")


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Broker:
    """A server, from entering the context to leaving it."""

    name = ""

    def __init__(self, folder=None):
        self.folder = folder or WORK / f"broker-{self.name}-{os.getpid()}"
        self.process = None
        self.port = None
        self.start_ms = None

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def __enter__(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.port = free_port()
        self.prepare()
        with open(self.folder / "log", "wb") as log:
            begun = time.perf_counter()
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            self.await_answer(begun + START_TIMEOUT_S)
        except BaseException:
            self.__exit__()
            raise
        self.start_ms = (time.perf_counter() - begun) * 1e3
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        # What it said is worth keeping, its data is not.
        shutil.copy(self.folder / "log", WORK / f"{self.name}.log")
        shutil.rmtree(self.folder, ignore_errors=True)

    def prepare(self):
        pass

    def await_answer(self, deadline):
        """Until it answers Kafka's ApiVersions, so that who comes next is served."""
        while True:
            if self.process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.said()}")
            if time.perf_counter() > deadline:
                raise RuntimeError(f"{self.name} does not answer ApiVersions in {START_TIMEOUT_S} s:\n{self.said()}")
            if answers(self.port):
                return
            time.sleep(0.002)

    def said(self):
        return (self.folder / "log").read_text(errors="replace")[-3000:]


# ApiVersions, version 0, correlation id 1, no client id.
API_VERSIONS = bytes.fromhex("0000000a" "0012" "0000" "00000001" "ffff")


def answers(port):
    try:
        with socket.create_connection(("127.0.0.1", port), 2) as one:
            one.settimeout(5)
            one.sendall(API_VERSIONS)
            return len(one.recv(8)) == 8
    except OSError:
        return False


class Headwater(Broker):
    """As it is by default, but that topics are created as they are used, as Apache Kafka does by default."""

    name = "headwater"
    options = ("--set", "auto_create_topics=true")

    def command(self):
        return [self.program, "serve", "--data", self.folder / "data", "--listen", self.address, *self.options]

    def prepare(self):
        """HEADWATER_PROGRAM: a broker that is built already."""
        self.program = os.environ.get("HEADWATER_PROGRAM")
        if not self.program:
            command = ["cargo", "build", "--locked", "--quiet", "-p", "headwater-broker", "--bin", "headwater"]
            subprocess.run(command, cwd=ROOT, check=True)
            self.program = TARGET / "debug" / "headwater"


class ApacheKafka(Broker):
    """One node of Apache Kafka: broker and controller, KRaft."""

    name = "apache"
    heap = "512m"
    properties = {}

    def prepare(self):
        self.jars = f"{install.jars()}/*"
        controller = free_port()
        listeners = f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}"
        properties = {
            "process.roles": "broker,controller",
            "node.id": 0,
            "controller.quorum.voters": f"0@127.0.0.1:{controller}",
            "listeners": listeners,
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self.folder / "data",
            # One node: what is kept three times by default has one place here, in few partitions.
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 2,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 2,
            "group.initial.rebalance.delay.ms": 0,
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            **self.properties,
        }
        self.config = self.folder / "server.properties"
        self.config.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        # Kafka's ids are uuids in base64, in the alphabet for addresses.
        cluster = "headwaterConformance__"[:22]
        install.run(self.java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", self.config))

    def command(self):
        return self.java("kafka.Kafka", self.config)

    def java(self, main, *arguments):
        heap = [f"-Xmx{self.heap}", "-XX:+UseSerialGC"]
        log = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        return ["java", *heap, *log, "-cp", self.jars, main, *map(str, arguments)]


BROKERS = {"headwater": Headwater, "apache": ApacheKafka}
