"""bench-peers: the same clients of Kafka against our broker and others that speak its protocol, one at a time, in turns.

Each is measured as it is by default, and at the other's durability. Ours by default acknowledges what is synced
(`disk`); Apache Kafka what the operating system has, so that it stands beside our `os`; with `flush.messages=1` it syncs
as well. The cluster that librdkafka simulates for tests keeps 5 MB of a partition in memory, so that it is asked for
less. The clients: librdkafka (confluent-kafka), and Apache Kafka's own kafka-producer-perf-test and
kafka-consumer-perf-test; acks=all, one partition, no compression. Of the server: processor time, memory, and how long it
takes to answer after its start. Prints the median of N runs and how it stands to what we want; results.json and a
drawing (peers.svg) lie in .cache/kafka/peers.
"""

import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import time

from measure.watch import watched

from . import ROOT, SUITE, WORK, install, peers_report
from .brokers import TARGET, ApacheKafka, Broker, Headwater

RESULTS, DRAWING = WORK / "peers" / "results.json", WORK / "peers" / "peers.svg"
SIZES = (100, 1024)
SMALL_BYTES = 3_000_000
TIMEOUT_S = 300
CPU_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


class Ours(Headwater):
    """The release build; topics are made by our own command, which says their durability."""

    durability = "disk"

    options = ()

    def prepare(self):
        self.program = TARGET / "release" / "headwater"

    def create(self, topic):
        command = [self.program, "--quiet", "--address", self.address, "topic", "create", topic]
        subprocess.run([*command, "--config", f"durability={self.durability}"], check=True)


class OursAtOs(Ours):
    durability = "os"


class Apache(ApacheKafka):
    """With the heap of its own start script."""

    heap = "1g"
    config_of_topics = ()

    def create(self, topic):
        given = [word for one in self.config_of_topics for word in ("--config", one)]
        tool(self, "kafka-topics", "--create", "--topic", topic, "--partitions", "1", *given)


class ApacheSynced(Apache):
    config_of_topics = ("flush.messages=1",)


class Mock(Broker):
    """The cluster librdkafka simulates, in a process of its own, as a test suite would have it."""

    name = "librdkafka-mock"
    keeps_all = False

    def command(self):
        return [install.python(), SUITE / "python" / "mock.py"]

    def await_answer(self, deadline):
        while not (found := re.search(r"^127\.0\.0\.1:(\d+)$", self.said(), re.MULTILINE)):
            if self.process.poll() is not None or time.perf_counter() > deadline:
                raise RuntimeError(f"librdkafka's mock cluster does not start:\n{self.said()}")
            time.sleep(0.002)
        self.port = int(found[1])

    def create(self, topic):
        """A topic is there as soon as one names it."""


# Those at like durability beside one another.
SYSTEMS = {
    peers_report.DISK: Ours,
    peers_report.SYNCED: ApacheSynced,
    peers_report.OS: OursAtOs,
    peers_report.APACHE: Apache,
    peers_report.MOCK: Mock,
}


def main():
    args = arguments()
    if not any(args.only in name for name in SYSTEMS):
        sys.exit(f"error: no system has `{args.only}` in its name; there are {', '.join(SYSTEMS)}")
    subprocess.run(["cargo", "build", "--locked", "--release", "-p", "headwater-broker", "--bin", "headwater"], cwd=ROOT, check=True)
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    results = {}
    for run in range(args.runs):
        for name, system in SYSTEMS.items():
            if args.only in name:
                print(f"run {run + 1}/{args.runs}: {name}", file=sys.stderr)
                for work, found in measure(system, 100 if args.quick else 1):
                    results.setdefault(work, {}).setdefault(name, []).append(found)
    settings = {"runs": args.runs, "quick": args.quick, "only": args.only, "processors": os.cpu_count()}
    found = {"settings": settings, "results": results}
    RESULTS.write_text(json.dumps(found, indent=1))
    title = f"Clients of Kafka, medians of {args.runs} runs{' (--quick: not to be quoted)' * args.quick}"
    DRAWING.write_text(peers_report.drawn(results, title))
    if args.json:
        return print(json.dumps(found))
    print("\n".join(peers_report.lines(results)))
    print(f"\n{title}; {RESULTS.relative_to(ROOT)}, {DRAWING.relative_to(ROOT)}")


def arguments():
    parser = argparse.ArgumentParser(prog=".ci/bench-peers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a hundredth of the data: to see that it works")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--json", action="store_true", help="print what results.json has instead of the tables")
    parser.add_argument("--only", metavar="TEXT", default="", help="only systems with this in their name")
    return parser.parse_args()


def measure(system, scale):
    """Yields `(work, {unit: number})`, on a server of its own."""
    with system() as server:
        pid = server.process.pid
        yield "start", {"ms": server.start_ms, "MiB": resident(pid)}
        for size in SIZES:
            for name, records, work in works(server, size, scale):
                # What the last one left to be written is not this one's.
                os.sync()
                found = watched(work, pid)
                found[peers_report.PER_CPU] = records / max(found["server_cpu_s"], CPU_TICK_S)
                yield name, found
        yield "memory at the end", {"MiB": resident(pid)}


def works(server, size, scale):
    """What is done with records of a size: `(name, records, function)`."""
    many, few, small = (1_000_000 if size == 100 else 300_000) // scale, 2_000 // scale, SMALL_BYTES // size // scale
    topic, again = f"load-{size}", f"again-{size}"
    server.create(topic)
    server.create(again)
    yield f"librdkafka, {size} B: produce", many, lambda: load(server, "produce", topic, many, size)
    yield f"librdkafka, {size} B: one in flight", few, lambda: load(server, "one", topic, few, size)
    load(server, "produce", again, small, size)
    yield f"librdkafka, {size} B: 3 MB ten times", 10 * small, lambda: load(server, "again", again, small, size)
    if getattr(server, "keeps_all", True):
        yield f"librdkafka, {size} B: consume", many, lambda: load(server, "consume", topic, many, size)
        yield f"perf-test, {size} B: produce", many, lambda: perf_produce(server, topic, many, size)
        yield f"perf-test, {size} B: consume", many, lambda: perf_consume(server, topic, many)


def load(server, work, topic, records, size):
    command = [install.python(), SUITE / "python" / "load.py", server.address, work, topic, str(records), str(size)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=TIMEOUT_S).stdout)


def tool(server, name, *arguments):
    programs, _ = install.apache_programs()
    command = [*programs(name), "--bootstrap-server", server.address, *arguments]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_S)
    if done.returncode != 0:
        raise RuntimeError(f"{name} ended with {done.returncode}: {(done.stderr + done.stdout)[-1000:]}")
    return done.stdout


def perf_produce(server, topic, records, size):
    words = ["--topic", topic, "--num-records", str(records), "--record-size", str(size), "--throughput", "-1"]
    said = tool(server, "kafka-producer-perf-test", *words, "--command-property", "acks=all")
    last = said.strip().splitlines()[-1]
    rate = re.search(r"([\d.]+) records/sec", last)[1]
    parts = {at: ms for ms, at in re.findall(r"(\d+) ms ([\d.]+)th", last)}
    return {"records_per_s": float(rate), "p50_us": 1000 * float(parts["50"]), "p99_us": 1000 * float(parts["99"])}


def perf_consume(server, topic, records):
    said = tool(server, "kafka-consumer-perf-test", "--topic", topic, "--num-records", str(records))
    names, numbers = ([word.strip() for word in line.split(",")] for line in said.strip().splitlines()[-2:])
    return {"records_per_s": float(dict(zip(names, numbers, strict=True))["nMsg.sec"])}


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.exit(f"error: {error}")
