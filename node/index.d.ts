/// <reference types="node" />

/**
 * Headwater: a Kafka-style log that runs in your process, or that a broker serves.
 *
 * Offsets are numbers (beyond 2^53 - 1 they are refused, not rounded), times are milliseconds since 1970 UTC, keys and
 * values are bytes; where you hand in bytes, a string stands for its UTF-8.
 */

import { EventEmitter } from 'node:events'

import type {
  BrokerOptions,
  ConnectOptions,
  ConsumerOptions,
  ProcessOptions,
  ProducerOptions,
  TopicOptions,
} from './index.options.js'

export type * from './index.options.js'

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
  /** How it is, and why it does not work if it does not: for probes. Asks nobody, never waits. */
  health(): Health
  /**
   * Closes producers (flushing them) and consumers, then the log, at the latest after `timeoutMs` (`closeTimeoutMs`).
   * Always answers, and says what was not delivered. Called again it gives the same, sooner if its time is shorter.
   */
  close(timeoutMs?: number): Promise<CloseReport>
  /** Closes, and throws the first failure that nobody was told about, or that records were not delivered in time. */
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
  /**
   * Flushes and ends, at the latest after `timeoutMs`; always answers, and says what was not delivered. Called again it
   * gives the same, sooner if its time is shorter.
   */
  close(timeoutMs?: number): Promise<CloseReport>
  /** Closes, and throws the first failure that nobody was told about, or that records were not delivered in time. */
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Reads topics: `for await (const message of consumer)`.
 *
 * With `ack: 'auto'` a record counts as processed when the loop asks for the next one; leaving it by `break`, `return`
 * or an exception does not process the record in hand, and the next loop begins with it. If you hand records to tasks
 * that go on after the loop body, use `ack: 'manual'`.
 *
 * Closing it, from wherever, ends the loop that runs; one that begins after that throws `Closed`.
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
   * With `batch: true` it is called for many records at once, as many as may run, at most `concurrency`. They end
   * together: if it throws, each of them is tried again, or has failed.
   *
   * Ends when `until` is reached, the consumer is closed, or the signal fires (handlers that run have their end). What
   * was not processed is read again by whoever reads this consumer next.
   */
  process(handler: (batch: Batch) => unknown, options: ProcessOptions & Abortable & { batch: true }): Promise<void>
  process(
    handler: (message: Message) => unknown,
    options?: ProcessOptions & Abortable & { batch?: false },
  ): Promise<void>
  /** Marks a record, or every record of a batch, as processed (`ack: 'manual'`), in any order. */
  ack(record: Batch | TopicPartitionOffset): void
  /** Commits what is processed, or these offsets: each that of the next record to read. */
  commit(offsets?: Iterable<TopicPartitionOffset> | null, options?: Abortable): Promise<void>
  /**
   * Sends records and commits what was given out, as one append: both happen, or neither does. For reading one topic
   * and writing what comes of it to another: after a crash nothing is missing and nothing is there twice. Every record
   * given out so far counts as processed, also the one or the batch in hand; from the first call on nothing is
   * committed unasked. Needs a `group` and `ack: 'auto'`. Gives where the results went, in order.
   */
  commitWith(results: Iterable<ProducerRecord>, options?: Abortable): Promise<RecordMetadata[]>
  /** What the group has committed for the partitions of this consumer. */
  committed(options?: Abortable): Promise<TopicPartitionOffset[]>
  /** Goes on reading a partition at an offset, or at one by its meaning. The consumer must be open. */
  seek(topic: string, partition: number, to: number | OffsetMeaning, options?: Abortable): Promise<void>
  /** For each partition the offset of the first record that does not count as processed. */
  positions(): TopicPartitionOffset[]
  /** The partitions it reads, each with the offset of the next record. */
  assignment(): TopicPartitionOffset[]
  /** How far it is in each assigned partition, and how far it could be. One request. */
  lag(options?: Abortable): Promise<PartitionLag[]>
  /**
   * Gives nothing more of these partitions (without an argument: of all that are assigned) until they are resumed. The
   * rest of the block in hand is still given; heartbeats and commits go on. A partition that goes to another member is
   * paused no more, one that is assigned later is not paused.
   */
  pause(partitions?: Iterable<TopicPartition> | null): void
  /** Goes on giving these partitions (without an argument: all that are assigned). */
  resume(partitions?: Iterable<TopicPartition> | null): void
  /** The partitions that are paused. */
  paused(): TopicPartition[]
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
  /** One group: its state, its members and what each holds, and its committed offsets. */
  describeGroup(group: string, options?: Abortable): Promise<GroupDetails>
  deleteGroup(group: string, options?: Abortable): Promise<void>
  /** Offsets by their meaning, in the order asked. */
  listOffsets(
    queries: Iterable<{ topic: string; partition: number; at: OffsetMeaning }>,
    options?: Abortable,
  ): Promise<number[]>
  /** Commits offsets of a group by hand, while it has no member. */
  commitOffsets(group: string, offsets: Iterable<TopicPartitionOffset>, options?: Abortable): Promise<void>
}

