"""Headwater: a Kafka-style log that runs in your process, or as one small broker.

    import headwater

    with headwater.connect("./data") as db:
        db.admin.create_topic("orders", partitions=4, exist_ok=True)
        with db.producer(durability="disk") as p:
            print(p.send("orders", b"hello", key=b"k1").result(timeout=5).offset)
        with db.consumer("orders", until="end") as c:
            for msg in c:
                print(msg.partition, msg.offset, msg.key, msg.value)

``headwater.aio`` is the same for asyncio.
"""

from __future__ import annotations

from headwater import _process
from headwater._broker import Broker
from headwater._client import Admin, Client, Consumer, Producer, connect
from headwater._errors import (
    AlreadyExists,
    Closed,
    Corrupt,
    Denied,
    Fenced,
    Full,
    HeadwaterError,
    Internal,
    InvalidArgument,
    Locked,
    NotFound,
    OffsetOutOfRange,
    Storage,
    Timeout,
    Unavailable,
    Unsupported,
)
from headwater._native import Batch, Deliveries, Delivery, Msg, RecordMetadata, __version__
from headwater._types import (
    CloseReport,
    DeliveryFailure,
    GroupDescription,
    GroupDetails,
    GroupMember,
    Health,
    MemberHealth,
    PartitionDescription,
    PartitionLag,
    PartitionOffset,
    ProducerRecord,
    TopicDescription,
    TopicPartition,
)

__all__ = [
    "Admin",
    "AlreadyExists",
    "Batch",
    "Broker",
    "Client",
    "CloseReport",
    "Closed",
    "Consumer",
    "Corrupt",
    "Deliveries",
    "Delivery",
    "DeliveryFailure",
    "Denied",
    "Fenced",
    "Full",
    "GroupDescription",
    "GroupDetails",
    "GroupMember",
    "HeadwaterError",
    "Health",
    "Internal",
    "InvalidArgument",
    "Locked",
    "MemberHealth",
    "Msg",
    "NotFound",
    "OffsetOutOfRange",
    "PartitionDescription",
    "PartitionLag",
    "PartitionOffset",
    "Producer",
    "ProducerRecord",
    "RecordMetadata",
    "Storage",
    "Timeout",
    "TopicDescription",
    "TopicPartition",
    "Unavailable",
    "Unsupported",
    "__version__",
    "connect",
]

_process.register()
