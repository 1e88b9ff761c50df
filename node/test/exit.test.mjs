import assert from 'node:assert/strict'
import { test } from 'node:test'
import { folder, log, run, valuesOf } from './setting.mjs'

const open = `
  const db = await connect(argv[0])
  await db.admin.createTopic('orders', { existOk: true })
  const p = db.producer()
`

test('a process with nothing left to do ends by itself', async (t) => {
  const { code, said, stderr } = await run(
    `${open}
    await p.send('orders', 'x')
    const c = db.consumer('orders')
    await c.open()
    for await (const message of c) break
    say('end')
  `,
    { args: [folder(t)] },
  )
  assert.deepEqual({ code, said, stderr }, { code: 0, said: ['end'], stderr: '' })
})

test('a process that ends without closing keeps what it sent', async (t) => {
  const path = folder(t)
  const { code, stderr } = await run(`${open} for (let i = 0; i < 10_000; i++) p.enqueue('orders', String(i))`, {
    args: [path],
  })
  assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
  assert.equal((await valuesOf(await log(t, { address: path }))).length, 10_000)
})

test('process.exit keeps what was sent', async (t) => {
  const path = folder(t)
  const { code, stderr } = await run(
    `${open}
    for (let i = 0; i < 10_000; i++) p.enqueue('orders', String(i))
    process.exit(3)
  `,
    { args: [path] },
  )
  assert.deepEqual({ code, stderr }, { code: 3, stderr: '' })
  assert.equal((await valuesOf(await log(t, { address: path }))).length, 10_000)
})

test('an uncaught exception keeps what was sent', async (t) => {
  const path = folder(t)
  const { code } = await run(
    `${open}
    for (let i = 0; i < 100; i++) p.enqueue('orders', String(i))
    throw new Error('no')
  `,
    { args: [path] },
  )
  assert.equal(code, 1)
  assert.equal((await valuesOf(await log(t, { address: path }))).length, 100)
})

test('a process that ends with failures says how many', async (t) => {
  const { code, stderr } = await run(`${open} p.enqueue('nowhere', 'a'); p.enqueue('nowhere', 'b')`, {
    args: [folder(t)],
  })
  assert.equal(code, 0)
  assert.match(stderr, /HeadwaterWarning: 0 records were not delivered and 2 failed.*nowhere/)
  const exited = await run(`${open} p.enqueue('nowhere', 'a'); process.exit()`, { args: [folder(t)] })
  assert.match(exited.stderr, /HeadwaterWarning: 0 records were not delivered and 1 failed/)
})

test('a send that is not acknowledged keeps the process alive until it is', async (t) => {
  const { code, said } = await run(
    `${open}
    p.send('orders', 'x').then(({ offset }) => say(offset))
  `,
    { args: [folder(t)] },
  )
  assert.deepEqual({ code, said }, { code: 0, said: [0] })
})

test('an open loop keeps the process alive, and Ctrl-C ends it', async (t) => {
  const { signal, said } = await run(
    `${open}
    await p.send('orders', 'x')
    for await (const message of db.consumer('orders')) say(message.offset)
  `,
    { args: [folder(t)], onSaid: (_, child) => setTimeout(() => child.kill('SIGINT'), 200) },
  )
  assert.deepEqual({ signal, said }, { signal: 'SIGINT', said: [0] })
})

test('a handler of Ctrl-C can end the loop and close', async (t) => {
  const path = folder(t)
  const { code, said, stderr } = await run(
    `${open}
    const controller = new AbortController()
    process.once('SIGINT', () => controller.abort())
    await p.sendMany('orders', ['a', 'b'])
    const c = db.consumer('orders', { group: 'billing', signal: controller.signal })
    try {
      for await (const message of c) say(message.offset)
    } catch (error) {
      say(error.name)
    }
    await db.close()
  `,
    { args: [path], onSaid: (said, child) => said === 1 && setTimeout(() => child.kill('SIGINT'), 50) },
  )
  assert.deepEqual({ code, said, stderr }, { code: 0, said: [0, 1, 'AbortError'], stderr: '' })
  const db = await log(t, { address: path })
  assert.equal((await db.admin.describeGroup('billing')).offsets[0].offset, 2)
})

