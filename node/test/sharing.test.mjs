// Many processes, one folder: the first serves the others, and another takes over when it ends.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { connect } from 'headwater'
import { folder, log, run, valuesOf } from './setting.mjs'

test('another process opens the folder of this one', async (t) => {
  const path = folder(t)
  const db = await log(t, { address: path })
  const { said, code } = await run(
    `
    const db = await connect(argv[0])
    const { offset } = await db.producer().send('orders', 'from outside')
    say({ offset })
    await db.close()
  `,
    { args: [path] },
  )
  assert.deepEqual([said, code], [[{ offset: 0 }], 0])
  assert.deepEqual(await valuesOf(db), ['from outside'])
})

test('when the owner is killed another process goes on with its log', async (t) => {
  const path = folder(t)
  let db
  let sent
  const { signal } = await run(
    `
    const db = await connect(argv[0])
    await db.admin.createTopic('orders', {})
    await db.producer().send('orders', 'first')
    say('open')
    setInterval(() => {}, 1_000)
  `,
    {
      args: [path],
      onSaid: async (_, child) => {
        db = await connect(path)
        const producer = db.producer()
        await producer.send('orders', 'second')
        child.kill('SIGKILL')
        sent = producer.send('orders', 'third')
      },
    },
  )
  assert.equal(signal, 'SIGKILL')
  t.after(() => db.close())
  assert.equal((await sent).offset, 2)
  assert.deepEqual(await valuesOf(db), ['first', 'second', 'third'])
})
