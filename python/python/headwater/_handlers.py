"""The loops of ``process``: handlers on threads, and in tasks of an event loop.

Order, retries, dead letters and commits are core's; here a handler is run, and core hears how it
ended.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from headwater import _native
from headwater._native import Msg
from headwater._wait import wait

if TYPE_CHECKING:
    from headwater._options import ProcessOptions

#: What an event loop calls for a record: a coroutine function, or a plain one.
Handler = Callable[[Msg], Awaitable[object] | object]


class Run:
    """A run of ``process``: its processor, and what ended it."""

    __slots__ = ("failure", "processor")

    def __init__(self, consumer: _native.Consumer, options: ProcessOptions) -> None:
        """Begin: from now on nobody else reads the consumer."""
        self.processor = _native.Processor(consumer, **options)
        self.failure: BaseException | None = None

    def failed(self, msg: Msg, ticket: int, error: BaseException) -> None:
        """The handler has raised: core says whether that ends everything."""
        if not isinstance(error, Exception):
            # The end of a thread or a task, not of a record.
            self.failure = self.failure or error
            self.processor.stop()
        elif self.processor.finish(ticket, "".join(traceback.format_exception_only(error)).strip()):
            error.add_note(f"at offset {msg.offset} of {msg.topic}-{msg.partition}")
            self.failure = error

    def end(self) -> None:
        """Raise what ended it."""
        if self.failure is not None:
            raise self.failure


def process(
    consumer: _native.Consumer, handler: Callable[[Msg], object], options: ProcessOptions
) -> None:
    """Run handlers on threads."""
    run = Run(consumer, options)

    def handle(msg: Msg, ticket: int) -> None:
        try:
            handler(msg)
        except BaseException as error:
            run.failed(msg, ticket, error)
        else:
            run.processor.finish(ticket)

    try:
        with ThreadPoolExecutor(run.processor.concurrency, "headwater-process") as pool:
            while (taken := run.processor.take().result()) is not None:
                for ticket, msg in enumerate(taken[1], taken[0]):
                    pool.submit(handle, msg, ticket)
    finally:
        run.processor.close().result()
    run.end()


async def process_in_tasks(
    consumer: _native.Consumer, handler: Handler, options: ProcessOptions
) -> None:
    """Run handlers in tasks."""
    run = Run(consumer, options)
    tasks: set[asyncio.Task[None]] = set()

    async def handle(msg: Msg, ticket: int) -> None:
        try:
            result = handler(msg)
            if inspect.isawaitable(result):
                await result
        except BaseException as error:
            run.failed(msg, ticket, error)
        else:
            run.processor.finish(ticket)

    try:
        while (taken := await wait(run.processor.take())) is not None:
            for ticket, msg in enumerate(taken[1], taken[0]):
                task = asyncio.create_task(handle(msg, ticket))
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
