"""Runs what `examples/scenarios` describes; its README says what every step means.

The blocking calls and those of asyncio are the same words, so one runner has both: `settle` waits for
what is awaitable, and without asyncio nothing ever is.
"""

from __future__ import annotations

import asyncio
import inspect
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

import headwater
import yaml
from headwater import aio
from scenario_values import (
    Map,
    Wrong,
    check_fields,
    differs,
    moment,
    plain_error,
    plain_health,
    plain_message,
    plain_metadata,
    plain_offsets,
    row,
)
from support import ROOT

FOLDER = ROOT / "examples" / "scenarios"
NEEDS = {"durable", "broker"}
LANGUAGES = {"rust", "python", "aio", "node", "kotlin", "swift"}
#: Ends what would wait for ever; then the scenario fails by what it did not get.
PATIENCE = 60.0

STEPS = {
    *("connect", "reconnect", "restart", "close", "metrics", "health"),
    *("create_topic", "alter_topic", "delete_topic", "describe_topic", "list_topics"),
    *("delete_records", "list_offsets"),
    *("list_groups", "describe_group", "delete_group", "commit_offsets"),
    *("producer", "send", "enqueue", "send_many", "flush"),
    *("consumer", "open", "consume", "ack", "commit", "committed", "positions", "assignment"),
    *("is_finished", "seek", "process"),
}
#: What may stand beside a step.
STEP_FIELDS = ("gives", "fails", "keep", "eventually")
#: What the blocking calls give for what is on its way.
PROMISES = (headwater.Delivery, headwater.Deliveries)


def load(paths: Iterable[Path]) -> list[Map]:
    """The scenarios of these files."""
    scenarios: list[Map] = []
    for path in sorted(paths):
        scenarios += yaml.safe_load(path.read_text(encoding="utf-8"))
    return scenarios


def check(scenario: Map) -> None:
    """Refuse what a scenario may not say about itself."""
    check_fields(scenario, {"name", "steps"}, {"needs", "languages", "because"})
    check_fields(dict.fromkeys(scenario.get("needs", [])), set(), NEEDS)
    check_fields(dict.fromkeys(scenario.get("languages", [])), set(), LANGUAGES)
    if ("languages" in scenario) != ("because" in scenario):
        raise Wrong("languages and because go together")


#: What a scenario may need, and each door has.
GIVES: dict[str, set[str]] = {
    "mem": set(),
    "folder": {"durable"},
    "unix": {"durable", "broker"},
    "tcp": {"durable", "broker"},
}
#: What is run against. One line each, so that a door is added or left out by one.
DOORS = [
    "mem",
    "folder",
    "unix",
    "tcp",
]


class Door:
    """Where the log is: in memory, in a folder, or behind a broker that serves one."""

    def __init__(self, kind: str, folder: Path) -> None:
        """Start what has to run."""
        self._folder = folder / "log"
        self.nowhere = str(folder / "nowhere")
        self._broker: headwater.Broker | None = None
        # A socket's path is short, and that of a test is not.
        self._socket = tempfile.TemporaryDirectory(prefix="headwater-")
        self.gives = GIVES[kind]
        self.address = "mem:" if kind == "mem" else str(self._folder)
        if kind == "tcp":
            self._serve("127.0.0.1:0")
        elif kind == "unix":
            self._serve(f"unix:{self._socket.name}/sock")

    def _serve(self, listen: str) -> None:
        self._broker = headwater.Broker(self._folder, listen=[listen])
        self.address = self._broker.address

    def restart(self) -> None:
        """Stop the broker, and start it again on its folder and port."""
        self._stop()
        self._serve(self.address)

    def _stop(self) -> None:
        if self._broker is not None:
            self._broker.close(0)

    def close(self) -> None:
        """Stop what runs."""
        self._stop()
        self._socket.cleanup()


