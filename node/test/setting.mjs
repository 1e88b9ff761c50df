// What the tests share: a log to try things on, folders that go away, and programs of their own.
import { spawn } from 'node:child_process'
import { createConnection, createServer } from 'node:net'
import { pipeline } from 'node:stream'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Broker, connect } from 'headwater'

/** Inside the checkout, and ignored by git. */
const scratch = fileURLToPath(new URL('../../.cache/node-tests/', import.meta.url))

/** A folder that is removed when the test ends. */
export function folder(t) {
  mkdirSync(scratch, { recursive: true })
  const path = mkdtempSync(join(scratch, 'data-'))
  t.after(() => rmSync(path, { recursive: true, force: true }))
  return path
}

/** An open log with the topic `orders`, closed when the test ends. */
export async function log(t, { address = 'mem:', topic = { partitions: 1 }, ...options } = {}) {
  const db = await connect(address, options)
  t.after(() => db.close())
  await db.admin.createTopic('orders', { ...topic, existOk: true })
  return db
}

/**
 * The same behind a broker whose connection passes through this event loop: while a test does not wait, nothing it
 * sent is acknowledged.
 */
export async function slowLog(t, options = {}) {
  return (await stallingLog(t, options)).db
}

/** The same, with `stall`: from then on the broker neither hears nor says anything. */
export async function stallingLog(t, options = {}) {
  const broker = await Broker.start()
  const sockets = []
  const proxy = createServer((near) => {
    const far = createConnection(Number(broker.address.split(':')[1]), '127.0.0.1')
    sockets.push(near, far)
    pipeline(near, far, () => {})
    pipeline(far, near, () => {})
  })
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve))
  const db = await log(t, { ...options, address: `127.0.0.1:${proxy.address().port}` })
  t.after(async () => {
    await db.close()
    for (const socket of sockets) socket.destroy()
    await broker.close(0)
    proxy.close()
  })
  const stall = () => {
    for (const socket of sockets) socket.unpipe().pause()
  }
  return { db, stall }
}

/** What a consumer gives until the end, as text. */
export async function valuesOf(db, topic = 'orders', options = {}) {
  const values = []
  for await (const message of db.consumer(topic, { until: 'end', ...options })) values.push(message.value?.toString())
  return values
}

/**
 * Runs `source` as a module of its own, with `connect`, `say` (one JSON line) and `argv`; what it said, and how it
 * ended. `onSaid` may act on a line.
 */
export function run(source, { args = [], onSaid = () => {}, node = [] } = {}) {
  const prelude = `
    import { connect, HeadwaterError } from 'headwater'
    const argv = process.argv.slice(1)
    const say = (what) => process.stdout.write(JSON.stringify(what) + '\\n')
  `
  const child = spawn(process.execPath, [...node, '--input-type=module', '-e', prelude + source, '--', ...args], {
    cwd: fileURLToPath(new URL('..', import.meta.url)),
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const said = []
  let stdout = ''
  let stderr = ''
  child.stdout.on('data', (data) => {
    const lines = (stdout += data).split('\n')
    stdout = lines.pop()
    for (const line of lines) {
      said.push(JSON.parse(line))
      onSaid(said.at(-1), child)
    }
  })
  child.stderr.on('data', (data) => (stderr += data))
  return new Promise((resolve) => {
    child.on('close', (code, signal) => resolve({ said, code, signal, stderr }))
  })
}
