"""Plain values: what is told about topics, groups, failures and closing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from headwater._errors import HeadwaterError

if TYPE_CHECKING:
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
    """A consumer group and what it has committed."""

    group: str
    #: ``"Empty"`` or ``"Stable"``.
    state: str
    generation: int
    members: list[str]
    offsets: list[PartitionOffset]


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
