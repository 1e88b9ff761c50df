"""The clients: by which name, in which version, and how the driver of each is started."""

import dataclasses
import re
from collections.abc import Callable

from . import ROOT, SUITE, install


@dataclasses.dataclass(frozen=True)
class Client:
    name: str
    # What is tested, for the table.
    title: str
    # Command and environment of the driver, which takes the broker's address as its last argument; None for programs.
    start: Callable | None
    # Light: no compiler and no JVM; these run in `make test`.
    is_light: bool = False
    # The scenarios of `programs.yaml` are run as a person would, in a shell: these are the programs.
    programs: Callable | None = None


def python(program):
    return lambda: ([str(install.python()), str(SUITE / "python" / program)], {})


def node(program):
    return lambda: (["node", str(install.node() / program)], {})


def java():
    log = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    return ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", log, "-cp", install.java_driver(), "Driver"], {}


def pinned(path, pattern):
    """A version, as the file that pins it says."""
    return re.search(pattern, (ROOT / path).read_text())[1]


def python_version(package):
    return pinned("broker/tests/kafka/python/requirements.txt", rf"(?m)^{package}==(.+)$")


def node_version(package):
    return pinned("broker/tests/kafka/node/package.json", rf'"{package}": "(.+)"')


APACHE = pinned(".ci/kafka-pom.xml", r"<artifactId>kafka-tools</artifactId>\s*<version>(.+)</version>")

CLIENTS = [
    Client("confluent", f"librdkafka (confluent-kafka {python_version('confluent-kafka')})", python("confluent.py"), True),
    Client("aiokafka", f"aiokafka {python_version('aiokafka')}", python("asynchronous.py"), True),
    Client("kafka-python", f"kafka-python {python_version('kafka-python')}", python("pure.py"), True),
    Client("kafkajs", f"kafkajs {node_version('kafkajs')}", node("kafkajs.mjs"), True),
    Client("platformatic", f"@platformatic/kafka {node_version('@platformatic/kafka')}", node("platformatic.mjs"), True),
    Client("java", f"kafka-clients {APACHE} (Java)", java),
    Client(
        "franz-go",
        f"franz-go {pinned('broker/tests/kafka/go/go.mod', r'twmb/franz-go v([0-9.]+)')}",
        lambda: ([str(install.go_driver())], {}),
    ),
    Client(
        "rskafka",
        f"rskafka {pinned('broker/tests/kafka/rust/Cargo.toml', r'rskafka = .*?=([0-9.]+)')}",
        lambda: ([str(install.rust_driver())], {}),
    ),
    Client("kcat", "kcat", None, True, programs=lambda: install.kcat_programs()),
    Client("tools", f"Apache Kafka's tools {APACHE}", None, programs=lambda: install.apache_programs()),
]
