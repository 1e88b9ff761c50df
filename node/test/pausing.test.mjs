import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Broker, connect } from 'headwater'
import { folder, log } from './setting.mjs'

/** Two partitions of ten records. */
async function filled(t, address) {
  const db = await log(t, { address, topic: { partitions: 2 } })
  const p = db.producer()
  const of = (partition) => Array.from({ length: 10 }, (_, index) => ({ value: `${index}`, partition }))
  await p.sendMany('orders', [...of(0), ...of(1)])
  await p.close()
  return db
}

/** So many records, however long they take, and whatever else comes in a moment: as partition and offset. */
async function read(c, count) {
  const found = []
  const controller = new AbortController()
  try {
    for await (const batch of c.batches({ signal: controller.signal })) {
      for (const { partition, offset } of batch) found.push(`${partition}/${offset}`)
      if (found.length >= count) setTimeout(() => controller.abort(), 50)
    }
  } catch (error) {
    if (error.name !== 'AbortError') throw error
  }
  return found
}

const all = (partition) => Array.from({ length: 10 }, (_, index) => `${partition}/${index}`)

const places = {
  memory: async () => 'mem:',
  folder: async (t) => folder(t),
  broker: async (t) => {
    const broker = await Broker.start()
    t.after(() => broker.close())
    return broker.address
  },
}

for (const [name, place] of Object.entries(places)) {
  test(`a partition that is paused gives nothing until it is resumed: ${name}`, async (t) => {
    const db = await filled(t, await place(t))
    const c = await db.consumer('orders', { group: 'billing' }).open()
    assert.deepEqual(c.paused(), [])
    c.pause([{ topic: 'orders', partition: 0 }])
    assert.deepEqual(c.paused(), [{ topic: 'orders', partition: 0 }])
    assert.deepEqual(await read(c, 10), all(1))
    c.pause()
    assert.equal(c.paused().length, 2)
    c.resume(new Set([{ topic: 'orders', partition: 0 }]))
    assert.deepEqual(await read(c, 10), all(0))
    c.resume(null)
    assert.deepEqual(c.paused(), [])
    const lags = await c.lag()
    assert.deepEqual(
      lags.map(({ lag, highWatermark }) => [lag, highWatermark]),
      [
        [0, 10],
        [0, 10],
      ],
    )
    await c.close()
    await db.close()
  })
}

test('what is not assigned, and what is no partition, is refused', async (t) => {
  const db = await filled(t)
  const c = db.consumer('orders')
  assert.throws(() => c.pause(), { code: 'INVALID_STATE' })
  assert.deepEqual(await c.lag(), [])
  await c.open()
  for (const call of [(to) => c.pause(to), (to) => c.resume(to)]) {
    assert.throws(() => call([{ topic: 'orders', partition: 7 }]), { code: 'UNKNOWN_TOPIC_OR_PARTITION', message: /orders-7/ })
    for (const wrong of ['orders', 7, [7], [{ topic: 'orders' }], [{ topic: 1, partition: 0 }]]) {
      assert.throws(() => call(wrong), { kind: 'InvalidArgument' }, String(wrong))
    }
  }
  assert.deepEqual(c.paused(), [])
  await c.close()
  assert.throws(() => c.pause(), { kind: 'Closed' })
  assert.throws(() => c.resume(), { kind: 'Closed' })
  await assert.rejects(c.lag(), { kind: 'Closed' })
  assert.deepEqual(c.paused(), [])
})

test('the lag is counted from what was processed', async (t) => {
  const db = await filled(t)
  const c = db.consumer('orders', { group: 'billing' })
  let count = 0
  for await (const { partition } of c) {
    assert.equal(partition, 0)
    if (++count === 4) break
  }
  await c.commit()
  const [first, second] = await c.lag()
  assert.deepEqual(first, { topic: 'orders', partition: 0, position: 3, committed: 3, highWatermark: 10, lag: 7 })
  assert.deepEqual([second.committed, second.lag], [null, 10])
})

test('a static member keeps its place, and one whose name is taken is fenced', async (t) => {
  const broker = await Broker.start()
  t.after(() => broker.close())
  const db = await filled(t, broker.address)
  const first = await db.consumer('orders', { group: 'billing', instanceId: 'one' }).open()
  const { generation, members } = await db.admin.describeGroup('billing')
  assert.equal(members[0].instanceId, 'one')
  await first.close()
  const other = await connect(broker.address)
  const second = await other.consumer('orders', { group: 'billing', instanceId: 'one' }).open()
  assert.equal(second.assignment().length, 2)
  const after = await db.admin.describeGroup('billing')
  assert.deepEqual([after.generation, after.members.length], [generation, 1])
  assert.notEqual(after.members[0].memberId, members[0].memberId)
  const third = await db.consumer('orders', { group: 'billing', instanceId: 'one' }).open()
  const reading = async () => {
    for await (const _ of second) await sleep(1)
  }
  await assert.rejects(reading(), { kind: 'Fenced', code: 'FENCED_INSTANCE_ID' })
  await Promise.all([second.close(), third.close()])
  await other.close()
  await db.close()
  assert.throws(() => db.consumer('orders', { instanceId: 'one' }), { kind: 'Closed' })
})

test('a name without a group is refused', async (t) => {
  const db = await log(t)
  assert.throws(() => db.consumer('orders', { instanceId: 'one' }), { code: 'INVALID_OPTION', message: /without `group`/ })
})
