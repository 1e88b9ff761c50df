"""mock: the cluster that librdkafka simulates for tests (`test.mock.num.brokers`), until it is stopped; prints HOST:PORT."""

import signal

from confluent_kafka import Producer


def main():
    producer = Producer({"test.mock.num.brokers": 1, "bootstrap.servers": "is given by the cluster"})
    (broker,) = producer.list_topics(timeout=10).brokers.values()
    print(f"{broker.host}:{broker.port}", flush=True)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()
