// Runs what `examples/scenarios` describes; its README says what every step means.
import { readFileSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { Broker, HeadwaterError, connect } from 'headwater'
import { parse } from 'yaml'
import {
  camelKeys,
  checkFields,
  differs,
  plainError,
  plainHealth,
  plainMessage,
  recordOptions,
  snakeKeys,
  sorted,
  toBytes,
} from './scenario_values.mjs'

const files = fileURLToPath(new URL('../../examples/scenarios/', import.meta.url))
const NEEDS = ['durable', 'broker']
const LANGUAGES = ['rust', 'python', 'aio', 'node', 'kotlin', 'swift']
/** What may stand beside a step. */
const STEP_FIELDS = ['gives', 'fails', 'keep', 'eventually']
/** Ends what would wait for ever; then the scenario fails by what it did not get. */
const PATIENCE_MS = 60_000

/** The scenarios of a folder below `examples/scenarios`. */
export function load(folder = '') {
  const names = readdirSync(join(files, folder)).filter((name) => name.endsWith('.yaml'))
  return names.sort().flatMap((name) => parse(readFileSync(join(files, folder, name), 'utf8')))
}

/** Refuses what a scenario may not say about itself. */
function check(scenario) {
  checkFields(scenario, ['name', 'steps'], ['needs', 'languages', 'because'])
  for (const need of scenario.needs ?? []) checkFields({ [need]: true }, [], NEEDS)
  for (const language of scenario.languages ?? []) checkFields({ [language]: true }, [], LANGUAGES)
  if ('languages' in scenario !== 'because' in scenario) throw new Error('languages and because go together')
}

/** What is run against. One line each, so that a door is added or left out by one. */
export const DOORS = [
  'mem',
  'folder',
  'unix',
  'tcp',
]
/** What a scenario may need, and each door has. */
const GIVES = { mem: [], folder: ['durable'], unix: ['durable', 'broker'], tcp: ['durable', 'broker'] }

/** Where the log is: in memory, in a folder, or behind a broker that serves one. */
export class Door {
  #folder
  #broker

  static async open(kind, folder) {
    const door = new Door()
    door.#folder = join(folder, 'log')
    door.nowhere = join(folder, 'nowhere')
    door.gives = GIVES[kind]
    door.address = kind === 'mem' ? 'mem:' : door.#folder
    if (kind === 'tcp') await door.#serve('127.0.0.1:0')
    if (kind === 'unix') await door.#serve(`unix:${join(folder, 'sock')}`)
    return door
  }

  async #serve(listen) {
    this.#broker = await Broker.start({ data: this.#folder, listen: [listen] })
    this.address = this.#broker.address
  }

  /** Stops the broker, and starts it again on its folder and port. */
  async restart() {
    await this.close()
    await this.#serve(this.address)
  }

  async close() {
    await this.#broker?.close(0)
  }
}

/** Runs every step of a scenario; the error says which one went wrong. */
export async function run(scenario, door) {
  check(scenario)
  const own = new Run(door)
  own.db = await connect(door.address)
  const watchdog = setTimeout(() => own.db.close(0), PATIENCE_MS)
  try {
    for (const [index, step] of scenario.steps.entries()) {
      try {
        await own.step(step)
      } catch (error) {
        const where = `step ${index + 1} of "${scenario.name}", ${JSON.stringify(step)}`
        throw new Error(`${where}: ${error.message}`, { cause: error })
      }
    }
  } finally {
    clearTimeout(watchdog)
    await own.db.close()
  }
}

/** A record that a handler refused. */
class Refused extends Error {}

/** One scenario on its way: its handles by name, its variables. */
class Run {
  #door
  #variables
  #producers = new Map()
  #consumers = new Map()

  constructor(door) {
    this.#door = door
    this.#variables = { nowhere: door.nowhere }
  }

  async step({ gives, fails, keep = {}, eventually = false, ...call }) {
    const [[name, fields], ...more] = Object.entries(call)
    if (more.length > 0) throw new Error(`unknown beside a step: ${more.map(([other]) => other)}; ${STEP_FIELDS} may be`)
    if (!Object.hasOwn(STEPS, name)) throw new Error(`there is no step \`${name}\``)
    const wanted = this.#resolved(gives)
    const call_ = () => this.#called(STEPS[name], this.#resolved(fields), fails)
    let found = await call_()
    while (eventually && differs(wanted, found)) {
      await sleep(10)
      found = await call_()
    }
    for (const [variable, field] of Object.entries(keep)) this.#variables[variable] = found[field]
    const difference = gives !== undefined && differs(wanted, found)
    if (difference) throw new Error(`${difference}; all of it: ${JSON.stringify(found)}`)
  }

