// Run by testing.test.mjs: a test that fails and closes nothing.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'headwater'
import { useBroker } from 'headwater/testing'

const broker = useBroker()

test('fails in the middle', async () => {
  const db = await connect(broker.address)
  await db.producer().send('orders', 'v')
  for await (const message of db.consumer('orders')) assert.equal(message.offset, 1, 'on purpose')
})
