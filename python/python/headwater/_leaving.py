"""The end of a ``with`` block: it closes what it opened, and says what was lost by that.

A block that ends because somebody wants to leave (Ctrl-C, ``sys.exit``, a cancelled task) has no
more than ``exit_timeout_ms`` for it, together with the blocks around it, and warns with counts. If
it is interrupted once more it leaves at once.
"""

from __future__ import annotations

import warnings
from asyncio import CancelledError
from collections.abc import Callable, Coroutine
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

from headwater._errors import HeadwaterError, Timeout

if TYPE_CHECKING:
    from headwater._types import CloseReport

#: What a close may take beyond its time, in s.
GRACE = 1.0

#: Somebody wants to leave; nothing has failed.
INTERRUPTIONS = (KeyboardInterrupt, SystemExit, CancelledError)


def leave(
    close: Callable[[float | None], CloseReport],
    exit_timeout: float,
    raised: BaseException | None,
) -> None:
    """End a ``with`` block: close, and raise what was lost, for nobody looks at the report.

    An exception of the block wins, and has the rest as a note.
    """
    timeout = time_left(exit_timeout, raised)
    try:
        tell(close(timeout), timeout)
    except (HeadwaterError, Warning) as error:
        raise_or_note(error, raised)
    except INTERRUPTIONS as interrupted:
        # Closing goes on; closing again makes it end sooner.
        leave(close, exit_timeout if timeout is None else 0.0, interrupted)
        raise


async def leave_async(
    close: Callable[[float | None], Coroutine[Any, Any, CloseReport]],
    exit_timeout: float,
    raised: BaseException | None,
) -> None:
    """The same for an ``async with`` block."""
    timeout = time_left(exit_timeout, raised)
    try:
        tell(await close(timeout), timeout)
    except (HeadwaterError, Warning) as error:
        raise_or_note(error, raised)
    except INTERRUPTIONS as interrupted:
        await leave_async(close, exit_timeout if timeout is None else 0.0, interrupted)
        raise


def time_left(exit_timeout: float, raised: BaseException | None) -> float | None:
    """How long a block may take to close; None: as long as closing does."""
    if not isinstance(raised, INTERRUPTIONS):
        return None
    # Kept with what goes through the blocks: the time is for all of them. But asyncio gives the same
    # exception to whoever awaits a cancelled task, also long after: then it is for other blocks.
    now = monotonic()
    until: float = raised.__dict__.get("_headwater_until", -inf)
    if now > until + exit_timeout + GRACE:
        until = raised.__dict__["_headwater_until"] = now + exit_timeout
    return max(0.0, until - now)


def tell(report: CloseReport, timeout: float | None) -> None:
    """Raise what was lost, or, in a hurry, warn of it."""
    if timeout is None:
        raise_if_lost(report)
    elif not report.complete:
        message = f"headwater was closed without waiting longer: {report}"
        warnings.warn(message, RuntimeWarning, stacklevel=4)


def raise_if_lost(report: CloseReport) -> None:
    """Raise the first failure, or that records were not delivered in time."""
    if report.complete:
        return
    error: HeadwaterError | None = report.first_error
    if error is None:
        error = Timeout(f"on closing, {report}")
        error.code = "DELIVERY_TIMED_OUT"
        error.outcome = "unknown"
    else:
        error.add_note(f"on closing, {report}")
    raise error


def raise_or_note(error: HeadwaterError | Warning, raised: BaseException | None) -> None:
    """Raise it, or have the exception of the block say it: also a warning that is an error."""
    if raised is None:
        raise error
    notes: list[str] = getattr(error, "__notes__", [])
    kind = error.kind if isinstance(error, HeadwaterError) else type(error).__name__
    raised.add_note(f"on closing, {kind}: {'; '.join([str(error), *notes])}")


def patience(timeout: float | None) -> float | None:
    """How long to wait for a close that ends by itself after the timeout.

    It may be an earlier one's, which was interrupted and had more time.
    """
    return None if timeout is None else timeout + GRACE