  async #called([needed, known, call], fields, fails) {
    let found
    if (known !== undefined) checkFields(fields, needed, known)
    else checkFields(fields, needed, Object.keys(fields))
    try {
      found = await call(this, fields)
    } catch (error) {
      if (fails === undefined || !(error instanceof HeadwaterError || error instanceof Refused)) throw error
      const told = error instanceof Refused ? { handler: error.message } : plainError(error)
      const { says, ...wanted } = fails
      if (says !== undefined) wanted.message = { says }
      const difference = differs(wanted, told)
      if (difference) throw new Error(`${difference}; the error is ${JSON.stringify(told)}`, { cause: error })
      return undefined
    }
    if (fails !== undefined) throw new Error(`it gave ${JSON.stringify(found)} and was to fail`)
    return found
  }

  /** Variables and repetitions put in. */
  #resolved(value) {
    if (typeof value === 'string' && value.startsWith('$')) {
      if (!(value.slice(1) in this.#variables)) throw new Error(`nothing was kept as ${value}`)
      return this.#variables[value.slice(1)]
    }
    if (Array.isArray(value)) return value.map((item) => this.#resolved(item))
    if (typeof value !== 'object' || value === null) return value
    if (Object.keys(value).join() === 'repeat,times') return value.repeat.repeat(value.times)
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, this.#resolved(item)]))
  }

  get door() {
    return this.#door
  }

  connect(options) {
    return connect(this.#door.address, options)
  }

  async reconnect() {
    await this.db.close()
    this.#producers.clear()
    this.#consumers.clear()
    this.db = await connect(this.#door.address)
  }

  addProducer(name, options) {
    this.#producers.set(name, this.db.producer(options))
  }

  producer(name) {
    if (name === undefined && !this.#producers.has('producer')) this.addProducer('producer')
    return known(this.#producers, name ?? 'producer')
  }

  addConsumer(name, topics, options) {
    this.#consumers.set(name, new Reading(this.db.consumer(topics, options)))
  }

  reading(name) {
    return known(this.#consumers, name ?? 'consumer')
  }
}

function known(handles, name) {
  if (!handles.has(name)) throw new Error(`there is no handle \`${name}\``)
  return handles.get(name)
}

/** A consumer and its loop. After an end or a failure the next record begins another. */
class Reading {
  #loop

  constructor(consumer) {
    this.consumer = consumer
  }

  /** The next record, or undefined at the end. */
  async next() {
    this.#loop ??= this.consumer[Symbol.asyncIterator]()
    try {
      const { value, done } = await this.#loop.next()
      if (done) this.#loop = undefined
      return value
    } catch (error) {
      this.#loop = undefined
      throw error
    }
  }
}

const place = ([topic, partition, offset]) => ({ topic, partition, offset })
const at = (meaning) => (typeof meaning === 'number' ? { time: meaning } : meaning)

/** A step: the fields it needs, those it knows (none: they are options), and what it does. */
const STEPS = {
  connect: [['address'], , async (_, { address, ...options }) => void (await (await connect(address, camelKeys(options))).close())],
  reconnect: [[], [], (run) => run.reconnect()],
  restart: [[], [], (run) => run.door.restart()],
  close: [[], ['producer', 'consumer', 'client'], close],
  metrics: [[], [], (run) => run.db.metrics()],
  health: [[], [], (run) => plainHealth(run.db.health())],

  create_topic: [['topic'], , (run, { topic, ...options }) => run.db.admin.createTopic(topic, camelKeys(options))],
  alter_topic: [['topic'], , (run, { topic, ...options }) => run.db.admin.alterTopic(topic, camelKeys(options))],
  delete_topic: [['topic'], [], (run, { topic }) => run.db.admin.deleteTopic(topic)],
  describe_topic: [['topic'], [], describeTopic],
  list_topics: [[], [], async (run) => (await run.db.admin.listTopics()).map(({ name }) => name)],
  delete_records: [['topic', 'before'], [], deleteRecords],
  list_offsets: [['queries'], [], (run, { queries }) =>
    run.db.admin.listOffsets(queries.map(([topic, partition, meaning]) => ({ topic, partition, at: at(meaning) })))],

  list_groups: [[], [], async (run) => (await run.db.admin.listGroups()).map(({ group }) => group)],
  describe_group: [['group'], [], describeGroup],
  delete_group: [['group'], [], (run, { group }) => run.db.admin.deleteGroup(group)],
  commit_offsets: [['group', 'offsets'], [], (run, { group, offsets }) =>
    run.db.admin.commitOffsets(group, offsets.map(place))],

  producer: [[], , (run, { as = 'producer', ...options }) => run.addProducer(as, camelKeys(options))],
  send: [['topic', 'value'], , (run, { topic, producer, ...record }) =>
    run.producer(producer).send(topic, toBytes(record.value), recordOptions(record))],
  enqueue: [['topic', 'value'], , (run, { topic, producer, ...record }) =>
    run.producer(producer).enqueue(topic, toBytes(record.value), recordOptions(record))],
  send_many: [['topic', 'records'], ['producer', 'partition'], sendMany],
  flush: [[], ['producer'], (run, { producer }) => run.producer(producer).flush()],

  consumer: [['topics'], , (run, { topics, as = 'consumer', ...options }) => run.addConsumer(as, topics, camelKeys(options))],
  open: [[], ['consumer'], async (run, { consumer }) => void (await run.reading(consumer).consumer.open())],
  consume: [[], ['consumer', 'count', 'sorted'], consume],
  ack: [['records'], ['consumer'], (run, { records, consumer }) =>
    records.forEach((record) => run.reading(consumer).consumer.ack(place(record)))],
  commit: [[], ['consumer', 'offsets'], (run, { consumer, offsets }) =>
    run.reading(consumer).consumer.commit(offsets?.map(place))],
  committed: [[], ['consumer'], async (run, { consumer }) => sorted(await run.reading(consumer).consumer.committed())],
  positions: [[], ['consumer'], (run, { consumer }) => sorted(run.reading(consumer).consumer.positions())],
  assignment: [[], ['consumer'], (run, { consumer }) => sorted(run.reading(consumer).consumer.assignment())],
  is_finished: [[], ['consumer'], (run, { consumer }) => run.reading(consumer).consumer.isFinished],
  seek: [['topic', 'partition', 'to'], ['consumer'], (run, { topic, partition, to, consumer }) =>
    run.reading(consumer).consumer.seek(topic, partition, to)],
  process: [['failing'], , process],
}

async function close(run, { producer, consumer, client }) {
  const what = client ? run.db : producer !== undefined ? run.producer(producer) : run.reading(consumer).consumer
  const { firstError, ...report } = await what.close()
  return { ...snakeKeys(report), first_error: firstError ? plainError(firstError) : null }
}

async function describeTopic(run, { topic }) {
  const { name, uuid, config, notes, partitions } = await run.db.admin.describeTopic(topic)
  return { name, uuid: uuid.replaceAll('-', ''), config, notes, partitions: partitions.map(snakeKeys) }
}

async function deleteRecords(run, { topic, before }) {
  const starts = await run.db.admin.deleteRecords(topic, new Map(before))
  return [...starts].sort(([a], [b]) => a - b)
}

async function describeGroup(run, { group }) {
  const found = await run.db.admin.describeGroup(group)
  return { ...found, members: found.members.length, offsets: sorted(found.offsets) }
}

function sendMany(run, { topic, producer, records, partition }) {
  const rows = records.map((record) => {
    const one = typeof record === 'object' && record !== null ? record : { value: record }
    return { ...recordOptions(one), value: toBytes(one.value) }
  })
  return run.producer(producer).sendMany(topic, rows, { partition })
}

async function consume(run, { consumer, count, sorted: isSorted }) {
  const records = []
  let message
  while (records.length !== count && (message = await run.reading(consumer).next()) !== undefined) {
    records.push(plainMessage(message))
  }
  return isSorted ? sorted(records) : records
}

async function process(run, { failing, consumer, ...options }) {
  const left = { ...failing }
  const given = []
  const handle = async (message) => {
    const value = message.value.toString()
    given.push(value)
    if (left[value] !== 'always' && !(left[value] > 0)) return
    if (left[value] !== 'always') left[value] -= 1
    throw new Refused(`${value} is refused`)
  }
  await run.reading(consumer).consumer.process(handle, camelKeys(options))
  return given
}
