"""The blocking API: every wait ends by Ctrl-C, and at its timeout (seconds; none: never)."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload

from headwater import _native
from headwater._handlers import process
from headwater._leaving import leave, patience
from headwater._native import Batch, Msg
from headwater._options import (
    ConnectOptions,
    ConsumerOptions,
    ProcessOptions,
    ProducerOptions,
    TopicOptions,
)
from headwater._types import (
    CloseReport,
    DeliveryFailure,
    GroupDescription,
    GroupDetails,
    Health,
    PartitionLag,
    PartitionOffset,
    TopicDescription,
)

if TYPE_CHECKING:
    from datetime import datetime

    from headwater._native import Deliveries, Delivery, RecordMetadata
    from headwater._types import Data, Headers, ProducerRecord


def connect(address: str | os.PathLike[str], **options: Unpack[ConnectOptions]) -> Client:
    """Open the log at an address: ``./data``, ``mem:``, ``host:port``, or a ``Path``.

    A path opens the log in this process and creates its folder if it is missing (``create=False``:
    it must be there). ``mem:`` is a log in memory, gone when it is closed; ``mem:name`` is shared
    by name within the process. ``host:port`` is a broker. What is none of these is refused.
    """
    return Client(_native.connect(address_text(address), **options).result())


def address_text(address: str | os.PathLike[str]) -> str:
    """The address as core reads it: an object that is a path is a folder, whatever its name."""
    if isinstance(address, str):
        return address
    return Path(os.fspath(address)).absolute().as_uri()


class Client:
    """An open log. Use it as a context manager, or close it."""

    __slots__ = ("_native", "admin")

    #: Topics, groups and offsets.
    admin: Admin

    def __init__(self, native: _native.Client) -> None:
        """Made by :func:`connect`."""
        self._native = native
        self.admin = Admin(native.admin())

    @property
    def address(self) -> str:
        """What it is connected to, without options and secrets."""
        return self._native.address

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._native.closed

    def producer(
        self,
        *,
        on_failure: Callable[[DeliveryFailure], object] | None = None,
        **options: Unpack[ProducerOptions],
    ) -> Producer:
        """Make a producer. It is not tied to a topic.

        ``on_failure`` is called, on a thread of Headwater, for records that failed although nobody
        was waiting for them. It must not wait for this producer.
        """
        return Producer(self._native, on_failure=on_failure, **options)

    def consumer(self, *topics: str, **options: Unpack[ConsumerOptions]) -> Consumer:
        """Make a consumer of topics, in a ``group`` or (without one) of all partitions."""
        return Consumer(self._native, topics, **options)

    def metrics(self) -> dict[str, int]:
        """What the client is doing: counts since it was opened, and what is open now."""
        return self._native.metrics()

    def health(self) -> Health:
        """How it is, and why it does not work if it does not: for probes. Never waits."""
        return self._native.health()

    def close(self, timeout: float | None = None) -> CloseReport:
        """Flush its producers, commit what its consumers have processed, close the log.

        It always returns within the timeout (none: ``close_timeout_ms``), and says what was not
        delivered.
        """
        return self._native.close(timeout).result(patience(timeout))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and raise if records were lost by that."""
        leave(self.close, self._native.exit_timeout, raised)

    def __repr__(self) -> str:
        """The address and whether it is open."""
        return f"<headwater.Client of {self.address}{', closed' if self.closed else ''}>"


class Producer(_native.Producer):
    """Sends records to any topic. Those of one partition keep the order they were sent in."""

    __slots__ = ()

    if TYPE_CHECKING:

        def send(
            self,
            topic: str,
            value: Data | None,
            *,
            key: Data | None = None,
            headers: Headers | None = None,
            partition: int | None = None,
            timestamp: int | datetime | None = None,
        ) -> Delivery: ...

        def send_many(
            self,
            topic: str,
            values: Iterable[Data | None],
            keys: Sequence[Data | None] | None = None,
            headers: Headers | Sequence[Headers | None] | None = None,
            *,
            partition: int | None = None,
            timestamps: Sequence[int | datetime | None] | None = None,
        ) -> Deliveries: ...

    def ready(self, timeout: float | None = None) -> None:
        """Wait until there is room for one more record."""
        self._ready().result(timeout)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent so far is acknowledged or failed.

        Raises the first failure that nobody was told about, with the count and the topics.
        """
        self._flush().result(timeout)

    def close(self, timeout: float | None = None) -> CloseReport:
        """Flush, take no more records, and say what was not delivered.

        It always returns within the timeout (none: ``close_timeout_ms``).
        """
        return self._close(timeout).result(patience(timeout))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and raise if records were lost by that."""
        leave(self.close, self._exit_timeout, raised)


