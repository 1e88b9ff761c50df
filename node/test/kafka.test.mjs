// Kafka's clients and the broker in this process: producing, consuming, and a group's commits.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connect } from 'headwater'
import { useBroker } from 'headwater/testing'

const installed = (name) => existsSync(fileURLToPath(new URL(`../node_modules/${name}`, import.meta.url)))
const skip = (name) => (installed(name) ? false : `${name} is not installed (npm ci --ignore-scripts)`)

const broker = useBroker({ each: true })
const values = Array.from({ length: 20 }, (_, number) => `${number}`)

/** What the group `billing` has committed, as the native protocol tells it. */
async function committed() {
  const db = await connect(broker.address)
  const { offsets } = await db.admin.describeGroup('billing')
  await db.close()
  return offsets.map(({ topic, partition, offset }) => [topic, partition, offset])
}

test('kafkajs produces, consumes and commits', { skip: skip('kafkajs') }, async () => {
  const { Kafka, logLevel } = (await import('kafkajs')).default
  const kafka = new Kafka({ brokers: broker.brokers, logLevel: logLevel.NOTHING })
  const producer = kafka.producer()
  await producer.connect()
  await producer.send({ topic: 'orders', messages: values.map((value) => ({ key: 'k', value })) })
  await producer.disconnect()

  const consumer = kafka.consumer({ groupId: 'billing', maxWaitTimeInMs: 100 })
  await consumer.connect()
  await consumer.subscribe({ topic: 'orders', fromBeginning: true })
  const read = []
  await new Promise((resolve) => {
    consumer.run({
      eachMessage: async ({ message }) => {
        read.push(message.value.toString())
        if (read.length === values.length) resolve()
      },
    })
  })
  await consumer.commitOffsets([{ topic: 'orders', partition: 0, offset: `${values.length}` }])
  await consumer.disconnect()

  assert.deepEqual(read, values)
  assert.deepEqual(await committed(), [['orders', 0, values.length]])
})

test('@platformatic/kafka produces, consumes and commits', { skip: skip('@platformatic/kafka') }, async () => {
  const { Consumer, MessagesStreamModes, Producer, stringDeserializers, stringSerializers } = await import('@platformatic/kafka')
  const base = { clientId: 'test', bootstrapBrokers: broker.brokers }
  const producer = new Producer({ ...base, serializers: stringSerializers, autocreateTopics: true })
  await producer.send({ messages: values.map((value) => ({ topic: 'orders', key: 'k', value })) })
  await producer.close()

  const consumer = new Consumer({ ...base, groupId: 'billing', deserializers: stringDeserializers, autocommit: false })
  const stream = await consumer.consume({ topics: ['orders'], mode: MessagesStreamModes.EARLIEST })
  const read = []
  for await (const message of stream) {
    read.push(message.value)
    if (read.length < values.length) continue
    await message.commit()
    break
  }
  await consumer.close(true)

  assert.deepEqual(read, values)
  // What this client commits is the record it has read, and what a group commits is the one it reads next.
  assert.deepEqual(await committed(), [['orders', 0, values.length]])
})
