"""What processes take of the machine, as far as the system tells: processor time and memory, from /proc."""

import os
import resource
import sys
import time
from pathlib import Path

OTHERS_MAX = 0.2
ATTEMPTS_MAX = 3
# On a machine that is never quiet, repeating everything would take three times as long and change nothing.
REPEATS_MAX = 30
repeats = 0


def watched(measure, server=None):
    """One measurement, with what it took of the processors and the share that others took meanwhile.

    A measurement that others took too much of is repeated, and told to be one if that does not help. Where the system
    does not tell, the fields are not there.
    """
    global repeats
    for attempt in range(ATTEMPTS_MAX):
        busy, own, started = busy_seconds(), own_seconds(server), time.monotonic()
        seconds, sleeps = seconds_of(server), own_sleeps(server)
        result = measure()
        if busy is None:
            break
        taken = own_seconds(server) - own
        others = max(0.0, busy_seconds() - busy - taken)
        result["cpu_s"], result["server_cpu_s"] = taken, seconds_of(server) - seconds
        result["sleeps"] = own_sleeps(server) - sleeps
        result["others"] = others / ((time.monotonic() - started) * os.cpu_count())
        if result["others"] <= OTHERS_MAX or repeats >= REPEATS_MAX or attempt == ATTEMPTS_MAX - 1:
            break
        repeats += 1
        print(f"others took {result['others']:.0%} of the processors: once more", file=sys.stderr)
    return result


def busy_seconds():
    """What all processes together have taken, or None where it is not told."""
    try:
        user, nice, system, _, _, irq, softirq = map(int, Path("/proc/stat").read_text().split(maxsplit=8)[1:8])
    except (OSError, ValueError):
        return None
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


def own_seconds(server):
    """What this process, its ended children and the server have taken."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system + seconds_of(server)


def seconds_of(pid):
    """What a process has taken by itself."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def own_sleeps(server):
    """How often a thread of the server, or of a child that has ended, had to wait: for another, a socket or the disk."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN).ru_nvcsw
    for status in Path(f"/proc/{server}/task").glob("*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:
            continue
        found += sum(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches:"))
    return found


def resident_mb(pid):
    """The resident memory of a process in MB (10^6 bytes), or None where it is not told."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return None
    line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
    return int(line.split()[1]) * 1024 / 1e6
