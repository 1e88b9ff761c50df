import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { after, describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { Broker, connect } from 'headwater'
import * as esm from 'headwater/testing'
import { folder, run } from './setting.mjs'

const { useBroker } = esm
const root = fileURLToPath(new URL('..', import.meta.url))
const suites = fileURLToPath(new URL('suites/', import.meta.url))

/** The names of the topics at `address`, with their numbers of partitions. */
async function topicsOf(address) {
  const db = await connect(address)
  const topics = await db.admin.listTopics()
  await db.close()
  return Object.fromEntries(topics.map(({ name, partitions }) => [name, partitions.length]))
}

async function send(address, topic) {
  const db = await connect(address)
  await db.producer().send(topic, 'v')
  await db.close()
}

describe('a broker for all tests of a suite', () => {
  const broker = useBroker({ topics: { orders: 4, payments: 1 } })
  let first

  test('has its topics, and creates others as they are used', async () => {
    first = broker.address
    assert.match(first, /^127\.0\.0\.1:\d+$/)
    assert.deepEqual([broker.brokers, broker.addresses, broker.bootstrapServers], [[first], [first], first])
    assert.deepEqual(await topicsOf(first), { orders: 4, payments: 1 })
    await send(first, 'new')
  })

  test('is the same in each of them', async () => {
    assert.equal(broker.address, first)
    assert.deepEqual(Object.keys(await topicsOf(first)), ['new', 'orders', 'payments'])
  })
})

describe('a broker for each test', () => {
  const broker = useBroker({ each: true, topics: ['orders'], autoCreateTopics: false, env: 'TEST_SERVERS' })
  after(() => assert.equal(process.env.TEST_SERVERS, undefined))
  for (const number of [1, 2]) {
    test(`is empty in test ${number}`, async () => {
      assert.equal(process.env.TEST_SERVERS, broker.bootstrapServers)
      assert.deepEqual(await topicsOf(broker.address), { orders: 1 })
      const db = await connect(broker.address)
      await db.admin.createTopic('new')
      await db.close()
    })
  }
})

test('a broker is there while tests run, and not before', () => {
  const kept = []
  const hooks = { beforeAll: (start) => kept.push(start), afterAll: (stop) => kept.push(stop) }
  const broker = useBroker({ hooks })
  assert.throws(() => broker.brokers, { code: 'INVALID_STATE', message: /inside of tests/ })
  assert.equal(kept.length, 2)
})

test('what is wrong is said at once', () => {
  assert.throws(() => useBroker({ topics: 'orders' }), { kind: 'InvalidArgument', message: /topics/ })
  assert.throws(() => useBroker({ hooks: { beforeAll() {} } }), { kind: 'InvalidArgument', message: /afterAll/ })
  assert.throws(() => useBroker({ each: true, hooks: {} }), { message: /beforeEach and afterEach/ })
})

test('a topic that cannot be created fails the tests, and leaves no broker behind', async () => {
  const hooks = {}
  const register = (name) => (run) => (hooks[name] = run)
  useBroker({ topics: { 'no topic': 1 }, hooks: { beforeAll: register('before'), afterAll: register('after') } })
  await assert.rejects(hooks.before(), { kind: 'InvalidArgument' })
  await hooks.after()
})

test('a folder is served on a free port too', async (t) => {
  const hooks = {}
  const register = (name) => (run) => (hooks[name] = run)
  const broker = useBroker({ data: folder(t), hooks: { beforeAll: register('before'), afterAll: register('after') } })
  await hooks.before()
  assert.notEqual(broker.address, '127.0.0.1:9092')
  await hooks.after()
  assert.throws(() => broker.address, { code: 'INVALID_STATE' })
})

test('both module systems load the same', () => {
  assert.equal(createRequire(import.meta.url)('headwater/testing').useBroker, useBroker)
  assert.deepEqual(Object.keys(esm), ['useBroker'])
})

test('a socket of this machine is nothing for clients of Kafka', async (t) => {
  const broker = await Broker.start({ listen: [`unix:${folder(t)}/s`] })
  t.after(() => broker.close())
  assert.throws(() => broker.brokers, { code: 'INVALID_STATE', message: /need a port.*unix:/ })
  assert.throws(() => broker.bootstrapServers, { code: 'INVALID_STATE' })
})

test('a suite whose tests fail and leave a client open ends all the same', () => {
  const { status, stdout } = spawnSync(process.execPath, ['--test', `${suites}left-open.mjs`], {
    cwd: root,
    encoding: 'utf8',
    env: { ...process.env, NODE_TEST_CONTEXT: undefined },
  })
  assert.equal(status, 1)
  assert.match(stdout, /on purpose/)
  assert.match(stdout, /^# fail 1$|^\S* fail 1$/m)
})

const vitest = fileURLToPath(new URL('../node_modules/vitest/vitest.mjs', import.meta.url))
const skip = existsSync(vitest) ? false : 'Vitest is not installed (npm ci --ignore-scripts)'

const runVitest = (...args) =>
  spawnSync(process.execPath, [vitest, 'run', '--root', suites, '--reporter', 'verbose', ...args], {
    encoding: 'utf8',
    env: { ...process.env, NODE_TEST_CONTEXT: undefined, NO_COLOR: '1' },
  })

test('Vitest has a broker, by its own hooks', { skip }, () => {
  const { status, stdout, stderr } = runVitest('hooks')
  assert.equal(status, 0, stdout + stderr)
  assert.match(stdout, /Tests +3 passed/)
})

test('Vitest has a broker, by its global hooks, and says what to do where it has none', { skip }, () => {
  const { status, stdout, stderr } = runVitest('global', '--globals')
  assert.equal(status, 0, stdout + stderr)
  assert.match(stdout, /Tests +1 passed/)
  const without = runVitest('global')
  assert.equal(without.status, 1)
  assert.match(without.stderr, /import \{ beforeAll, afterAll \} from 'vitest'/)
})

test('a hundred brokers run in one process', async () => {
  const { code, said, stderr } = await run(`
    import { Broker } from 'headwater'
    const brokers = await Promise.all(Array.from({ length: 100 }, () => Broker.start()))
    await Promise.all(brokers.map(async (broker) => {
      const db = await connect(broker.address)
      await db.producer().send('orders', broker.address)
      const { value } = await db.consumer('orders')[Symbol.asyncIterator]().next()
      if (value.value.toString() !== broker.address) say(value.value.toString())
      await db.close()
    }))
    say(new Set(brokers.map(({ address }) => address)).size)
    await Promise.all(brokers.map((broker) => broker.close()))
  `)
  assert.deepEqual({ code, said, stderr }, { code: 0, said: [100], stderr: '' })
})
