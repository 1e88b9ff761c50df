import assert from 'node:assert/strict'
import { test } from 'node:test'
import { Batch, Block } from '../lib/block.cjs'
import { RowBuffer, completionAt, headersOf } from '../lib/rows.cjs'
import { bytes, hex, json, pairs } from './golden.mjs'

const kinds = { unsupported: 'Unsupported', corrupt: 'Corrupt' }

for (const [name, block, { records }] of pairs('block')) {
  test(`block ${name} is read as its meaning says`, () => {
    assert.deepEqual(read(block), records.map(meant))
  })

  test(`block ${name} is read in memory that is not aligned`, () => {
    const shifted = Buffer.alloc(block.length + 3)
    block.copy(shifted, 3)
    assert.deepEqual(read(shifted.subarray(3)), records.map(meant))
  })
}

for (const [name, block, { kind }] of pairs('block_refused')) {
  test(`damaged block ${name} is refused as ${kind}`, () => {
    assert.throws(() => new Block(block), { name: 'HeadwaterError', kind: kinds[kind] })
  })
}

test('a block cut at any byte is refused', () => {
  const block = bytes('block/headers.bin')
  for (let end = 0; end < block.length; end++) {
    assert.throws(() => new Block(block.subarray(0, end)), { name: 'HeadwaterError' })
  }
})

test('a block with any byte changed is read or refused, and nothing else', () => {
  for (const [, block] of pairs('block')) {
    if (block.length > 4_096) continue
    for (let at = 0; at < block.length; at++) {
      const changed = Buffer.from(block)
      changed[at] ^= 0xff
      try {
        read(changed)
      } catch (error) {
        assert.equal(error.name, 'HeadwaterError', `byte ${at}: ${error.stack}`)
      }
    }
  }
})

test('a batch gives what iterating gives', () => {
  for (const [name, block, { records }] of pairs('block')) {
    const batch = new Batch(new Block(block))
    assert.equal(batch.length, records.length, name)
    assert.deepEqual(
      batch.values().map(hex),
      records.map(({ value }) => value),
    )
    assert.deepEqual(
      batch.keys().map(hex),
      records.map(({ key }) => key),
    )
    assert.deepEqual(
      records.map((_, index) => batch.at(index).offset),
      records.map(({ offset }) => offset),
    )
    assert.equal(batch.at(records.length), undefined)
    assert.equal(
      batch.partitions.reduce((rows, { length }) => rows + length, 0),
      records.length,
    )
  }
})

test('a batch that begins in the middle leaves out what was read before', () => {
  const { records } = json('block/runs.json')
  const block = new Block(bytes('block/runs.bin'))
  for (let start = 0; start <= records.length; start++) {
    const offsets = [...new Batch(block, start)].map(({ offset }) => offset)
    assert.deepEqual(
      offsets,
      records.slice(start).map(({ offset }) => offset),
    )
  }
})

test('key and value are views of the block, a copy is not', () => {
  const bytes = Buffer.from(pairs('block').find(([name]) => name === 'simple')[1])
  const [message] = new Batch(new Block(bytes))
  const copy = message.copy()
  assert.deepEqual(plain(copy), plain(message))
  assert.equal(copy.copy(), copy)
  const before = hex(message.value)
  bytes.fill(0xee, bytes.readUInt32LE(56))
  assert.notEqual(hex(message.value), before)
  assert.equal(hex(copy.value), before)
})

test('an offset that a number cannot hold is refused, not rounded', () => {
  const block = Buffer.from(bytes('block/simple.bin'))
  const run = block.readUInt32LE(20)
  block.writeBigInt64LE(2n ** 53n, run)
  assert.throws(() => new Block(block), { kind: 'Unsupported', message: /2\^53/ })
})

test('send rows are packed to the golden bytes', () => {
  const { rows } = json('rows/send.json')
  const buffer = new RowBuffer(4_096)
  for (const row of rows) {
    const headers = headersOf(row.headers.map(([name, value]) => [name, fromHex(value)]))
    const added = buffer.add(
      row.topic_id,
      row.partition,
      fromHex(row.key),
      fromHex(row.value),
      headers,
      row.timestamp_ms,
      row.ticket,
    )
    assert.ok(added)
  }
  assert.equal(hex(buffer.bytes.subarray(0, buffer.length)), hex(bytes('rows/send.bin')))
  assert.deepEqual(
    [...buffer.tickets()],
    rows.map(({ ticket }) => ticket),
  )
})

test('text is packed as its UTF-8', () => {
  const texts = ['', 'ascii', '\u00fcn\u00ef', '\u{1f600}', '\ud800']
  for (const text of texts) {
    const [asText, asBytes] = [new RowBuffer(256), new RowBuffer(256)]
    asText.add(1, -1, text, text, null, -1, 0)
    asBytes.add(1, -1, Buffer.from(text), Buffer.from(text), null, -1, 0)
    assert.equal(hex(asText.bytes.subarray(0, asText.length)), hex(asBytes.bytes.subarray(0, asBytes.length)))
  }
})

test('a row without room leaves the buffer as it was', () => {
  const buffer = new RowBuffer(128)
  assert.ok(buffer.add(1, -1, null, Buffer.alloc(20, 7), null, -1, 1))
  const before = hex(buffer.bytes.subarray(0, buffer.length))
  assert.equal(buffer.add(1, -1, null, Buffer.alloc(60), null, -1, 2), false)
  assert.equal(hex(buffer.bytes.subarray(0, buffer.length)), before)
})

test('completion rows are read as their meaning says', () => {
  const { rows } = json('rows/completion.json')
  const packed = bytes('rows/completion.bin')
  const found = rows.map((_, index) => completionAt(packed, index * 40))
  const expected = rows.map((row) => ({
    firstTicket: row.first_ticket,
    count: row.count,
    partition: row.partition,
    baseOffset: row.base_offset,
    timestamp: row.timestamp_ms,
    durability: row.durability,
    outcome: row.outcome,
    error: row.error,
    errorId: row.error_id,
  }))
  assert.deepEqual(found, expected)
})

const fromHex = (text) => (text === null ? null : Buffer.from(text, 'hex'))

const read = (block) => [...new Batch(new Block(block))].map(plain)

function plain({ topic, partition, offset, timestamp, key, value, headers }) {
  const pairs = headers.map(([name, part]) => [name, hex(part)])
  return { topic, partition, offset, timestamp, key: hex(key), value: hex(value), headers: pairs }
}

function meant({ topic, partition, offset, timestamp_ms: timestamp, key, value, headers }) {
  return { topic, partition, offset, timestamp, key, value, headers }
}
