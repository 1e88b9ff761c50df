// The same package by `require`: its types must resolve there too.
import headwater = require('headwater')
import testing = require('headwater/testing')

async function main(): Promise<number> {
  const db: headwater.Client = await headwater.connect('mem:')
  const { unsentRecords } = await db.close()
  return unsentRecords
}

const broker: testing.TestBroker = testing.useBroker({ each: true })

void main().then(() => broker.address)
