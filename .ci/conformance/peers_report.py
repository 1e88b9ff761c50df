"""What `.ci/bench-peers` makes of its figures: tables, ratios to what we want, and a drawing."""

import statistics

from measure.plot import Bar, drawing
from measure.watch import OTHERS_MAX

DISK, OS, SYNCED, APACHE, MOCK = (
    "Headwater, disk (its default)",
    "Headwater, os",
    "Apache Kafka, synced",
    "Apache Kafka (its default)",
    "librdkafka's mock cluster",
)
PER_CPU = "records per server CPU s"
# The design's: what the Kafka port is to be beside Apache Kafka, and beside the cluster librdkafka simulates.
CPU_MIN, MEMORY_MIN, START_MIN, MOCK_MIN = 2, 5, 20, 0.9
HIDDEN = ("sleeps", "others", "cpu_s")


def lines(results):
    """The figures of each work, then how ours stand to the others' and to what we want."""
    for work, systems in results.items():
        yield f"\n{work}"
        for name, runs in systems.items():
            units = [f"{median(runs, unit):>12,.1f} {unit}" for unit in runs[0] if unit not in HIDDEN]
            busy = max(run.get("others", 0) for run in runs)
            # What others take of a machine is theirs to take from any of the servers; a run without it says more.
            said = f"   others took up to {busy:.0%}" if busy > OTHERS_MAX else ""
            yield f"  {name:32}{' '.join(units)}{said}"
    yield "\nratios of medians, more is better; wanted beside Apache Kafka: per CPU second of the server"
    yield f"{CPU_MIN}, memory {MEMORY_MIN}, start {START_MIN}; beside librdkafka's mock cluster {MOCK_MIN} (! where it is missed)"
    yield f"{'':40}{'disk beside Apache':>20}{'os beside Apache':>20}{'os beside mock':>20}"
    for work, systems in results.items():
        cells = [beside_apache(work, systems, DISK, SYNCED), beside_apache(work, systems, OS, APACHE), beside_mock(systems)]
        yield f"{work:40}" + "".join(f"{'' if cell is None else shown(*cell):>20}" for cell in cells)


def shown(ratio, wanted):
    return f"{ratio:.2f}{' ' if ratio >= wanted else '!'}"


def beside_apache(work, systems, ours, other):
    """`(ratio, what it is to be)`, or None where one of them was not measured."""
    if ours not in systems or other not in systems:
        return None
    mine, theirs = systems[ours], systems[other]
    if work == "start":
        return median(theirs, "ms") / median(mine, "ms"), START_MIN
    if work == "memory at the end":
        return median(theirs, "MiB") / median(mine, "MiB"), MEMORY_MIN
    return median(mine, PER_CPU) / median(theirs, PER_CPU), CPU_MIN


def beside_mock(systems):
    """The same beside librdkafka's mock cluster, by the speed or the half of the times that are shorter."""
    if OS not in systems or MOCK not in systems:
        return None
    mine, theirs = systems[OS], systems[MOCK]
    if "records_per_s" in mine[0]:
        return median(mine, "records_per_s") / median(theirs, "records_per_s"), MOCK_MIN
    if "p50_us" in mine[0]:
        return median(theirs, "p50_us") / median(mine, "p50_us"), MOCK_MIN
    return None


def drawn(results, title):
    panels = []
    for work, systems in results.items():
        for unit in ("records_per_s", "p50_us", PER_CPU, "ms", "MiB"):
            bars = [bar(name, median(runs, unit)) for name, runs in systems.items() if unit in runs[0] and unit not in skipped(runs)]
            panels.append((f"{work}: {unit.replace('_', ' ')}", bars))
    return drawing(panels, title)


def skipped(runs):
    """Half of a producer's times while it sends as fast as it can say how long its own queue is."""
    return ("p50_us",) if "records_per_s" in runs[0] else ()


def bar(name, value):
    system, _, level = name.replace(" (its default)", "").replace(" cluster", "").partition(", ")
    return Bar(system, level, max(value, 1e-3))


def median(runs, unit):
    return statistics.median(run[unit] for run in runs)
