/// <reference types="node" />

/**
 * Headwater: a Kafka-style log that runs in your process, or that a broker serves.
 *
 * Offsets are numbers (beyond 2^53 - 1 they are refused, not rounded), times are milliseconds since 1970 UTC, keys and
 * values are bytes; where you hand in bytes, a string stands for its UTF-8.
 */

import { EventEmitter } from 'node:events'

/** Opens the log at `address`: a path such as `./data`, `mem:`, `host:port`, or a `file:` URL object. */
export function connect(address: string | URL, options?: ConnectOptions & Abortable): Promise<Client>

/** An open log. */
export class Client implements AsyncDisposable {
  private constructor()
  /** What it is connected to, without options and secrets. */
  readonly address: string
  readonly admin: Admin
  readonly isClosed: boolean
  /** A producer. It is not tied to a topic. */
  producer(options?: ProducerOptions): Producer
  /** A consumer of one or more topics. With a `signal`, its loops end by an `AbortError`. */
  consumer(topics: string | readonly string[], options?: ConsumerOptions & Abortable): Consumer
  /** What the client is doing: counts since it was opened, by name. */
  metrics(): Record<string, number>
  /** Closes producers (flushing them) and consumers, then the log. Always answers, and says what was not delivered. */
  close(timeoutMs?: number): Promise<CloseReport>
  /** Closes, and throws the first failure that nobody was told about. */
  [Symbol.asyncDispose](): Promise<void>
}

