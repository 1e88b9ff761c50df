import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
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
