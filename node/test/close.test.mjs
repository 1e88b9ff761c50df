import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect } from 'headwater'
import { folder, log, run, slowLog, valuesOf } from './setting.mjs'

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
  // Some may have been delivered in time; most never had room, whatever the speed of the machine.
  const failed = ends.filter(({ status }) => status === 'rejected')
  assert.ok(failed.length > 500)
  assert.ok(failed.every(({ reason }) => reason.kind === 'Closed'))
  assert.equal(failed.length, unsentRecords)
  assert.ok(failed.some(({ reason }) => reason.outcome === 'not_done'))
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

test('a wrong timeout is refused', async (t) => {
  const db = await log(t)
  await assert.rejects(db.producer().close(-1), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(db.producer().close('soon'), { code: 'INVALID_ARGUMENT' })
})

test('a connect that was aborted leaves nothing open', async (t) => {
  const path = folder(t)
  const controller = new AbortController()
  const opening = connect(path, { signal: controller.signal })
  controller.abort()
  await assert.rejects(opening, { name: 'AbortError', code: 'ABORT_ERR' })
  await sleep(50)
  const { said, stderr } = await run('const db = await connect(argv[0]); await db.close(); say("free")', {
    args: [path],
  })
  assert.deepEqual(said, ['free'], stderr)
  await assert.rejects(connect(path, { signal: AbortSignal.abort() }), { name: 'AbortError' })
})