def run(scenario: Map, door: Door, language: str) -> None:
    """Run a scenario with the blocking calls (`python`) or those of asyncio (`aio`)."""
    check(scenario)
    if language == "aio":
        asyncio.run(asyncio.wait_for(Run(door, aio.connect, is_aio=True).all(scenario), PATIENCE))
        return
    blocking = Run(door, headwater.connect, is_aio=False)
    watchdog = threading.Timer(PATIENCE, lambda: blocking.db.close(0))
    watchdog.start()
    try:
        blocking.all(scenario).send(None)
    except StopIteration:
        pass
    finally:
        watchdog.cancel()


class Run:
    """One scenario on its way: its handles by name, its variables. A step is a method of its name."""

    db: Any

    def __init__(self, door: Door, connect: Callable[..., Any], *, is_aio: bool) -> None:
        """Nothing is opened yet."""
        self._door = door
        self._connect = connect
        self._is_aio = is_aio
        self._variables: Map = {"nowhere": door.nowhere}
        self._producers: Map = {}
        self._consumers: dict[str, Reading] = {}

    async def settle(self, answer: Any) -> Any:
        """What a call gives in the end."""
        if self._is_aio:
            return await answer if isinstance(answer, Awaitable) else answer
        return answer.result() if isinstance(answer, PROMISES) else answer

    async def all(self, scenario: Map) -> None:
        """Every step; the error says which one went wrong."""
        self.db = await self.settle(self._connect(self._door.address))
        try:
            for number, step in enumerate(scenario["steps"], 1):
                try:
                    await self._step(dict(step))
                except (Wrong, headwater.HeadwaterError) as error:
                    error.add_note(f"step {number} of `{scenario['name']}`: {step}")
                    raise
        finally:
            await self.settle(self.db.close())

    async def _step(self, step: Map) -> None:
        about = {name: step.pop(name) for name in STEP_FIELDS if name in step}
        if len(step) != 1:
            raise Wrong(f"one step, and beside it {STEP_FIELDS}, not {list(step)}")
        ((name, arguments),) = step.items()
        if name not in STEPS:
            raise Wrong(f"there is no step `{name}`")
        call = getattr(self, name)
        wanted = self._resolved(about.get("gives"))
        while True:
            found = await self._called(call, self._resolved(arguments), about.get("fails"))
            if not about.get("eventually") or differs(wanted, found) is None:
                break
            await asyncio.sleep(0.01) if self._is_aio else threading.Event().wait(0.01)
        for variable, field in about.get("keep", {}).items():
            self._variables[variable] = found[field]
        if "gives" in about and (difference := differs(wanted, found)):
            raise Wrong(f"{difference}; all of it: {found}")

    async def _called(
        self, call: Callable[..., Any], arguments: Map, fails: Map | None
    ) -> Any:
        try:
            inspect.signature(call).bind(**arguments)
        except TypeError as error:
            raise Wrong(f"{error}, in {arguments}") from error
        try:
            found = await call(**arguments)
        except (headwater.HeadwaterError, Refused) as error:
            if fails is None:
                raise
            found = {"handler": str(error)} if isinstance(error, Refused) else plain_error(error)
            wanted = dict(fails)
            if "says" in wanted:
                wanted["message"] = {"says": wanted.pop("says")}
            if difference := differs(wanted, found):
                raise Wrong(f"{difference}; the error is {found}") from error
            return None
        if fails is not None:
            raise Wrong(f"it gave {found} and was to fail with {fails}")
        return found

    def _resolved(self, value: Any) -> Any:
        """Variables and repetitions put in."""
        if isinstance(value, str) and value.startswith("$"):
            return found(self._variables, value[1:])
        if isinstance(value, list):
            return [self._resolved(item) for item in value]
        if isinstance(value, dict):
            if value.keys() == {"repeat", "times"}:
                return value["repeat"] * value["times"]
            return {key: self._resolved(item) for key, item in value.items()}
        return value

    # --- The log ---

    async def connect(self, address: str, **options: Any) -> None:
        other = await self.settle(self._connect(address, **options))
        await self.settle(other.close())

    async def reconnect(self) -> None:
        await self.settle(self.db.close())
        self._producers.clear()
        self._consumers.clear()
        self.db = await self.settle(self._connect(self._door.address))

    async def restart(self) -> None:
        self._door.restart()

    async def close(
        self, producer: str | None = None, consumer: str | None = None, client: bool = False
    ) -> Any:
        if client:
            closing = self.db.close()
        elif producer is not None:
            closing = self._producer(producer).close()
        else:
            closing = self._consumer(consumer).consumer.close()
        report = await self.settle(closing)
        first = report.first_error
        return report._asdict() | {"first_error": first and plain_error(first)}

    async def metrics(self) -> Any:
        return self.db.metrics()

    async def health(self) -> Any:
        return plain_health(self.db.health())

    # --- Topics and groups ---

    async def create_topic(self, topic: str, **options: Any) -> None:
        await self.settle(self.db.admin.create_topic(topic, **options))

    async def alter_topic(self, topic: str, **options: Any) -> None:
        await self.settle(self.db.admin.alter_topic(topic, **options))

    async def delete_topic(self, topic: str) -> None:
        await self.settle(self.db.admin.delete_topic(topic))

    async def describe_topic(self, topic: str) -> Any:
        found = await self.settle(self.db.admin.describe_topic(topic))
        partitions = [partition._asdict() for partition in found.partitions]
        return found._asdict() | {"uuid": found.uuid.hex(), "partitions": partitions}

    async def list_topics(self) -> Any:
        return [topic.name for topic in await self.settle(self.db.admin.list_topics())]

    async def delete_records(self, topic: str, before: list[list[int]]) -> Any:
        offsets = {partition: offset for partition, offset in before}
        starts = await self.settle(self.db.admin.delete_records(topic, offsets))
        return [list(start) for start in sorted(starts.items())]

    async def list_offsets(self, queries: list[list[Any]]) -> Any:
        return await self.settle(self.db.admin.list_offsets([tuple(one) for one in queries]))

    async def list_groups(self) -> Any:
        return [group.group for group in await self.settle(self.db.admin.list_groups())]

    async def describe_group(self, group: str) -> Any:
        found = await self.settle(self.db.admin.describe_group(group))
        return found._asdict() | {
            "members": len(found.members),
            "offsets": plain_offsets(found.offsets),
        }

    async def delete_group(self, group: str) -> None:
        await self.settle(self.db.admin.delete_group(group))

    async def commit_offsets(self, group: str, offsets: list[list[Any]]) -> None:
        await self.settle(self.db.admin.commit_offsets(group, [tuple(one) for one in offsets]))

    # --- Producers ---

    async def producer(self, **options: Any) -> None:
        name = options.pop("as", "producer")
        self._producers[name] = self.db.producer(**options)

    def _producer(self, name: str | None) -> Any:
        if name is None and "producer" not in self._producers:
            self._producers["producer"] = self.db.producer()
        return found(self._producers, name or "producer")

    async def send(self, topic: str, producer: str | None = None, **record: Any) -> Any:
        sending = self._producer(producer).send(topic, **row(record))
        return plain_metadata(await self.settle(sending))

    async def enqueue(self, topic: str, producer: str | None = None, **record: Any) -> None:
        self._producer(producer).enqueue(topic, **row(record))

    async def send_many(
        self,
        topic: str,
        records: list[Any],
        partition: int | None = None,
        producer: str | None = None,
    ) -> Any:
        rows = [row(one if isinstance(one, dict) else {"value": one}) for one in records]
        sent = self._producer(producer).send_many(
            topic,
            [one["value"] for one in rows],
            keys=[one.get("key") for one in rows],
            headers=[one.get("headers") for one in rows],
            partition=partition,
        )
        sent = await sent if self._is_aio else sent
        return [plain_metadata(one) for one in await self.settle(sent)]

    async def flush(self, producer: str | None = None) -> None:
        await self.settle(self._producer(producer).flush())

    # --- Consumers ---

    async def consumer(self, topics: list[str], **options: Any) -> None:
        name = options.pop("as", "consumer")
        self._consumers[name] = Reading(self.db.consumer(*topics, **options))

    def _consumer(self, name: str | None) -> Reading:
        reading: Reading = found(self._consumers, name or "consumer")
        return reading

    async def open(self, consumer: str | None = None) -> None:
        await self.settle(self._consumer(consumer).consumer.open())

    async def consume(
        self, consumer: str | None = None, count: int | None = None, sorted: bool = False
    ) -> Any:
        reading = self._consumer(consumer)
        records: list[Map] = []
        while len(records) != count and (message := await reading.next(self._is_aio)) is not None:
            records.append(plain_message(message))
        if sorted:
            records.sort(key=lambda one: (one["topic"], one["partition"], one["offset"]))
        return records

    async def ack(self, records: list[list[Any]], consumer: str | None = None) -> None:
        reading = self._consumer(consumer)
        for record in records:
            reading.consumer.ack(reading.given[record[0], record[1], record[2]])

    async def commit(
        self, consumer: str | None = None, offsets: list[list[Any]] | None = None
    ) -> None:
        named = None if offsets is None else [tuple(one) for one in offsets]
        await self.settle(self._consumer(consumer).consumer.commit(named))

    async def committed(self, consumer: str | None = None) -> Any:
        return plain_offsets(await self.settle(self._consumer(consumer).consumer.committed()))

    async def positions(self, consumer: str | None = None) -> Any:
        return plain_offsets(self._consumer(consumer).consumer.positions())

    async def assignment(self, consumer: str | None = None) -> Any:
        return plain_offsets(self._consumer(consumer).consumer.assignment())

    async def is_finished(self, consumer: str | None = None) -> Any:
        return self._consumer(consumer).consumer.finished

    async def seek(self, topic: str, partition: int, to: Any, consumer: str | None = None) -> None:
        to = to if not isinstance(to, dict) else moment(to["time"])
        await self.settle(self._consumer(consumer).consumer.seek(topic, partition, to))

    async def process(
        self, failing: dict[str, Any], consumer: str | None = None, **options: Any
    ) -> Any:
        handler = Handler(failing)
        call = handler.later if self._is_aio else handler
        await self.settle(self._consumer(consumer).consumer.process(call, **options))
        return handler.given


