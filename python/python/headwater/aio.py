"""The same for asyncio: ``from headwater import aio``.

``await`` what waits, ``async with`` what is closed, ``async for`` what is read. Nothing here blocks
the event loop, and no file is touched on its thread. Many answers cost one wake-up of the loop. A
task that is cancelled gets :class:`asyncio.CancelledError`, as ever; what it asked for may still
happen.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Sequence,
)
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self, Unpack, overload
from weakref import WeakSet

from headwater import _native
from headwater._aio_admin import Admin
from headwater._aio_broker import Broker
from headwater._client import address_text
from headwater._errors import HeadwaterError
from headwater._handlers import BatchHandler, Handler, process_in_tasks
from headwater._leaving import leave_async
from headwater._native import Batch, Deliveries, Delivery, Msg, RecordMetadata
from headwater._options import (
    ConnectOptions,
    ConsumerOptions,
    ProcessOptions,
    ProducerOptions,
)
from headwater._types import (
    CloseReport,
    DeliveryFailure,
    Health,
    PartitionLag,
    PartitionOffset,
)
from headwater._wait import wait

if TYPE_CHECKING:
    import os
    from datetime import datetime

    from headwater._types import Data, Headers, ProducerRecord

__all__ = ["Admin", "Broker", "Client", "Consumer", "KeptDelivery", "Producer", "connect"]


def connect(address: str | os.PathLike[str], **options: Unpack[ConnectOptions]) -> Connecting:
    """Open the log at an address, as :func:`headwater.connect`; await or ``async with`` it."""
    return Connecting(address_text(address), options)


class Connecting:
    """A client that is being opened."""

    __slots__ = ("_address", "_client", "_options")

    def __init__(self, address: str, options: ConnectOptions) -> None:
        """Made by :func:`connect`."""
        self._address = address
        self._options = options
        self._client: Client | None = None

    async def _open(self) -> Client:
        return Client(await wait(_native.connect(self._address, **self._options)))

    def __await__(self) -> Generator[Any, None, Client]:
        """The client."""
        return self._open().__await__()

    async def __aenter__(self) -> Client:
        """The client."""
        self._client = await self._open()
        return self._client

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close the client, and raise if records were lost by that."""
        if self._client is not None:
            await self._client.__aexit__(kind, raised, traceback)


class Client:
    """An open log. Use it as an asynchronous context manager, or close it."""

    __slots__ = ("_native", "_producers", "_unsent", "admin")

    #: Topics, groups and offsets.
    admin: Admin

    def __init__(self, native: _native.Client) -> None:
        """Made by :func:`connect`."""
        self._native = native
        self._producers: WeakSet[Producer] = WeakSet()
        self._unsent = 0
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

        ``on_failure`` is called, by the running event loop, for records that failed although nobody
        was waiting for them.
        """
        hook = None
        if on_failure is not None:
            loop, call = asyncio.get_running_loop(), on_failure

            def hook(failure: DeliveryFailure) -> None:
                loop.call_soon_threadsafe(call, failure)

        producer = Producer(self._native, on_failure=hook, on_full=Producer._keep, **options)
        producer._close_timeout = self._native.close_timeout
        self._producers.add(producer)
        return producer

    def consumer(self, *topics: str, **options: Unpack[ConsumerOptions]) -> Consumer:
        """Make a consumer of topics, in a ``group`` or (without one) of all partitions."""
        return Consumer(self._native, topics, **options)

    def metrics(self) -> dict[str, int]:
        """What the client is doing: counts since it was opened, and what is open now."""
        return self._native.metrics()

    def health(self) -> Health:
        """How it is, and why it does not work if it does not: for probes. Never waits."""
        return self._native.health()

    async def close(self, timeout: float | None = None) -> CloseReport:
        """Flush its producers, commit what its consumers have processed, close the log.

        It always returns within the timeout (none: ``close_timeout_ms``), and says what was not
        delivered.
        """
        left = self._native.close_timeout if timeout is None else timeout
        until = asyncio.get_running_loop().time() + left
        for producer in list(self._producers):
            left = until - asyncio.get_running_loop().time()
            # Not in one statement: another close may count between its halves.
            unsent = await producer._send_kept_within(left)
            self._unsent += unsent
        report = await wait(self._native.close(until - asyncio.get_running_loop().time()))
        return report._replace(unsent_records=report.unsent_records + self._unsent)

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and raise if records were lost by that."""
        await leave_async(self.close, self._native.exit_timeout, raised)

    def __repr__(self) -> str:
        """The address and whether it is open."""
        return f"<headwater.aio.Client of {self.address}{', closed' if self.closed else ''}>"


