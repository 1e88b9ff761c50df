// Run by testing.test.mjs, in Vitest without its globals.
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { Kafka, logLevel } from 'kafkajs'
import { useBroker } from 'headwater/testing'

const broker = useBroker({ hooks: { beforeAll, afterAll } })

test('kafkajs sends to it', async () => {
  const producer = new Kafka({ brokers: broker.brokers, logLevel: logLevel.NOTHING }).producer()
  await producer.connect()
  const [{ baseOffset }] = await producer.send({ topic: 'orders', messages: [{ value: 'v' }] })
  await producer.disconnect()
  expect(baseOffset).toBe('0')
})

describe('one for each test', () => {
  const own = useBroker({ each: true, hooks: { beforeEach, afterEach } })
  const seen = new Set([])
  test.each([1, 2])('is another one in test %i', () => {
    expect(seen.has(own.address) || own.address === broker.address).toBe(false)
    seen.add(own.address)
  })
})
