// Quickstart: send ten records and read them back, on a folder or through a broker.
//
//     node quickstart.mjs                    the log lives in this process, in a temporary folder
//     node quickstart.mjs 127.0.0.1:9092     the same calls, to a broker

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { connect } from '../../node/index.mjs'

const TOPIC = 'quickstart-node'

async function quickstart(address) {
  const db = await connect(address)
  try {
    await db.admin.createTopic(TOPIC, { partitions: 2, existOk: true })

    const producer = db.producer()
    let last
    for (let number = 0; number < 10; number++) {
      last = producer.send(TOPIC, `hello ${number}`, { key: `key-${number % 3}` })
    }
    const { partition, durability } = await last
    console.log(`the last record is in partition ${partition} and safe at \`${durability}\``)
    await producer.close()

    let count = 0
    for await (const msg of db.consumer(TOPIC, { group: 'quickstart', until: 'end' })) {
      console.log(msg.partition, msg.offset, `${Buffer.from(msg.key)}`, `${Buffer.from(msg.value)}`)
      count++
    }
    console.log(`${count} records read`)
  } finally {
    await db.close()
  }
}

if (process.argv[2]) {
  await quickstart(process.argv[2])
} else {
  const folder = await mkdtemp(join(tmpdir(), 'headwater-quickstart-'))
  try {
    await quickstart(folder)
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
}
