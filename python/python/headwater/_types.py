"""Plain values: what is told about topics, groups, failures and closing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from headwater._errors import HeadwaterError

if TYPE_CHECKING:
    from datetime import datetime

    from typing_extensions import Buffer

    #: A key or a value: bytes, any buffer of bytes, or text (as UTF-8).
    Data: TypeAlias = Buffer | str
else:
    Data = bytes | bytearray | memoryview | str
#: Headers of a record; as pairs a key may repeat.
Headers: TypeAlias = Mapping[str, Data | None] | Iterable[tuple[str, Data | None]]


class PartitionOffset(NamedTuple):
    """An offset in a partition of a topic."""

    topic: str
    partition: int
    offset: int


class TopicPartition(NamedTuple):
    """A partition of a topic."""

    topic: str
    partition: int


class PartitionLag(NamedTuple):
    """How far a consumer is in a partition, and how far it could be."""

    topic: str
    partition: int
    #: The offset of the first record that does not count as processed.
    position: int
    #: What the group has committed; None without a group, or if nothing was committed.
    committed: int | None
    #: The next offset that a reader would see.
    high_watermark: int
    #: From ``position`` to ``high_watermark``, counting by offsets; 0 or more.
    lag: int


class PartitionDescription(NamedTuple):
    """How a partition stands."""

    partition: int
    #: The first offset that is held.
    log_start_offset: int
    #: The next offset that a reader would see.
    high_watermark: int
    #: The next offset to be written.
    log_end_offset: int
    leader_epoch: int
    #: Bytes of its record batches.
    size_bytes: int


class TopicDescription(NamedTuple):
    """A topic and how its partitions stand."""

    name: str
    uuid: bytes
    #: Every option with its value, defaults too, as text.
    config: dict[str, str]
    #: What is stored but not acted on yet, in words.
    notes: list[str]
    partitions: list[PartitionDescription]


class GroupDescription(NamedTuple):
    """A consumer group as it is listed."""

    group: str
    #: As in :class:`GroupDetails`.
    state: str
    generation: int
    #: The ids of its members.
    members: list[str]
    offsets: list[PartitionOffset]


class GroupMember(NamedTuple):
    """A member of a consumer group."""

    member_id: str
    #: The name of a static member.
    instance_id: str | None
    #: What it calls itself.
    client_name: str
    #: Where it is, where that is known.
    host: str | None
    #: The generation that it was told last; 0 before the first.
    generation: int
    #: What it holds, also what it is about to let go of.
    partitions: list[TopicPartition]


class GroupDetails(NamedTuple):
    """A consumer group, its members, and what it has committed."""

    group: str
    #: ``"Empty"``, ``"Stable"``, ``"Reconciling"`` (partitions are moving) or ``"Recovering"`` (the broker
    #: has started, and waits for the members that the group had).
    state: str
    generation: int
    members: list[GroupMember]
    offsets: list[PartitionOffset]


class ProducerRecord(NamedTuple):
    """A record to send."""

    topic: str
    value: Data | None
    key: Data | None = None
    headers: Headers | None = None
    partition: int | None = None
    #: Milliseconds since 1970 UTC, or a ``datetime``; None: now.
    timestamp: int | datetime | None = None


class MemberHealth(NamedTuple):
    """How a consumer is as a member of its group."""

    group: str
    #: Empty before it asked to join.
    member_id: str
    #: 0 before it is a member.
    generation: int
    #: ``"lost"``: it is no member any more, or must be taken for none; others may have its partitions.
    state: Literal["joining", "stable", "lost"]
    #: How many partitions it holds.
    partitions: int
    #: How long ago its last heartbeat was answered.
    last_heartbeat_ms: int | None
    #: What is wrong with it, in words, if something is.
    reason: str | None


class Health(NamedTuple):
    """How a client is."""

    #: Whether all of it can work: it has its log, and each consumer with a group is a member of it.
    healthy: bool
    #: Why it cannot, in words, if it cannot.
    reason: str | None
    closed: bool
    #: What it is connected to: a folder, a name in memory, or the broker that answers.
    address: str
    connected: bool
    #: For how long it has been connected, or not.
    since_ms: int
    #: Why it is not connected.
    last_error: HeadwaterError | None
    #: The consumers that have joined a group, or are about to.
    members: list[MemberHealth]
    #: Bytes of records accepted and not acknowledged yet.
    buffered_bytes: int
    buffered_records: int
    #: How long the oldest batch of these has been waiting.
    oldest_unsent_ms: int | None


class DeliveryFailure(NamedTuple):
    """Records that failed although nobody was waiting for them."""

    topic: str
    partition: int
    records: int
    error: HeadwaterError


class CloseReport(NamedTuple):
    """What closing left undone."""

    #: Records that were not acknowledged at the deadline: each has failed with ``CLOSED``, whose outcome
    #: says whether it may be in the log.
    unsent_records: int
    #: Records that failed and that nobody was told about until now.
    failed_records: int
    #: The first failure.
    first_error: HeadwaterError | None

    @property
    def complete(self) -> bool:
        """Whether everything was delivered."""
        return not (self.unsent_records or self.failed_records or self.first_error)

    def __str__(self) -> str:
        """The report in words."""
        if self.complete:
            return "everything was delivered"
        words = f"{self.unsent_records} records were not delivered, {self.failed_records} failed"
        return f"{words}; the first: {self.first_error}" if self.first_error else words
