"""Where Headwater is behind: why, as far as it was looked into, and what would change it."""

from .works import MANY, START

HAND_OVERS = (
    "A record wakes three threads, one after the other: the broker's, the client's, and the one that waits (`sleeps`). A hand-over "
    "of this kind takes 7 us on the machine this was written on (`perf bench sched pipe`), and more where a core went to sleep. The "
    "others' client here reads its socket itself. It would change if a caller that waits for a delivery read the connection meanwhile, as "
    "it writes to it already."
)
ENCODING = (
    "The floor writes bytes that are there. Here one thread makes ten million records first: 1,090 instructions each (`make profile`), "
    "440 of them to take it in (locks, limits, the topic's number, the time), 300 to encode it, 93 for its checksum. "
    "It would change with `send_rows`, which takes many at a time, and not for single records."
)
MANY_BUFFERS = (
    "What a thousand producers have on their way, a batch of 100 KB each, fits in no cache, in the client or in the broker: the copies "
    "into and out of sockets and files were what grew when it was profiled (perf: `copy_folio_from_iter_atomic`, `_copy_to_iter`)."
)
TAIL = (
    "The broker keeps what was written last for those who read near the end: `tail_cache_bytes`, which 500,000 records fill. "
    "It would change with the default; `--set tail_cache_bytes=8388608` is enough for readers that keep up."
)
READER = (
    HAND_OVERS + " A record on its way to a reader takes one more: the thread that reads for the consumer."
)
IO_THREAD = (
    "`enqueue` never touches a file, since event loops call it: it hands what it has to the log's io thread, which writes it, and reads "
    "for the consumer's thread. Those are two hand-overs (perf: 456 wake-ups each way for 500 records), of 7 us each on the machine this was written on."
)

REASONS = {
    ("broker", "one in flight"): HAND_OVERS,
    ("broker", "end to end"): READER,
    ("broker", f"in, {MANY:,} connections"): MANY_BUFFERS,
    ("broker", START): TAIL,
    ("in process", "in, 100 B"): ENCODING,
    ("in process", "end to end"): IO_THREAD,
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
