import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { log, run } from './setting.mjs'

/** A log with `count` records in `orders`, their values their numbers, with one of `keys` keys. */
async function filled(t, count, keys, topic = { partitions: 2 }) {
  const db = await log(t, { topic })
  const p = db.producer()
  const records = Array.from({ length: count }, (_, index) => ({
    value: `${index}`,
    key: keys ? `k${index % keys}` : null,
  }))
  await p.sendMany('orders', records)
  await p.close()
  return db
}

const numberOf = ({ value }) => Number(value.toString())

async function committedOf(db) {
  const { offsets } = await db.admin.describeGroup('g')
  return offsets.reduce((sum, { offset }) => sum + offset, 0)
}

const atOnce = { backoffMs: 1 }

test('records of a key are handled in order, others beside them, and all are committed', async (t) => {
  const db = await filled(t, 500, 10)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  const seen = new Map()
  const failed = new Set()
  let running = 0
  let most = 0
  const handle = async (message) => {
    most = Math.max(most, ++running)
    await sleep(1)
    running--
    const number = numberOf(message)
    if (number % 7 === 0 && !failed.has(number)) {
      failed.add(number)
      throw new Error('not yet')
    }
    const key = message.key.toString()
    seen.set(key, [...(seen.get(key) ?? []), number])
  }
  await c.process(handle, { ...atOnce, concurrency: 4 })
  assert.equal(most, 4)
  assert.equal(failed.size, 72)
  for (const numbers of seen.values()) {
    assert.equal(numbers.length, 50)
    assert.deepEqual(
      numbers,
      numbers.toSorted((a, b) => a - b),
    )
  }
  await c.close()
  assert.equal(await committedOf(db), 500)
})

test('without order records of one key run at once', async (t) => {
  const db = await filled(t, 3, 1)
  let release
  const all = new Promise((resolve) => (release = resolve))
  let running = 0
  await db.consumer('orders', { until: 'end' }).process(
    async () => {
      if (++running === 3) release()
      await all
    },
    { order: 'none' },
  )
  assert.equal(running, 3)
})

test('what fails at every attempt becomes a dead letter with its headers', async (t) => {
  const db = await log(t)
  await db.admin.createTopic('dead')
  const p = db.producer()
  await p.send('orders', 'bad', { key: 'k', headers: { trace: 'ab' } })
  await p.send('orders', 'good', { key: 'k' })
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  await c.process(
    ({ value }) => {
      if (value.toString() === 'bad') throw new TypeError('it is bad')
    },
    { ...atOnce, attempts: 2, deadLetter: 'dead' },
  )
  await c.close()
  assert.equal(await committedOf(db), 2)
  const letters = []
  for await (const letter of db.consumer('dead', { until: 'end' })) letters.push(letter)
  assert.equal(letters.length, 1)
  assert.equal(letters[0].key.toString(), 'k')
  assert.equal(letters[0].value.toString(), 'bad')
  assert.deepEqual(
    letters[0].headers.map(([name, value]) => [name, value.toString()]),
    [
      ['trace', 'ab'],
      ['headwater.dlq.topic', 'orders'],
      ['headwater.dlq.partition', '0'],
      ['headwater.dlq.offset', '0'],
      ['headwater.dlq.attempts', '2'],
      ['headwater.dlq.error', 'TypeError: it is bad'],
    ],
  )
})

test("without a dead letter topic the handler's own error comes out and nothing is skipped", async (t) => {
  const db = await filled(t, 10, 1)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  const error = new Error('five')
  const seen = []
  const handle = (message) => {
    seen.push(numberOf(message))
    if (numberOf(message) === 5) throw error
  }
  await assert.rejects(c.process(handle, { ...atOnce, attempts: 3 }), (found) => found === error)
  assert.deepEqual(seen, [0, 1, 2, 3, 4, 5, 5, 5])
  // Whoever reads it next begins with what failed.
  const left = []
  for await (const message of c) left.push(numberOf(message))
  assert.deepEqual(left, [5, 6, 7, 8, 9])
  await c.close()
  assert.equal(await committedOf(db), 10)
})

test('what is not done is not committed', async (t) => {
  const db = await filled(t, 10, 1)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  const handle = (message) => {
    if (numberOf(message) === 5) return Promise.reject('five')
  }
  await assert.rejects(c.process(handle, { attempts: 1 }), (found) => found === 'five')
  await c.close()
  assert.equal(await committedOf(db), 5)
})

