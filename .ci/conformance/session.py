"""One session of raw requests with Apache Kafka and with us (`broker/tests/kafka/session.yaml`), compared field by field.

Apache Kafka's answers are kept in `apache-answers.json` beside it, so that comparing needs no JVM; `--record` asks for
them again.
"""

import fnmatch
import json
import subprocess

import yaml

from . import SUITE, WORK, clients, install
from .brokers import BROKERS

ANSWERS = SUITE / "apache-answers.json"
OWN = "(its own)"


def record():
    """Writes what Apache Kafka answers."""
    session = read()
    found = have(session, "apache")
    found = {"kafka": clients.APACHE, "versions": found["versions"], "answers": masked_all(session, found)}
    lines = [json.dumps(one, sort_keys=True) for one in found.pop("answers")]
    head = json.dumps(found, indent=1, sort_keys=True)
    ANSWERS.write_text(head[:-2] + ',\n "answers": [\n' + ",\n".join(lines) + "\n ]\n}\n")
    print(f"{len(lines)} answers of Apache Kafka {clients.APACHE} in {ANSWERS.name}")


def compare():
    """Prints how our answers differ; returns how many differences are not intended."""
    session = read()
    theirs = json.loads(ANSWERS.read_text())
    found = have(session, "headwater")
    answers = {key(one): one["answer"] for one in theirs["answers"]}
    unexpected, used, compared = ranges(session, theirs["versions"], found["versions"]), set(), 0
    for one in masked_all(session, found):
        if key(one) not in answers:
            continue
        compared += 1
        for path, other, ours in differences(answers[key(one)], one["answer"], ()):
            reason = intended(session, one, path, used)
            if reason is None:
                where = f"{one['api']} v{one['version']} {one['name'] or ''}".strip()
                print(f"{where}: {'.'.join(map(str, path))}: Apache Kafka {json.dumps(other)}, we {json.dumps(ours)}")
                unexpected += 1
    for i, one in enumerate(session["differences"]):
        if i not in used and one["api"] in found["versions"] and not one.get("sometimes"):
            print(f"intended, and not found: {one['api']} {one['field']} ({one['because']})")
            unexpected += 1
    print(f"session: {compared} answers compared, {unexpected} differences that are not intended")
    return unexpected


def read():
    return yaml.safe_load((SUITE / "session.yaml").read_text(encoding="utf-8"))


def have(session, name):
    """The session with a broker of its own."""
    python = install.python()
    WORK.mkdir(parents=True, exist_ok=True)
    asked = WORK / "session.json"
    asked.write_text(json.dumps({"requests": session["requests"]}))
    with BROKERS[name]() as broker:
        command = [python, SUITE / "python" / "session.py", broker.address, asked]
        return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)


def key(one):
    return one["api"], one["name"], one["version"]


def masked_all(session, found):
    return [{**one, "answer": masked(one["answer"], set(session["own"]))} for one in found["answers"]]


def masked(found, own):
    if isinstance(found, dict):
        return {name: OWN if name in own and is_given(one) else masked(one, own) for name, one in found.items()}
    if not isinstance(found, list):
        return found
    # The order of partitions, topics and configurations in an answer says nothing.
    return sorted((masked(one, own) for one in found), key=place)


def place(one):
    names = ("name", "topic", "partition_index", "group_id", "api_key")
    return [str(one[name]).rjust(8) for name in names if name in one] if isinstance(one, dict) else []


def is_given(value):
    return value not in (None, "", -1, "00000000-0000-0000-0000-000000000000")


def ranges(session, theirs, ours):
    """What we say that we speak is not more than Apache Kafka speaks."""
    wrong = 0
    for name, (first, last) in ours.items():
        low, high = theirs.get(name, (0, -1))
        if first < low or last > high:
            print(f"ApiVersions: {name}: Apache Kafka {low} to {high}, we {first} to {last}")
            wrong += 1
    return wrong


def differences(theirs, ours, path):
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for name in sorted(theirs.keys() | ours.keys()):
            yield from differences(theirs.get(name, "(absent)"), ours.get(name, "(absent)"), (*path, name))
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for i, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from differences(one, other, (*path, i))
    elif theirs != ours:
        yield path, theirs, ours


def intended(session, answer, path, used):
    for i, one in enumerate(session["differences"]):
        names = fnmatch.fnmatchcase(".".join(map(str, path)), one["field"])
        if one["api"] == answer["api"] and names and answer["name"] == one.get("name", answer["name"]):
            used.add(i)
            return one["because"]
    return None
