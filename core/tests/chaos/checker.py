"""What has to hold after `.ci/chaos`, whatever was killed.

The processes said, a line each (a last line without its end was cut by a kill and says nothing):

    ok ID PARTITION OFFSET             a producer: acknowledged
    failed ID OUTCOME CODE             a producer: told that it failed
    did PARTITION OFFSET ID TIME       a member: processed, before it is acknowledged
    committed GROUP PARTITION OFFSET TIME    the watcher
    error CODE TIME                    a member, or the watcher: a client ended, and another was made

Times are milliseconds since 1970. An ID is `PROCESS-NUMBER`, the numbers in the order of the sends.
"""

from collections import Counter, defaultdict

SHOWN_MAX = 20


class Checker:
    """Collects what was said, and holds it against the log."""

    def __init__(self):
        self.breaches = []
        self.breach_count = 0
        self.acknowledged = {}
        self.failed = {}
        #: (group, partition) -> offset -> [(time, process, id)]
        self.done = defaultdict(lambda: defaultdict(list))
        self.commits = []
        self.errors = Counter()
        #: (time, what): a kill, of which process; and `server` if it served the others.
        self.kills = []

    def breach(self, text):
        self.breach_count += 1
        if len(self.breaches) < SHOWN_MAX:
            self.breaches.append(text)

    # --- What was said ---

    def read(self, path, process, group=None):
        for line in path.read_text().split("\n")[:-1]:
            match line.split(" "):
                case ["ok", record, partition, offset]:
                    if record in self.acknowledged:
                        self.breach(f"{record} was acknowledged twice")
                    self.acknowledged[record] = (int(partition), int(offset))
                case ["failed", record, outcome, code]:
                    self.failed[record] = outcome
                    self.errors[f"send: {code} {outcome}"] += 1
                case ["did", partition, offset, record, time]:
                    done = self.done[group, int(partition)][int(offset)]
                    done.append((int(time), process, record))
                case ["committed", of, partition, offset, time]:
                    self.commits.append((int(time), of, int(partition), int(offset)))
                case ["error", code, _]:
                    self.errors[f"{'watch' if group is None else 'consume'}: {code}"] += 1
                case _:
                    self.breach(f"{path.name}: what is `{line}`?")

    # --- What has to hold ---

    def check(self, log, committed, groups):
        """`log`: (partition, offset, id) of every record; `committed`: (group, partition) -> offset, in the end."""
        self.check_log(log)
        ends = {}
        for partition, offset, _ in log:
            ends[partition] = max(ends.get(partition, 0), offset + 1)
        for group in groups:
            self.check_processed(group, log)
            self.check_repeats(group)
            for partition, end in ends.items():
                if committed.get((group, partition)) != end:
                    at = committed.get((group, partition))
                    self.breach(f"{group} has committed {at} of partition {partition}, which ends at {end}")
        self.check_commits()

    def check_log(self, log):
        """Acknowledged: once, at its offset. Not done: never. Unknown: at most once. All in the order of the sends."""
        places = {}
        last = {}
        for partition, offset, record in log:
            if record in places:
                self.breach(f"{record} is there twice: {places[record]} and {(partition, offset)}")
            places[record] = (partition, offset)
            process, number = record.rsplit("-", 1)
            before = last.get((process, partition), -1)
            if int(number) <= before:
                self.breach(f"{record} at {(partition, offset)} comes behind {process}-{before}")
            last[process, partition] = int(number)
        for record, place in self.acknowledged.items():
            if places.get(record) != place:
                self.breach(f"{record} was acknowledged at {place} and is at {places.get(record)}")
        for record, outcome in self.failed.items():
            if outcome == "not_done" and record in places:
                self.breach(f"{record} was told not_done and is at {places[record]}")

    def check_processed(self, group, log):
        """Every record at least once, and as it is in the log."""
        for partition, offset, record in log:
            done = self.done[group, partition].get(offset)
            if not done:
                self.breach(f"{group} has not processed {record} at {(partition, offset)}")
            elif any(found != record for _, _, found in done):
                self.breach(f"{group} has read {done} at {(partition, offset)}, where {record} is")

    def check_repeats(self, group):
        """A record is processed again only if since then its member, or what served it, was killed."""
        for (of, partition), offsets in self.done.items():
            if of != group:
                continue
            for offset, done in offsets.items():
                done.sort()
                for (first, process, _), (again, other, _) in zip(done, done[1:]):
                    if not self.is_killed_between(process, first, again):
                        where = f"{group}, partition {partition}, offset {offset}"
                        self.breach(f"{where}: {process} at {first}, again {other} at {again}, and nothing was killed")

    def is_killed_between(self, process, first, again):
        return any(first <= at <= again and what & {process, "server"} for at, what in self.kills)

    def check_commits(self):
        """What is committed was processed before."""
        frontiers = {}
        for group, partition in self.done:
            offsets = self.done[group, partition]
            latest, frontier = 0, []
            for offset in range(max(offsets, default=-1) + 1):
                if offset not in offsets:
                    break
                latest = max(latest, min(offsets[offset])[0])
                frontier.append(latest)
            frontiers[group, partition] = frontier
        for time, group, partition, offset in self.commits:
            frontier = frontiers.get((group, partition), [])
            if offset > len(frontier) or (offset > 0 and frontier[offset - 1] > time):
                self.breach(f"{group} had committed {offset} of partition {partition} at {time}, before it was processed")

    def figures(self, log):
        repeats = sum(len(done) - 1 for offsets in self.done.values() for done in offsets.values())
        return {
            "records": len(log),
            "acknowledged": len(self.acknowledged),
            "failed": dict(Counter(self.failed.values())),
            "processed": sum(len(done) for offsets in self.done.values() for done in offsets.values()),
            "repeats": repeats,
            "commits_seen": len(self.commits),
            "kills": len(self.kills),
            "kills_of_servers": sum("server" in what for _, what in self.kills),
            "errors": dict(self.errors),
            "breaches": self.breach_count,
        }
