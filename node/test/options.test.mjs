import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { connect } from 'headwater'
import { json } from './golden.mjs'
import { log } from './setting.mjs'

const native = createRequire(import.meta.url)('../lib/native.cjs')
const types = readFileSync(new URL('../index.options.d.ts', import.meta.url), 'utf8')

const interfaces = {
  connect: 'ConnectOptions',
  producer: 'ProducerOptions',
  consumer: 'ConsumerOptions',
  process: 'ProcessOptions',
  topic: 'TopicOptions',
  serve: 'ServeOptions',
}

const camel = (name) => name.replace(/_(\w)/g, (_, letter) => letter.toUpperCase())

test('the table of options is the golden one', () => {
  const rows = json('options.json').map((row) => ({ ...row, range: inWords(row.range) }))
  assert.deepEqual(native.optionTable(), rows)
})

function inWords({ words, text, or, min, max }) {
  if (words) return words.map((word) => `\`${word}\``).join(', ')
  if (text) return text
  if (or !== undefined) return `${or} (no limit), or ${min} or more`
  return max > Number.MAX_SAFE_INTEGER ? `${min} or more` : `${min} to ${max}`
}

for (const [group, name] of Object.entries(interfaces)) {
  test(`the type ${name} has the options of core, with their words and defaults`, () => {
    const body = types.match(new RegExp(`export interface ${name}[^{]*{\n(.*?)\n}`, 's'))[1]
    const found = [...body.matchAll(/\/\*\* (.*?) \*\/\s+(\w+)\?: (.*)/g)].map(([, doc, option, type]) => [
      doc,
      option,
      type,
    ])
    const rows = native.optionTable().filter((row) => row.group === group)
    assert.deepEqual(
      found.map(([doc, option]) => [doc, option]),
      rows.map((row) => [`${row.doc} Default: ${row.default}.`, camel(row.name)]),
    )
    found.forEach(([, option, type], index) => assert.match(type, typeOf(rows[index]), option))
  })
}

function typeOf({ kind, name, range }) {
  const special = { start: /^Start$/, until: /^Until$/, durability: /^Durability$/ }
  if (kind === 'word' && !special[name]) return new RegExp(`^${range.replaceAll('`', "'").replaceAll(', ', ' \\| ')}$`)
  const plain = {
    integer: /^number$/,
    boolean: /^boolean$/,
    text: /^string$/,
    texts: /^string\[\]$/,
    integers: /^number\[\]$/,
  }
  return special[name] ?? plain[kind]
}

test('an unknown option names the nearest', async (t) => {
  const db = await log(t)
  const unknown = (nearest) => ({ name: 'HeadwaterError', code: 'UNKNOWN_OPTION', message: new RegExp(nearest) })
  assert.throws(() => db.producer({ lingr: 3 }), unknown('linger_ms'))
  assert.throws(() => db.consumer('orders', { grup: 'x' }), unknown('group'))
  await assert.rejects(db.admin.createTopic('x', { partition: 1 }), unknown('partitions'))
  await assert.rejects(connect('mem:', { segmentByte: 1 }), unknown('segment_bytes'))
})

test('a value out of range, or of another kind, is refused with option, value and range', async (t) => {
  const db = await log(t)
  const refused = [
    ['lingerMs', 60_001],
    ['lingerMs', -1],
    ['lingerMs', 1.5],
    ['lingerMs', NaN],
    ['lingerMs', 'soon'],
    ['lingerMs', true],
    ['lingerMs', {}],
    ['idempotence', 1],
    ['durability', 'paper'],
    ['durability', 3],
    ['durability', () => 'os'],
    ['compression', Symbol('none')],
  ]
  for (const [name, value] of refused) {
    assert.throws(
      () => db.producer({ [name]: value }),
      { name: 'HeadwaterError', kind: 'InvalidArgument', code: 'INVALID_OPTION' },
      name,
    )
  }
  assert.throws(() => db.producer({ lingerMs: 60_001 }), { message: /linger_ms.*60001.*0 to 60000/ })
  assert.throws(() => db.consumer('orders', { start: 'middle' }), { code: 'INVALID_OPTION' })
  assert.throws(() => db.consumer('orders', { start: -5 }), { code: 'INVALID_OPTION' })
  assert.throws(() => db.consumer('orders', { partitions: ['x'] }), { code: 'INVALID_OPTION' })
  assert.throws(() => db.producer('x'), { code: 'INVALID_ARGUMENT' })
})

test('options that are not given, undefined or null are the default', async (t) => {
  const db = await log(t)
  db.producer()
  db.producer(null)
  db.producer({ lingerMs: undefined, durability: null })
})

test('what contradicts itself is refused', async (t) => {
  const db = await log(t)
  assert.throws(() => db.producer({ bufferBytes: 262_144, batchBytes: 1_048_576 }), {
    kind: 'InvalidArgument',
    message: /buffer_bytes|batch_bytes/,
  })
})

test('what is known but not built yet is refused as that', async (t) => {
  const db = await log(t)
  await assert.rejects(db.admin.createTopic('x', { durability: 'quorum' }), { kind: 'Unsupported' })
})
