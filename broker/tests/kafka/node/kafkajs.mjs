// Driver of kafkajs. Its consumer is a member of a group in any case and pushes what it reads, so that reading one
// partition from an offset is a group of one member that seeks.

import { randomUUID } from 'node:crypto'
import kafkajs from 'kafkajs'
import snappy from 'kafkajs-snappy'
import { lz4Compress, lz4Decompress } from '@platformatic/wasm-utils'
import * as zstd from '@bokuweb/zstd-wasm'
import { Inbox, NotPossible, decoded, encoded, serve } from './driving.mjs'

const { CompressionCodecs, CompressionTypes, ConfigResourceTypes, Kafka, logLevel } = kafkajs
await zstd.init()
CompressionCodecs[CompressionTypes.Snappy] = snappy
CompressionCodecs[CompressionTypes.LZ4] = () => ({
  compress: async ({ buffer }) => Buffer.from(lz4Compress(buffer)),
  decompress: async (buffer) => Buffer.from(lz4Decompress(buffer)),
})
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }) => Buffer.from(zstd.compress(buffer)),
  decompress: async (buffer) => Buffer.from(zstd.decompress(buffer)),
})
const COMPRESSIONS = { none: 'None', gzip: 'GZIP', snappy: 'Snappy', lz4: 'LZ4', zstd: 'ZSTD' }

const kafka = new Kafka({
  brokers: [process.argv[2]],
  logLevel: logLevel.WARN,
  logCreator: () => ({ log }) => console.error(log.message, log.error ?? ''),
  retry: { retries: 8, initialRetryTime: 50, maxRetryTime: 1000 },
})
const admin = kafka.admin({ retry: { retries: 3, initialRetryTime: 50 } })
let connected
const administration = async () => {
  connected ??= admin.connect()
  await connected
  return admin
}
const producers = new Map()
let consumers = new Map()

class Reader {
  inbox = new Inbox()
  assigned = []
  kept = []
  last = new Map()

  constructor(fields) {
    const { group, auto_commit, max_wait_ms = 500, max_bytes, instance, assignor } = fields
    if (instance) throw new NotPossible('no static members')
    if (assignor) throw new NotPossible('no cooperative assignor')
    this.fields = fields
    this.group = group
    this.autoCommit = auto_commit === true
    this.consumer = kafka.consumer({
      groupId: group ?? `none-${randomUUID()}`,
      sessionTimeout: 10000,
      heartbeatInterval: 500,
      metadataMaxAge: 1000,
      maxWaitTimeInMs: max_wait_ms,
      maxBytesPerPartition: max_bytes ?? 1048576,
      retry: { retries: 8, initialRetryTime: 50, maxRetryTime: 1000 },
    })
  }

  async start() {
    const { topics, assign, start = 'earliest' } = this.fields
    await this.consumer.connect()
    const names = topics ?? [...new Set(assign.map(([topic]) => topic))]
    for (const topic of names) await this.consumer.subscribe({ topic, fromBeginning: start === 'earliest' })
    const joined = new Promise((resolve) => {
      this.consumer.on(this.consumer.events.GROUP_JOIN, ({ payload }) => {
        const rows = Object.entries(payload.memberAssignment)
        this.assigned = rows.flatMap(([topic, some]) => some.map((partition) => ({ topic, partition })))
        resolve()
      })
    })
    await this.consumer.run({
      autoCommit: this.autoCommit,
      eachBatchAutoResolve: false,
      eachBatch: (payload) => this.batch(payload),
    })
    await joined
    for (const [topic, partition, offset] of assign ?? []) {
      if (offset !== null) this.seek(topic, partition, offset)
    }
  }

  async batch({ batch, resolveOffset, isStale, commitOffsetsIfNecessary }) {
    if (isStale()) return
    const { topic, partition } = batch
    for (const one of batch.messages) {
      if (isStale()) return
      const record = { topic, partition, offset: Number(one.offset), timestamp: Number(one.timestamp) }
      record.key = encoded(one.key)
      record.value = encoded(one.value)
      record.headers = headersOf(one.headers)
      this.inbox.records.push(record)
      this.last.set(`${topic} ${partition}`, { topic, partition, offset: String(record.offset + 1) })
      resolveOffset(one.offset)
    }
    if (this.looping) {
      const offset = String(Number(batch.lastOffset()) + 1)
      await this.consumer.commitOffsets([{ topic, partition, offset }])
      this.kept.push(...this.inbox.records.splice(0))
    }
  }

