// Driver of @platformatic/kafka. Its consumer is a member of a group in any case; it reads through a stream that begins
// where it is told to, so that seeking is another stream.

import { randomUUID } from 'node:crypto'
import zlib from 'node:zlib'
import { Admin, Consumer, ListOffsetTimestamps, Producer } from '@platformatic/kafka'
import { Inbox, NotPossible, decoded, encoded, serve } from './driving.mjs'

const base = { clientId: 'driver', bootstrapBrokers: [process.argv[2]], retries: 5, retryDelay: 100, metadataMaxAge: 1000 }
const admin = new Admin(base)
const producers = new Map()
let consumers = new Map()
let closed = new Map()

class Reader {
  inbox = new Inbox()
  kept = []

  constructor(fields) {
    const { group, instance, assignor } = fields
    if (assignor) throw new NotPossible('no cooperative assignor')
    this.fields = fields
    this.group = group
    this.consumer = new Consumer({
      ...base,
      groupId: group ?? `none-${randomUUID()}`,
      groupInstanceId: instance,
      sessionTimeout: 10000,
      rebalanceTimeout: 10000,
      heartbeatInterval: 500,
      maxWaitTime: fields.max_wait_ms ?? 500,
      maxBytesPerPartition: fields.max_bytes,
      autocommit: fields.auto_commit === true,
    })
  }

  async start() {
    const { topics, assign, start = 'earliest' } = this.fields
    if (!assign) return this.stream({ topics, mode: 'committed', fallbackMode: start })
    const offsets = assign.map(([topic, partition, offset]) => ({ topic, partition, offset: BigInt(offset ?? 0) }))
    const names = [...new Set(assign.map(([topic]) => topic))]
    return this.stream({ topics: names, mode: 'manual', fallbackMode: start, offsets })
  }

  async stream(options) {
    if (this.source) await this.source.close()
    this.inbox.records = []
    this.options = options
    this.source = await this.consumer.consume(options)
    this.source.on('error', (error) => {
      this.error = error
      console.error('stream', codeOf(error), error.message)
    })
    this.source.on('data', (message) => this.record(message))
  }

  record(message) {
    const { topic, partition, offset, timestamp, key, value, headers } = message
    this.inbox.records.push({
      topic,
      partition,
      offset,
      timestamp,
      key: encoded(key),
      value: encoded(value),
      headers: [...headers].map(([name, one]) => [name.toString(), encoded(one)]),
    })
    if (this.looping) {
      message.commit((error) => error && console.error('commit', error))
      this.kept.push(...this.inbox.records.splice(0))
    }
  }

  // Of all partitions that it reads, since the stream is another one.
  async seek(topic, partition, offset) {
    const others = (this.options.offsets ?? []).filter((one) => one.topic !== topic || one.partition !== partition)
    const offsets = [...others, { topic, partition, offset: BigInt(offset) }]
    await this.stream({ ...this.options, mode: 'manual', offsets })
  }
}

