"""Orders: what is posted goes to the topic `orders`, and the group `billing` writes an invoice for each.

    KAFKA_BOOTSTRAP_SERVERS=localhost:9092 uvicorn app:app
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from fastapi import FastAPI, Request
from pydantic import BaseModel, PositiveInt

ORDERS, INVOICES = "orders", "invoices"


class Order(BaseModel):
    customer: str
    cents: PositiveInt


async def write_invoices(consumer: AIOKafkaConsumer, producer: AIOKafkaProducer) -> None:
    """An order is committed once its invoice is safe: none is lost."""
    async for message in consumer:
        order = Order.model_validate_json(message.value)
        invoice = {"order": f"{message.partition}-{message.offset}", "cents": order.cents}
        await producer.send_and_wait(INVOICES, json.dumps(invoice).encode(), key=message.key)
        await consumer.commit()


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS", "localhost:9092")
    consumer = AIOKafkaConsumer(
        ORDERS,
        bootstrap_servers=servers,
        group_id="billing",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
    )
    async with AIOKafkaProducer(bootstrap_servers=servers) as producer, consumer:
        app.state.producer = producer
        billing = asyncio.create_task(write_invoices(consumer, producer))
        yield
        billing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await billing


app = FastAPI(title="Orders", lifespan=lifespan)


@app.post("/orders", status_code=202)
async def place_order(order: Order, request: Request) -> dict[str, str]:
    producer: AIOKafkaProducer = request.app.state.producer
    sent = await producer.send_and_wait(
        ORDERS, order.model_dump_json().encode(), key=order.customer.encode()
    )
    return {"order": f"{sent.partition}-{sent.offset}"}
