import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { folder, log, slowLog, valuesOf } from './setting.mjs'

test('send answers where the record went and how safe it is', async (t) => {
  const db = await log(t)
  const p = db.producer({ durability: 'os' })
  const before = Date.now()
  const { timestamp, ...first } = await p.send('orders', 'hello', { key: 'k1' })
  assert.deepEqual(first, { topic: 'orders', partition: 0, offset: 0, durability: 'os' })
  assert.ok(timestamp >= before && timestamp <= Date.now())
  assert.equal((await p.send('orders', Buffer.from('again'))).offset, 1)
})

test('everything of a record arrives as it was sent', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const headers = [
    ['trace', Buffer.from('ab')],
    ['trace', null],
    ['', ''],
  ]
  await p.send('orders', '\u00fcn\u00ef', { key: new Uint8Array([0, 255]), headers, timestamp: 1_700_000_000_000 })
  await p.send('orders', null, { key: 'gone', headers: { one: 'x', many: ['a', 'b'] } })
  await p.send('orders', '', { headers: new Map([['m', 'v']]), timestamp: new Date(5) })
  await p.send('orders', new Uint16Array([0x6261]), { key: null })
  const [all, tombstone, empty, view] = await records(db)
  assert.equal(all.value.toString(), '\u00fcn\u00ef')
  assert.deepEqual([...all.key], [0, 255])
  assert.equal(all.timestamp, 1_700_000_000_000)
  assert.deepEqual(plain(all.headers), [
    ['trace', 'ab'],
    ['trace', null],
    ['', ''],
  ])
  assert.equal(tombstone.value, null)
  assert.deepEqual(plain(tombstone.headers), [
    ['one', 'x'],
    ['many', 'a'],
    ['many', 'b'],
  ])
  assert.equal(empty.value.length, 0)
  assert.equal(empty.timestamp, 5)
  assert.deepEqual(plain(empty.headers), [['m', 'v']])
  assert.equal(view.value.toString(), 'ab')
  assert.equal(view.key, null)
  assert.deepEqual(view.headers, [])
})

test('compressed records come back as they were sent', async (t) => {
  const values = Array.from({ length: 2_000 }, (_, number) => `${number}: a value like many others`)
  for (const compression of ['none', 'gzip', 'snappy', 'lz4', 'zstd']) {
    const address = folder(t)
    const db = await log(t, { address })
    const p = db.producer({ compression, lingerMs: 1_000 })
    for (const value of values) p.enqueue('orders', value)
    await p.flush()
    assert.deepEqual(await valuesOf(db), values)
    const segment = readFileSync(join(address, '0000', '00000000000000000001.log'))
    assert.equal(segment.includes(values[1_500]), compression === 'none')
  }
})

test('key and value may be overwritten when send has returned', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const value = Buffer.from('before')
  const sent = [p.send('orders', value), p.enqueue('orders', value)]
  value.fill('x')
  await Promise.all(sent)
  await p.flush()
  assert.deepEqual(await valuesOf(db), ['before', 'before'])
})

test('records keep their order, whichever call sent them', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const expected = []
  for (let index = 0; index < 1_000; index++) {
    const value = `${index}-${'x'.repeat(index % 7 === 0 ? 3_000 : 10)}`
    expected.push(value)
    if (index % 3 === 0) void p.send('orders', value)
    else p.enqueue('orders', value)
    if (index % 100 === 0) {
      expected.push(`many-${index}`, 'big')
      void p.sendMany('orders', [`many-${index}`, { value: 'big', key: 'k' }])
    }
  }
  await p.flush()
  assert.deepEqual(await valuesOf(db), expected)
})

test('a record larger than the buffer it is packed in goes its own way, in order', async (t) => {
  const db = await log(t)
  const p = db.producer()
  p.enqueue('orders', 'a')
  p.enqueue('orders', 'x'.repeat(300_000))
  p.enqueue('orders', 'b')
  assert.equal((await p.send('orders', '\u00fc'.repeat(70_000))).offset, 3)
  assert.deepEqual(
    (await valuesOf(db)).map(({ length }) => length),
    [1, 300_000, 1, 70_000],
  )
})

