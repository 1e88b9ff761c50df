"""How a coroutine waits for core: one turn of the event loop for as many answers as there are."""

from __future__ import annotations

from asyncio import Future
from typing import Protocol, TypeVar

T_co = TypeVar("T_co", covariant=True)


class Awaited(Protocol[T_co]):
    """An answer that is on its way: `Pending`, `Delivery`, `Deliveries`."""

    def done(self) -> bool:
        """Whether the answer is there."""
        ...

    def _future(self) -> Future[None]:
        """A future of the running loop, done when the answer may be there."""
        ...

    def _take(self) -> T_co:
        """The answer, which must be there."""
        ...


async def wait(awaited: Awaited[T_co]) -> T_co:
    """Wait for the answer. Cancelled, the answer stays where it is."""
    try:
        while not awaited.done():
            await awaited._future()
        return awaited._take()
    finally:
        # A cancelled task keeps its traceback, and with that what is named here: core is to see that nobody waits.
        del awaited
