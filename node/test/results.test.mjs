import assert from 'node:assert/strict'
import { test } from 'node:test'
import { log, valuesOf } from './setting.mjs'

/** Ten orders, and a topic for the bills. */
async function shop(t) {
  const db = await log(t)
  await db.admin.createTopic('bills', { partitions: 2 })
  await db.producer().sendMany(
    'orders',
    Array.from({ length: 10 }, (_, index) => `${index}`),
  )
  return db
}

const committed = async (db) => (await db.admin.describeGroup('billing')).offsets.map(({ offset }) => offset)

test('results and the position of the record in hand are one', async (t) => {
  const db = await shop(t)
  const c = db.consumer('orders', { group: 'billing' })
  for await (const { offset, value } of c) {
    const [sent] = await c.commitWith([{ topic: 'bills', value, key: 'k' }])
    assert.deepEqual([sent.topic, sent.offset, sent.durability], ['bills', offset, 'os'])
    assert.deepEqual(await committed(db), [offset + 1])
    if (offset === 4) break
  }
  assert.equal(c.positions()[0].offset, 5)
  for await (const { offset } of c) {
    assert.equal(offset, 5, 'it was in hand when it was committed, and is not given again')
    break
  }
  await c.close()
  assert.deepEqual(await committed(db), [5], 'nothing is committed unasked')
  assert.deepEqual(await valuesOf(db, 'bills'), ['0', '1', '2', '3', '4'])
})

test('a batch in hand is committed whole', async (t) => {
  const db = await shop(t)
  const c = db.consumer('orders', { group: 'billing', until: 'end', maxBlockRecords: 4 })
  const ends = []
  for await (const batch of c.batches()) {
    await c.commitWith(Array.from(batch.values(), (value) => ({ topic: 'bills', value })))
    ends.push(...(await committed(db)))
  }
  assert.deepEqual(ends, [4, 8, 10])
  assert.equal((await valuesOf(db, 'bills')).length, 10)
})

test('everything that a record has gets there', async (t) => {
  const db = await shop(t)
  const c = await db.consumer('orders', { group: 'billing' }).open()
  const timestamp = new Date('2024-01-02T00:00:00Z')
  const sent = await c.commitWith(
    new Set([
      { topic: 'bills', value: 'text', key: new Uint8Array([1]), headers: { a: ['1', '2'], b: null }, partition: 1, timestamp },
      { topic: 'bills', value: null, partition: 1, timestamp: 7 },
    ]),
  )
  assert.deepEqual(
    sent.map(({ partition, offset, timestamp }) => [partition, offset, timestamp]),
    [
      [1, 0, timestamp.getTime()],
      [1, 1, 7],
    ],
  )
  assert.deepEqual(await c.commitWith([]), [])
  const found = []
  for await (const message of db.consumer('bills', { until: 'end' })) found.push(message)
  const [one, other] = found
  assert.equal(one.value.toString(), 'text')
  assert.deepEqual([...one.key], [1])
  assert.deepEqual(
    one.headers.map(([name, value]) => [name, value?.toString() ?? null]),
    [
      ['a', '1'],
      ['a', '2'],
      ['b', null],
    ],
  )
  assert.deepEqual([other.value, other.key, other.headers], [null, null, []])
})

test('what is wrong sends and commits nothing', async (t) => {
  const db = await shop(t)
  const c = db.consumer('orders', { group: 'billing' })
  for await (const _ of c) break
  const good = { topic: 'bills', value: 'x' }
  for (const wrong of [
    [good, { value: 'x' }],
    [good, 'bills'],
    7,
    null,
    [good, { topic: 'bills' }],
    [good, { ...good, headers: 3 }],
    [good, { ...good, partition: -1 }],
    [good, { ...good, timestamp: 'now' }],
    [good, { ...good, partition: 9 }],
    [good, { ...good, topic: 'nothing' }],
  ]) {
    await assert.rejects(c.commitWith(wrong), { name: 'HeadwaterError', kind: /InvalidArgument|NotFound/ })
  }
  assert.deepEqual(await valuesOf(db, 'bills'), [])
  assert.deepEqual(await committed(db), [])
})

test('the record in hand is not processed when its result is refused', async (t) => {
  const db = await shop(t)
  const c = db.consumer('orders', { group: 'billing', until: 'end' })
  for await (const { offset } of c) {
    if (offset < 2) continue
    await assert.rejects(c.commitWith([{ topic: 'bills', value: Buffer.alloc(40 << 20) }]), { code: 'MESSAGE_TOO_LARGE' })
    break
  }
  for await (const { offset } of c) {
    assert.equal(offset, 2)
    break
  }
  await c.close()
  assert.deepEqual(await committed(db), [2])
})

test('it needs a group, an open consumer, and acknowledgement by itself', async (t) => {
  const db = await shop(t)
  for (const options of [{}, { group: 'g' }, { group: 'g', ack: 'manual' }]) {
    const c = db.consumer('orders', options)
    if (options.ack) await c.open()
    await assert.rejects(c.commitWith([{ topic: 'bills', value: 'x' }]), { code: 'INVALID_STATE' })
    await c.close()
    await assert.rejects(c.commitWith([{ topic: 'bills', value: 'x' }]), { kind: 'Closed' })
  }
})

test('a group is described with its members', async (t) => {
  const db = await shop(t)
  const c = await db.consumer('orders', { group: 'billing', instanceId: 'one' }).open()
  const { state, generation, members } = await db.admin.describeGroup('billing')
  assert.equal(state, 'Stable')
  const [{ memberId, clientName, ...member }] = members
  assert.match(clientName, /^headwater \d+$/)
  assert.deepEqual(member, {
    instanceId: 'one',
    host: null,
    generation,
    partitions: [{ topic: 'orders', partition: 0 }],
  })
  assert.deepEqual((await db.admin.listGroups())[0].members, [memberId])
  await c.close()
})
