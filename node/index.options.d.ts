/** Options. Names, ranges and defaults are core's: a test compares. */

import type { Durability } from './index.js'

/** How a log is opened or reached, and how it is left. */
export interface ConnectOptions {
  /** Whether a missing folder is created. Default: true. */
  create?: boolean
  /** Whether other processes may open the same folder; the first serves them. Default: processes (exclusive on phones). */
  sharing?: 'processes' | 'exclusive'
  /** The size at which a new segment file is begun. Default: 67108864, or a 16th of the folder's limit. */
  segmentBytes?: number
  /** Bytes of the folder at most, 8 segments or more. Default: none: no limit. */
  maxBytes?: number
  /** What happens when the folder has no room for another segment. Default: refuse. */
  maxBytesPolicy?: 'refuse' | 'drop_oldest'
  /** Recent records kept in memory. Default: 8388608. */
  tailCacheBytes?: number
  /** Threads of the runtime for sockets; one runtime a process, made at the first need. Default: 2. */
  threads?: number
  /** How long `close` waits unless told. Default: 30000. */
  closeTimeoutMs?: number
  /** How long the end of the process waits for what is not delivered. Default: 2000. */
  exitTimeoutMs?: number
}

/** How a producer sends. */
export interface ProducerOptions {
  /** How safe a record is before it is acknowledged. Default: topic's. */
  durability?: Durability
  /** How long a batch waits for more records; batches form anyway while others are on their way. Default: 0. */
  lingerMs?: number
  /** The size at which a record batch is closed; a single larger record still makes one. Default: 131072. */
  batchBytes?: number
  /** Room for records that are not acknowledged yet, all batches of the producer together. Default: 16777216. */
  bufferBytes?: number
  /** How long `send` waits for room. Default: 60000. */
  maxBlockMs?: number
  /** The time from `send` within which a record is acknowledged or failed. Default: 120000. */
  deliveryTimeoutMs?: number
  /** How long one request may take. Default: 30000. */
  requestTimeoutMs?: number
  /** The pause before the first retry. Default: 100. */
  retryBackoffMs?: number
  /** The longest pause between retries. Default: 1000. */
  retryBackoffMaxMs?: number
  /** Batches of one partition that may be on their way at once. Default: 5. */
  inFlight?: number
  /** Whether a repeated batch is recognised, so that a retry never duplicates. Default: true. */
  idempotence?: boolean
  /** How batches are compressed. Default: none. */
  compression?: 'none' | 'gzip' | 'snappy' | 'lz4' | 'zstd'
  /** How a record without a partition finds one. Default: murmur2. */
  partitioner?: 'murmur2'
}

/** What a consumer reads and when a record counts as processed. */
export interface ConsumerOptions {
  /** The consumer group, whose committed offsets say where to go on. Default: none: all partitions, no commits. */
  group?: string
  /** The name of a static member, which keeps its partitions while it is away. Default: none. */
  instanceId?: string
  /** The partitions to read of every topic. Default: all. */
  partitions?: number[]
  /** Where to begin without a committed offset; behind records deleted unread only `latest` goes to the end. Default: earliest. */
  start?: Start
  /** Where to end. Default: none: follows. */
  until?: Until
  /** When a record counts as processed. Default: auto. */
  ack?: 'auto' | 'manual'
  /** How often what is processed is committed. Default: 1000. */
  commitIntervalMs?: number
  /** Records of a block at most. Default: 1000. */
  maxBlockRecords?: number
  /** Bytes of a block at most; a single larger record still makes one. Default: 1048576. */
  maxBlockBytes?: number
  /** Bytes read ahead at most, all partitions together. Default: 8388608. */
  readAheadBytes?: number
  /** With `ack=manual`: records given out beyond the first that is not acknowledged. Default: 10000. */
  maxUnacked?: number
  /** How often a member tells that it lives. Default: 3000. */
  heartbeatMs?: number
  /** How long a silent member is kept. Default: 45000. */
  sessionTimeoutMs?: number
  /** How long a member may work without asking for more. Default: 300000. */
  processingTimeoutMs?: number
  /** How long a member may take to give up a partition. Default: 60000. */
  rebalanceTimeoutMs?: number
  /** How partitions are spread over the members of a group. Default: sticky. */
  assignor?: 'sticky' | 'range' | 'round_robin'
  /** Whether records of transactions that are not committed are seen. Default: read_committed. */
  isolation?: 'read_committed' | 'read_uncommitted'
}

