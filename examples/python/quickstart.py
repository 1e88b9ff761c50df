"""Quickstart: send ten records and read them back, on a folder or through a broker.

    python quickstart.py                    the log lives in this process, in a temporary folder
    python quickstart.py 127.0.0.1:9092     the same calls, to a broker
"""

import sys
import tempfile

import headwater

TOPIC = "quickstart-python"


def quickstart(address: str) -> None:
    with headwater.connect(address) as db:
        db.admin.create_topic(TOPIC, partitions=2, exist_ok=True)

        with db.producer() as producer:
            for number in range(10):
                # What `send` gives can be waited for; what nobody waits for comes out of `close`.
                delivery = producer.send(TOPIC, f"hello {number}", key=f"key-{number % 3}")
            at = delivery.result(timeout=30)
            print(f"the last record is in partition {at.partition} and safe at `{at.durability}`")

        count = 0
        with db.consumer(TOPIC, group="quickstart", until="end") as consumer:
            for msg in consumer:
                print(msg.partition, msg.offset, msg.key.decode(), msg.value.decode())
                count += 1
        print(f"{count} records read")


if len(sys.argv) > 1:
    quickstart(sys.argv[1])
else:
    with tempfile.TemporaryDirectory(prefix="headwater-quickstart-") as folder:
        quickstart(folder)