const steps = {
  async produce({ topic, records, compression = 'none', acks = 'all', idempotent = false }) {
    if (compression === 'zstd' && !zlib.zstdCompressSync) throw new NotPossible('zstd needs Node.js 22')
    const key = String(idempotent)
    if (!producers.has(key)) producers.set(key, new Producer({ ...base, idempotent, autocreateTopics: true }))
    const messages = records.map(({ key, value, partition, timestamp, headers }) => ({
      topic,
      key: decoded(key) ?? undefined,
      value: decoded(value) ?? undefined,
      partition,
      timestamp: timestamp === undefined ? undefined : BigInt(timestamp),
      headers: new Map(headers.map(([name, one]) => [Buffer.from(name), decoded(one)])),
    }))
    const options = { compression, acks: acks === 'all' ? -1 : Number(acks) }
    const { offsets = [] } = await producers.get(key).send({ messages, ...options })
    const next = new Map(offsets.map((one) => [one.partition, Number(one.offset)]))
    return records.map(({ partition = offsets.length === 1 ? offsets[0].partition : null }) => {
      const offset = next.get(partition) ?? null
      if (offset !== null) next.set(partition, offset + 1)
      return { topic, partition, offset }
    })
  },
  async consumer(fields) {
    const reader = new Reader(fields)
    consumers.set(fields.as ?? 'consumer', reader)
    await reader.start()
  },
  async consume({ consumer = 'consumer', count, wait_ms }) {
    const reader = consumers.get(consumer)
    const records = await reader.inbox.take(count, wait_ms, () => reader.error)
    if (reader.error && codeOf(reader.error) === 1) throw new NotPossible('an offset out of range ends the stream')
    return records
  },
  loop({ consumer = 'consumer' }) {
    const reader = consumers.get(consumer)
    reader.looping = true
    reader.kept.push(...reader.inbox.records.splice(0))
  },
  looped: ({ consumers: names }) => names.flatMap((name) => (closed.get(name) ?? consumers.get(name)).kept),
  async seek({ topic, partition, to, consumer = 'consumer' }) {
    let offset = to
    if (typeof to !== 'number') offset = await steps.list_offsets({ topic, partition, at: to.time ?? to })
    await consumers.get(consumer).seek(topic, partition, offset)
  },
  assignment: ({ consumer = 'consumer' }) =>
    (consumers.get(consumer).consumer.assignments ?? []).flatMap(({ topic, partitions }) =>
      partitions.map((partition) => ({ topic, partition })),
    ),
  async commit({ offsets, consumer = 'consumer' }) {
    if (offsets.some(([, , , metadata]) => metadata)) throw new NotPossible('no metadata beside an offset')
    const rows = offsets.map(([topic, partition, offset]) => ({
      topic,
      partition,
      offset: BigInt(offset),
      leaderEpoch: -1,
    }))
    await consumers.get(consumer).consumer.commit({ offsets: rows })
  },
  async committed({ topic, partition, consumer = 'consumer' }) {
    const asked = { topics: [{ topic, partitions: [partition] }] }
    const found = await consumers.get(consumer).consumer.listCommittedOffsets(asked)
    const offset = Number(found.get(topic)[0])
    return offset < 0 ? null : { offset }
  },
  async close({ consumer = 'consumer' }) {
    const reader = consumers.get(consumer)
    consumers.delete(consumer)
    closed.set(consumer, reader)
    await reader.consumer.close(true)
  },
  async reset() {
    const all = [...consumers.values()]
    consumers = new Map()
    closed = new Map()
    await Promise.all(all.map((one) => one.consumer.close(true)))
  },

  async create_topic({ topic, partitions = 1, config = {}, replication_factor = 1 }) {
    const configs = Object.entries(config).map(([name, value]) => ({ name, value }))
    await admin.createTopics({ topics: [topic], partitions, replicas: replication_factor, configs })
    // Who produces before there is a leader produces twice.
    const indexes = [...Array(partitions).keys()]
    const asked = indexes.map((partitionIndex) => ({ partitionIndex, timestamp: ListOffsetTimestamps.LATEST }))
    for (let i = 0; i < 50; i++) {
      try {
        return void (await admin.listOffsets({ topics: [{ name: topic, partitions: asked }] }))
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  },
  delete_topic: ({ topic }) => admin.deleteTopics({ topics: [topic] }),
  list_topics: () => admin.listTopics(),
  async describe_topic({ topic }) {
    const { topics } = await admin.metadata({ topics: [topic], forceUpdate: true })
    return { topic, partitions: topics.get(topic).partitionsCount }
  },
  add_partitions: ({ topic, total }) =>
    admin.createPartitions({ topics: [{ name: topic, count: total, assignments: null }] }),
  async topic_config({ topic, names }) {
    const resource = { resourceType: 2, resourceName: topic, configurationKeys: names }
    const [found] = await admin.describeConfigs({ resources: [resource] })
    return Object.fromEntries(found.configs.map(({ name, value }) => [name, value]))
  },
  async alter_topic_config({ topic, config }) {
    // 0: set.
    const configs = Object.entries(config).map(([name, value]) => ({ name, value, configOperation: 0 }))
    await admin.incrementalAlterConfigs({ resources: [{ resourceType: 2, resourceName: topic, configs }] })
  },
  async list_offsets({ topic, partition, at }) {
    const times = { earliest: ListOffsetTimestamps.EARLIEST, latest: ListOffsetTimestamps.LATEST }
    const timestamp = times[at] ?? BigInt(at)
    const [found] = await admin.listOffsets({ topics: [{ name: topic, partitions: [{ partitionIndex: partition, timestamp }] }] })
    return Number(found.partitions[0].offset)
  },
  async delete_records({ before }) {
    const topics = before.map(([name, partition, offset]) => ({ name, partitions: [{ partition, offset: BigInt(offset) }] }))
    const found = await admin.deleteRecords({ topics })
    return found.map((one) => Number(one.partitions[0].lowWatermark))
  },
  list_groups: async () => [...(await admin.listGroups()).keys()],
  async describe_group({ group }) {
    const found = (await admin.describeGroups({ groups: [group] })).get(group)
    return { state: found.state[0] + found.state.slice(1).toLowerCase(), members: found.members.size }
  },
  delete_group: ({ group }) => admin.deleteGroups({ groups: [group] }),
  async group_offsets({ group }) {
    const [found] = await admin.listConsumerGroupOffsets({ groups: [group] })
    const rows = found.topics.flatMap(({ name, partitions }) =>
      partitions.map((one) => ({
        topic: name,
        partition: one.partitionIndex,
        offset: Number(one.committedOffset),
        metadata: one.metadata,
      })),
    )
    return rows.sort((a, b) => a.partition - b.partition)
  },
  async alter_group_offsets({ group, offsets }) {
    const topics = offsets.map(([name, partition, offset]) => ({
      name,
      partitionOffsets: [{ partition, offset: BigInt(offset) }],
    }))
    await admin.alterConsumerGroupOffsets({ groupId: group, topics })
  },
  async describe_cluster() {
    const found = await admin.metadata({ topics: [], forceUpdate: true })
    return { brokers: found.brokers.size, controller: found.controllerId }
  },
}

const codeOf = (error) => {
  // It looks at the metadata itself.
  if (error.message.startsWith('Unknown topic')) return 3
  if (typeof error.apiCode === 'number' && error.apiCode > 0) return error.apiCode
  for (const one of [...(error.errors ?? []), ...(error.cause ? [error.cause] : [])]) {
    const code = codeOf(one)
    if (code) return code
  }
  return null
}

serve(steps, codeOf)
