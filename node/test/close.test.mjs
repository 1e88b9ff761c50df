import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'headwater'
import { folder, log, run, slowLog, stallingLog, valuesOf } from './setting.mjs'

const clean = { unsentRecords: 0, failedRecords: 0, firstError: undefined }

test('closing delivers what was sent, and says that nothing is left', async (t) => {
  const path = folder(t)
  const db = await log(t, { address: path })
  const p = db.producer()
  for (let index = 0; index < 1_000; index++) p.enqueue('orders', `${index}`)
  assert.deepEqual(await db.close(), clean)
  assert.equal(db.isClosed, true)
  assert.deepEqual(await db.close(), clean)
  const again = await log(t, { address: path })
  assert.equal((await valuesOf(again)).length, 1_000)
})

test('closing a producer answers the sends before it', async (t) => {
  const db = await log(t)
  const p = db.producer({ lingerMs: 60_000 })
  const sent = p.send('orders', 'x')
  assert.deepEqual(await p.close(), clean)
  assert.equal((await sent).offset, 0)
})

test('closing without time to deliver ends every send, and says how many there were', async (t) => {
  const db = await slowLog(t)
  const p = db.producer({ bufferBytes: 262_144 })
  await p.send('orders', 'first')
  const sent = Promise.allSettled(Array.from({ length: 1_000 }, () => p.send('orders', Buffer.alloc(1_000))))
  const { unsentRecords } = await p.close(0)
  const ends = await sent
  // While this side does not wait nothing is acknowledged, and without time it does not wait.
  const failed = ends.filter(({ status }) => status === 'rejected')
  assert.ok(failed.length > 500)
  assert.ok(failed.every(({ reason }) => reason.kind === 'Closed'))
  assert.equal(failed.length, unsentRecords)
  assert.ok(failed.some(({ reason }) => reason.outcome === 'not_done'))
})

// It waited for the first, however long that took.
test('closing again ends sooner if its time is shorter', async (t) => {
  const { db, stall } = await stallingLog(t)
  const p = db.producer()
  await p.send('orders', 'first')
  stall()
  p.enqueue('orders', 'second')
  const long = p.close(3_600_000)
  const report = await p.close(10)
  assert.equal(report.unsentRecords, 1)
  assert.deepEqual(await long, report)
  const whole = db.close(3_600_000)
  assert.deepEqual(await db.close(10), await whole)
})

test('closing the client again ends what its producers and consumers wait for', async (t) => {
  const { db, stall } = await stallingLog(t)
  const p = db.producer({ bufferBytes: 262_144 })
  const c = db.consumer('orders', { group: 'billing' })
  await c.open()
  await p.send('orders', 'first')
  stall()
  // More than there is room for: some of it waits on this side of core.
  const sent = Promise.allSettled(Array.from({ length: 1_000 }, () => p.send('orders', Buffer.alloc(1_000))))
  const long = db.close(3_600_000)
  const report = await db.close(10)
  assert.equal(report.unsentRecords, 1_000)
  assert.deepEqual(await long, report)
  assert.ok((await sent).every(({ reason }) => reason?.kind === 'Closed'))
})

test('failures that nobody was told about come out of close, and of disposal', async (t) => {
  const db = await log(t)
  const p = db.producer()
  p.enqueue('nowhere', 'a')
  p.enqueue('nowhere', 'b')
  const report = await p.close()
  assert.equal(report.failedRecords, 2)
  assert.equal(report.firstError.code, 'UNKNOWN_TOPIC_OR_PARTITION')
  const other = db.producer()
  other.enqueue('nowhere', 'a')
  await assert.rejects(other[Symbol.asyncDispose](), { code: 'UNKNOWN_TOPIC_OR_PARTITION' })
})

// It said nothing.
test('what was not delivered comes out of disposal', async (t) => {
  const { db, stall } = await stallingLog(t, { closeTimeoutMs: 50 })
  const p = db.producer()
  await p.send('orders', 'first')
  stall()
  p.enqueue('orders', 'second')
  const late = { kind: 'Timeout', code: 'DELIVERY_TIMED_OUT', outcome: 'unknown' }
  await assert.rejects(p[Symbol.asyncDispose](), { ...late, message: 'on closing, 1 records were not delivered' })
})

