"""Runs the steps of one scenario through one client, and holds what comes of them against what they are to give.

Names of topics and groups get a suffix of their own in each run (`orders.kafkajs-12`), since all clients share a broker;
what comes back is compared without it. Keys, values and headers cross to the drivers as base64.
"""

import base64
import collections
import json
import time

from .driver import Broken, Failed, NotPossible

EVENTUALLY_S = 40

# What a step may name, and what a driver answers with: numbers, since each client has names of its own.
CODES = {
    "OFFSET_OUT_OF_RANGE": 1,
    "UNKNOWN_TOPIC_OR_PARTITION": 3,
    "MESSAGE_TOO_LARGE": 10,
    "INVALID_TOPIC_EXCEPTION": 17,
    "ILLEGAL_GENERATION": 22,
    "UNKNOWN_MEMBER_ID": 25,
    "TOPIC_ALREADY_EXISTS": 36,
    "INVALID_PARTITIONS": 37,
    "INVALID_REPLICATION_FACTOR": 38,
    "INVALID_CONFIG": 40,
    "NON_EMPTY_GROUP": 68,
    "GROUP_ID_NOT_FOUND": 69,
    "FENCED_INSTANCE_ID": 82,
}


class Mismatch(Exception):
    """A step gave something else than it was to give."""


def run(scenario, client, driver, suffix):
    """Returns `(outcome, why)`: passed, failed or "not possible"."""
    if client in scenario.get("except", {}):
        return "not possible", scenario["except"][client]
    one = Run(driver, suffix)
    number, step = 0, {}
    try:
        for number, step in enumerate(scenario["steps"], 1):
            one.step(step)
        return "passed", None
    except NotPossible as error:
        return "not possible", str(error)
    except (Mismatch, Failed, Broken) as error:
        return "failed", f"step {number}, {next(iter(step))}: {error}"
    finally:
        one.end()


class Run:
    def __init__(self, driver, suffix):
        self.driver = driver
        self.suffix = suffix
        self.kept = {}
        self.background = {}

    def step(self, step):
        name = next(iter(step))
        fields = self.fields(name, step[name] or {})
        if name == "await":
            return self.check(step, lambda: self.driver.answer(self.background.pop(step[name])))
        if name == "sleep_ms":
            return time.sleep(step[name] / 1000)
        if "background" in step:
            self.background[step["background"]] = self.driver.ask(name, fields)
            return None
        return self.check(step, lambda: self.driver.answer(self.driver.ask(name, fields)))

    def check(self, step, act):
        deadline = time.monotonic() + EVENTUALLY_S
        while True:
            try:
                return self.compare(step, act)
            except (Mismatch, Failed):
                if not step.get("eventually") or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def compare(self, step, act):
        try:
            found = self.plain(act())
        except Failed as error:
            if "fails" not in step:
                raise
            return fails_as(step["fails"], error, self.suffix)
        if "fails" in step:
            raise Mismatch(f"is to fail with {step['fails']}, and gave {short(found)}")
        if step.get("sorted"):
            found = sorted(found, key=lambda one: (one["topic"], one["partition"], one["offset"]))
        if step.get("summary"):
            found = summary(found)
        if step.get("count"):
            found = len(found)
        if "gives" in step:
            wanted = self.refer(step["gives"])
            if not matches(wanted, found):
                raise Mismatch(f"is to give {short(wanted)}, and gave {short(found)}")
        for name, field in step.get("keep", {}).items():
            self.kept["$" + name] = found if field == "." else found[field]
        return None

    def end(self):
        """Closes what the scenario has left open, so that nothing of it lives beside the next."""
        try:
            self.driver.answer(self.driver.ask("reset", {}))
        except (Broken, Failed):
            pass

    # --- names and bytes, on their way out and back ---

    def fields(self, name, fields):
        if not isinstance(fields, dict):
            return {}
        fields = {key: self.refer(value) for key, value in fields.items()}
        for key in ("topic", "group", "instance"):
            if fields.get(key) is not None:
                fields[key] += self.suffix
        for key in ("topics", "groups"):
            if key in fields:
                fields[key] = [one + self.suffix for one in fields[key]]
        for key in ("assign", "offsets", "before"):
            if key in fields and fields[key] is not None:
                fields[key] = [[one[0] + self.suffix, *one[1:]] for one in fields[key]]
        if name == "produce":
            fields["records"] = [encoded(one) for one in expanded(fields["records"])]
        return fields

    def refer(self, value):
        if isinstance(value, str):
            return self.kept.get(value, value)
        if isinstance(value, list):
            return [self.refer(one) for one in value]
        if isinstance(value, dict):
            return {key: self.refer(one) for key, one in value.items()}
        return value

    def plain(self, found):
        """Without the suffix, and with bytes for base64."""
        if isinstance(found, str):
            return found.removesuffix(self.suffix)
        if isinstance(found, list):
            # Lists of names are of everybody's topics and groups: only those of this run count.
            if found and all(isinstance(one, str) for one in found):
                found = sorted(one for one in found if one.endswith(self.suffix))
            return [self.plain(one) for one in found]
        if isinstance(found, dict):
            return {key: self.field(key, one) for key, one in found.items()}
        return found

    def field(self, key, found):
        if key in ("key", "value"):
            return None if found is None else base64.b64decode(found)
        if key == "headers":
            return [[name, None if one is None else base64.b64decode(one)] for name, one in found]
        return self.plain(found)


