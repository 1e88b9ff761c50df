// A process of `.ci/chaos` in Node: produce or consume, as worker.py does.
import { appendFileSync, existsSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { connect, HeadwaterError } from '../../../node/index.mjs'

const TOPIC = 'chaos'
const WINDOW = 200
const PAUSE_MS = 5

const [role, address, name, path, stop] = process.argv.slice(2)
const say = (line) => appendFileSync(path, `${line}\n`)
const isOver = () => existsSync(stop)
let db

/** Another client; undefined once it is over. */
async function open() {
  await db?.close()
  db = undefined
  while (!isOver()) {
    try {
      return (db = await connect(address))
    } catch (error) {
      if (!(error instanceof HeadwaterError) || !error.retriable) throw error
      await sleep(50)
    }
  }
  return undefined
}

async function produce() {
  const make = async () => (await open())?.producer({ requestTimeoutMs: 5_000 })
  let producer = await make()
  const pending = []
  let number = 0
  while (!isOver() && producer !== undefined) {
    const record = `${name}-${number++}`
    // Said when it is known, in any order: the numbers are the order.
    const delivery = producer.send(TOPIC, record, { key: String(number % 50) }).then(
      ({ partition, offset }) => void say(`ok ${record} ${partition} ${offset}`),
      (error) => {
        say(`failed ${record} ${error.outcome} ${error.code}`)
        return error.fatal
      },
    )
    pending.push(delivery)
    if (pending.length > WINDOW && (await Promise.all(pending.splice(0, WINDOW / 2))).includes(true)) {
      await Promise.all(pending.splice(0))
      producer = await make()
    }
    await sleep(PAUSE_MS)
  }
  await Promise.all(pending)
}

async function consume() {
  while ((await open()) !== undefined) {
    const options = { group: name, heartbeatMs: 300, sessionTimeoutMs: 6_000, commitIntervalMs: 100 }
    const consumer = db.consumer(TOPIC, options)
    const timer = setInterval(() => isOver() && consumer.close(), 100)
    try {
      for await (const batch of consumer.batches()) {
        const at = Date.now()
        // On record before the next is asked for, and so before it counts as processed.
        say(Array.from(batch, (m) => `did ${m.partition} ${m.offset} ${m.value} ${at}`).join('\n'))
      }
    } catch (error) {
      say(`error ${error.code} ${Date.now()}`)
    }
    clearInterval(timer)
  }
}

await { produce, consume }[role]()
await db?.close()