test('sendMany answers for every record, in the order given', async (t) => {
  const db = await log(t, { topic: { partitions: 4 } })
  const p = db.producer()
  const records = Array.from({ length: 5_000 }, (_, index) => ({ value: `${index}`, partition: index % 4 }))
  const sent = await p.sendMany('orders', records, { headers: { all: 'x' } })
  assert.deepEqual(
    sent.map(({ partition, offset }) => [partition, offset]),
    records.map((_, i) => [i % 4, i >> 2]),
  )
  assert.deepEqual(await p.sendMany('orders', []), [])
  const [message] = await records1(db)
  assert.deepEqual(plain(message.headers), [['all', 'x']])
})

test('a key always goes to the same partition', async (t) => {
  const db = await log(t, { topic: { partitions: 8 } })
  const p = db.producer()
  const seen = new Map()
  for (let index = 0; index < 200; index++) {
    const key = `key-${index % 20}`
    const { partition } = await p.send('orders', 'x', { key })
    assert.equal(seen.get(key) ?? partition, partition)
    seen.set(key, partition)
  }
  assert.ok(new Set(seen.values()).size > 1)
})

test('many sends at once are answered by one wake-up for many', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const sent = await Promise.all(Array.from({ length: 10_000 }, (_, index) => p.send('orders', `${index}`)))
  assert.deepEqual(
    sent.map(({ offset }) => offset),
    sent.map((_, index) => index),
  )
})

test('without room enqueue refuses, send waits its turn, and nothing is lost or out of order', async (t) => {
  const db = await slowLog(t)
  const p = db.producer({ bufferBytes: 262_144 })
  const expected = []
  let refused = 0
  const value = (index) => `${index}`.padStart(1_000, '.')
  for (let index = 0; index < 2_000; index++) {
    try {
      p.enqueue('orders', value(index))
      expected.push(value(index))
    } catch (error) {
      assert.equal(error.code, 'BUFFER_FULL')
      assert.equal(error.retriable, true)
      refused++
    }
  }
  assert.ok(refused > 0, 'a loop of 2 MB must go past 256 KiB')
  const sent = []
  for (let index = 0; index < 500; index++) {
    sent.push(p.send('orders', value(index)))
    expected.push(value(index))
  }
  await Promise.all(sent)
  await p.ready()
  p.enqueue('orders', 'room')
  expected.push('room')
  await p.flush()
  assert.deepEqual(await valuesOf(db), expected)
})

test('beyond 1,024 waiters send is full, and those before it are sent', async (t) => {
  const db = await slowLog(t)
  const p = db.producer({ bufferBytes: 262_144 })
  const value = Buffer.alloc(10_000)
  const sent = Array.from({ length: 1_100 }, () => p.send('orders', value))
  const ends = await Promise.allSettled(sent)
  const refused = ends.filter(({ reason }) => reason?.code === 'BUFFER_FULL')
  assert.ok(refused.length > 0 && refused.length < 1_100)
  assert.equal((await valuesOf(db)).length, 1_100 - refused.length)
})

test('a send that waits for room can be taken back', async (t) => {
  const db = await slowLog(t)
  const p = db.producer({ bufferBytes: 262_144 })
  const sent = Array.from({ length: 100 }, () => p.send('orders', Buffer.alloc(10_000)))
  const controller = new AbortController()
  const last = p.send('orders', 'taken back', { signal: controller.signal })
  controller.abort()
  await assert.rejects(last, { name: 'AbortError', code: 'ABORT_ERR' })
  await Promise.all(sent)
  await p.flush()
  assert.equal((await valuesOf(db)).includes('taken back'), false)
})

test('an unknown topic fails the send, not its neighbours', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const [good, bad, also] = await Promise.allSettled([
    p.send('orders', 'a'),
    p.send('nowhere', 'b'),
    p.send('orders', 'c'),
  ])
  assert.equal(good.value.offset, 0)
  assert.equal(bad.reason.code, 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.equal(bad.reason.kind, 'NotFound')
  assert.match(bad.reason.message, /nowhere/)
  assert.equal(also.value.offset, 1)
})

test('a failed enqueue comes out of flush, of the event, and of neither twice', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const failures = []
  p.on('failure', (failure) => failures.push(failure))
  p.enqueue('nowhere', 'a')
  p.enqueue('orders', 'b')
  await assert.rejects(p.flush(), { code: 'UNKNOWN_TOPIC_OR_PARTITION', message: /nowhere/ })
  await new Promise(setImmediate)
  assert.equal(failures.length, 1)
  assert.equal(failures[0].topic, 'nowhere')
  assert.equal(failures[0].records, 1)
  assert.equal(failures[0].error.code, 'UNKNOWN_TOPIC_OR_PARTITION')
  await p.flush()
  assert.deepEqual(await valuesOf(db), ['b'])
})

