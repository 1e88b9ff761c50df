"""bench-peers: the same clients of Kafka against our broker and against Apache Kafka, one server at a time, in turns.

Each is measured as it is by default, and at the other's durability. Ours by default acknowledges what is synced
(`disk`); Apache Kafka what the operating system has, so that it stands beside our `os`; with `flush.messages=1` it syncs
as well. The clients: librdkafka (confluent-kafka), and Apache Kafka's own kafka-producer-perf-test and
kafka-consumer-perf-test; acks=all, one partition, no compression. Of the server: processor time, memory, and how long it
takes to answer after its start. Prints the median of N runs; results.json lies in .cache/kafka/peers.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys

from . import ROOT, SUITE, WORK, install
from .brokers import TARGET, ApacheKafka, Headwater

RESULTS = WORK / "peers" / "results.json"
SIZES = (100, 1024)
TIMEOUT_S = 300
TICKS = os.sysconf("SC_CLK_TCK")


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


SYSTEMS = {
    "Headwater, disk (its default)": Ours,
    "Apache Kafka, synced": ApacheSynced,
    "Headwater, os": OursAtOs,
    "Apache Kafka (its default)": Apache,
}


def main():
    args = arguments()
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
    RESULTS.write_text(json.dumps({"settings": settings, "results": results}, indent=1))
    report(results)
    print(f"\nmedians of {args.runs} runs{' (--quick: not to be quoted)' * args.quick}; {RESULTS.relative_to(ROOT)}")


def arguments():
    parser = argparse.ArgumentParser(prog=".ci/bench-peers", description=__doc__.split("\n\n")[0])
    parser.add_argument("--quick", action="store_true", help="a hundredth of the data: to see that it works")
    parser.add_argument("--runs", type=int, default=3, help="how often each is measured (default 3)")
    parser.add_argument("--only", metavar="TEXT", default="", help="only systems with this in their name")
    return parser.parse_args()


def measure(system, scale):
    """Yields `(work, {unit: number})`, on a server of its own."""
    with system() as server:
        pid = server.process.pid
        yield "start", {"ms": server.start_ms, "MiB": resident(pid)}
        for size in SIZES:
            many, few = (1_000_000 if size == 100 else 300_000) // scale, 2_000 // scale
            topic = f"load-{size}"
            server.create(topic)
            works = [
                (f"librdkafka, {size} B: produce", lambda: load(server, "produce", topic, many, size)),
                (f"librdkafka, {size} B: consume", lambda: load(server, "consume", topic, many, size)),
                (f"librdkafka, {size} B: one in flight", lambda: load(server, "one", topic, few, size)),
                (f"perf-test, {size} B: produce", lambda: perf_produce(server, topic, many, size)),
                (f"perf-test, {size} B: consume", lambda: perf_consume(server, topic, many)),
            ]
            for name, work in works:
                before = processor_s(pid)
                found = work()
                yield name, {**found, "server CPU s": processor_s(pid) - before}
        yield "memory at the end", {"MiB": resident(pid)}


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


def processor_s(pid):
    # After the name, which may hold anything but a closing bracket at its end: fields 14 and 15 of all.
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def resident(pid):
    status = pathlib.Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) / 1024


def report(results):
    for work, systems in results.items():
        print(f"\n{work}")
        for name, runs in systems.items():
            units = [f"{statistics.median(run[unit] for run in runs):>12,.1f} {unit}" for unit in runs[0]]
            print(f"  {name:32}{' '.join(units)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except (RuntimeError, subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        sys.exit(f"error: {error}")
