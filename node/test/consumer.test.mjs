import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { inspect } from 'node:util'
import { log, valuesOf } from './setting.mjs'

/** A log with `count` records in `orders`, their values their numbers. */
async function filled(t, count, options) {
  const db = await log(t, options)
  const p = db.producer()
  await p.sendMany(
    'orders',
    Array.from({ length: count }, (_, index) => `${index}`),
  )
  await p.close()
  return db
}

const upTo = (count, from = 0) => Array.from({ length: count - from }, (_, index) => `${index + from}`)

async function take(iterable, count) {
  const values = []
  if (count === 0) return values
  for await (const message of iterable) {
    values.push(message.value.toString())
    if (values.length === count) break
  }
  return values
}

test('records come in order with everything they have', async (t) => {
  const db = await filled(t, 3)
  const c = db.consumer('orders', { until: 'end' })
  let offset = 0
  for await (const message of c) {
    assert.equal(message.topic, 'orders')
    assert.equal(message.partition, 0)
    assert.equal(message.offset, offset)
    assert.ok(Buffer.isBuffer(message.value))
    assert.equal(message.value.toString(), `${offset++}`)
    assert.equal(message.key, null)
    assert.match(inspect(message), /^Message \{.*topic: 'orders'/s)
  }
  assert.equal(offset, 3)
  assert.equal(c.isFinished, true)
})

test('a loop follows the log and gets what comes while it waits', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const reading = take(db.consumer('orders'), 3)
  for (const value of ['a', 'b', 'c']) {
    await sleep(5)
    await p.send('orders', value)
  }
  assert.deepEqual(await reading, ['a', 'b', 'c'])
})

test('many blocks of many partitions give every record once, in order of its partition', async (t) => {
  const db = await log(t, { topic: { partitions: 3 } })
  const p = db.producer()
  const records = Array.from({ length: 9_000 }, (_, index) => ({ value: `${index}`, partition: index % 3 }))
  await p.sendMany('orders', records)
  const next = [0, 0, 0]
  let count = 0
  for await (const { partition, offset, value } of db.consumer('orders', { until: 'end', maxBlockRecords: 700 })) {
    assert.equal(offset, next[partition]++)
    assert.equal(Number(value), offset * 3 + partition)
    count++
  }
  assert.equal(count, 9_000)
})

test('batches give the same records', async (t) => {
  const db = await filled(t, 2_500)
  const values = []
  for await (const batch of db.consumer('orders', { until: 'end' }).batches()) {
    assert.ok(batch.length > 0 && batch.length <= 1_000)
    values.push(...batch.values().map(String))
    assert.equal(batch.at(-1).value.toString(), values.at(-1))
  }
  assert.deepEqual(values, upTo(2_500))
})

test('start and until say where to read', async (t) => {
  const db = await log(t)
  const p = db.producer()
  for (let index = 0; index < 10; index++) await p.send('orders', `${index}`, { timestamp: 1_000 + index })
  assert.deepEqual(await valuesOf(db, 'orders', { start: 7 }), ['7', '8', '9'])
  assert.deepEqual(await valuesOf(db, 'orders', { start: { offset: 8 } }), ['8', '9'])
  assert.deepEqual(await valuesOf(db, 'orders', { start: { time: 1_006 } }), ['6', '7', '8', '9'])
  assert.deepEqual(await valuesOf(db, 'orders', { start: new Date(1_009) }), ['9'])
  assert.deepEqual(await valuesOf(db, 'orders', { until: { offset: 2 } }), ['0', '1'])
  assert.deepEqual(await valuesOf(db, 'orders', { until: { time: 1_003 } }), ['0', '1', '2'])
  assert.deepEqual(await valuesOf(db, 'orders', { start: 'latest' }), [])
})

test('a group goes on where it was: records passed are processed, the one in hand is not', async (t) => {
  const db = await filled(t, 10)
  const first = db.consumer('orders', { group: 'billing' })
  assert.deepEqual(await take(first, 4), ['0', '1', '2', '3'])
  assert.deepEqual(first.positions(), [{ topic: 'orders', partition: 0, offset: 3 }])
  await first.close()
  const { offsets } = await db.admin.describeGroup('billing')
  assert.deepEqual(offsets, [{ topic: 'orders', partition: 0, offset: 3 }])
  const second = db.consumer('orders', { group: 'billing', until: 'end' })
  const values = []
  for await (const message of second) values.push(message.value.toString())
  assert.deepEqual(values, upTo(10, 3))
  await second.close()
  assert.deepEqual((await db.admin.describeGroup('billing')).offsets[0].offset, 10)
})

test('an exception in the loop does not process the record in hand', async (t) => {
  const db = await filled(t, 5)
  const c = db.consumer('orders', { group: 'billing' })
  await assert.rejects(async () => {
    for await (const { offset } of c) if (offset === 2) throw new Error('no')
  }, /no/)
  await c.commit()
  assert.equal((await c.committed())[0].offset, 2)
})

