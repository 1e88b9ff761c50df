"""The loops of ``process``: handlers on threads, and in tasks of an event loop.

Order, retries, dead letters and commits are core's; here a handler is run, and core hears how it
ended.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from headwater import _native
from headwater._native import Batch, Msg
from headwater._wait import wait

if TYPE_CHECKING:
    from headwater._options import ProcessOptions

#: What an event loop calls for a record: a coroutine function, or a plain one.
Handler = Callable[[Msg], Awaitable[object] | object]
#: The same for many records a call.
BatchHandler = Callable[[Batch], Awaitable[object] | object]


class Run:
    """A run of ``process``: its processor, and what ended it."""

    __slots__ = ("failure", "processor")

    def __init__(
        self,
        consumer: _native.Consumer,
        handler: Callable[[Any], object],
        options: ProcessOptions,
    ) -> None:
        """Begin: from now on nobody else reads the consumer."""
        if not callable(handler):
            # Called, it would fail with every record, and only when there is one.
            raise TypeError(f"the handler must be callable, not {type(handler).__name__}")
        self.processor = _native.Processor(consumer, **options)
        self.failure: BaseException | None = None

    def calls(self, batch: bool, ticket: int, records: Batch) -> Iterable[tuple[int, Msg | Batch]]:
        """What handlers are called with: all records at once, or each by itself."""
        return [(ticket, records)] if batch else enumerate(records, ticket)

    def done(self, given: Msg | Batch, ticket: int) -> None:
        """The handler has ended."""
        if isinstance(given, Msg):
            self.processor.finish(ticket)
        else:
            self.processor.finish_batch(ticket, len(given))

    def failed(self, given: Msg | Batch, ticket: int, error: BaseException) -> None:
        """The handler has raised: core says whether that ends everything."""
        if not isinstance(error, Exception):
            # The end of a thread or a task, not of a record.
            self.failure = self.failure or error
            self.processor.stop()
            return
        text = "".join(traceback.format_exception_only(error)).strip()
        if isinstance(given, Msg):
            msg = given if self.processor.finish(ticket, text) else None
        else:
            row = self.processor.finish_batch(ticket, len(given), text)
            msg = None if row is None else given[row]
        if msg is not None:
            error.add_note(f"at offset {msg.offset} of {msg.topic}-{msg.partition}")
            self.failure = error

    def end(self) -> None:
        """Raise what ended it."""
        if self.failure is not None:
            raise self.failure


def process(
    consumer: _native.Consumer,
    handler: Callable[[Any], object],
    batch: bool,
    options: ProcessOptions,
) -> None:
    """Run handlers on threads."""
    run = Run(consumer, handler, options)

    def handle(ticket: int, given: Msg | Batch) -> None:
        try:
            handler(given)
        except BaseException as error:
            run.failed(given, ticket, error)
        else:
            run.done(given, ticket)

    try:
        with ThreadPoolExecutor(run.processor.concurrency, "headwater-process") as pool:
            while (taken := run.processor.take().result()) is not None:
                for ticket, given in run.calls(batch, *taken):
                    pool.submit(handle, ticket, given)
    finally:
        run.processor.close().result()
    run.end()


async def process_in_tasks(
    consumer: _native.Consumer,
    handler: Callable[[Any], Awaitable[object] | object],
    batch: bool,
    options: ProcessOptions,
) -> None:
    """Run handlers in tasks."""
    run = Run(consumer, handler, options)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(ticket: int, given: Msg | Batch) -> None:
        try:
            result = handler(given)
            if inspect.isawaitable(result):
                await result
        except BaseException as error:
            run.failed(given, ticket, error)
        else:
            run.done(given, ticket)

    try:
        while (taken := await wait(run.processor.take())) is not None:
            for ticket, given in run.calls(batch, *taken):
                task = asyncio.create_task(handle(ticket, given))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
    except asyncio.CancelledError:
        for task in tasks:
            task.cancel()
        raise
    finally:
        # What runs has its end, and counts.
        await asyncio.gather(*tasks)
        await wait(run.processor.close())
    run.end()
