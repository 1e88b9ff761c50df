import assert from 'node:assert/strict'
import { test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Broker, HeadwaterError, connect } from 'headwater'
import { log } from './setting.mjs'

async function until(isSo) {
  while (!isSo()) await sleep(5)
}

test('a client is well until it is closed', async (t) => {
  const db = await log(t, { topic: { partitions: 2 } })
  const { sinceMs, ...health } = db.health()
  assert.ok(sinceMs >= 0)
  assert.deepEqual(health, {
    isHealthy: true,
    reason: null,
    isClosed: false,
    address: 'mem:',
    isConnected: true,
    lastError: null,
    members: [],
    bufferedBytes: 0,
    bufferedRecords: 0,
    oldestUnsentMs: null,
  })
  const c = await db.consumer('orders', { group: 'billing' }).open()
  const [{ memberId, generation, lastHeartbeatMs, ...member }] = db.health().members
  assert.ok(memberId.length > 0 && generation > 0 && lastHeartbeatMs >= 0)
  assert.deepEqual(member, { group: 'billing', state: 'stable', partitions: 2, reason: null })
  await c.close()
  assert.deepEqual(db.health().members, [])
  await db.close()
  const after = db.health()
  assert.deepEqual([after.isHealthy, after.isClosed, after.isConnected], [false, true, false])
  assert.equal(after.reason, 'the client of mem: is closed')
})

test('without its broker it says why, and what waits', async () => {
  const broker = await Broker.start()
  const db = await connect(broker.address)
  await db.admin.createTopic('orders')
  assert.equal(db.health().address, broker.address)
  await broker.close()
  await until(() => !db.health().isConnected)
  db.producer().enqueue('orders', 'x')
  await until(() => db.health().bufferedRecords === 1)
  const health = db.health()
  assert.deepEqual([health.isHealthy, health.isClosed], [false, false])
  assert.ok(health.lastError instanceof HeadwaterError)
  assert.match(health.reason, /^no connection to 127\.0\.0\.1/)
  assert.ok(health.bufferedBytes > 0 && health.oldestUnsentMs >= 0)
  const { unsentRecords } = await db.close(0)
  assert.equal(unsentRecords, 1)
})

test('a consumer that is stuck makes it unwell until somebody reads again', async (t) => {
  const db = await log(t)
  await db.producer().send('orders', 'x')
  const c = db.consumer('orders', { group: 'billing', heartbeatMs: 100, sessionTimeoutMs: 1_000, processingTimeoutMs: 1_000 })
  for await (const _ of c) break
  await until(() => !db.health().isHealthy)
  const health = db.health()
  assert.equal(health.members[0].state, 'lost')
  assert.match(health.reason, /^the member of group `billing`: .*processing_timeout_ms is 1000/)
  const readOn = async () => {
    for await (const _ of c);
  }
  await assert.rejects(readOn(), { code: 'PROCESSING_TIMED_OUT' })
  for await (const { offset } of c) {
    assert.equal(offset, 0, 'it was not processed')
    break
  }
  await until(() => db.health().isHealthy)
})
