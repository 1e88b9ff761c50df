"""Administration for asyncio; see :mod:`headwater.aio`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Unpack

from headwater import _native
from headwater._options import TopicOptions
from headwater._types import GroupDescription, GroupDetails, TopicDescription
from headwater._wait import wait

if TYPE_CHECKING:
    from datetime import datetime


class Admin:
    """Topics, groups and offsets."""

    __slots__ = ("_native",)

    def __init__(self, native: _native.Admin) -> None:
        """Made by the client."""
        self._native = native

    async def create_topic(self, name: str, **options: Unpack[TopicOptions]) -> None:
        """Create a topic; ``exist_ok=True``: one of that name is no error."""
        await wait(self._native.create_topic(name, **options))

    async def delete_topic(self, name: str) -> None:
        """Delete a topic and its records."""
        await wait(self._native.delete_topic(name))

    async def delete_records(self, topic: str, before: Mapping[int, int]) -> dict[int, int]:
        """Delete the records before an offset, ``{partition: offset}``: in all of them or in none.

        -1 stands for the high watermark. Return the first offset that each partition holds then; an
        offset below that deletes nothing.
        """
        return await wait(self._native.delete_records(topic, dict(before)))

    async def alter_topic(self, name: str, **options: Unpack[TopicOptions]) -> None:
        """Change these options of a topic; the others stay as they are."""
        await wait(self._native.alter_topic(name, **options))

    async def list_topics(self) -> list[TopicDescription]:
        """Every topic, by name."""
        return await wait(self._native.list_topics())

    async def describe_topic(self, name: str) -> TopicDescription:
        """One topic: its options and how its partitions stand."""
        return await wait(self._native.describe_topic(name))

    async def list_groups(self) -> list[GroupDescription]:
        """Every consumer group, by id."""
        return await wait(self._native.list_groups())

    async def describe_group(self, group: str) -> GroupDetails:
        """One group: its state, its members and what each holds, and its committed offsets."""
        return await wait(self._native.describe_group(group))

    async def delete_group(self, group: str) -> None:
        """Forget a group without members and what it has committed."""
        await wait(self._native.delete_group(group))

    async def list_offsets(
        self, queries: Iterable[tuple[str, int, str | int | datetime]]
    ) -> list[int]:
        """Offsets of ``(topic, partition, at)``; at is ``"earliest"``, ``"latest"``, or a time."""
        return await wait(self._native.list_offsets(queries))

    async def commit_offsets(self, group: str, offsets: Iterable[tuple[str, int, int]]) -> None:
        """Commit offsets of a group by hand, allowed while it has no member."""
        await wait(self._native.commit_offsets(group, offsets))
