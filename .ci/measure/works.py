"""The work: what each system and each floor is asked for, and how much of it."""

import time
from dataclasses import dataclass

from . import WORK
from .systems import LEVELS, PEERS, SYSTEMS, InProcess, Peer, run, settle
from .watch import resident_mb, watched

BATCH_RECORDS = 1_000
RATE = 1_000
MANY = 1_000
MEMORY_RECORDS = 500_000
SMALL_BATCH_RECORDS = 100
# Over many connections each has one batch of a peer on its way.
PEER_BATCH_OF_MANY = SMALL_BATCH_RECORDS


@dataclass(frozen=True)
class Work:
    """One work; `kind` is what `headwater bench` calls it."""

    name: str
    kind: str
    size: int = 100
    partitions: int = 1
    connections: int = 1
    batch: int = BATCH_RECORDS
    levels: tuple = LEVELS
    needs_server: bool = False

    def records(self, system, scale):
        """At least 1 GB for Headwater; others are slower, and as much as takes about as long tells the same."""
        if self.kind == "latency":
            return 20_000 // scale if system.level == "os" else 3_000 // min(scale, 30)
        if self.kind == "end-to-end":
            return RATE * 3 if scale == 1 else RATE // 2
        if system.is_slow_at_disk and system.level == "disk":
            return 4_000 if scale == 1 else 1_000
        per_size = 10 if self.size > 100 else 1
        if isinstance(system, Peer):
            return (200_000 if per_size > 1 else 500_000) // min(scale, 20)
        return 10_000_000 // per_size // scale

    def shape(self, system, scale):
        shape = {"topic": f"t-{self.size}" if self.kind in ("produce", "consume") else self.kind}
        shape |= {"records": self.records(system, scale), "size": self.size}
        if self.kind in ("produce", "consume"):
            is_many_of_a_peer = self.connections > 1 and isinstance(system, Peer)
            shape["batch"] = PEER_BATCH_OF_MANY if is_many_of_a_peer else self.batch
        if self.partitions > 1 or self.connections > 1 or self.batch < BATCH_RECORDS:
            shape |= {"topic": self.name.replace(" ", "-").replace(",", "")}
            shape |= {"partitions": self.partitions, "connections": self.connections}
        if self.kind == "latency":
            shape["rate"] = 0
        if self.kind == "end-to-end":
            shape["rate"] = RATE
        return shape


def small_batches(name, connections=1):
    return Work(name, "produce", connections=connections, batch=SMALL_BATCH_RECORDS, levels=("os",), needs_server=True)


IN_SMALL_BATCHES = f"in, {SMALL_BATCH_RECORDS} a batch"
IN_BY_MANY = f"in, {MANY:,} connections"
IN_SMALL_BATCHES_BY_MANY = f"{IN_SMALL_BATCHES}, {MANY:,} connections"
WORKS = (
    Work("in, 100 B", "produce"),
    Work("out, 100 B", "consume", levels=("os",)),
    Work("in, 1 KiB", "produce", size=1_024),
    Work("out, 1 KiB", "consume", size=1_024, levels=("os",)),
    Work(f"in, {MANY:,} partitions", "produce", partitions=MANY),
    Work(IN_BY_MANY, "produce", connections=MANY, levels=("os",), needs_server=True),
    small_batches(IN_SMALL_BATCHES),
    small_batches(IN_SMALL_BATCHES_BY_MANY, connections=MANY),
    Work("one in flight", "latency"),
    Work("end to end", "end-to-end"),
)
START = "start and memory"


def measures(scale):
    """All that is measured, in order: its name, and what does it. A system is started once for all that it does."""
    yield from floors(scale)
    for system in SYSTEMS:
        if system.missing:
            continue
        if system is not InProcess:
            yield [f"{system.name}, os: {START}"], lambda wanted, s=system: fresh(s, scale)
        for level in LEVELS:
            works = [work for work in WORKS if level in work.levels and not (work.needs_server and system is InProcess)]
            names = [f"{system.name}, {level}: {work.name}" for work in works]
            yield names, lambda wanted, s=system, l=level, w=works: at_work(s, l, w, scale, wanted)


def floors(scale):
    """What the machine gives to any program."""
    path = str(WORK / "floor")
    for size, text in ((100, "100 B"), (1_024, "1 KiB")):
        records = 10_000_000 // scale // (10 if size > 100 else 1)
        some = ["--size", size, "--batch", BATCH_RECORDS, "--records"]
        yield floor(f"plain file, {text}", ["floor-file", path, *some, records])
        yield floor(f"synced file, {text}", ["floor-synced-file", path, *some, max(records // 5, 10_000)])
    yield floor("fdatasync of 4 KiB", ["floor-fdatasync", path, "--records", 3_000 // min(scale, 30)])
    yield floor("echo on loopback", ["floor-echo", "--records", 20_000 // scale])


def floor(name, words):
    name = f"floor: {name}"

    def measure(_):
        settle()
        yield name, watched(lambda: run([PEERS, *words]))

    return [name], measure


def at_work(system, level, works, scale, wanted):
    """The works of one level, one after the other on one server."""
    with system(level) as server:
        for work in works:
            name = f"{system.name}, {level}: {work.name}"
            readers = [other for other in works if needs(other, work)]
            if any(wanted(f"{system.name}, {level}: {each.name}") for each in (work, *readers)):
                settle()
                shape = work.shape(server, scale)
                yield name, watched(lambda: run(server.client(work.kind, shape)), server.pid)


def needs(work, other):
    """Whether one reads what the other writes."""
    is_the_plain_one = (other.partitions, other.connections, other.batch) == (1, 1, BATCH_RECORDS)
    return work.kind == "consume" and other.kind == "produce" and work.size == other.size and is_the_plain_one


def fresh(system, scale):
    """From the start of a server to its first answer, and its memory: idle, after work, and per idle connection."""
    name = f"{system.name}, os: {START}"
    settle()
    with system("os") as server:
        result = {"start_ms": server.start_ms}
        time.sleep(1)
        result["idle_mb"] = resident_mb(server.pid)
        for kind in ("produce", "consume"):
            shape = {"topic": "memory", "records": MEMORY_RECORDS // scale, "size": 100, "batch": BATCH_RECORDS}
            run(server.client(kind, shape))
        time.sleep(0.5)
        result["after_mb"] = before = resident_mb(server.pid)
        streams = [server.dial() for _ in range(MANY)]
        for stream in streams:
            server.greet(stream)
        time.sleep(0.2)
        if before is not None:
            result["connection_kb"] = max(0.0, resident_mb(server.pid) - before) * 1e3 / MANY
        for stream in streams:
            stream.close()
    yield name, result
