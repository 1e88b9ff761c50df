import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createServer } from 'node:net'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Broker, connect } from 'headwater'
import { folder, run } from './setting.mjs'

const program = fileURLToPath(new URL('../bin/headwater.cjs', import.meta.url))

const headwater = (...args) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })

test('a broker in memory serves whoever connects', async (t) => {
  const broker = await Broker.start()
  t.after(() => broker.close())
  assert.match(broker.address, /^127\.0\.0\.1:\d+$/)
  assert.deepEqual(broker.addresses, [broker.address])
  const [sender, reader] = [await connect(broker.address), await connect(broker.address)]
  await sender.admin.createTopic('orders', { partitions: 2 })
  const sent = await sender.producer().sendMany(
    'orders',
    Array.from({ length: 3_000 }, (_, index) => `${index}`),
  )
  assert.equal(sent.length, 3_000)
  let count = 0
  for await (const message of reader.consumer('orders', { group: 'billing', until: 'end' })) {
    assert.ok(message.value.length > 0)
    count++
  }
  assert.equal(count, 3_000)
  await Promise.all([sender.close(), reader.close()])
})

test('a broker of a folder leaves it in order', async (t) => {
  const path = folder(t)
  const broker = await Broker.start({ data: path, listen: ['127.0.0.1:0'] })
  const db = await connect(broker.address)
  await db.admin.createTopic('orders')
  await db.producer().send('orders', 'x')
  await assert.rejects(
    connect(path, { create: false }).then((other) => other.admin.createTopic('orders')),
    {
      kind: 'AlreadyExists',
    },
  )
  await db.close()
  await broker.close()
  const again = await connect(path)
  assert.deepEqual(
    (await again.admin.listTopics()).map(({ name }) => name),
    ['orders'],
  )
  await again.close()
})

test('when the broker goes its clients wait for it to come back, and closing ends the wait', async () => {
  const broker = await Broker.start()
  const db = await connect(broker.address)
  await db.admin.createTopic('orders')
  const p = db.producer()
  await p.send('orders', 'before')
  const c = db.consumer('orders')
  const reading = c[Symbol.asyncIterator]()
  assert.equal((await reading.next()).value.offset, 0)
  const next = reading.next()
  await broker.close(0)
  const sent = p.send('orders', 'after')
  sent.catch(() => {})
  assert.equal((await db.close(100)).unsentRecords, 1)
  assert.deepEqual(await next, { done: true, value: undefined })
  await assert.rejects(sent, { kind: 'Closed' })
})

test('a broker that comes back on its folder and port is the one it was', async (t) => {
  const path = folder(t)
  const first = await Broker.start({ data: path })
  const db = await connect(first.address)
  await db.admin.createTopic('orders')
  const p = db.producer()
  const messages = db.consumer('orders')[Symbol.asyncIterator]()
  for (const number of [0, 1, 2]) {
    assert.equal((await p.send('orders', `${number}`)).offset, number)
    assert.equal((await messages.next()).value.value.toString(), `${number}`)
  }
  await first.close()
  const sent = p.send('orders', '3')
  const again = await Broker.start({ data: path, listen: [first.address] })
  assert.equal((await sent).offset, 3)
  assert.equal((await messages.next()).value.offset, 3)
  await db.close()
  await again.close()
})

test('a port in use, and an address that is none, are refused in words', async (t) => {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  t.after(() => server.close())
  const { port } = server.address()
  await assert.rejects(Broker.start({ listen: [`127.0.0.1:${port}`] }), {
    code: 'ADDRESS_IN_USE',
    message: new RegExp(port),
  })
  await assert.rejects(Broker.start({ listen: ['nowhere'] }), { code: 'INVALID_ADDRESS' })
  await assert.rejects(Broker.start({ listen: ['0.0.0.0:0'] }), { kind: 'InvalidArgument', message: /allow/ })
  await assert.rejects(Broker.start({ lisen: ['127.0.0.1:0'] }), { code: 'UNKNOWN_OPTION', message: /listen/ })
  assert.throws(() => new Broker(), { code: 'INVALID_STATE' })
})

test('a broker keeps the process alive until it is closed', async () => {
  const { code, said } = await run(`
    import { Broker } from 'headwater'
    const broker = await Broker.start()
    setTimeout(() => { say('alive'); broker.close() }, 100).unref()
  `)
  assert.deepEqual({ code, said }, { code: 0, said: ['alive'] })
})

test('a broker that is not referenced lets the process end, in use and not closed', async () => {
  const { code, said, stderr } = await run(`
    import { Broker } from 'headwater'
    const broker = (await Broker.start()).unref().ref().unref().unref()
    const other = (await Broker.start()).unref()
    const db = await connect(broker.address)
    await db.producer().send('orders', 'v')
    await other.close()
    other.ref()
    say('sent')
  `)
  assert.deepEqual({ code, said, stderr }, { code: 0, said: ['sent'], stderr: '' })
})

test('the command line is the same program', (t) => {
  const path = folder(t)
  assert.match(headwater('--help').stdout, /serve.*topic.*produce.*consume/s)
  assert.equal(headwater('frobnicate').status, 2)
  assert.equal(headwater('--address', path, 'topic', 'create', 'orders', '--partitions', '2').status, 0)
  const { status, stdout } = headwater('--address', path, '--json', 'topic', 'list')
  assert.equal(status, 0)
  assert.equal(JSON.parse(stdout.split('\n')[0]).topic, 'orders')
  assert.equal(headwater('--address', path, 'topic', 'describe', 'nowhere').status, 3)
})

test('a command that serves ends on Ctrl-C, in order', async () => {
  const { signal, code, said } = await run(
    `
    import { spawn } from 'node:child_process'
    const child = spawn(process.execPath, [argv[0], 'serve', '--dev', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'pipe'] })
    child.stderr.once('data', () => child.kill('SIGINT'))
    child.once('close', (code, signal) => say([code, signal]))
  `,
    { args: [program] },
  )
  assert.deepEqual({ signal, code }, { signal: null, code: 0 })
  assert.equal(said[0][1], null)
  assert.ok([0, 130].includes(said[0][0]), `exit code ${said[0][0]}`)
})
