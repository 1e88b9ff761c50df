import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { HeadwaterError, connect } from 'headwater'
import { json } from './golden.mjs'
import { folder, log, run } from './setting.mjs'

const native = createRequire(import.meta.url)('../lib/native.cjs')

for (const { address, shown, error, says } of json('address.json')) {
  test(`address ${JSON.stringify(address)} is ${error ?? shown}`, async () => {
    if (!error) return assert.equal(native.parseAddress(address), shown)
    assert.throws(() => native.parseAddress(address), { name: 'HeadwaterError', code: error })
    return assert.rejects(connect(address), (refused) => refused.code === error && refused.message.includes(says))
  })
}

test('a bare word is no address, and the answer says what was meant', async () => {
  await assert.rejects(connect('localhost'), (error) => {
    assert.ok(error instanceof HeadwaterError)
    assert.equal(error.code, 'INVALID_ADDRESS')
    assert.equal(error.kind, 'InvalidArgument')
    assert.match(error.message, /neither a path nor host:port.*localhost:9092.*\.\/localhost/)
    return true
  })
  for (const address of ['', 'http://x', 'host:0', 'host:99999']) {
    await assert.rejects(connect(address), { code: 'INVALID_ADDRESS' }, address)
  }
  for (const address of [5, null, undefined, {}]) {
    await assert.rejects(connect(address), { code: 'INVALID_ARGUMENT' })
  }
})

test('a path that is a file is refused', async (t) => {
  const path = join(folder(t), 'file')
  writeFileSync(path, 'x')
  await assert.rejects(connect(path), { kind: 'InvalidArgument', code: 'NOT_A_FOLDER' })
})

test('a folder that is not there is made, unless that is not wanted', async (t) => {
  const path = join(folder(t), 'new')
  await assert.rejects(connect(path, { create: false }), { kind: 'NotFound', code: 'FOLDER_NOT_FOUND' })
  const db = await connect(path)
  assert.equal(db.address, path)
  await db.close()
})

test('a file URL is a path', async (t) => {
  const path = join(folder(t), 'with space %')
  const db = await connect(pathToFileURL(path))
  assert.equal(db.address, path)
  await db.close()
  await assert.rejects(connect(new URL('http://localhost:9092')), { code: 'INVALID_ADDRESS' })
})

test('options behind the address are taken, and checked', async (t) => {
  const path = folder(t)
  await assert.rejects(connect(`${path}?creat=true`), { code: 'UNKNOWN_OPTION', message: /create/ })
  await assert.rejects(connect(path, { segmentBytes: 5 }), { code: 'INVALID_OPTION', message: /segment_bytes.*5/ })
  await assert.rejects(connect(path, 'x'), { code: 'INVALID_ARGUMENT' })
  await (await connect(`${path}?segment_bytes=1048576`, { closeTimeoutMs: 1_000 })).close()
})

test('a folder of another process that is wanted alone is locked, and its pid is named', async (t) => {
  const path = folder(t)
  await log(t, { address: path })
  const { said } = await run(
    `
    await connect(argv[0], { sharing: 'exclusive' })
      .catch(({ kind, code, retriable, message }) => say({ kind, code, retriable, message }))
  `,
    { args: [path] },
  )
  assert.equal(said[0].kind, 'Locked')
  assert.equal(said[0].code, 'FOLDER_LOCKED')
  assert.equal(said[0].retriable, true)
  assert.match(said[0].message, new RegExp(`${process.pid}`))
})

test('a broker that is not there is unavailable', async () => {
  await assert.rejects(connect('127.0.0.1:1'), { kind: 'Unavailable', retriable: true, message: /127\.0\.0\.1:1/ })
})

test('what is known but not built yet is refused as that', async () => {
  await assert.rejects(connect('kafka://localhost'), { kind: 'Unsupported' })
  await assert.rejects(connect('headwaters://localhost'), { kind: 'Unsupported' })
})