class Consumer(_native.Consumer):
    """Reads topics: iterate it for records, or :meth:`batches` for many at once.

    With ``ack="auto"`` (the default) a record counts as processed when the next one is asked for (a
    batch: the next batch). Leaving the loop by ``break``, ``return`` or an exception does not
    process the record in hand; asking again, in a new loop too, does. If you hand records to
    threads or tasks, use ``ack="manual"``. What is processed is committed every
    ``commit_interval_ms`` and at close.

    Closing it, from wherever, ends the loop that runs; one that begins after that raises ``Closed``.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Msg]:
        """The records, one by one; waits for more until ``until`` is reached or it is closed."""
        return self._records(wait=True)

    def batches(
        self, max_records: int | None = None, timeout: float | None = None
    ) -> Iterator[Batch]:
        """Many records at once: as many as are there, at most ``max_records``.

        Ends like the iteration of records, and when nothing came for ``timeout`` seconds.
        """
        self._begin_loop()
        while (batch := self._next_batch(max_records, timeout)) is not None:
            yield batch

    def open(self, timeout: float | None = None) -> None:
        """Find the topics, join the group, fix where reading starts and ends: else at first use."""
        self._open().result(timeout)

    def commit(
        self,
        offsets: Iterable[tuple[str, int, int]] | None = None,
        *,
        timeout: float | None = None,
    ) -> None:
        """Commit now what is processed, or these offsets, each that of the next record to read."""
        self._commit(offsets).result(timeout)

    def commit_with(
        self,
        results: Iterable[ProducerRecord | tuple[Any, ...]],
        *,
        timeout: float | None = None,
    ) -> list[RecordMetadata]:
        """Send records and commit what was handed out, as one append: both happen, or neither does.

        For reading one topic and writing what comes of it to another: after a crash nothing is
        missing and nothing is there twice. Each result is a :class:`ProducerRecord`, or a tuple
        that begins with a topic and a value. Every record handed out so far counts as processed,
        also the one or the batch in hand; from the first call on nothing is committed unasked.
        Needs a ``group`` and ``ack="auto"``. Returns where the results went, in order.
        """
        return self._commit_with(results).result(timeout)

    def committed(self, timeout: float | None = None) -> list[PartitionOffset]:
        """What the group has committed for the partitions of this consumer."""
        return self._committed().result(timeout)

    def seek(
        self,
        topic: str,
        partition: int,
        offset: int | str | datetime,
        *,
        timeout: float | None = None,
    ) -> None:
        """Go on reading a partition at an offset, ``"earliest"``, ``"latest"``, or a time."""
        self._seek(topic, partition, offset).result(timeout)

    def lag(self, timeout: float | None = None) -> list[PartitionLag]:
        """How far it is in each assigned partition, and how far it could be: one request."""
        return self._lag().result(timeout)

    @overload
    def process(
        self,
        handler: Callable[[Msg], object],
        *,
        batch: Literal[False] = False,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    def process(
        self,
        handler: Callable[[Batch], object],
        *,
        batch: Literal[True],
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    def process(
        self,
        handler: Callable[[Any], object],
        *,
        batch: bool = False,
        **options: Unpack[ProcessOptions],
    ) -> None:
        """Call ``handler`` for every record, on up to ``concurrency`` threads at the same time.

        Records of one key of one partition are handled one after the other (``order``). A record
        whose handler raises is tried again after a pause, up to ``attempts`` times, and holds back
        only its key. After that it goes to the topic ``dead_letter``, or without one the exception
        comes out of here, once the other handlers have ended. Only what is processed is committed;
        a record may be handled more than once.

        With ``batch=True`` the handler is called for many records at once, a :class:`Batch`: as
        many as may run, at most ``concurrency``. They end together: if it raises, each of them is
        tried again, or has failed.

        Returns when ``until`` is reached or the consumer is closed. Ctrl-C waits for the handlers
        that run. What was not processed is read again by whoever reads this consumer next.
        """
        process(self, handler, batch, options)

    def close(self, timeout: float | None = None) -> CloseReport:
        """Commit what is processed and leave the group. It always returns within the timeout."""
        return self._close(timeout).result(patience(timeout))

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; the record in hand is not processed."""
        leave(self.close, self._exit_timeout, raised)


class Admin:
    """Topics, groups and offsets."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.Admin) -> None:
        """Made by the client."""
        self._native = native

    def create_topic(self, name: str, **options: Unpack[TopicOptions]) -> None:
        """Create a topic; ``exist_ok=True``: one of that name is no error."""
        self._native.create_topic(name, **options).result()

    def delete_topic(self, name: str) -> None:
        """Delete a topic and its records."""
        self._native.delete_topic(name).result()

    def delete_records(self, topic: str, before: Mapping[int, int]) -> dict[int, int]:
        """Delete the records before an offset, ``{partition: offset}``: in all of them or in none.

        -1 stands for the high watermark. Return the first offset that each partition holds then; an
        offset below that deletes nothing.
        """
        return self._native.delete_records(topic, dict(before)).result()

    def alter_topic(self, name: str, **options: Unpack[TopicOptions]) -> None:
        """Change these options of a topic; the others stay as they are."""
        self._native.alter_topic(name, **options).result()

    def list_topics(self) -> list[TopicDescription]:
        """Every topic, by name."""
        return self._native.list_topics().result()

    def describe_topic(self, name: str) -> TopicDescription:
        """One topic: its options and how its partitions stand."""
        return self._native.describe_topic(name).result()

    def list_groups(self) -> list[GroupDescription]:
        """Every consumer group, by id."""
        return self._native.list_groups().result()

    def describe_group(self, group: str) -> GroupDetails:
        """One group: its state, its members and what each holds, and its committed offsets."""
        return self._native.describe_group(group).result()

    def delete_group(self, group: str) -> None:
        """Forget a group without members and what it has committed."""
        self._native.delete_group(group).result()

    def list_offsets(self, queries: Iterable[tuple[str, int, str | int | datetime]]) -> list[int]:
        """Offsets of ``(topic, partition, at)``; at is ``"earliest"``, ``"latest"``, or a time.

        A time is a ``datetime`` or milliseconds since 1970 UTC.
        """
        return self._native.list_offsets(queries).result()

    def commit_offsets(self, group: str, offsets: Iterable[tuple[str, int, int]]) -> None:
        """Commit offsets of a group by hand, allowed while it has no member."""
        self._native.commit_offsets(group, offsets).result()
