// Reads a topic to its end in a group of its own, checks it, and prints what it found as one JSON line.
//
//     node read.mjs ADDRESS TOPIC GROUP

import { connect } from '../../node/index.mjs'

const [address, topic, group] = process.argv.slice(2)
const db = await connect(address)
const carriers = new Map()
const last = new Map()
const found = { records: 0, keyed: 0, outOfOrder: 0, busiest: ['none', 0], seconds: 0 }
const begun = performance.now()
try {
  for await (const msg of db.consumer(topic, { group, until: 'end' })) {
    const fields = Buffer.from(msg.value).toString('utf8').split(',')
    const row = Number(fields[0])
    found.records += 1
    carriers.set(fields[10], (carriers.get(fields[10]) ?? 0) + 1)
    if (msg.key !== null) {
      const key = Buffer.from(msg.key).toString('utf8')
      found.keyed += 1
      if ((last.get(key) ?? -1) >= row) found.outOfOrder += 1
      last.set(key, row)
    }
  }
} finally {
  await db.close()
}
found.seconds = (performance.now() - begun) / 1000
for (const [carrier, count] of carriers) {
  if (count > found.busiest[1]) found.busiest = [carrier, count]
}
console.log(JSON.stringify(found))