/** How `process` runs handlers. */
export interface ProcessOptions {
  /** Handlers that run at the same time. Default: 16. */
  concurrency?: number
  /** What stays in order. Default: key. */
  order?: 'key' | 'partition' | 'none'
  /** Times a record is tried. Default: 5. */
  attempts?: number
  /** The pause before the second attempt; it doubles. Default: 100. */
  backoffMs?: number
  /** The longest pause between attempts. Default: 30000. */
  backoffMaxMs?: number
  /** The topic that takes what failed at every attempt. Default: none: stop with the error. */
  deadLetter?: string
}

/** What a topic is like. */
export interface TopicOptions {
  /** Its partitions. Default: 1. */
  partitions?: number
  /** How safe a record is before it is acknowledged, unless the producer says otherwise. Default: disk (mem: os). */
  durability?: Durability
  /** How long records are kept. Default: the folder's: -1 (connect), 604800000 (serve). */
  retentionMs?: number
  /** Bytes kept in each partition. Default: -1. */
  retentionBytes?: number
  /** What happens to old records. Default: delete. */
  cleanupPolicy?: 'delete' | 'compact' | 'both'
  /** How long the mark of a deleted key is kept. Default: 86400000. */
  tombstoneRetentionMs?: number
  /** The size of a record batch at most. Default: 1048588. */
  maxMessageBytes?: number
  /** Who says when a record was made. Default: create_time. */
  messageTimestampType?: 'create_time' | 'log_append_time'
  /** Replicas that must have a record at `quorum`. Default: 1. */
  minInsyncReplicas?: number
  /** Whether a topic of that name is no error. Default: false. */
  existOk?: boolean
}

/** How `Broker.start` serves. */
export interface BrokerOptions extends Omit<ServeOptions, 'data'> {
  /** The folder to serve. Default: none, a log in memory. */
  data?: string
  /** Whether other machines may connect. There is no authentication yet: they could do everything. Default: false. */
  allowRemote?: boolean
}

/** How a broker serves. */
export interface ServeOptions {
  /** The addresses to listen on. Default: 127.0.0.1:9092. */
  listen?: string[]
  /** The folder to serve. Default: required (--dev: mem:). */
  data?: string
  /** The size at which a new segment file is begun. Default: 67108864, or a 16th of the folder's limit. */
  segmentBytes?: number
  /** Bytes of the folder at most, 8 segments or more. Default: none: no limit. */
  maxBytes?: number
  /** What happens when the folder has no room for another segment. Default: refuse. */
  maxBytesPolicy?: 'refuse' | 'drop_oldest'
  /** Recent records kept in memory. Default: 16777216. */
  tailCacheBytes?: number
  /** Threads of the runtime for sockets. Default: the cores, at most 4. */
  threads?: number
  /** Connections at most. Default: 10000. */
  maxConnections?: number
  /** The size of one frame at most. Default: 67108864. */
  maxFrameBytes?: number
  /** After how long a silent connection is closed. Default: 600000. */
  idleTimeoutMs?: number
  /** How often a silent connection is asked whether it lives. Default: 10000. */
  keepAliveMs?: number
  /** Whether a topic is created when it is first named. Default: false (--dev, Broker(): true). */
  autoCreateTopics?: boolean
  /** How long the broker waits for what is in flight when it is told to end. Default: 30000. */
  closeTimeoutMs?: number
}

/** Where a consumer without a committed offset begins: `earliest`, `latest`, an offset, or a time. */
export type Start = 'earliest' | 'latest' | Place

/** Where a consumer ends: at the `end` there was when it opened, before an offset, or before a time. */
export type Until = 'end' | Place

/** An offset, in every partition, or a time. */
export type Place = number | Date | { offset: number } | { time: number | Date }
