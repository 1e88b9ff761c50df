// The same package by `require`: its types must resolve there too.
import headwater = require('headwater')

async function main(): Promise<number> {
  const db: headwater.Client = await headwater.connect('mem:')
  const { unsentRecords } = await db.close()
  return unsentRecords
}

void main()