  // What was read ahead of the seek is not what comes after it.
  seek(topic, partition, offset) {
    this.consumer.seek({ topic, partition, offset: String(offset) })
    this.inbox.records = this.inbox.records.filter((one) => one.topic !== topic || one.partition !== partition)
  }

  async close() {
    // What was read is committed as it closes, if it commits at all.
    if (this.autoCommit && this.last.size) await this.consumer.commitOffsets([...this.last.values()])
    await this.consumer.disconnect()
  }
}

const headersOf = (headers) =>
  Object.entries(headers ?? {}).flatMap(([name, value]) =>
    Array.isArray(value) ? value.map((one) => [name, encoded(one)]) : [[name, encoded(value)]],
  )

function headersFrom(list) {
  const headers = {}
  for (const [name, value] of list) {
    if (name in headers) headers[name] = [headers[name], decoded(value)].flat()
    else headers[name] = decoded(value)
  }
  return headers
}

const steps = {
  async produce({ topic, records, compression = 'none', acks = 'all', idempotent = false }) {
    const key = String(idempotent)
    if (!producers.has(key)) {
      const { DefaultPartitioner } = kafkajs.Partitioners
      const made = kafka.producer({ idempotent, createPartitioner: DefaultPartitioner })
      producers.set(key, made.connect().then(() => made))
    }
    const producer = await producers.get(key)
    if (records.some(({ headers }) => headers.some(([, value]) => value === null))) {
      throw new NotPossible("a header's value cannot be null")
    }
    const messages = records.map(({ key, value, partition, timestamp, headers }) => ({
      key: decoded(key),
      value: decoded(value),
      partition,
      timestamp: timestamp === undefined ? undefined : String(timestamp),
      headers: headersFrom(headers),
    }))
    const sent = await producer.send({
      topic,
      messages,
      acks: acks === 'all' ? -1 : Number(acks),
      compression: CompressionTypes[COMPRESSIONS[compression]],
    })
    // It tells the base offset of each partition; the records of one follow each other, and which went where only
    // the partitioner knows, so that is told where there is one partition, or the record names it.
    const next = new Map(sent.map((one) => [one.partition, Number(one.baseOffset)]))
    return messages.map(({ partition = sent.length === 1 ? sent[0].partition : null }) => {
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
  consume: ({ consumer = 'consumer', count, wait_ms }) => consumers.get(consumer).inbox.take(count, wait_ms),
  loop({ consumer = 'consumer' }) {
    const reader = consumers.get(consumer)
    reader.looping = true
  },
  looped: ({ consumers: names }) => names.flatMap((name) => closed.get(name)?.kept ?? consumers.get(name).kept),
  async seek({ topic, partition, to, consumer = 'consumer' }) {
    let offset = to
    if (typeof to === 'object') {
      const found = await (await administration()).fetchTopicOffsetsByTimestamp(topic, to.time)
      offset = found.find((one) => one.partition === partition).offset
    }
    if (typeof to === 'string') offset = { earliest: -2, latest: -1 }[to]
    consumers.get(consumer).seek(topic, partition, offset)
  },
  assignment: ({ consumer = 'consumer' }) => consumers.get(consumer).assigned,
  async commit({ offsets, consumer = 'consumer' }) {
    await consumers.get(consumer).consumer.commitOffsets(
      offsets.map(([topic, partition, offset, metadata]) => ({ topic, partition, offset: String(offset), metadata })),
    )
  },
  async committed({ topic, partition, consumer = 'consumer' }) {
    const groupId = consumers.get(consumer).group
    const [found] = await (await administration()).fetchOffsets({ groupId, topics: [topic] })
    const one = found.partitions.find((row) => row.partition === partition)
    return Number(one.offset) < 0 ? null : { offset: Number(one.offset), metadata: one.metadata ?? '' }
  },
  async close({ consumer = 'consumer' }) {
    const reader = consumers.get(consumer)
    consumers.delete(consumer)
    closed.set(consumer, reader)
    await reader.close()
  },
  async reset() {
    const all = [...consumers.values()]
    consumers = new Map()
    closed = new Map()
    await Promise.all(all.map((one) => one.consumer.disconnect()))
  },

  async create_topic({ topic, partitions = 1, config = {}, replication_factor = 1 }) {
    const configEntries = Object.entries(config).map(([name, value]) => ({ name, value }))
    const topics = [{ topic, numPartitions: partitions, replicationFactor: replication_factor, configEntries }]
    if (!(await (await administration()).createTopics({ topics, waitForLeaders: false }))) {
      throw Object.assign(new Error('createTopics returned false: the topic is there'), { code: 36 })
    }
    // Its own waiting gives up at once while the metadata does not know the topic; and who produces before there is a
    // leader produces twice.
    for (let i = 0; i < 50; i++) {
      try {
        return void (await admin.fetchTopicOffsets(topic))
      } catch {
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
    }
  },
  delete_topic: async ({ topic }) => (await administration()).deleteTopics({ topics: [topic] }),
  list_topics: async () => (await administration()).listTopics(),
  async describe_topic({ topic }) {
    const { topics } = await (await administration()).fetchTopicMetadata({ topics: [topic] })
    return { topic: topics[0].name, partitions: topics[0].partitions.length }
  },
  add_partitions: async ({ topic, total }) =>
    (await administration()).createPartitions({ topicPartitions: [{ topic, count: total }] }),
  async topic_config({ topic, names }) {
    const asked = { resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }], includeSynonyms: false }
    const { resources } = await (await administration()).describeConfigs(asked)
    const found = Object.fromEntries(resources[0].configEntries.map((one) => [one.configName, one.configValue]))
    return Object.fromEntries(names.map((name) => [name, found[name]]))
  },
  async alter_topic_config({ topic, config }) {
    const asked = { resources: [{ type: ConfigResourceTypes.TOPIC, name: topic }], includeSynonyms: false }
    const { resources } = await (await administration()).describeConfigs(asked)
    // The call sets all, so what is to stay is given again. 1: of this topic.
    const own = resources[0].configEntries.filter((one) => one.configSource === 1)
    const all = { ...Object.fromEntries(own.map((one) => [one.configName, one.configValue])), ...config }
    const configEntries = Object.entries(all).map(([name, value]) => ({ name, value }))
    await admin.alterConfigs({ resources: [{ type: ConfigResourceTypes.TOPIC, name: topic, configEntries }] })
  },
  async list_offsets({ topic, partition, at }) {
    const all = typeof at === 'number'
      ? await (await administration()).fetchTopicOffsetsByTimestamp(topic, at)
      : await (await administration()).fetchTopicOffsets(topic)
    const one = all.find((row) => row.partition === partition)
    if (typeof at === 'number') {
      // Where no record is as late, it gives the end.
      const end = (await admin.fetchTopicOffsets(topic)).find((row) => row.partition === partition)
      return one.offset === end.offset ? -1 : Number(one.offset)
    }
    return Number(at === 'earliest' ? one.low : one.high)
  },
  async delete_records({ before }) {
    for (const [topic, partition, offset] of before) {
      const partitions = [{ partition, offset: String(offset) }]
      await (await administration()).deleteTopicRecords({ topic, partitions })
    }
    const low = ([topic, partition]) => steps.list_offsets({ topic, partition, at: 'earliest' })
    return Promise.all(before.map(low))
  },
  list_groups: async () => (await (await administration()).listGroups()).groups.map((one) => one.groupId),
  async describe_group({ group }) {
    const { groups } = await (await administration()).describeGroups([group])
    return { state: groups[0].state, members: groups[0].members.length }
  },
  delete_group: async ({ group }) => (await administration()).deleteGroups([group]),
  async group_offsets({ group }) {
    const found = await (await administration()).fetchOffsets({ groupId: group })
    const rows = found.flatMap(({ topic, partitions }) =>
      partitions.map(({ partition, offset, metadata }) => ({ topic, partition, offset: Number(offset), metadata })),
    )
    return rows.sort((a, b) => a.partition - b.partition)
  },
  async alter_group_offsets({ group, offsets }) {
    for (const [topic, partition, offset] of offsets) {
      const partitions = [{ partition, offset: String(offset) }]
      await (await administration()).setOffsets({ groupId: group, topic, partitions })
    }
  },
  async describe_cluster() {
    const found = await (await administration()).describeCluster()
    return { brokers: found.brokers.length, controller: found.controller }
  },
}
let closed = new Map()

const codeOf = (error) => {
  for (const one of [error, ...(error.errors ?? []), ...(error.groups ?? [])]) {
    const code = one?.code ?? one?.errorCode ?? one?.cause?.code
    if (typeof code === 'number' && code > 0) return code
  }
  return error.cause ? codeOf(error.cause) : null
}

serve(steps, codeOf)
