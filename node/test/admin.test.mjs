import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'headwater'
import { log } from './setting.mjs'

test('a topic is created, described, listed, altered and deleted', async (t) => {
  const db = await log(t, { topic: { partitions: 3 } })
  await db.admin.createTopic('other', { partitions: 1, durability: 'os', retentionMs: 60_000 })
  const other = await db.admin.describeTopic('other')
  assert.equal(other.name, 'other')
  assert.match(other.uuid, /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/)
  assert.equal(other.config.retention_ms, '60000')
  assert.equal(other.config.durability, 'os')
  assert.equal(other.partitions.length, 1)
  assert.deepEqual(other.notes, [], 'nothing of the configuration is stored only')
  assert.deepEqual(
    (await db.admin.listTopics()).map(({ name }) => name),
    ['orders', 'other'],
  )
  await db.admin.alterTopic('other', { retentionMs: 90_000 })
  assert.equal((await db.admin.describeTopic('other')).config.retention_ms, '90000')
  await db.admin.deleteTopic('other')
  assert.deepEqual(
    (await db.admin.listTopics()).map(({ name }) => name),
    ['orders'],
  )
})

test('partitions say where they stand', async (t) => {
  const db = await log(t)
  await db.producer().sendMany('orders', ['a', 'b', 'c'])
  const [partition] = (await db.admin.describeTopic('orders')).partitions
  assert.equal(partition.partition, 0)
  assert.equal(partition.logStartOffset, 0)
  assert.equal(partition.highWatermark, 3)
  assert.equal(partition.logEndOffset, 3)
  assert.ok(partition.sizeBytes > 0)
})

test('creating what exists is an error, unless that is welcome', async (t) => {
  const db = await log(t)
  await assert.rejects(db.admin.createTopic('orders'), { kind: 'AlreadyExists', code: 'TOPIC_ALREADY_EXISTS' })
  await db.admin.createTopic('orders', { existOk: true })
})

test('what is not there is named', async (t) => {
  const db = await log(t)
  const code = 'UNKNOWN_TOPIC_OR_PARTITION'
  await assert.rejects(db.admin.describeTopic('nowhere'), { kind: 'NotFound', code, message: /nowhere/ })
  await assert.rejects(db.admin.deleteTopic('nowhere'), { code, message: /nowhere/ })
  await assert.rejects(db.admin.describeGroup('nobody'), { code: 'GROUP_ID_NOT_FOUND', message: /nobody/ })
})

test('names and numbers that cannot be are refused in words', async (t) => {
  const db = await log(t)
  for (const name of ['', '.', '..', 'a b', 'a/b', 'x'.repeat(250)]) {
    await assert.rejects(db.admin.createTopic(name), { kind: 'InvalidArgument', code: 'INVALID_TOPIC_EXCEPTION' })
  }
  await assert.rejects(db.admin.createTopic('x', { partitions: 0 }), {
    kind: 'InvalidArgument',
    message: /partitions.*0/,
  })
  await assert.rejects(db.admin.createTopic('x', { partitons: 1 }), { code: 'UNKNOWN_OPTION', message: /partitions/ })
  await assert.rejects(db.admin.createTopic(5), { code: 'INVALID_ARGUMENT' })
})

test('offsets are found by their meaning', async (t) => {
  const db = await log(t)
  const p = db.producer()
  for (const timestamp of [1_000, 2_000, 3_000]) await p.send('orders', 'x', { timestamp })
  const at = ['earliest', 'latest', { time: 2_000 }, new Date(2_500), { time: new Date(9_000) }]
  const found = await db.admin.listOffsets(at.map((meaning) => ({ topic: 'orders', partition: 0, at: meaning })))
  assert.deepEqual(found, [0, 3, 1, 2, 3])
  await assert.rejects(db.admin.listOffsets([{ topic: 'orders', partition: 0, at: 'middle' }]), {
    code: 'INVALID_ARGUMENT',
  })
})

test('records before an offset are deleted', async (t) => {
  const db = await log(t)
  await db.producer().sendMany('orders', ['a', 'b', 'c'])
  assert.deepEqual(await db.admin.deleteRecords('orders', { 0: 1 }), new Map([[0, 1]]))
  assert.deepEqual(await db.admin.deleteRecords('orders', new Map([[0, 0]])), new Map([[0, 1]]))
  const left = []
  for await (const { value } of db.consumer('orders', { until: 'end' })) left.push(String(value))
  assert.deepEqual(left, ['b', 'c'])
  await assert.rejects(db.admin.deleteRecords('orders', { 0: 4 }), { code: 'OFFSET_OUT_OF_RANGE', message: /1 to 3/ })
  await assert.rejects(db.admin.deleteRecords('orders', { 9: 0 }), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
  await assert.rejects(db.admin.deleteRecords('orders', { 0: 'all' }), { code: 'INVALID_ARGUMENT' })
  assert.deepEqual(await db.admin.deleteRecords('orders', { 0: -1 }), new Map([[0, 3]]))
})

test('groups are listed, described, set and deleted', async (t) => {
  const db = await log(t)
  const c = db.consumer('orders', { group: 'billing' })
  await c.open()
  assert.deepEqual(
    (await db.admin.listGroups()).map(({ group, state }) => [group, state]),
    [['billing', 'Stable']],
  )
  await assert.rejects(db.admin.deleteGroup('billing'), { code: 'NON_EMPTY_GROUP' })
  await c.close()
  await db.admin.commitOffsets('billing', [{ topic: 'orders', partition: 0, offset: 0 }])
  assert.equal((await db.admin.describeGroup('billing')).state, 'Empty')
  await db.admin.deleteGroup('billing')
  assert.deepEqual(await db.admin.listGroups(), [])
})

test('a call with a signal that has fired is not made', async (t) => {
  const db = await log(t)
  const signal = AbortSignal.abort()
  await assert.rejects(db.admin.createTopic('x', { signal }), { name: 'AbortError', code: 'ABORT_ERR' })
  await assert.rejects(db.admin.listTopics({ signal }), { name: 'AbortError' })
  assert.deepEqual(
    (await db.admin.listTopics()).map(({ name }) => name),
    ['orders'],
  )
})

test('metrics are numbers by name', async (t) => {
  const db = await log(t)
  const p = db.producer()
  await p.sendMany('orders', ['a', 'b'])
  const metrics = db.metrics()
  assert.equal(metrics.records_sent, 2)
  assert.equal(metrics.records_acknowledged, 2)
  assert.equal(metrics.producers, 1)
})

test('a name in memory is shared within the process', async (t) => {
  const [first, second] = [await connect('mem:shared'), await connect('mem:shared')]
  t.after(() => Promise.all([first.close(), second.close()]))
  await first.admin.createTopic('orders')
  assert.deepEqual(
    (await second.admin.listTopics()).map(({ name }) => name),
    ['orders'],
  )
})
