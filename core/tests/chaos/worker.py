"""A process of `.ci/chaos` in Python: produce, consume, or watch what the groups commit.

    worker.py produce ADDRESS NAME FILE STOP
    worker.py consume ADDRESS GROUP FILE STOP
    worker.py watch ADDRESS GROUPS FILE STOP
    worker.py create ADDRESS PARTITIONS      makes the topic
    worker.py settle ADDRESS GROUPS          waits until the groups have committed all there is
    worker.py dump ADDRESS GROUPS            prints the log and what is committed, as JSON

The first three go on until the file STOP is there, connect again when they have to, and say in FILE what they saw, a line
each; `checker.py` says what the lines are.
"""

import json
import sys
import threading
import time
from collections import deque
from pathlib import Path

import headwater

TOPIC = "chaos"
WINDOW = 200
PAUSE_S = 0.005


def now_ms():
    return int(time.time() * 1000)


def produce(address, name, say, is_over):
    pending = deque()
    number = 0
    with_log = Log(address, is_over)

    def made():
        db = with_log.open()
        return None if db is None else db.producer(request_timeout_ms=5_000)

    def settle(left):
        is_usable = True
        while len(pending) > left:
            record, delivery = pending.popleft()
            try:
                at = delivery.result()
                say(f"ok {record} {at.partition} {at.offset}")
            except headwater.HeadwaterError as error:
                say(f"failed {record} {error.outcome} {error.code}")
                is_usable = is_usable and not error.fatal
        return is_usable

    producer = made()
    while producer is not None and not is_over():
        record = f"{name}-{number}"
        number += 1
        is_usable = True
        try:
            pending.append((record, producer.send(TOPIC, record, key=str(number % 50))))
        except headwater.HeadwaterError as error:
            say(f"failed {record} {error.outcome} {error.code}")
            is_usable = not error.fatal
        if len(pending) > WINDOW or not is_usable:
            is_usable = settle(WINDOW // 2 if is_usable else 0) and is_usable
        if not is_usable:
            producer = made()
        time.sleep(PAUSE_S)
    settle(0)
    with_log.close()


def consume(address, group, say, is_over):
    with_log = Log(address, is_over)
    while not is_over():
        db = with_log.open()
        if db is None:
            break
        options = {"heartbeat_ms": 300, "session_timeout_ms": 6_000, "commit_interval_ms": 100}
        consumer = db.consumer(TOPIC, group=group, **options)
        threading.Thread(target=close_when, args=(consumer, is_over), daemon=True).start()
        try:
            for batch in consumer.batches(max_records=100):
                at = now_ms()
                # On record before the next is asked for, and so before it counts as processed.
                say("\n".join(f"did {m.partition} {m.offset} {m.value.decode()} {at}" for m in batch))
        except headwater.HeadwaterError as error:
            say(f"error {error.code} {now_ms()}")
    with_log.close()


def close_when(consumer, is_over):
    while not is_over():
        time.sleep(0.1)
    consumer.close()


def watch(address, groups, say, is_over):
    with_log = Log(address, is_over)
    db = with_log.open()
    while db is not None and not is_over():
        for group in groups.split(","):
            try:
                offsets = db.admin.describe_group(group).offsets
                at = now_ms()
                for one in offsets:
                    say(f"committed {group} {one.partition} {one.offset} {at}")
            except headwater.NotFound:
                pass
            except headwater.HeadwaterError as error:
                say(f"error {error.code} {now_ms()}")
                if error.fatal:
                    db = with_log.open()
        time.sleep(0.1)
    with_log.close()


class Log:
    """A client that is made again where one is of no further use."""

    def __init__(self, address, is_over):
        self.address, self.is_over, self.db = address, is_over, None

    def open(self):
        """Another client; None once it is over."""
        self.close()
        while not self.is_over():
            try:
                self.db = headwater.connect(self.address)
                return self.db
            except headwater.HeadwaterError as error:
                if not error.retriable:
                    raise
                time.sleep(0.05)
        return None

    def close(self):
        if self.db is not None:
            self.db.close()
        self.db = None


def create(address, partitions):
    with headwater.connect(address) as db:
        db.admin.create_topic(TOPIC, partitions=int(partitions))


def settle(address, groups):
    with headwater.connect(address) as db:
        while any(lag(db, group) for group in groups.split(",")):
            time.sleep(0.1)


def lag(db, group):
    ends = {it.partition: it.high_watermark for it in db.admin.describe_topic(TOPIC).partitions}
    for one in db.admin.describe_group(group).offsets:
        ends[one.partition] -= one.offset
    return sum(ends.values())


def dump(address, groups):
    with headwater.connect(address) as db:
        records = db.consumer(TOPIC, until="end").batches()
        log = [(m.partition, m.offset, m.value.decode()) for batch in records for m in batch]
        asked = [(group, db.admin.describe_group(group)) for group in groups.split(",")]
        committed = [(group, it.partition, it.offset) for group, found in asked for it in found.offsets]
    json.dump({"log": log, "committed": committed}, sys.stdout)


def main():
    once = {"create": create, "settle": settle, "dump": dump}
    if sys.argv[1] in once:
        return once[sys.argv[1]](*sys.argv[2:])
    role, address, name, path, stop = sys.argv[1:]
    file = open(path, "ab", buffering=0)
    is_over = Path(stop).exists
    work = {"produce": produce, "consume": consume, "watch": watch}[role]
    return work(address, name, lambda line: file.write(f"{line}\n".encode()), is_over)


if __name__ == "__main__":
    main()