/** Sends records to any topic. Records of one partition keep the order in which they were handed over. */
export class Producer extends EventEmitter<ProducerEvents> implements AsyncDisposable {
  private constructor()
  /**
   * Sends a record and gives nothing back. Never waits: throws `Full` when there is no room. What fails later comes out
   * of `flush`, `close` and the `failure` event.
   */
  enqueue(topic: string, value: Bytes | null, options?: RecordOptions): void
  /**
   * Sends a record; resolves when it is acknowledged. Without room it waits its turn, with at most 1,024 others;
   * beyond that it rejects with `Full`. An abort ends the wait: a record that was handed over already may be stored.
   */
  send(topic: string, value: Bytes | null, options?: RecordOptions & Abortable): Promise<RecordMetadata>
  /** Sends many records as if one by one; resolves when all are acknowledged, rejects with the first failure. */
  sendMany(
    topic: string,
    records: Iterable<Bytes | null | ({ value: Bytes | null } & RecordOptions)>,
    options?: RecordOptions & Abortable,
  ): Promise<RecordMetadata[]>
  /** Resolves when there is room for one more record. */
  ready(options?: Abortable): Promise<void>
  /**
   * Resolves when everything sent so far is acknowledged or failed. Rejects with the first failure since the last
   * flush that nobody was told about.
   */
  flush(options?: Abortable): Promise<void>
  /** Flushes and ends, at the latest after `timeoutMs`; always answers, and says what was not delivered. */
  close(timeoutMs?: number): Promise<CloseReport>
  /** Closes, and throws the first failure that nobody was told about. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Reads topics: `for await (const message of consumer)`.
 *
 * With `ack: 'auto'` a record counts as processed when the loop asks for the next one; leaving it by `break`, `return`
 * or an exception does not process the record in hand, and the next loop begins with it. If you hand records to tasks
 * that go on after the loop body, use `ack: 'manual'`.
 */
export class Consumer implements AsyncIterable<Message>, AsyncDisposable {
  private constructor()
  /** Finds the topics and joins the group. A loop does it if it was not done. */
  open(options?: Abortable): Promise<this>
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>
  /** The fast lane: records as they arrive together. A batch counts as processed when the next one is asked for. */
  batches(options?: Abortable): AsyncIterableIterator<Batch>
  /**
   * Calls `handler` for every record, up to `concurrency` at the same time.
   *
   * Records of one key of one partition are handled one after the other (`order`). A record whose handler throws, or
   * whose promise is rejected, is tried again after a pause, up to `attempts` times, and holds back only its key. After
   * that it goes to the topic `deadLetter`, or without one its error comes out of here, once the other handlers have
   * ended. Only what is processed is committed; a record may be handled more than once.
   *
   * Ends when `until` is reached, the consumer is closed, or the signal fires (handlers that run have their end). What
   * was not processed is read again by whoever reads this consumer next.
   */
  process(handler: (message: Message) => unknown, options?: ProcessOptions & Abortable): Promise<void>
  /** Marks a record, or every record of a batch, as processed (`ack: 'manual'`), in any order. */
  ack(record: Batch | TopicPartitionOffset): void
  /** Commits what is processed, or these offsets: each that of the next record to read. */
  commit(offsets?: Iterable<TopicPartitionOffset> | null, options?: Abortable): Promise<void>
  /** What the group has committed for the partitions of this consumer. */
  committed(options?: Abortable): Promise<TopicPartitionOffset[]>
  /** Goes on reading a partition at an offset, or at one by its meaning. The consumer must be open. */
  seek(topic: string, partition: number, to: number | OffsetMeaning): Promise<void>
  /** For each partition the offset of the first record that does not count as processed. */
  positions(): TopicPartitionOffset[]
  /** The partitions it reads, each with the offset of the next record. */
  assignment(): TopicPartitionOffset[]
  /** Whether nothing more will come: `until` is reached everywhere, or it was closed. */
  readonly isFinished: boolean
  /** Commits what is processed, leaves the group, and ends its loops; always answers. */
  close(timeoutMs?: number): Promise<CloseReport>
  /** Closes, and throws the first failure. */
  [Symbol.asyncDispose](): Promise<void>
}

/** A record as it is read. Its fields are views of the block it came in. */
export interface Message extends TopicPartitionOffset {
  readonly topic: string
  readonly partition: number
  readonly offset: number
  /** Milliseconds since 1970 UTC. */
  readonly timestamp: number
  /** null if it has none. */
  readonly key: Buffer | null
  /** null for a tombstone. */
  readonly value: Buffer | null
  /** Pairs in their order; names may repeat. */
  readonly headers: Array<[name: string, value: Buffer | null]>
  /** The same record in memory of its own, so that the block it came in can be freed. */
  copy(): Message
}

/** Records that arrived together. */
export interface Batch extends Iterable<Message> {
  readonly length: number
  /** The message at `index`, counted from the end if negative. */
  at(index: number): Message | undefined
  /** Every value, null for a tombstone. */
  values(): Array<Buffer | null>
  /** Every key, null where there is none. */
  keys(): Array<Buffer | null>
  /** Where the records stand: one entry for the rows of each partition, in order. */
  readonly partitions: Array<{
    topic: string
    partition: number
    firstOffset: number
    lastOffset: number
    length: number
  }>
}

/** Topics, groups and offsets. */
export class Admin {
  private constructor()
  createTopic(name: string, options?: TopicOptions & Abortable): Promise<void>
  deleteTopic(name: string, options?: Abortable): Promise<void>
  /**
   * Deletes the records before an offset of each partition, in all of them or in none; -1 stands for the high
   * watermark. Gives the first offset that each partition holds then; an offset below that deletes nothing.
   */
  deleteRecords(
    topic: string,
    before: ReadonlyMap<number, number> | Readonly<Record<number, number>>,
    options?: Abortable,
  ): Promise<Map<number, number>>
  /** Changes the options that are given; the others stay as they are. */
  alterTopic(name: string, options: TopicOptions & Abortable): Promise<void>
  listTopics(options?: Abortable): Promise<TopicDescription[]>
  describeTopic(name: string, options?: Abortable): Promise<TopicDescription>
  listGroups(options?: Abortable): Promise<GroupDescription[]>
  describeGroup(group: string, options?: Abortable): Promise<GroupDescription>
  deleteGroup(group: string, options?: Abortable): Promise<void>
  /** Offsets by their meaning, in the order asked. */
  listOffsets(
    queries: Iterable<{ topic: string; partition: number; at: OffsetMeaning }>,
    options?: Abortable,
  ): Promise<number[]>
  /** Commits offsets of a group by hand, while it has no member. */
  commitOffsets(group: string, offsets: Iterable<TopicPartitionOffset>, options?: Abortable): Promise<void>
}

/** A broker inside this process: `connect(broker.address)`, from here or from any other. */
export class Broker implements AsyncDisposable {
  private constructor()
  /**
   * Serves the folder `data`, on 127.0.0.1:9092; or without it a log in memory, on a free port of this machine, that
   * creates topics as they are used. Like a server of Node's own it keeps the process alive until it is closed.
   */
  static start(options?: BrokerOptions & Abortable): Promise<Broker>
  /** Where it listens, `host:port` each, with the ports it really has. */
  readonly addresses: string[]
  /** The first of them. */
  readonly address: string
  /** Stops accepting, answers what was asked, closes the log; connections that are not done in time are cut. */
  close(timeoutMs?: number): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/** A failure. `kind` says what to do about it, `code` what it was; the message is for people. */
export class HeadwaterError extends Error {
  private constructor()
  readonly kind: ErrorKind
  /** Kafka's name where one exists, such as `UNKNOWN_TOPIC_OR_PARTITION`; the same in every language. */
  readonly code: string
  /** Whether what was asked may have happened all the same. */
  readonly outcome: 'not_done' | 'unknown'
  /** Whether the same call may succeed later. */
  readonly retriable: boolean
  /** Whether the object that failed is of no further use. */
  readonly fatal: boolean
}

export type ErrorKind =
  | 'InvalidArgument'
  | 'NotFound'
  | 'AlreadyExists'
  | 'OffsetOutOfRange'
  | 'Full'
  | 'Unavailable'
  | 'Locked'
  | 'Timeout'
  | 'Fenced'
  | 'Denied'
  | 'Unsupported'
  | 'Corrupt'
  | 'Storage'
  | 'Closed'
  | 'Internal'

/** Bytes handed in; a string stands for its UTF-8. */
export type Bytes = string | ArrayBufferView

/** Ends a wait with an `AbortError` (`code: 'ABORT_ERR'`), not what was asked for. */
export interface Abortable {
  signal?: AbortSignal
}

export type Durability = 'os' | 'disk' | 'quorum'

/** Headers to send; an array under one name is that name repeated. */
export type Headers =
  Record<string, Bytes | null | ReadonlyArray<Bytes | null>> | Iterable<readonly [name: string, value: Bytes | null]>

export interface RecordOptions {
  key?: Bytes | null
  headers?: Headers
  /** Default: by the key. */
  partition?: number
  /** Milliseconds since 1970 UTC. Default: now. */
  timestamp?: number | Date
}

/** Where a record went and how safe it is. */
export interface RecordMetadata extends TopicPartitionOffset {
  /** The log's time where the topic says so, else the record's own. */
  timestamp: number
  /** The level reached. */
  durability: Durability
}

export interface TopicPartitionOffset {
  topic: string
  partition: number
  offset: number
}

/** An offset by its meaning: the first held, the next to come, or the first of this time or later. */
export type OffsetMeaning = 'earliest' | 'latest' | Date | { time: number | Date }

/** What closing left undone. */
export interface CloseReport {
  /**
   * Records that were not acknowledged at the deadline: each has failed with `CLOSED`, whose outcome says whether it
   * may be in the log.
   */
  unsentRecords: number
  /** Records that failed and that nobody was told about until now. */
  failedRecords: number
  firstError: HeadwaterError | undefined
}

/** Records that failed although nobody was waiting for them. */
export interface DeliveryFailure {
  topic: string
  partition: number
  records: number
  error: HeadwaterError
}

export interface ProducerEvents {
  failure: [failure: DeliveryFailure]
}

export interface TopicDescription {
  name: string
  uuid: string
  /** Every option with its value, defaults too. */
  config: Record<string, string>
  /** What of the configuration is stored but not acted on, in words. */
  notes: string[]
  partitions: PartitionDescription[]
}

export interface PartitionDescription {
  partition: number
  logStartOffset: number
  /** The next offset a reader would see. */
  highWatermark: number
  logEndOffset: number
  leaderEpoch: number
  sizeBytes: number
}

export interface GroupDescription {
  group: string
  state: string
  generation: number
  members: string[]
  offsets: TopicPartitionOffset[]
}

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
  /** Recent records kept in memory. Default: 67108864. */
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
