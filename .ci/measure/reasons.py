"""Where Headwater is behind: why, as far as it was looked into, and what would change it."""

from .works import MANY, START

HAND_OVERS = (
    "An acknowledgement goes from thread to thread: the caller's, the broker's runtime, the client's runtime, the caller's "
    "(`sleeps` says how often somebody waited). The others' client here reads its socket itself. It would change if "
    "a caller that waits for a delivery read the connection meanwhile, as it writes to it already."
)
ENCODING = (
    "Supposed, not profiled: the floor writes bytes that are there; here one thread makes and checks each of ten million records first, and each "
    "batch is taken from it by the log (`make profile` says what that costs)."
)
BUFFERS = (
    "Processor time a record doubles. Supposed, not profiled: every connection has buffers of its own for a batch, in the "
    "client and in the broker, and together they fit in no cache. It would change if connections that are between two batches gave "
    "their buffers to those that are not."
)
TAIL = (
    "The broker keeps what was written last for those who read near the end: 64 MiB (`tail_cache_bytes`), which 500,000 "
    "records fill. It would change with the default; `--set tail_cache_bytes=8388608` is enough for readers that keep up."
)
READER = HAND_OVERS + " A record on its way to a reader takes one more: the thread that reads for the consumer."

REASONS = {
    ("broker", "one in flight"): HAND_OVERS,
    ("broker", "end to end"): READER,
    ("broker", f"in, {MANY:,} connections"): BUFFERS,
    ("broker", START): TAIL,
    ("in process", "in, 100 B"): ENCODING,
}
NOT_LOOKED_INTO = "Not looked into yet; `make profile` and the log alone (`.ci/bench --log`) are where to begin."


def behind(rows, memory):
    """For each place where Headwater is behind: what it is behind, and the reason."""
    for row in rows:
        slower = [peer for key, peer in (("to_nats", "NATS"), ("to_redis", "Redis")) if (row[key] or 1) < 1]
        missed = [it["budget"] for it in row["budgets"] if it["verdict"] != "met"]
        if slower or missed:
            what = [f"slower than {' and '.join(slower)}"] * bool(slower) + [f"not {budget}" for budget in missed]
            yield row["name"], ", ".join(what), REASONS.get((row["system"], row["work"]), NOT_LOOKED_INTO)
    for name, verdicts in memory.items():
        missed = [it["budget"] for it in verdicts if it["verdict"] != "met"]
        if missed:
            is_about_work = any("after" in budget for budget in missed)
            reason = REASONS[("broker", START)] if is_about_work else NOT_LOOKED_INTO
            yield name, ", ".join(f"not {budget}" for budget in missed), reason
