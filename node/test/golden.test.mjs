import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync } from 'node:fs'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { connect } from 'headwater'
import { hex, json, path as golden } from './golden.mjs'
import { folder, log } from './setting.mjs'

const program = fileURLToPath(new URL('../bin/headwater.cjs', import.meta.url))

test('a folder that was written here is what the format says', async (t) => {
  const path = folder(t)
  const db = await log(t, { address: path, topic: { partitions: 3 } })
  const headers = { trace: Buffer.from([0, 255]), empty: '', none: null }
  const values = ['', null, 'x'.repeat(100_000), ...Array(2_000).fill('small')]
  const records = values.map((value, index) => ({ value, key: index % 2 ? `key-${index}` : null, headers }))
  await db.producer({ durability: 'disk' }).sendMany('orders', records)
  for await (const { offset } of db.consumer('orders', { group: 'billing', until: 'end' })) assert.ok(offset >= 0)
  await db.close()
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, 'dump', path, '--verify'], {
    encoding: 'utf8',
  })
  assert.equal(status, 0, stdout + stderr)
})

test('the golden folder holds what its manifest says', async (t) => {
  const path = folder(t)
  // Opening a folder writes to it.
  cpSync(golden('folder'), path, { recursive: true })
  const db = await connect(path, { create: false })
  t.after(() => db.close())
  const { topics, groups } = json('folder.json')
  assert.deepEqual(await topicsOf(db), topics)
  assert.deepEqual(
    (await db.admin.listGroups()).map(({ group, offsets }) => ({ group, offsets })),
    groups,
  )
})

/** What a log holds, as the golden folder's manifest describes it. */
async function topicsOf(db) {
  const found = []
  for (const { name: topic, config, partitions } of await db.admin.listTopics()) {
    const described = []
    for (const { partition, logStartOffset, highWatermark } of partitions) {
      described.push({
        partition,
        log_start_offset: logStartOffset,
        end_offset: highWatermark,
        records: await recordsOf(db, topic, partition),
      })
    }
    found.push({ topic, durability: config.durability, partitions: described })
  }
  return found
}

async function recordsOf(db, topic, partition) {
  const found = []
  for await (const message of db.consumer(topic, { partitions: [partition], until: 'end' })) {
    assert.deepEqual([message.topic, message.partition], [topic, partition])
    const { offset, timestamp, key, value, headers } = message
    found.push({
      offset,
      // The time of an append is another one for every folder made.
      timestamp_ms: topic === 'appended' ? null : timestamp,
      key: hex(key),
      value: hex(value),
      headers: headers.map(([name, part]) => [name, hex(part)]),
    })
  }
  return found
}
