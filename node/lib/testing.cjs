'use strict'
// A broker for a test suite: hooks of whichever runner there is start and close it.

const { Broker } = require('./broker.cjs')
const { connect } = require('./client.cjs')
const { errorOf, invalid } = require('./errors.cjs')

/** A broker that is there while tests run; the hooks are registered at once. */
function useBroker({ topics, each = false, env, hooks, ...options } = {}) {
  const partitions = partitionsOf(topics)
  const [before, after] = hooksOf(hooks, each)
  const earlier = env === undefined ? undefined : process.env[env]
  let running
  before(async () => {
    running = await Broker.start({ listen: ['127.0.0.1:0'], autoCreateTopics: true, ...options })
    if (env !== undefined) setEnv(env, running.bootstrapServers)
    await create(running.address, partitions)
  })
  after(async () => {
    if (env !== undefined) setEnv(env, earlier)
    // What a test has left open, or still asks for, is not waited for.
    await running?.close(0)
    running = undefined
  })
  const broker = () => {
    if (running) return running
    throw errorOf('INVALID_STATE', 'the broker is there while tests run: use it inside of tests and `beforeEach`')
  }
  return Object.freeze({
    get address() {
      return broker().address
    },
    get addresses() {
      return broker().addresses
    },
    get brokers() {
      return broker().brokers
    },
    get bootstrapServers() {
      return broker().bootstrapServers
    },
  })
}

/** Sets the environment's variable, or takes it away. */
function setEnv(name, value) {
  if (value === undefined) delete process.env[name]
  else process.env[name] = value
}

/** Topics as pairs of name and options. */
function partitionsOf(topics) {
  if (topics === undefined) return []
  if (Array.isArray(topics)) return topics.map((name) => [name, {}])
  if (topics === null || typeof topics !== 'object') {
    throw invalid("topics are an array of names, or an object of their numbers of partitions: ['orders'], { orders: 4 }")
  }
  return Object.entries(topics).map(([name, partitions]) => [name, { partitions }])
}

async function create(address, topics) {
  if (topics.length === 0) return
  const db = await connect(address)
  try {
    for (const [name, options] of topics) await db.admin.createTopic(name, options)
  } finally {
    await db.close()
  }
}

/** The two hooks: those given, else the runner's global ones, else those of Node's own runner. */
function hooksOf(given, each) {
  const names = each ? ['beforeEach', 'afterEach'] : ['beforeAll', 'afterAll']
  const { beforeAll = globalThis.before, afterAll = globalThis.after, beforeEach, afterEach } = globalThis
  const found = given ?? { beforeAll, afterAll, beforeEach, afterEach }
  const both = names.map((name) => found[name])
  if (both.every((hook) => typeof hook === 'function')) return both
  const advice = `import { ${names.join(', ')} } from 'vitest'; useBroker({ hooks: { ${names.join(', ')} } })`
  if (given !== undefined) throw invalid(`hooks lack ${names.filter((_, at) => typeof both[at] !== 'function').join(' and ')}`)
  if (process.env.VITEST) throw errorOf('INVALID_STATE', `Vitest's hooks are not global here: ${advice}`)
  const runner = require('node:test')
  return each ? [runner.beforeEach, runner.afterEach] : [runner.before, runner.after]
}

module.exports = { useBroker }
