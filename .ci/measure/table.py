"""The figures as a table: medians over the runs, their spread, and how they stand to the floors, to peers, to budgets."""

import statistics
import textwrap

from .budgets import BUDGETS, ECHO, SYNC
from .reasons import behind
from .systems import SYSTEMS, Nats, Redis
from .watch import OTHERS_MAX
from .works import START, WORKS

# The figure that a work is compared by.
RATE, TIME = "records_per_s", "p50_us"


def flat(result):
    """One run's figures, all on one level."""
    figures = {name: value for name, value in result.items() if name != "latency_us"}
    for point, value in (result.get("latency_us") or {}).items():
        figures[f"{point}_us"] = value
    if "sleeps" in figures and figures.get("records"):
        figures["cpu_us"] = figures["cpu_s"] / figures["records"] * 1e6
        figures["sleeps_each"] = figures["sleeps"] / figures["records"]
    return figures


def medians_of(results):
    """For each measurement the median of each of its figures, and the least and the most of what it is compared by."""
    medians = {}
    for name, runs in results.items():
        runs = [flat(run) for run in runs]
        found = {}
        for figure in runs[0] if runs else ():
            values = [run[figure] for run in runs if isinstance(run.get(figure), (int, float))]
            if values:
                found[figure] = statistics.median(values)
                found[f"{figure} spread"] = (min(values), max(values))
        if found:
            medians[name] = found
    return medians


def floor_of(system, level, work):
    """The floors whose sum a time cannot be below, or the one that a rate cannot exceed."""
    if work.kind == "produce":
        size = "1 KiB" if work.size > 100 else "100 B"
        return [f"floor: {'plain' if level == 'os' else 'synced'} file, {size}"]
    if work.kind in ("latency", "end-to-end"):
        return ([] if system.name == "in process" else [ECHO]) + ([SYNC] if level == "disk" else [])
    return []


def compared_by(work):
    return TIME if work.kind in ("latency", "end-to-end") else RATE


def ahead(found, other, figure):
    """How many times as good one is as the other; more than 1 is better."""
    if found is None or not other:
        return None
    return found / other if figure == RATE else other / found


def rows(medians):
    """One row a work, level and system: what is printed and drawn."""
    for work in WORKS:
        figure = compared_by(work)
        for level in work.levels:
            peers = {peer: medians.get(f"{peer.name}, {level}: {work.name}", {}).get(figure) for peer in (Nats, Redis)}
            for system in SYSTEMS:
                name = f"{system.name}, {level}: {work.name}"
                if name not in medians:
                    continue
                found = medians[name].get(figure)
                floors = [medians.get(floor, {}).get(figure) for floor in floor_of(system, level, work)]
                floor = sum(floors) if floors and None not in floors else None
                yield {
                    "name": name,
                    "work": work.name,
                    "level": level,
                    "system": system.name,
                    "figure": figure,
                    "medians": medians[name],
                    "floor": floor,
                    "to_floor": ahead(found, floor, figure),
                    "to_nats": None if system in (Nats, Redis) else ahead(found, peers[Nats], figure),
                    "to_redis": None if system in (Nats, Redis) else ahead(found, peers[Redis], figure),
                    "budgets": verdicts(name, medians),
                }


def verdicts(name, medians):
    found = [(budget, budget.verdict(medians)) for budget in BUDGETS if budget.name == name]
    return [{"budget": budget.text, "verdict": verdict} for budget, verdict in found if verdict]


def report(medians, runs, scale):
    """Prints everything."""
    print(f"\nmedians of {runs} alternating runs [least .. most]; batches of 1,000; end to end at 1,000 records/s")
    print("x floor, x NATS, x Redis: how many times as fast; above 1 is ahead. Client and server together: CPU us a record,")
    print("and sleeps a record, how often a thread had to wait (in `end to end` once for the time a record is due)")
    if scale > 1:
        print("NOT TO BE QUOTED: --quick does a hundredth of the work")
    print("\nthe machine's own:")
    for name, found in medians.items():
        if name.startswith("floor: "):
            figure = TIME if TIME in found else RATE
            print(f"  {name[7:]:24}{value_of(found, figure):<58}{others_of(found):>8}")
    last = None
    heads = f"{'x floor':>9}{'x NATS':>8}{'x Redis':>9}"
    for row in rows(medians):
        if (row["work"], row["level"]) != last:
            last = row["work"], row["level"]
            last_heads = f"{'CPU us' if row['figure'] == RATE else 'sleeps':>8}{'others':>8}"
            print(f"\n{row['work']}, {row['level']:<{74 - len(row['work'])}}{heads}{last_heads}")
        print(line(row))
    report_memory(medians)
    report_behind(medians)


def report_behind(medians):
    """Where it is behind, one reason after the other."""
    memory = {name: verdicts(name, medians) for name in medians if name.endswith(START)}
    places = {}
    for name, what, reason in behind(rows(medians), memory):
        places.setdefault(reason, []).append(f"{name}: {what}")
    for reason, names in places.items():
        print("\nbehind: " + "\n        ".join(names))
        print(textwrap.fill(reason, 116, initial_indent="    ", subsequent_indent="    "))


def line(row):
    times = "".join(
        f"{'-' if row[key] is None else format(row[key], ',.2f' if row[key] < 10 else ',.0f'):>{width}}"
        for key, width in (("to_floor", 9), ("to_nats", 8), ("to_redis", 9))
    )
    cost = row["medians"].get("cpu_us" if row["figure"] == RATE else "sleeps_each")
    text = f"  {row['system']:16}{value_of(row['medians'], row['figure']):<58}{times}{'' if cost is None else format(cost, '.2f'):>8}"
    text += others_of(row["medians"])
    return text + "".join(f"\n{'':18}{it['budget']}: {it['verdict']}" for it in row["budgets"])


def value_of(found, figure):
    least, most = found[f"{figure} spread"]
    if figure == TIME:
        return f"p50 {found[TIME]:,.1f} us [{least:,.1f} .. {most:,.1f}], p99 {found['p99_us']:,.1f} us"
    return f"{found[RATE]:,.0f}/s [{least:,.0f} .. {most:,.0f}], {found['mb_per_s']:,.1f} MB/s"


def others_of(found):
    if "others" not in found:
        return ""
    most = found["others spread"][1]
    return f"{most:>7.0%}" + ("!" if most > OTHERS_MAX else "")


def report_memory(medians):
    names = {system.name: f"{system.name}, os: {START}" for system in SYSTEMS}
    if not any(name in medians for name in names.values()):
        return
    print(f"\n{'start, and resident memory':28}{'first answer':>14}{'idle':>10}{'after work':>12}{'a connection':>14}")
    for system, name in names.items():
        if name in medians:
            found = medians[name]
            cells = [("start_ms", "ms", 14), ("idle_mb", "MB", 10), ("after_mb", "MB", 12), ("connection_kb", "kB", 14)]
            print(f"  {system:26}" + "".join(f"{cell(found, *each)}" for each in cells))
            for it in verdicts(name, medians):
                print(f"{'':18}{it['budget']}: {it['verdict']}")


def cell(found, figure, unit, width):
    return f"{'-' if found.get(figure) is None else f'{found[figure]:,.1f} {unit}':>{width}}"


def missing():
    """A sentence for each system that was not measured."""
    return [f"{system.name} is not measured: {system.missing}" for system in SYSTEMS if system.missing]