test('the next loop begins with the record that was in hand', async (t) => {
  const db = await filled(t, 2_000)
  const c = db.consumer('orders', { until: 'end' })
  assert.deepEqual(await take(c, 3), ['0', '1', '2'])
  assert.deepEqual(await take(c, 2), ['2', '3'])
  const batches = c.batches()
  const { value: batch } = await batches.next()
  assert.equal(batch.at(0).offset, 3)
  await batches.return()
  const rest = []
  for await (const message of c) rest.push(message.value.toString())
  assert.deepEqual(rest, upTo(2_000, 3))
})

test('commits go out by themselves while a record is worked on', async (t) => {
  const db = await filled(t, 5)
  const c = db.consumer('orders', { group: 'billing', commitIntervalMs: 10 })
  for await (const { offset } of c) {
    if (offset < 3) continue
    while ((await db.admin.describeGroup('billing').catch(() => null))?.offsets[0]?.offset !== 3) await sleep(10)
    break
  }
})

test('acknowledged by hand, what is committed is the first record that is not', async (t) => {
  const db = await filled(t, 5)
  const c = db.consumer('orders', { group: 'billing', ack: 'manual' })
  const messages = []
  for await (const message of c) {
    messages.push(message)
    if (messages.length === 5) break
  }
  c.ack(messages[1])
  c.ack(messages[2])
  await c.commit()
  assert.deepEqual(
    (await c.committed()).filter(({ offset }) => offset > 0),
    [],
  )
  c.ack(messages[0])
  await c.commit()
  assert.equal((await c.committed())[0].offset, 3)
  c.ack(messages[3])
  c.ack(messages[4])
  await c.close()
  assert.equal((await db.admin.describeGroup('billing')).offsets[0].offset, 5)
})

test('a batch is acknowledged whole', async (t) => {
  const db = await filled(t, 30)
  const c = db.consumer('orders', { group: 'billing', ack: 'manual', until: 'end', maxBlockRecords: 10 })
  const batches = []
  for await (const batch of c.batches()) {
    batches.push(batch)
    if (batches.length > 1) c.ack(batch)
  }
  await c.commit()
  assert.deepEqual(
    (await c.committed()).filter(({ offset }) => offset > 0),
    [],
  )
  c.ack(batches[0])
  await c.commit()
  assert.equal((await c.committed())[0].offset, 30)
})

test('ack without ack: manual is refused', async (t) => {
  const db = await filled(t, 1)
  const c = db.consumer('orders', { group: 'billing' })
  const [message] = [await c[Symbol.asyncIterator]().next()].map(({ value }) => value)
  assert.throws(() => c.ack(message), { name: 'HeadwaterError', kind: 'InvalidArgument' })
  assert.throws(() => c.ack('x'), { code: 'INVALID_ARGUMENT' })
})

test('seek goes on elsewhere, also from within a loop', async (t) => {
  const db = await filled(t, 2_000)
  const c = db.consumer('orders', { until: 'end' })
  await c.open()
  await c.seek('orders', 0, 1_990)
  const values = []
  let hasSought = false
  for await (const message of c) {
    values.push(Number(message.value))
    if (message.offset === 1_995 && !hasSought) {
      hasSought = true
      await c.seek('orders', 0, 1_998)
    }
  }
  assert.deepEqual(values, [1_990, 1_991, 1_992, 1_993, 1_994, 1_995, 1_998, 1_999])
  await assert.rejects(c.seek('orders', 7, 0), { kind: 'NotFound' })
  await assert.rejects(c.seek('orders', 0, 'middle'), { code: 'INVALID_ARGUMENT' })
})

test('seek takes an offset by its meaning', async (t) => {
  const db = await filled(t, 3)
  const c = db.consumer('orders')
  await c.open()
  await c.seek('orders', 0, 'latest')
  assert.equal(c.assignment()[0].offset, 3)
  await c.seek('orders', 0, 'earliest')
  assert.deepEqual(await take(c, 1), ['0'])
})

test('an explicit commit is taken as it is', async (t) => {
  const db = await filled(t, 5)
  const c = db.consumer('orders', { group: 'billing' })
  await c.open()
  await c.commit([{ topic: 'orders', partition: 0, offset: 4 }])
  assert.equal((await c.committed())[0].offset, 4)
  await assert.rejects(c.commit([{ topic: 'orders' }]), { code: 'INVALID_ARGUMENT' })
})

test('a signal ends a loop that waits, and the record passed counts', async (t) => {
  const db = await filled(t, 2)
  const controller = new AbortController()
  const c = db.consumer('orders', { group: 'billing', signal: controller.signal })
  const seen = []
  await assert.rejects(
    async () => {
      for await (const message of c) {
        seen.push(message.offset)
        if (seen.length === 2) setTimeout(() => controller.abort(new Error('enough')), 10)
      }
    },
    (error) => error.name === 'AbortError' && error.code === 'ABORT_ERR' && error.cause.message === 'enough',
  )
  assert.deepEqual(seen, [0, 1])
  assert.equal(c.positions()[0].offset, 2)
})

