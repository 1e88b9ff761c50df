"""The budgets that design sets itself, those of them that this measures, checked against the medians of a run.

What is not here is measured elsewhere: encoding and decoding by `cargo bench -p headwater --bench record`, many
partitions in equal batches, cold reads and openings by `.ci/bench --log`.
"""

from dataclasses import dataclass
from typing import Callable

ECHO = "floor: echo on loopback"
SYNC = "floor: fdatasync of 4 KiB"


@dataclass(frozen=True)
class Budget:
    """What a figure of a measurement may be: at least or at most what `limit` makes of all medians."""

    name: str
    figure: str
    text: str
    limit: Callable
    is_least: bool

    def verdict(self, medians):
        """`met` or `missed by x %`, or None if what it needs was not measured."""
        try:
            found, limit = medians[self.name][self.figure], self.limit(medians)
        except KeyError:
            return None
        if found is None:
            return None
        ratio = found / limit if self.is_least else limit / found
        return "met" if ratio >= 1 else f"missed by {1 - ratio if self.is_least else found / limit - 1:.0%}"


def at_least(name, figure, value, text):
    return Budget(name, figure, f">= {text}", lambda _: value, True)


def at_most(name, figure, value, text):
    return Budget(name, figure, f"<= {text}", lambda _: value, False)


def share(name, least, of):
    text = f">= {least:.0%} of {of.split(': ')[1]}"
    return Budget(name, "records_per_s", text, lambda medians: least * medians[of]["records_per_s"], True)


def in_flight(name, floors):
    """One record in flight through the broker: what cannot be done without, and a little."""
    floor = lambda medians, figure: sum(medians[name][figure] for name in floors)
    p50 = Budget(name, "p50_us", "p50 <= floor + 25 us", lambda medians: floor(medians, "p50_us") + 25, False)
    limit = lambda medians: 2 * floor(medians, "p99_us") + 100
    return [p50, Budget(name, "p99_us", "p99 <= 2 x floor + 100 us", limit, False)]


def start_and_memory(name):
    return [
        at_most(name, "start_ms", 15, "15 ms to the first answer"),
        at_most(name, "idle_mb", 15, "15 MB idle"),
        at_most(name, "after_mb", 50, "50 MB after 500,000 records"),
    ]


BUDGETS = [
    at_least("in process, os: in, 100 B", "records_per_s", 6e6, "6 M/s"),
    share("in process, os: in, 100 B", 0.7, "floor: plain file, 100 B"),
    at_least("in process, disk: in, 100 B", "records_per_s", 2.9e6, "2.9 M/s"),
    share("in process, disk: in, 1,000 partitions", 0.8, "in process, disk: in, 100 B"),
    at_least("in process, os: out, 100 B", "records_per_s", 12e6, "12 M/s"),
    at_most("in process, os: one in flight", "p50_us", 5, "p50 5 us"),
    at_most("in process, os: one in flight", "p99_us", 50, "p99 50 us"),
    Budget(
        "in process, disk: one in flight",
        "p50_us",
        "p50 <= fdatasync + 10 us",
        lambda medians: medians[SYNC]["p50_us"] + 10,
        False,
    ),
    at_least("broker, os: in, 100 B", "records_per_s", 3e6, "3 M/s"),
    at_most("broker, os: in, 100 B", "cpu_us", 0.4, "0.4 us CPU a record"),
    at_least("broker, os: out, 100 B", "records_per_s", 5e6, "5 M/s"),
    at_most("broker, os: out, 100 B", "cpu_us", 0.4, "0.4 us CPU a record"),
    at_least("broker, disk: in, 100 B", "records_per_s", 2e6, "2 M/s"),
    at_least("broker, os: in, 1 KiB", "records_per_s", 1.2e6, "1.2 M/s"),
    at_least("broker, os: out, 1 KiB", "records_per_s", 2e6, "2 M/s"),
    share("broker, os: in, 1,000 connections", 0.8, "broker, os: in, 100 B"),
    share("broker, os: in, 100 a batch, 1,000 connections", 0.8, "broker, os: in, 100 a batch"),
    *in_flight("broker, os: one in flight", [ECHO]),
    *in_flight("broker, disk: one in flight", [ECHO, SYNC]),
    at_most("in process, os: end to end", "p50_us", 15, "p50 15 us"),
    at_most("in process, os: end to end", "p99_us", 100, "p99 100 us"),
    at_most("broker, os: end to end", "p50_us", 80, "p50 80 us"),
    at_most("broker, os: end to end", "p99_us", 1_000, "p99 1 ms"),
    *start_and_memory("broker, os: start and memory"),
]
