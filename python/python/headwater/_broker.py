"""A broker inside this process: for tests, and for programs that bring their own."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self, Unpack

from headwater import _native
from headwater._options import ServeOptions


class Broker:
    """A broker that runs in this process, on a thread of its own.

    Without ``data`` it is in memory, listens on a free loopback port and creates topics as they are
    used::

        with headwater.Broker() as broker, headwater.connect(broker.address) as db:
            ...

    The same port speaks Kafka's protocol: ``bootstrap_servers`` is what Kafka's clients are given.
    In asyncio, :class:`headwater.aio.Broker`; in a test suite, fixtures of ``pytest_headwater``.

    ``data`` is the folder to serve, by default on 127.0.0.1:9092. An address that other machines
    can reach needs ``allow_remote=True``: there is no authentication yet.
    """

    __slots__ = ("_native",)

    def __init__(
        self,
        data: str | os.PathLike[str] | None = None,
        *,
        allow_remote: bool = False,
        **options: Unpack[ServeOptions],
    ) -> None:
        """Start it; connections are accepted when this returns."""
        starting = _native.start_broker(data, allow_remote=allow_remote, **options)
        self._native = starting.result()

    @property
    def address(self) -> str:
        """The first address that it listens on, to connect to."""
        return self._native.addresses[0]

    @property
    def addresses(self) -> list[str]:
        """Every address that it listens on, with the ports it really has."""
        return self._native.addresses

    @property
    def bootstrap_servers(self) -> str:
        """What Kafka's clients connect to: ``"127.0.0.1:54321"``, several parted by commas."""
        return bootstrap_servers(self.addresses)

    @property
    def connection_count(self) -> int:
        """How many connections of the native protocol there are."""
        return self._native.connection_count

    def close(self, timeout: float | None = None) -> None:
        """Answer what was asked, end the connections, close the log.

        Connections that are not done within the timeout (none: ``close_timeout_ms``) are cut.
        """
        self._native.close(timeout).result()

    def __enter__(self) -> Self:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Where it listens."""
        return f"<headwater.Broker on {', '.join(self.addresses)}>"


def bootstrap_servers(addresses: list[str]) -> str:
    """Those of the addresses that Kafka's clients can connect to, as they want them."""
    servers = [address for address in addresses if not address.startswith("unix:")]
    if not servers:
        message = f"Kafka's clients need a port, and the broker listens on {', '.join(addresses)}"
        raise _native.make_error("INVALID_STATE", message)
    return ",".join(servers)