def expanded(records):
    """`{times: 3, value: "row {i}"}` is three records."""
    for one in records if isinstance(records, list) else [records]:
        if not isinstance(one, dict) or "value" not in one:
            one = {"value": one}
        for i in range(one.get("times", 1)):
            yield {key: each(value, i) for key, value in one.items() if key != "times"}


def each(value, i):
    return value.replace("{i}", str(i)).replace("{i%7}", str(i % 7)) if isinstance(value, str) else value


def encoded(record):
    out = dict(record)
    for key in ("key", "value"):
        out[key] = base64_of(record.get(key))
    out["headers"] = [[name, base64_of(value)] for name, value in record.get("headers", [])]
    return out


def base64_of(value):
    data = as_bytes(value)
    return None if data is None else base64.b64encode(data).decode()


def as_bytes(value):
    match value:
        case None | bytes():
            return value
        case str():
            return value.encode()
        case {"hex": text}:
            return bytes.fromhex(text)
        case {"repeat": text, "times": times}:
            return text.encode() * times
    raise ValueError(f"not a key or a value: {value!r}")


# --- what was to come, and what came ---


def matches(wanted, found):
    if isinstance(found, bytes):
        return not isinstance(wanted, int) and as_bytes(wanted) == found
    match wanted:
        case {"at_least": least}:
            return isinstance(found, int) and found >= least
        case {"not": other}:
            return not matches(other, found)
        case {"says": part}:
            return isinstance(found, str) and part in found
        case dict():
            # A record may be written as its value alone, and then a value that is bytes in a map is not meant.
            if isinstance(found, dict) and "value" in found and wanted.keys() & {"hex", "repeat"}:
                return matches(wanted, found["value"])
            return isinstance(found, dict) and all(key in found and matches(one, found[key]) for key, one in wanted.items())
        case list():
            if not isinstance(found, list) or len(wanted) != len(found):
                return False
            return all(matches(one, other) for one, other in zip(wanted, found, strict=True))
        case _:
            if isinstance(found, dict) and "value" in found and (wanted is None or isinstance(wanted, str)):
                return matches(wanted, found["value"])
            return wanted == found


def fails_as(wanted, error, suffix):
    if "code" in wanted and error.code != CODES[wanted["code"]]:
        raise Mismatch(f"is to fail with {wanted['code']} ({CODES[wanted['code']]}), and failed with {error}")
    if "says" in wanted and wanted["says"] not in (error.says or "").replace(suffix, ""):
        raise Mismatch(f"is to say `{wanted['says']}`, and said {error}")


def summary(records):
    """How many there are, how many of them once, and whether the values of each key (`.. 17`) count up."""
    places = collections.Counter((one["topic"], one["partition"], one["offset"]) for one in records)
    last, ordered = {}, True
    for one in records:
        number = one["value"].split()[-1:] if one["value"] else []
        if one["key"] is not None and number and number[0].isdigit():
            ordered &= last.get(one["key"], -1) < int(number[0])
            last[one["key"]] = int(number[0])
    sizes = sum(len(one["value"] or b"") for one in records)
    partitions = len({(one["topic"], one["partition"]) for one in records})
    return {
        "records": len(records),
        "distinct": len(places),
        "values": len({one["value"] for one in records}),
        "partitions": partitions,
        "bytes": sizes,
        "ordered": ordered,
    }


def short(value):
    text = json.dumps(value, default=lambda data: data.decode(errors="backslashreplace"))
    return text if len(text) < 600 else f"{text[:400]} ... {text[-150:]}"
