import json

import pytest
from aiokafka import AIOKafkaConsumer
from app import INVOICES

# `orders` is shared among the members of the group; `invoices` comes as it is used.
pytestmark = pytest.mark.headwater(topics={"orders": 4})


async def invoices(servers, count):
    """The first `count` invoices, by their orders."""
    async with AIOKafkaConsumer(
        INVOICES, bootstrap_servers=servers, auto_offset_reset="earliest"
    ) as consumer:
        messages = [await consumer.getone() for _ in range(count)]
    found = [json.loads(message.value) for message in messages]
    return {invoice["order"]: (m.key.decode(), invoice["cents"]) for invoice, m in zip(found, messages)}


def test_each_order_has_an_invoice(start, kafka_bootstrap):
    orders = {}
    with start() as client:
        for customer, cents in [("ann", 300), ("bob", 500), ("ann", 700)]:
            answer = client.post("/orders", json={"customer": customer, "cents": cents})
            assert answer.status_code == 202
            orders[answer.json()["order"]] = (customer, cents)
        found = client.portal.call(invoices, kafka_bootstrap, 3)
    assert found == orders


def test_restart_goes_on_where_billing_was(start, kafka_bootstrap):
    for restart in range(1, 4):
        with start() as client:
            client.post("/orders", json={"customer": "ann", "cents": restart})
            found = client.portal.call(invoices, kafka_bootstrap, restart)
    assert [cents for _, cents in found.values()] == [1, 2, 3]


def test_order_of_nothing_is_refused(start):
    with start() as client:
        assert client.post("/orders", json={"customer": "ann", "cents": 0}).status_code == 422
