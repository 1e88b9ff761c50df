// Checked by types.test.mjs, never run: what users write must type, and what is wrong must not.
import {
  type Batch,
  Broker,
  type CloseReport,
  type DeliveryFailure,
  type GroupMember,
  type Health,
  HeadwaterError,
  type Message,
  type PartitionLag,
  type RecordMetadata,
  type TopicPartition,
  connect,
} from 'headwater'
import { after, before } from 'node:test'
import { type TestBroker, useBroker } from 'headwater/testing'

const { signal } = new AbortController()
await using db = await connect('./data', { signal, create: true, segmentBytes: 1 << 20 })
await connect(new URL('file:///data'))
await db.admin.createTopic('orders', { partitions: 4, durability: 'disk', existOk: true })

const p = db.producer({ durability: 'os', lingerMs: 2 })
p.enqueue('orders', 'fast', { key: 'k1', headers: { trace: Buffer.from('ab'), many: ['a', null] } })
const { partition, offset, durability }: RecordMetadata = await p.send('orders', new Uint8Array(3), { signal })
const sent: RecordMetadata[] = await p.sendMany('orders', ['a', { value: null, key: 'b' }])
p.on('failure', ({ error, records }: DeliveryFailure) => console.log(error.code, records))
await p.ready({ signal })
await p.flush()
const report: CloseReport = await p.close(1_000)

const c = db.consumer(['orders'], { group: 'billing', start: { time: new Date() }, until: 'end', ack: 'manual' })
for await (const message of c) {
  const value: Buffer | null = message.value
  const [name, header]: [string, Buffer | null] = message.headers[0]!
  c.ack(message)
  const kept: Message = message.copy()
  console.log(value, name, header, kept)
}
for await (const batch of c.batches({ signal })) {
  const last: Message | undefined = (batch satisfies Batch).at(-1)
  for (const message of batch) console.log(message.offset, last)
  c.ack(batch)
}
await c.process(async (message: Message) => console.log(message.offset), { concurrency: 4, deadLetter: 'dead', signal })
await c.process((batch: Batch) => console.log(batch.length), { batch: true })
await c.seek('orders', 0, 'latest')
await c.commit([{ topic: 'orders', partition: 0, offset: 7 }])
c.pause([{ topic: 'orders', partition: 0 }])
c.resume(c.assignment())
const paused: TopicPartition[] = c.paused()
const [lag]: PartitionLag[] = await c.lag({ signal })
const results: RecordMetadata[] = await c.commitWith([{ topic: 'bills', value: 'x', key: 'k', partition: 1 }], { signal })
const [member]: GroupMember[] = (await db.admin.describeGroup('billing')).members
const { isHealthy, reason, members }: Health = db.health()
console.log(paused, lag?.committed ?? 0, results, member?.partitions, isHealthy, reason?.length, members[0]?.state === 'lost')
console.log(partition, offset, durability, sent, report, c.positions())

await using broker = await Broker.start({ data: './served', listen: ['127.0.0.1:0'] })
await connect(broker.address)
const [server]: string[] = broker.brokers
const servers: string = broker.bootstrapServers

const own = useBroker({ topics: { orders: 4 }, each: true, env: 'KAFKA', maxConnections: 10 })
const shared: TestBroker = useBroker({ topics: ['orders'], hooks: { beforeAll: before, afterAll: after } })
console.log(server, servers, own.address, shared.brokers)
// @ts-expect-error topics have a number of partitions
useBroker({ topics: { orders: 'four' } })
// @ts-expect-error an option that does not exist
useBroker({ topic: ['orders'] })

try {
  await db.close()
} catch (error) {
  if (error instanceof HeadwaterError && error.kind === 'Full' && error.retriable) console.log(error.code)
}

// @ts-expect-error a level that does not exist
db.producer({ durability: 'memory' })
// @ts-expect-error a result has a topic
await c.commitWith([{ value: 'x' }])
// @ts-expect-error an option that does not exist
db.consumer('orders', { grup: 'x' })
// @ts-expect-error an order that does not exist
await c.process(() => {}, { order: 'topic' })
// @ts-expect-error a record is no batch
await c.process((batch: Batch) => batch.length, { concurrency: 2 })
// @ts-expect-error a value is bytes or text
p.enqueue('orders', 5)
// @ts-expect-error there is no such kind
if (new Error() instanceof HeadwaterError && 'x' === ({} as HeadwaterError).kind) process.exit()
// @ts-expect-error made by connect alone
new HeadwaterError()
