"""The options, for type checkers. Names, ranges and defaults are core's: a test compares.

None stands for the default. Times are whole milliseconds, sizes whole bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, TypedDict

Durability = Literal["os", "disk", "quorum"]


class ConnectOptions(TypedDict, total=False):
    """How a log is opened or reached, and how it is left."""

    create: bool | None
    sharing: Literal["processes", "exclusive"] | None
    segment_bytes: int | None
    max_bytes: int | None
    max_bytes_policy: Literal["refuse", "drop_oldest"] | None
    tail_cache_bytes: int | None
    threads: int | None
    close_timeout_ms: int | None
    exit_timeout_ms: int | None


class ProducerOptions(TypedDict, total=False):
    """How a producer sends."""

    durability: Durability | None
    linger_ms: int | None
    batch_bytes: int | None
    buffer_bytes: int | None
    max_block_ms: int | None
    delivery_timeout_ms: int | None
    request_timeout_ms: int | None
    retry_backoff_ms: int | None
    retry_backoff_max_ms: int | None
    in_flight: int | None
    idempotence: bool | None
    compression: Literal["none", "gzip", "snappy", "lz4", "zstd"] | None
    partitioner: Literal["murmur2"] | None


class ConsumerOptions(TypedDict, total=False):
    """How a consumer reads."""

    group: str | None
    #: The name of a static member, which keeps its partitions while it is away.
    instance_id: str | None
    partitions: Sequence[int] | None
    #: ``"earliest"``, ``"latest"``, an offset, or a time.
    start: Literal["earliest", "latest"] | str | int | datetime | None
    #: ``"end"``, an offset, or a time.
    until: Literal["end"] | str | int | datetime | None
    ack: Literal["auto", "manual"] | None
    commit_interval_ms: int | None
    max_block_records: int | None
    max_block_bytes: int | None
    read_ahead_bytes: int | None
    max_unacked: int | None
    heartbeat_ms: int | None
    session_timeout_ms: int | None
    processing_timeout_ms: int | None
    rebalance_timeout_ms: int | None
    assignor: Literal["sticky", "range", "round_robin"] | None
    isolation: Literal["read_committed", "read_uncommitted"] | None


class ProcessOptions(TypedDict, total=False):
    """How ``process`` runs handlers."""

    concurrency: int | None
    order: Literal["key", "partition", "none"] | None
    attempts: int | None
    backoff_ms: int | None
    backoff_max_ms: int | None
    #: The topic for what failed at every attempt; without one the error ends everything.
    dead_letter: str | None


class TopicOptions(TypedDict, total=False):
    """What a topic is like."""

    partitions: int | None
    durability: Durability | None
    retention_ms: int | None
    retention_bytes: int | None
    cleanup_policy: Literal["delete", "compact", "both"] | None
    tombstone_retention_ms: int | None
    max_message_bytes: int | None
    message_timestamp_type: Literal["create_time", "log_append_time"] | None
    min_insync_replicas: int | None
    exist_ok: bool | None


class ServeOptions(TypedDict, total=False):
    """How a broker serves."""

    listen: str | Sequence[str] | None
    segment_bytes: int | None
    max_bytes: int | None
    max_bytes_policy: Literal["refuse", "drop_oldest"] | None
    tail_cache_bytes: int | None
    threads: int | None
    max_connections: int | None
    max_frame_bytes: int | None
    idle_timeout_ms: int | None
    keep_alive_ms: int | None
    auto_create_topics: bool | None
    close_timeout_ms: int | None