/**
 * A broker inside this process: `connect(broker.address)`, from here or from any other; Kafka's clients find it at
 * `broker.brokers`. In a test suite, `useBroker` of `headwater/testing` starts and closes one.
 */
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
  /** The ports among them, for Kafka's clients: the `brokers` of kafkajs, the `bootstrapBrokers` of others. */
  readonly brokers: string[]
  /** The same in one string, as `bootstrap.servers` has it. */
  readonly bootstrapServers: string
  /** Lets the process end although it is not closed, and undoes that: as those of Node's own servers. */
  unref(): this
  ref(): this
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

/** A record with the topic it goes to. */
export interface ProducerRecord extends RecordOptions {
  topic: string
  /** null is a tombstone. */
  value: Bytes | null
}

/** Where a record went and how safe it is. */
export interface RecordMetadata extends TopicPartitionOffset {
  /** The log's time where the topic says so, else the record's own. */
  timestamp: number
  /** The level reached. */
  durability: Durability
}

export interface TopicPartition {
  topic: string
  partition: number
}

export interface TopicPartitionOffset extends TopicPartition {
  offset: number
}

/** How far a consumer is in a partition, and how far it could be. */
export interface PartitionLag extends TopicPartition {
  /** The offset of the first record that does not count as processed. */
  position: number
  /** What the group has committed; null without a group, or if nothing was committed. */
  committed: number | null
  /** The next offset a reader would see. */
  highWatermark: number
  /** From `position` to `highWatermark`, counting by offsets; 0 or more. */
  lag: number
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

/** A group as it is listed. */
export interface GroupDescription {
  group: string
  /** As in `GroupDetails`. */
  state: string
  generation: number
  /** The ids of its members. */
  members: string[]
  offsets: TopicPartitionOffset[]
}

/** A group, its members, and what it has committed. */
export interface GroupDetails {
  group: string
  /**
   * `Empty`, `Stable`, `Reconciling` (partitions are moving) or `Recovering` (the broker has started, and waits for the
   * members that the group had).
   */
  state: string
  generation: number
  members: GroupMember[]
  offsets: TopicPartitionOffset[]
}

/** A member of a group. */
export interface GroupMember {
  memberId: string
  /** The name of a static member. */
  instanceId: string | null
  /** What it calls itself. */
  clientName: string
  /** Where it is, where that is known. */
  host: string | null
  /** The generation that it was told last; 0 before the first. */
  generation: number
  /** What it holds, also what it is about to let go of. */
  partitions: TopicPartition[]
}

/** How a client is. */
export interface Health {
  /** Whether all of it can work: it has its log, and each consumer with a group is a member of it. */
  isHealthy: boolean
  /** Why it cannot, in words, if it cannot. */
  reason: string | null
  isClosed: boolean
  /** What it is connected to: a folder, a name in memory, or the broker that answers. */
  address: string
  isConnected: boolean
  /** For how long it has been connected, or not. */
  sinceMs: number
  /** Why it is not connected. */
  lastError: HeadwaterError | null
  /** The consumers that have joined a group, or are about to. */
  members: MemberHealth[]
  /** Bytes of records accepted and not acknowledged yet. */
  bufferedBytes: number
  bufferedRecords: number
  /** How long the oldest batch of these has been waiting. */
  oldestUnsentMs: number | null
}

/** How a consumer is as a member of its group. */
export interface MemberHealth {
  group: string
  /** Empty before it asked to join. */
  memberId: string
  /** 0 before it is a member. */
  generation: number
  /** `lost`: it is no member any more, or must be taken for none; others may have its partitions. */
  state: 'joining' | 'stable' | 'lost'
  /** How many partitions it holds. */
  partitions: number
  /** How long ago its last heartbeat was answered. */
  lastHeartbeatMs: number | null
  /** What is wrong with it, in words, if something is. */
  reason: string | null
}