test('a signal ends a loop between two records of a block', async (t) => {
  const db = await filled(t, 100)
  const controller = new AbortController()
  const c = db.consumer('orders', { signal: controller.signal })
  let count = 0
  await assert.rejects(
    async () => {
      for await (const { offset } of c) {
        count++
        if (offset === 4) controller.abort()
      }
    },
    { name: 'AbortError' },
  )
  assert.equal(count, 5)
})

test('what arrives after a wait was aborted is not lost', async (t) => {
  const db = await log(t)
  const c = db.consumer('orders')
  for (let index = 0; index < 5; index++) {
    const controller = new AbortController()
    const next = c.batches({ signal: controller.signal }).next()
    setTimeout(() => controller.abort(), 5)
    await assert.rejects(next, { name: 'AbortError' })
  }
  await db.producer().sendMany('orders', ['a', 'b'])
  assert.deepEqual(await take(c, 2), ['a', 'b'])
})

test('two loops at once are refused, one after the other are not', async (t) => {
  const db = await filled(t, 5)
  const c = db.consumer('orders')
  const first = c[Symbol.asyncIterator]()
  await first.next()
  await assert.rejects(c[Symbol.asyncIterator]().next(), { code: 'INVALID_STATE' })
  await first.return()
  assert.equal((await c[Symbol.asyncIterator]().next()).value.offset, 0)
})

test('calls of next that do not wait for each other get one record each', async (t) => {
  const db = await filled(t, 2_500)
  const iterator = db.consumer('orders', { until: 'end' })[Symbol.asyncIterator]()
  const results = await Promise.all(Array.from({ length: 2_502 }, () => iterator.next()))
  assert.deepEqual(
    results.slice(0, 2_500).map(({ value }) => value.offset),
    upTo(2_500).map(Number),
  )
  assert.deepEqual(
    results.slice(2_500).map(({ done }) => done),
    [true, true],
  )
})

test('closing ends a loop that waits, and messages stay valid', async (t) => {
  const db = await filled(t, 2)
  const c = db.consumer('orders')
  const messages = []
  const reading = (async () => {
    for await (const message of c) messages.push(message)
  })()
  while (messages.length < 2) await sleep(1)
  const report = await c.close()
  await reading
  assert.deepEqual(report, { unsentRecords: 0, failedRecords: 0, firstError: undefined })
  assert.deepEqual(
    messages.map(({ value }) => value.toString()),
    ['0', '1'],
  )
  await assert.rejects(c[Symbol.asyncIterator]().next(), { kind: 'Closed' })
})

test('an unknown topic is named', async (t) => {
  const db = await log(t)
  await assert.rejects(valuesOf(db, 'nowhere'), { code: 'UNKNOWN_TOPIC_OR_PARTITION', message: /nowhere/ })
  assert.throws(() => db.consumer(7), { code: 'INVALID_ARGUMENT' })
  assert.throws(() => db.consumer([]), { kind: 'InvalidArgument' })
})

test('members of a group share the partitions, and who leaves leaves them to the others', async (t) => {
  const db = await log(t)
  await db.admin.createTopic('shared', { partitions: 2 })
  const first = db.consumer('shared', { group: 'sharing' })
  const second = db.consumer('shared', { group: 'sharing' })
  const messages = [first, second].map((member) => member[Symbol.asyncIterator]())
  const next = messages.map((own) => own.next())
  const send = (value) => {
    const p = db.producer()
    for (const partition of [0, 1]) p.enqueue('shared', `${value}-${partition}`, { partition })
    return p.close()
  }
  const holds = async (member, count) => {
    while (member.assignment().length !== count) await sleep(1)
  }
  await Promise.all([holds(first, 1), holds(second, 1)])
  await send('early')
  const given = (await Promise.all(next)).map(({ value }) => value.partition)
  assert.deepEqual(given.sort(), [0, 1])
  await first.close()
  await holds(second, 2)
  await send('late')
  // What the first had in hand it had not processed: it comes again, before what is new.
  const seen = []
  while (!seen.includes('late-0') || !seen.includes('late-1')) seen.push((await messages[1].next()).value.value.toString())
  assert.equal(seen.length, 3)
  await second.close()
})

test('however fast records come, the event loop turns between blocks', async (t) => {
  const db = await filled(t, 20_000)
  let turns = 0
  let isReading = true
  const turn = () => isReading && setImmediate(turn, turns++)
  turn()
  let blocks = 0
  for await (const batch of db.consumer('orders', { until: 'end', maxBlockRecords: 100 }).batches())
    blocks += Math.sign(batch.length)
  isReading = false
  assert.equal(blocks, 200)
  assert.ok(turns >= blocks / 2, `${turns} turns for ${blocks} blocks`)
})
