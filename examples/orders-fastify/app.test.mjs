import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { test } from 'node:test'
import { Kafka, logLevel } from 'kafkajs'
import { useBroker } from 'headwater/testing'
import { createApp } from './app.mjs'

// The one thing that is not as with any other Kafka.
const broker = useBroker({ topics: { orders: 4, invoices: 1 }, env: 'KAFKA_BOOTSTRAP_SERVERS' })

/** The first `count` invoices. */
async function invoices(count) {
  const kafka = new Kafka({ brokers: broker.brokers, logLevel: logLevel.ERROR })
  const consumer = kafka.consumer({ groupId: randomUUID(), maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic: 'invoices', fromBeginning: true })
  const found = []
  await new Promise((resolve) => {
    consumer.run({
      eachMessage: async ({ message }) => {
        found.push(JSON.parse(message.value))
        if (found.length === count) resolve()
      },
    })
  })
  await consumer.disconnect()
  return found
}

const post = (app, payload) => app.inject({ method: 'POST', url: '/orders', payload })

test('each order has one invoice, also when the application starts again', async () => {
  const orders = []
  for (const cents of [300, 500]) {
    const app = await createApp()
    for (const customer of ['ann', 'bob']) {
      const answer = await post(app, { customer, cents })
      assert.equal(answer.statusCode, 202)
      orders.push({ order: answer.json().order, cents })
    }
    const found = await invoices(orders.length)
    await app.close()
    const sorted = (rows) => rows.map((row) => JSON.stringify(row)).sort()
    assert.deepEqual(sorted(found), sorted(orders))
  }
})

test('an order of nothing is refused', async () => {
  const app = await createApp()
  assert.equal((await post(app, { customer: 'ann', cents: 0 })).statusCode, 400)
  await app.close()
})