test('wrong arguments are refused in words, and change nothing', async (t) => {
  const db = await log(t)
  const p = db.producer()
  const wrong = [
    [['orders', 5], 'INVALID_ARGUMENT', /the value must be a string, a Uint8Array or null, not 5/],
    [['orders', undefined], 'INVALID_ARGUMENT', /not undefined/],
    [['orders', { a: 1 }], 'INVALID_ARGUMENT', /not Object/],
    [[7, 'x'], 'INVALID_ARGUMENT', /the topic must be a string/],
    [['', 'x'], 'INVALID_TOPIC_EXCEPTION', /1 to 249/],
    [['orders', 'x', { key: 7 }], 'INVALID_ARGUMENT', /the key/],
    [['orders', 'x', { kay: 'k' }], 'UNKNOWN_OPTION', /kay.*key/],
    [['orders', 'x', { partition: 1.5 }], 'INVALID_ARGUMENT', /partition/],
    [['orders', 'x', { partition: -2 }], 'INVALID_ARGUMENT', /partition/],
    [['orders', 'x', { timestamp: 'now' }], 'INVALID_ARGUMENT', /timestamp/],
    [['orders', 'x', { headers: 'a' }], 'INVALID_ARGUMENT', /headers/],
    [['orders', 'x', { headers: { a: 5 } }], 'INVALID_ARGUMENT', /header "a"/],
    [['orders', 'x', { headers: [['a']] }], 'INVALID_ARGUMENT', /pairs/],
  ]
  for (const [call, code, message] of wrong) {
    assert.throws(() => p.enqueue(...call), { name: 'HeadwaterError', code, message }, `enqueue ${message}`)
    await assert.rejects(p.send(...call), { name: 'HeadwaterError', code, message }, `send ${message}`)
  }
  await assert.rejects(p.sendMany('orders', 'text'), { code: 'INVALID_ARGUMENT' })
  await assert.rejects(p.sendMany('orders', ['a', 5]), { code: 'INVALID_ARGUMENT' })
  await p.flush()
  assert.deepEqual(await valuesOf(db), [])
})

test('a partition that the topic does not have is refused, its neighbours are not', async (t) => {
  const db = await log(t, { topic: { partitions: 2 } })
  const p = db.producer()
  const [bad, good] = await Promise.allSettled([
    p.send('orders', 'x', { partition: 2 }),
    p.send('orders', 'y', { partition: 1 }),
  ])
  assert.equal(bad.reason?.code, 'UNKNOWN_TOPIC_OR_PARTITION')
  assert.match(bad.reason.message, /orders/)
  assert.equal(good.value.partition, 1)
})

test('a record over the limit of its topic is refused with both sizes', async (t) => {
  const db = await log(t, { topic: { partitions: 1, maxMessageBytes: 2_048 } })
  const p = db.producer()
  await assert.rejects(p.send('orders', Buffer.alloc(4_000)), (error) => {
    assert.equal(error.code, 'MESSAGE_TOO_LARGE')
    assert.equal(error.kind, 'InvalidArgument')
    assert.equal(error.outcome, 'not_done')
    assert.match(error.message, /2048|2,048/)
    return true
  })
  assert.equal((await p.send('orders', 'small')).offset, 0)
})

test('log append time is the one that send answers', async (t) => {
  const db = await log(t, { topic: { partitions: 1, messageTimestampType: 'log_append_time' } })
  const before = Date.now()
  const { timestamp } = await db.producer().send('orders', 'x', { timestamp: 5 })
  assert.ok(timestamp >= before)
  assert.equal((await records(db))[0].timestamp, timestamp)
})

test('producers of one client do not disturb each other', async (t) => {
  const db = await log(t, { topic: { partitions: 2 } })
  const producers = [db.producer(), db.producer(), db.producer()]
  await Promise.all(producers.map((p, index) => p.sendMany('orders', Array(500).fill(`${index}`))))
  const values = await valuesOf(db)
  for (const index of ['0', '1', '2']) assert.equal(values.filter((value) => value === index).length, 500)
})

async function records(db) {
  const messages = []
  for await (const message of db.consumer('orders', { until: 'end' })) messages.push(message)
  return messages
}

async function records1(db) {
  for await (const message of db.consumer('orders')) return [message]
}

const plain = (headers) => headers.map(([name, value]) => [name, value && value.toString()])