class KeptDelivery:
    """A record that found no room: it is kept, first in first out, and sent when there is some.

    Await it like any delivery. Cancelled while it is kept, the record is not sent.
    """

    __slots__ = ("_placed",)

    def __init__(self, placed: asyncio.Future[Delivery]) -> None:
        """Made by :meth:`Producer.send`."""
        self._placed = placed

    def done(self) -> bool:
        """Whether the record is acknowledged or failed."""
        placed = self._placed
        if not placed.done() or placed.cancelled() or placed.exception() is not None:
            return placed.done()
        return placed.result().done()

    def __await__(self) -> Generator[Any, None, RecordMetadata]:
        """Where the record went."""
        return self._wait().__await__()

    async def _wait(self) -> RecordMetadata:
        return await (await self._placed)


class Producer(_native.Producer):
    """Sends records to any topic. Records of one partition keep the order in which they were sent.

    ``send`` returns at once, with or without room. Without room the record is kept, up to 1,024 of
    them; beyond that, and always for ``enqueue``, it is ``Full``.
    """

    __slots__ = ("__weakref__", "_close_timeout", "_kept", "_sender", "_unsent")

    _close_timeout: float
    _kept: deque[tuple[tuple[Any, ...], asyncio.Future[Delivery]]]
    _sender: asyncio.Task[None] | None

    def __init__(self, *_arguments: object, **_options: object) -> None:
        """Made by :meth:`Client.producer`."""
        self._kept = deque()
        self._sender = None
        self._unsent = 0

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
        ) -> Delivery | KeptDelivery: ...

    async def send_many(
        self,
        topic: str,
        values: Iterable[Data | None],
        keys: Sequence[Data | None] | None = None,
        headers: Headers | Sequence[Headers | None] | None = None,
        *,
        partition: int | None = None,
        timestamps: Sequence[int | datetime | None] | None = None,
    ) -> Deliveries:
        """Send many records, waiting for room where there is none; await the answer for their ends.

        The same as as many ``send``. If one is refused, those before it are sent: they are the
        error's ``sent``.
        """
        all_values = values if isinstance(values, list) else list(values)
        sending = _native.Sending()
        while True:
            self._send_rest(topic, all_values, keys, headers, partition, timestamps, sending)
            if len(sending) == len(all_values):
                return sending.take()
            await self.ready()

    async def ready(self) -> None:
        """Wait until there is room for one more record."""
        while self._sender is not None:
            await asyncio.wait([self._sender])
        await wait(self._ready())

    async def flush(self) -> None:
        """Wait until everything sent so far is acknowledged or failed.

        Raises the first failure that nobody was told about, with the count and the topics.
        """
        if self._sender is not None:
            await asyncio.wait([self._sender])
        await wait(self._flush())

    async def close(self, timeout: float | None = None) -> CloseReport:
        """Flush, take no more records, and say what was not delivered.

        It always returns within the timeout (none: ``close_timeout_ms``).
        """
        left = self._close_timeout if timeout is None else timeout
        until = asyncio.get_running_loop().time() + left
        unsent = await self._send_kept_within(left)
        self._unsent += unsent
        report = await wait(self._close(until - asyncio.get_running_loop().time()))
        return report._replace(unsent_records=report.unsent_records + self._unsent)

    async def _send_kept_within(self, left: float) -> int:
        """Wait for room for the records that are kept; how many there was none for."""
        loop = asyncio.get_running_loop()
        # One of a loop that has ended does nothing any more.
        if self._sender is not None and self._sender.get_loop() is loop:
            await asyncio.wait([self._sender], timeout=max(0.0, left))
        unsent = len(self._kept)
        if self._sender is not None and self._sender.get_loop() is loop:
            self._sender.cancel()
        return unsent

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and raise if records were lost by that."""
        await leave_async(self.close, self._exit_timeout, raised)

    def _keep(self, *record: Any) -> KeptDelivery:
        """Keep a record that found no room; called by the native half."""
        if len(self._kept) >= _native.SEND_WAITERS_MAX:
            message = f"{len(self._kept)} records wait for room already"
            raise _native.make_error("BUFFER_FULL", message)
        loop = asyncio.get_running_loop()
        placed: asyncio.Future[Delivery] = loop.create_future()
        self._kept.append((record, placed))
        self._set_keeping(True)
        if self._sender is None:
            self._sender = loop.create_task(self._send_all_kept())
        return KeptDelivery(placed)

    async def _send_all_kept(self) -> None:
        try:
            while self._kept:
                record, placed = self._kept[0]
                try:
                    delivery = None if placed.done() else self._send_kept(*record)
                except HeadwaterError as error:
                    if error.code == "BUFFER_FULL":
                        await wait(self._ready())
                        continue
                    placed.set_exception(error)
                else:
                    if delivery is not None:
                        placed.set_result(delivery)
                self._kept.popleft()
        except HeadwaterError as error:
            self._fail_kept(error)
        except asyncio.CancelledError:
            self._fail_kept(_native.make_error("CLOSED", "closed before there was room to send"))
            raise
        finally:
            self._sender = None
            self._set_keeping(False)

    def _fail_kept(self, error: HeadwaterError) -> None:
        while self._kept:
            _, placed = self._kept.popleft()
            if not placed.done():
                placed.set_exception(error)
                # Close counts them: what nobody awaits needs no line in the log for each.
                placed.exception()


class Consumer(_native.Consumer):
    """Reads topics: ``async for`` records, or :meth:`batches` for many at once.

    With ``ack="auto"`` (the default) a record counts as processed when the next one is asked for (a
    batch: the next batch). If you hand records to tasks, use ``ack="manual"``.

    Closing it, from wherever, ends the loop that runs; one that begins after that raises ``Closed``.
    """

    __slots__ = ()

    async def __aiter__(self) -> AsyncIterator[Msg]:
        """The records, one by one; waits for more until ``until`` is reached or it is closed."""
        rows = self._records(wait=False)
        while True:
            for msg in rows:
                yield msg
            if not await self._fill():
                return

    async def batches(
        self, max_records: int | None = None, timeout: float | None = None
    ) -> AsyncIterator[Batch]:
        """Many records at once: as many as are there, at most ``max_records``.

        Ends like the iteration of records, and when nothing came for ``timeout`` seconds.
        """
        self._begin_loop()
        while True:
            while (batch := self._next_rows(max_records)) is not None:
                yield batch
            try:
                async with asyncio.timeout(timeout):
                    is_there = await self._fill()
            except TimeoutError as error:
                if isinstance(error, HeadwaterError):
                    raise
                return
            if not is_there:
                return

    async def _fill(self) -> bool:
        """Get the next block. Cancelled, the block is there for whoever asks next."""
        try:
            return await wait(self._fetch())
        except HeadwaterError:
            self._forget_fetch()
            raise

    async def open(self) -> None:
        """Find the topics, join the group, fix where reading starts and ends: else at first use."""
        await wait(self._open())

    async def commit(self, offsets: Iterable[tuple[str, int, int]] | None = None) -> None:
        """Commit now what is processed, or these offsets, each that of the next record to read."""
        await wait(self._commit(offsets))

    async def commit_with(
        self, results: Iterable[ProducerRecord | tuple[Any, ...]]
    ) -> list[RecordMetadata]:
        """Send records and commit what was handed out, as one append: both happen, or neither does.

        As :meth:`headwater.Consumer.commit_with`.
        """
        return await wait(self._commit_with(results))

    async def committed(self) -> list[PartitionOffset]:
        """What the group has committed for the partitions of this consumer."""
        return await wait(self._committed())

    async def seek(self, topic: str, partition: int, offset: int | str | datetime) -> None:
        """Go on reading a partition at an offset, ``"earliest"``, ``"latest"``, or a time."""
        await wait(self._seek(topic, partition, offset))

    async def lag(self) -> list[PartitionLag]:
        """How far it is in each assigned partition, and how far it could be: one request."""
        return await wait(self._lag())

    @overload
    async def process(
        self,
        handler: Handler,
        *,
        batch: Literal[False] = False,
        **options: Unpack[ProcessOptions],
    ) -> None: ...
    @overload
    async def process(
        self, handler: BatchHandler, *, batch: Literal[True], **options: Unpack[ProcessOptions]
    ) -> None: ...
    async def process(
        self,
        handler: Callable[[Any], Awaitable[object] | object],
        *,
        batch: bool = False,
        **options: Unpack[ProcessOptions],
    ) -> None:
        """Call ``handler`` for every record, in up to ``concurrency`` tasks at the same time.

        All else is as with :meth:`headwater.Consumer.process`. Cancelled, it cancels the handlers.
        """
        await process_in_tasks(self, handler, batch, options)

    async def close(self, timeout: float | None = None) -> CloseReport:
        """Commit what is processed and leave the group. It always returns within the timeout."""
        return await wait(self._close(timeout))

    async def __aenter__(self) -> Self:
        """Itself."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it; the record in hand is not processed."""
        await leave_async(self.close, self._exit_timeout, raised)