/** A broker in the process itself, behind a connection that says nothing more from `stall` on. */
const stalling = `
  import { createConnection, createServer } from 'node:net'
  import { Broker } from 'headwater'
  const broker = await Broker.start()
  broker.unref()
  const sockets = []
  const proxy = createServer((near) => {
    const far = createConnection(Number(broker.address.split(':')[1]), '127.0.0.1')
    sockets.push(near, far)
    near.pipe(far).pipe(near)
  })
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const options = { closeTimeoutMs: 600_000, exitTimeoutMs: 100 }
  const db = await connect('127.0.0.1:' + proxy.address().port, options)
  await db.admin.createTopic('orders')
  const p = db.producer()
  await p.send('orders', 'first')
  for (const socket of sockets) socket.unpipe().pause()
  for (let i = 0; i < 10; i++) p.enqueue('orders', 'more')
`

// It said nothing, and delivered nothing more.
test('process.exit while a close waits leaves within the time for it, and says how many were lost', async () => {
  const { code, stderr } = await run(`${stalling} db.close(); setImmediate(() => process.exit(3))`)
  assert.equal(code, 3)
  assert.match(stderr, /HeadwaterWarning: 10 records were not delivered and 0 failed/)
})

test('Ctrl-C ends a close that waits: at once, or by closing again', async () => {
  const interrupt = { onSaid: (said, child) => said === 'closing' && child.kill('SIGINT') }
  const killed = await run(`${stalling} say('closing'); await db.close()`, interrupt)
  assert.equal(killed.signal, 'SIGINT')
  const hurried = await run(
    `${stalling}
    process.once('SIGINT', () => db.close(50))
    const closing = db.close()
    say('closing')
    say((await closing).unsentRecords)
    process.exit()
  `,
    interrupt,
  )
  assert.deepEqual(hurried.said, ['closing', 10], hurried.stderr)
  assert.deepEqual([hurried.code, hurried.stderr], [0, ''])
})

test('a process killed at once keeps what was acknowledged', async (t) => {
  const path = folder(t)
  const { signal, said } = await run(
    `${open}
    for (let i = 0; ; i++) say((await p.send('orders', String(i))).offset)
  `,
    { args: [path], onSaid: (said, child) => said === 100 && child.kill('SIGKILL') },
  )
  assert.equal(signal, 'SIGKILL')
  const values = await valuesOf(await log(t, { address: path }))
  assert.ok(values.length >= said.length)
  assert.deepEqual(
    values,
    values.map((_, index) => `${index}`),
  )
})

test('two workers each have a log of their own, and one that is terminated closes it', async (t) => {
  const { code, said, stderr } = await run(
    `
    import { Worker } from 'node:worker_threads'
    const source = \`
      const { parentPort, workerData } = require('node:worker_threads')
      const { connect } = require(workerData.module)
      connect(workerData.path).then(async (db) => {
        await db.admin.createTopic('orders', { existOk: true })
        const p = db.producer()
        await p.send('orders', 'x')
        p.enqueue('orders', 'y')
        await p.flush()
        parentPort.postMessage('sent')
        parentPort.once('message', () => db.close().then(() => parentPort.postMessage('closed')))
      })
    \`
    const module = process.cwd() + '/index.cjs'
    const workers = argv.map((path) => new Worker(source, { eval: true, execArgv: [], workerData: { path, module } }))
    const message = (worker) => new Promise((resolve) => worker.once('message', resolve))
    say(await Promise.all(workers.map(message)))
    workers[0].postMessage('close')
    say(await message(workers[0]))
    await workers[1].terminate()
    for (const path of argv) {
      const db = await connect(path)
      const values = []
      for await (const { value } of db.consumer('orders', { until: 'end' })) values.push(String(value))
      say(values)
      await db.close()
    }
  `,
    { args: [folder(t), folder(t)] },
  )
  assert.deepEqual(said, [['sent', 'sent'], 'closed', ['x', 'y'], ['x', 'y']], stderr)
  assert.equal(code, 0)
})
