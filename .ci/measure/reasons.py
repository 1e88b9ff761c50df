"""Where Headwater is behind: why, as far as it was looked into, and what would change it."""

from .works import IN_BY_MANY, START

SYNC = (
    "A record at `disk` wakes the broker's thread, the one that syncs, and the client's, and who waits for longer than 60 us sleeps "
    "meanwhile: one hand-over more than a server of one thread whose client reads its socket itself. A hand-over takes 7 us on the "
    "machine this was written on (`perf bench sched pipe`), and more where a core went to sleep. It would change if a caller that waits "
    "for a delivery read the connection itself, as it writes to it already."
)
ENCODING = (
    "The floor writes bytes that are there. Here one thread makes ten million records first: 1,090 instructions each (`make profile`), "
    "440 of them to take it in (locks, limits, the topic's number, the time), 300 to encode it, 93 for its checksum. "
    "It would change with `send_rows`, which takes many at a time, and not for single records."
)
MANY_BUFFERS = (
    "What a thousand producers have on their way, up to four batches of 100 KB each, fits in no cache, in the client or in the broker: "
    "perf shows copies into and out of sockets and files, and pages that are mapped anew. With 100 records a batch, where a batch "
    "costs more than its bytes, a thousand connections do what one does."
)
TAIL = (
    "The broker keeps what was written last for those who read near the end: `tail_cache_bytes`, which 500,000 records fill. "
    "It would change with the default; `--set tail_cache_bytes=8388608` is enough for readers that keep up."
)
READER = (
    "A record on its way to a reader wakes the broker's thread, the reader's connection, and who waits for it; at `disk` the one that syncs "
    "before. The others' client here reads its socket itself, and Redis does all on one thread. A hand-over takes 7 us on the machine "
    "this was written on (`perf bench sched pipe`), and more where a core went to sleep. It would change if a reader that waits read the "
    "connection itself."
)
ONE_HAND_OVER = (
    "Who sends writes the record and wakes the reader's thread: one hand-over, of 7 us on the machine this was written on "
    "(`perf bench sched pipe`) and more where a core went to sleep. At the far end of the scale it is the system's sleep, which the sender's "
    "own clock is part of: a record counts from when it was due."
)

REASONS = {
    ("broker", "one in flight"): SYNC,
    ("broker", "end to end"): READER,
    ("broker", IN_BY_MANY): MANY_BUFFERS,
    ("broker", START): TAIL,
    ("in process", "in, 100 B"): ENCODING,
    ("in process", "end to end"): ONE_HAND_OVER,
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
