"""A broker inside this process, for asyncio."""

from __future__ import annotations

import os
from collections.abc import Generator
from types import TracebackType
from typing import Any, Self, Unpack

from headwater import _native
from headwater._broker import bootstrap_servers
from headwater._options import ServeOptions
from headwater._wait import wait


class Broker:
    """:class:`headwater.Broker` for asyncio: it starts when it is awaited or entered.

    ::

        async with aio.Broker() as broker:
            producer = AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers)

    It serves on threads of its own: whatever the event loop does, it answers.
    """

    __slots__ = ("_allow_remote", "_data", "_options", "_running")

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        allow_remote: bool = False,
        **options: Unpack[ServeOptions],
    ) -> None:
        """Say what it is to be; the arguments are those of :class:`headwater.Broker`."""
        self._data = data
        self._allow_remote = allow_remote
        self._options = options
        self._running: _native.Broker | None = None

    async def _start(self) -> Self:
        if self._running is None:
            starting = _native.start_broker(
                self._data, allow_remote=self._allow_remote, **self._options
            )
            self._running = await wait(starting)
        return self

    @property
    def _inner(self) -> _native.Broker:
        if self._running is None:
            message = "the broker has not started: `async with` or `await` starts it"
            raise _native.make_error("INVALID_STATE", message)
        return self._running

    @property
    def address(self) -> str:
        """The first address that it listens on, to connect to."""
        return self._inner.addresses[0]

    @property
    def addresses(self) -> list[str]:
        """Every address that it listens on, with the ports it really has."""
        return self._inner.addresses

    @property
    def bootstrap_servers(self) -> str:
        """What Kafka's clients connect to: ``"127.0.0.1:54321"``, several parted by commas."""
        return bootstrap_servers(self.addresses)

    @property
    def connection_count(self) -> int:
        """How many connections of the native protocol there are."""
        return self._inner.connection_count

    async def close(self, timeout: float | None = None) -> None:
        """Answer what was asked, end the connections, close the log.

        Connections that are not done within the timeout (none: ``close_timeout_ms``) are cut.
        """
        if self._running is not None:
            await wait(self._running.close(timeout))

    def __await__(self) -> Generator[Any, None, Self]:
        """Start it."""
        return self._start().__await__()

    async def __aenter__(self) -> Self:
        """Start it."""
        return await self._start()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        await self.close()

    def __repr__(self) -> str:
        """Where it listens."""
        where = "not started" if self._running is None else f"on {', '.join(self.addresses)}"
        return f"<headwater.aio.Broker {where}>"