test('a signal ends it; handlers that run have their end', async (t) => {
  const db = await filled(t, 1, 1)
  const controller = new AbortController()
  const c = db.consumer('orders', { group: 'g' })
  let isHandled = false
  const handle = async () => {
    controller.abort()
    await sleep(5)
    isHandled = true
  }
  await assert.rejects(c.process(handle, { signal: controller.signal }), { name: 'AbortError' })
  assert.ok(isHandled)
  await assert.rejects(c.process(handle, { signal: controller.signal }), { name: 'AbortError' })
  await c.close()
  assert.equal(await committedOf(db), 1)
})

test('closing the consumer ends it once the handlers have ended', async (t) => {
  const db = await filled(t, 1, 1)
  const c = db.consumer('orders')
  let isHandled = false
  await c.process(async () => {
    await c.close()
    await sleep(5)
    isHandled = true
  })
  assert.ok(isHandled)
})

test('nobody else reads meanwhile', async (t) => {
  const db = await filled(t, 1, 1)
  const c = db.consumer('orders', { until: 'end' })
  let refused = 0
  const expected = { code: 'INVALID_STATE' }
  await c.process(async () => {
    await assert.rejects(c[Symbol.asyncIterator]().next(), expected)
    await assert.rejects(
      c.process(() => {}),
      expected,
    )
    refused++
  })
  assert.equal(refused, 1)
})

test('the record in hand of a loop that was left is processed', async (t) => {
  const db = await filled(t, 5, 1)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  for await (const message of c) if (numberOf(message) === 2) break
  const seen = []
  await c.process((message) => void seen.push(numberOf(message)))
  assert.deepEqual(seen, [2, 3, 4])
})

test('a read that was aborted does not keep it from reading', async (t) => {
  const db = await log(t)
  const c = db.consumer('orders')
  const waiting = new AbortController()
  const next = c.batches({ signal: waiting.signal }).next()
  setImmediate(() => waiting.abort())
  await assert.rejects(next, { name: 'AbortError' })
  await db.producer().send('orders', 'late')
  const seen = []
  await c.process(async ({ value }) => {
    seen.push(value.toString())
    await c.close()
  })
  assert.deepEqual(seen, ['late'])
})

test('a handler may seek', async (t) => {
  const db = await filled(t, 3, 1)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  const seen = []
  await c.process(async (message) => {
    seen.push(numberOf(message))
    if (seen.length === 2) await c.seek('orders', message.partition, 0)
  })
  assert.deepEqual(seen, [0, 1, 0, 1, 2])
})

test('what is wrong is refused', async (t) => {
  const db = await filled(t, 1, 1)
  const c = db.consumer('orders', { until: 'end' })
  await assert.rejects(c.process(), { code: 'INVALID_ARGUMENT', message: /handler/ })
  await assert.rejects(
    c.process(() => {}, { concurrency: 0 }),
    { code: 'INVALID_OPTION', message: /concurrency/ },
  )
  await assert.rejects(
    c.process(() => {}, { deadLetter: 'orders' }),
    { code: 'INVALID_OPTION', message: /dead_letter/ },
  )
  await c.process(() => {})
})

test('the process stays alive while it waits for records, and ends when it is closed', async () => {
  const { said, code } = await run(`
    const db = await connect('mem:')
    await db.admin.createTopic('orders')
    const c = db.consumer('orders')
    setTimeout(() => db.producer().send('orders', 'late'), 20).unref()
    await c.process(async ({ value }) => {
      say(value.toString())
      await c.close()
    })
    say('ended')
  `)
  assert.deepEqual(said, ['late', 'ended'])
  assert.equal(code, 0)
})

test('a batch is many records a call that end together', async (t) => {
  const db = await filled(t, 100)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  const sizes = []
  const numbers = []
  const handle = async (batch) => {
    sizes.push(batch.length)
    await sleep(1)
    for (const message of batch) numbers.push(numberOf(message))
  }
  await c.process(handle, { batch: true, concurrency: 40, order: 'none' })
  await c.close()
  assert.ok(Math.max(...sizes) > 1 && sizes.every((size) => size <= 40), `${sizes}`)
  assert.deepEqual(
    numbers.sort((one, other) => one - other),
    Array.from({ length: 100 }, (_, index) => index),
  )
  assert.equal(await committedOf(db), 100)
})

test('a batch that fails is tried again, and its error comes out', async (t) => {
  const db = await filled(t, 10)
  const c = db.consumer('orders', { group: 'g', until: 'end' })
  let calls = 0
  const handle = () => {
    calls++
    throw new Error('bad')
  }
  await assert.rejects(c.process(handle, { batch: true, attempts: 2, ...atOnce }), { message: 'bad' })
  assert.ok(calls >= 2)
  await c.close()
  assert.equal(await committedOf(db), 0)
  await assert.rejects(db.consumer('orders').process(handle, { batch: 'yes' }), { code: 'INVALID_OPTION' })
})
