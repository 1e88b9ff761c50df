"""The exceptions: one class per kind of failure, each with the built-in class that it is like.

A failure of Headwater is a :class:`HeadwaterError`. Its class (and ``kind``) says what to do about
it, ``code`` exactly what it is; both are the same in every language. The text is for people and may
change.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from headwater._native import Deliveries


class HeadwaterError(Exception):
    """A failure of Headwater. Every one is of one of the classes below."""

    #: What to do about it: the name of the class.
    kind: ClassVar[str] = "Internal"
    #: Whether the same call may succeed later. Headwater has retried till its deadline already.
    retriable: ClassVar[bool] = False
    #: Whether the object that failed is of no further use.
    fatal: ClassVar[bool] = False

    #: Exactly what it is, such as ``"UNKNOWN_TOPIC_OR_PARTITION"``. Kafka's name where it has one.
    code: str = "UNKNOWN_SERVER_ERROR"
    #: ``"not_done"``: nothing happened; ``"unknown"``: a send or a commit may have happened.
    outcome: Literal["not_done", "unknown"] = "not_done"
    #: Of a failed ``send_many``: the deliveries of the records that were sent before it failed.
    sent: Deliveries | None = None

    @property
    def message(self) -> str:
        """The text for people."""
        return str(self.args[0]) if self.args else ""


class InvalidArgument(HeadwaterError, ValueError):
    """An option, name, size, address or the state of the call is wrong: fix the call."""

    kind = "InvalidArgument"


class NotFound(HeadwaterError, LookupError):
    """The topic, partition, group or folder is not there: create it or fix the name."""

    kind = "NotFound"


class AlreadyExists(HeadwaterError):
    """It is there already: ignore it, or rename."""

    kind = "AlreadyExists"


class OffsetOutOfRange(HeadwaterError, LookupError):
    """The offset was deleted or is past the end (the message has both ends): choose a start."""

    kind = "OffsetOutOfRange"


class Full(HeadwaterError, BufferError):
    """A buffer, disk, quota or connection limit is reached: wait, slow down, make room."""

    kind = "Full"
    retriable = True


class Unavailable(HeadwaterError, ConnectionError):
    """The broker cannot be reached, or leaves: wait, or check the address."""

    kind = "Unavailable"
    retriable = True


class Locked(HeadwaterError, BlockingIOError):
    """The folder is owned by another process that does not share it: close that one."""

    kind = "Locked"
    retriable = True


class Timeout(HeadwaterError, TimeoutError):
    """The deadline of the call passed: read ``outcome``, then retry or raise the limit."""

    kind = "Timeout"
    retriable = True


class Fenced(HeadwaterError):
    """A newer producer, member or owner took over: the work belongs to another now."""

    kind = "Fenced"
    fatal = True


class Denied(HeadwaterError, PermissionError):
    """Not authenticated or not allowed: check credentials and ACLs."""

    kind = "Denied"


class Unsupported(HeadwaterError):
    """The version, codec, feature or platform lacks it: upgrade, or do without."""

    kind = "Unsupported"


class Corrupt(HeadwaterError):
    """Bytes on disk or wire fail their check: restore, or look with ``headwater dump --verify``."""

    kind = "Corrupt"


class Storage(HeadwaterError, OSError):
    """A write or sync failed and the log stopped: fix the disk and open it again."""

    kind = "Storage"
    fatal = True


class Closed(HeadwaterError):
    """The handle was closed, or its process forked: make a new one."""

    kind = "Closed"
    fatal = True


class Internal(HeadwaterError, RuntimeError):
    """A bug of Headwater, or a panic caught: please report it."""

    kind = "Internal"