test('what is closed refuses, in words', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const c = db.consumer('orders')
  await db.close()
  const closed = { name: 'HeadwaterError', kind: 'Closed', fatal: true, retriable: false }
  assert.throws(() => p.enqueue('orders', 'x'), closed)
  await assert.rejects(p.send('orders', 'x'), closed)
  await assert.rejects(p.sendMany('orders', ['x']), closed)
  assert.throws(() => db.producer(), closed)
  assert.throws(() => db.consumer('orders'), closed)
  await assert.rejects(db.admin.listTopics(), closed)
  await assert.rejects(c[Symbol.asyncIterator]().next(), closed)
})

test('scopes close by themselves', async (t) => {
  const path = folder(t)
  const db = await connect(path)
  await db.admin.createTopic('orders')
  const p = db.producer()
  p.enqueue('orders', 'x')
  await p[Symbol.asyncDispose]()
  const c = db.consumer('orders')
  await c[Symbol.asyncDispose]()
  await db[Symbol.asyncDispose]()
  assert.deepEqual(await valuesOf(await log(t, { address: path })), ['x'])
})

test('closing ends a loop in the middle of a block, and one that begins after it fails', async (t) => {
  const db = await log(t)
  await db.producer().sendMany('orders', ['a', 'b', 'c'])
  for (const close of [(c) => c.close(), () => db.close()]) {
    const c = db.consumer('orders', { group: 'billing' })
    const read = []
    for await (const message of c) {
      read.push(message.value.toString())
      if (read.length === 2) await close(c)
    }
    assert.deepEqual(read, ['a', 'b'])
    await assert.rejects(valuesOf({ consumer: () => c }), { code: 'CLOSED' })
    await assert.rejects(c.batches().next(), { code: 'CLOSED' })
    await assert.rejects(
      c.process(() => {}),
      { code: 'CLOSED' },
    )
    if (!db.isClosed) await db.admin.commitOffsets('billing', [{ topic: 'orders', partition: 0, offset: 0 }])
  }
})

test('closing ends a loop that waits', async (t) => {
  const db = await log(t)
  const c = db.consumer('orders')
  await c.open()
  const reading = valuesOf({ consumer: () => c })
  await c.close()
  assert.deepEqual(await reading, [])
})

test('a consumer that nobody has any more is closed', async () => {
  const { said, stderr } = await run(
    `
    const db = await connect('mem:')
    await db.admin.createTopic('orders')
    await db.producer().sendMany('orders', ['a', 'b'])
    for (let i = 0; i < 10; i++) for await (const message of db.consumer('orders', { until: 'end' })) message.value
    const kept = db.consumer('orders')
    await kept.open()
    while (db.metrics().consumers > 1) {
      globalThis.gc()
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
    say((await kept[Symbol.asyncIterator]().next()).value.offset)
    say(await db.close())
  `,
    { node: ['--expose-gc'] },
  )
  assert.deepEqual(said, [0, { unsentRecords: 0, failedRecords: 0 }], stderr)
})

test('a wrong timeout is refused, and closes nothing', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const c = db.consumer('orders', { until: 'end' })
  for (const part of [p, c, db]) {
    await assert.rejects(part.close(-1), { code: 'INVALID_ARGUMENT' })
    await assert.rejects(part.close('soon'), { code: 'INVALID_ARGUMENT' })
  }
  assert.equal(db.isClosed, false)
  await p.send('orders', 'x')
  for await (const message of c) assert.equal(message.value.toString(), 'x')
  assert.deepEqual(await p.close(), clean)
})

test('a connect that was aborted leaves nothing open', async (t) => {
  const path = folder(t)
  const controller = new AbortController()
  const opening = connect(path, { signal: controller.signal })
  controller.abort()
  await assert.rejects(opening, { name: 'AbortError', code: 'ABORT_ERR' })
  const { said, stderr } = await run(
    `
    import { setTimeout as sleep } from 'node:timers/promises'
    const open = () => connect(argv[0], { sharing: 'exclusive' }).catch((error) => {
      if (error.code !== 'FOLDER_LOCKED') throw error
    })
    let db
    while (!(db = await open())) await sleep(10)
    await db.close()
    say('free')
  `,
    { args: [path] },
  )
  assert.deepEqual(said, ['free'], stderr)
  await assert.rejects(connect(path, { signal: AbortSignal.abort() }), { name: 'AbortError' })
})