def found(named: Map, name: str) -> Any:
    """What goes by a name."""
    if name not in named:
        raise Wrong(f"nothing is called `{name}`")
    return named[name]


class Reading:
    """A consumer, its loop, and the records that it gave."""

    def __init__(self, consumer: Any) -> None:
        """The loop begins with the first record that is asked for."""
        self.consumer = consumer
        self.given: dict[tuple[str, int, int], Any] = {}
        self._loop: Any = None

    async def next(self, is_aio: bool) -> Any:
        """The next record, or None at the end. After an end or a failure another loop begins."""
        if self._loop is None:
            self._loop = aiter(self.consumer) if is_aio else iter(self.consumer)
        try:
            message = await anext(self._loop, None) if is_aio else next(self._loop, None)
        except headwater.HeadwaterError:
            self._loop = None
            raise
        if message is None:
            self._loop = None
        else:
            self.given[message.topic, message.partition, message.offset] = message
        return message


class Refused(Exception):
    """What a handler raises."""


class Handler:
    """Refuses values as often as it was told to, and notes what it was given."""

    def __init__(self, failing: Map) -> None:
        """`failing`: how often a value is refused, or `always`."""
        self.given: list[str] = []
        self._failing = dict(failing)
        self._lock = threading.Lock()

    def __call__(self, message: headwater.Msg) -> None:
        """Handle a record."""
        value = (message.value or b"").decode()
        with self._lock:
            self.given.append(value)
            left = self._failing.get(value, 0)
            if left == "always" or left > 0:
                self._failing[value] = left if left == "always" else left - 1
                raise Refused(f"{value} is refused")

    async def later(self, message: headwater.Msg) -> None:
        """The same as a task."""
        self(message)
