// Driver of franz-go: a request a line in, an answer a line out, each request on a goroutine of its own.
package main

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

const (
	idle    = 1500 * time.Millisecond
	wait    = 25 * time.Second
	timeout = 40 * time.Second
)

type header [2]*string

type record struct {
	Topic     string   `json:"topic"`
	Partition *int32   `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"`
	Key       *string  `json:"key"`
	Value     *string  `json:"value"`
	Headers   []header `json:"headers"`
}

type row = map[string]any

type fields struct {
	Topic, Group, Consumer, Compression, Acks, Start, Instance, Assignor string
	As                                                                   string
	Topics, Consumers, Names                                             []string
	Records                                                              []record
	Assign, Offsets, Before                                              [][]any
	Idempotent                                                           bool
	AutoCommit                                                           bool  `json:"auto_commit"`
	MaxRequestBytes                                                      int32 `json:"max_request_bytes"`
	MaxWaitMs                                                            int64 `json:"max_wait_ms"`
	MaxBytes                                                             int32 `json:"max_bytes"`
	WaitMs                                                               int64 `json:"wait_ms"`
	ReplicationFactor                                                    int16 `json:"replication_factor"`
	Count                                                                *int
	Partition                                                            int32
	Partitions                                                           *int32
	Total                                                                int
	To, At                                                               any
	Config                                                               map[string]string
}

type request struct {
	ID     int    `json:"id"`
	Step   string `json:"step"`
	Fields fields `json:"fields"`
}

type notPossible string

func (why notPossible) Error() string { return string(why) }

type driver struct {
	broker    string
	admin     *kadm.Client
	lock      sync.Mutex
	producers map[string]*kgo.Client
	readers   map[string]*reader
	closed    map[string]*reader
}

func main() {
	broker := os.Args[1]
	client, err := kgo.NewClient(kgo.SeedBrokers(broker), kgo.MetadataMinAge(50*time.Millisecond), kgo.RetryTimeout(timeout))
	if err != nil {
		panic(err)
	}
	one := &driver{
		broker: broker, admin: kadm.NewClient(client),
		producers: map[string]*kgo.Client{}, readers: map[string]*reader{}, closed: map[string]*reader{},
	}
	var writing sync.Mutex
	lines := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		go func() {
			answer := one.answer(line)
			writing.Lock()
			defer writing.Unlock()
			os.Stdout.Write(append(answer, '\n'))
		}()
	}
}

func (d *driver) answer(line []byte) []byte {
	var asked request
	if err := json.Unmarshal(line, &asked); err != nil {
		panic(fmt.Sprintf("%v: %s", err, line))
	}
	context, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	out := row{"id": asked.ID}
	gives, err := d.step(context, asked.Step, &asked.Fields)
	var why notPossible
	switch {
	case err == nil:
		out["gives"] = gives
	case errors.As(err, &why):
		out["not_possible"] = why
	default:
		out["fails"] = row{"code": codeOf(err), "says": err.Error()}
	}
	answer, err := json.Marshal(out)
	if err != nil {
		panic(err)
	}
	return answer
}

func codeOf(err error) any {
	var found *kerr.Error
	if errors.As(err, &found) {
		return found.Code
	}
	fmt.Fprintln(os.Stderr, err)
	return nil
}

func (d *driver) step(ctx context.Context, step string, f *fields) (any, error) {
	switch step {
	case "produce":
		return d.produce(ctx, f)
	case "consumer":
		return nil, d.consumer(f)
	case "consume":
		return d.reader(f.Consumer).consume(f)
	case "loop":
		d.reader(f.Consumer).loop()
		return nil, nil
	case "looped":
		return d.looped(f.Consumers), nil
	case "seek":
		return nil, d.seek(ctx, f)
	case "assignment":
		return d.reader(f.Consumer).assignment(), nil
	case "commit":
		return nil, d.commit(ctx, f)
	case "committed":
		return d.committed(ctx, f)
	case "close":
		d.close(named(f.Consumer))
		return nil, nil
	case "reset":
		d.reset()
		return nil, nil
	}
	return d.administer(ctx, step, f)
}

// --- records ---

var codecs = map[string]kgo.CompressionCodec{
	"": kgo.NoCompression(), "none": kgo.NoCompression(), "gzip": kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

func (d *driver) producer(f *fields) (*kgo.Client, error) {
	name := fmt.Sprint(f.Compression, f.Acks, f.Idempotent, f.MaxRequestBytes)
	d.lock.Lock()
	defer d.lock.Unlock()
	if found := d.producers[name]; found != nil {
		return found, nil
	}
	acks := map[string]kgo.Acks{"": kgo.AllISRAcks(), "all": kgo.AllISRAcks(), "1": kgo.LeaderAck(), "0": kgo.NoAck()}
	options := []kgo.Opt{
		kgo.SeedBrokers(d.broker), kgo.RequiredAcks(acks[f.Acks]), kgo.ProducerBatchCompression(codecs[f.Compression]),
		kgo.AllowAutoTopicCreation(), kgo.ProducerLinger(5 * time.Millisecond), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.RecordPartitioner(partitioner()), kgo.UnknownTopicRetries(20),
	}
	if !f.Idempotent {
		options = append(options, kgo.DisableIdempotentWrite())
	}
	if f.MaxRequestBytes > 0 {
		options = append(options, kgo.ProducerBatchMaxBytes(f.MaxRequestBytes))
	}
	made, err := kgo.NewClient(options...)
	d.producers[name] = made
	return made, err
}

// The record's partition where it names one, else by its key as the Java client.
func partitioner() kgo.Partitioner {
	sticky := kgo.StickyKeyPartitioner(nil)
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		byKey := sticky.ForTopic(topic)
		return func(one *kgo.Record, n int) int {
			if one.Partition >= 0 {
				return int(one.Partition)
			}
			return byKey.Partition(one, n)
		}
	})
}

func (d *driver) produce(ctx context.Context, f *fields) (any, error) {
	producer, err := d.producer(f)
	if err != nil {
		return nil, err
	}
	records := make([]*kgo.Record, len(f.Records))
	for i, one := range f.Records {
		record := &kgo.Record{Topic: f.Topic, Partition: -1, Key: decoded(one.Key), Value: decoded(one.Value)}
		if one.Partition != nil {
			record.Partition = *one.Partition
		}
		if one.Timestamp != nil {
			record.Timestamp = time.UnixMilli(*one.Timestamp)
		}
		for _, header := range one.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: *header[0], Value: decoded(header[1])})
		}
		records[i] = record
	}
	results := producer.ProduceSync(ctx, records...)
	if err := results.FirstErr(); err != nil {
		return nil, err
	}
	out := make([]row, len(records))
	for i, one := range records {
		out[i] = row{"topic": one.Topic, "partition": one.Partition, "offset": one.Offset}
	}
	return out, nil
}

// reader is a consumer; what it has polled beyond what was asked for waits in `left`.
type reader struct {
	client   *kgo.Client
	group    string
	auto     bool
	lock     sync.Mutex
	left     []record
	kept     []record
	assigned map[string]map[int32]bool
	stop     context.CancelFunc
	done     chan struct{}
}

func (d *driver) reader(name string) *reader {
	d.lock.Lock()
	defer d.lock.Unlock()
	return d.readers[named(name)]
}

func (d *driver) consumer(f *fields) error {
	one := &reader{group: f.Group, auto: f.AutoCommit, assigned: map[string]map[int32]bool{}}
	start := kgo.NewOffset().AtStart()
	if f.Start == "latest" {
		start = kgo.NewOffset().AtEnd()
	}
	options := []kgo.Opt{
		kgo.SeedBrokers(d.broker), kgo.ConsumeResetOffset(start), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.MetadataMaxAge(time.Second), kgo.FetchMaxWait(time.Duration(max(f.MaxWaitMs, 500)) * time.Millisecond),
	}
	if f.MaxBytes > 0 {
		options = append(options, kgo.FetchMaxPartitionBytes(f.MaxBytes))
	}
	if f.Assign != nil {
		parts := map[string]map[int32]kgo.Offset{}
		for _, at := range f.Assign {
			topic := at[0].(string)
			if parts[topic] == nil {
				parts[topic] = map[int32]kgo.Offset{}
			}
			parts[topic][int32(at[1].(float64))] = kgo.NewOffset().At(int64(at[2].(float64)))
		}
		options = append(options, kgo.ConsumePartitions(parts))
	} else {
		options = append(options, kgo.ConsumeTopics(f.Topics...))
	}
	if f.Group != "" {
		options = append(options, one.groupOptions(f)...)
	}
	client, err := kgo.NewClient(options...)
	one.client = client
	d.lock.Lock()
	defer d.lock.Unlock()
	d.readers[named(f.As)] = one
	return err
}

func (r *reader) groupOptions(f *fields) []kgo.Opt {
	balancer := kgo.RangeBalancer()
	if f.Assignor == "cooperative-sticky" {
		balancer = kgo.CooperativeStickyBalancer()
	}
	change := func(there bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			r.lock.Lock()
			defer r.lock.Unlock()
			for topic, partitions := range changed {
				for _, partition := range partitions {
					if r.assigned[topic] == nil {
						r.assigned[topic] = map[int32]bool{}
					}
					r.assigned[topic][partition] = there
				}
			}
		}
	}
	options := []kgo.Opt{
		kgo.ConsumerGroup(f.Group), kgo.Balancers(balancer), kgo.SessionTimeout(10 * time.Second),
		kgo.HeartbeatInterval(500 * time.Millisecond), kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)), kgo.BlockRebalanceOnPoll(),
	}
	if f.Instance != "" {
		options = append(options, kgo.InstanceID(f.Instance))
	}
	if f.AutoCommit {
		return append(options, kgo.AutoCommitInterval(time.Second))
	}
	return append(options, kgo.DisableAutoCommit())
}

func (r *reader) poll(ctx context.Context) []record {
	ctx, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	fetches := r.client.PollFetches(ctx)
	var out []record
	fetches.EachError(func(topic string, partition int32, err error) {
		if !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, context.Canceled) {
			fmt.Fprintln(os.Stderr, topic, partition, err)
		}
	})
	fetches.EachRecord(func(one *kgo.Record) {
		partition, timestamp := one.Partition, one.Timestamp.UnixMilli()
		found := record{Topic: one.Topic, Partition: &partition, Offset: one.Offset, Timestamp: &timestamp}
		found.Key, found.Value, found.Headers = encoded(one.Key), encoded(one.Value), []header{}
		for _, each := range one.Headers {
			name := each.Key
			found.Headers = append(found.Headers, header{&name, encoded(each.Value)})
		}
		out = append(out, found)
	})
	return out
}

func (r *reader) consume(f *fields) (any, error) {
	period := wait
	if f.Count == nil {
		period = idle
	}
	if f.WaitMs > 0 {
		period = time.Duration(f.WaitMs) * time.Millisecond
	}
	deadline := time.Now().Add(period)
	out := r.left
	for (f.Count == nil || len(out) < *f.Count) && time.Now().Before(deadline) {
		found := r.poll(context.Background())
		r.client.AllowRebalance()
		out = append(out, found...)
		if f.Count == nil && len(found) > 0 {
			deadline = time.Now().Add(period)
		}
	}
	r.left = nil
	if f.Count != nil && len(out) > *f.Count {
		out, r.left = out[:*f.Count], out[*f.Count:]
	}
	if out == nil {
		out = []record{}
	}
	return out, nil
}

func (r *reader) loop() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.done = stop, make(chan struct{})
	go func() {
		defer close(r.done)
		for ctx.Err() == nil {
			found := r.poll(ctx)
			if len(found) > 0 {
				if err := r.client.CommitUncommittedOffsets(context.Background()); err != nil {
					fmt.Fprintln(os.Stderr, "commit", err)
				}
			}
			r.lock.Lock()
			r.kept = append(r.kept, found...)
			r.lock.Unlock()
			r.client.AllowRebalance()
		}
	}()
}

func (r *reader) assignment() []row {
	r.lock.Lock()
	defer r.lock.Unlock()
	out := []row{}
	for topic, partitions := range r.assigned {
		for partition, there := range partitions {
			if there {
				out = append(out, row{"topic": topic, "partition": partition})
			}
		}
	}
	return out
}

func (d *driver) looped(names []string) []record {
	d.lock.Lock()
	defer d.lock.Unlock()
	out := []record{}
	for _, name := range names {
		one := d.readers[name]
		if one == nil {
			one = d.closed[name]
		}
		one.lock.Lock()
		out = append(out, one.kept...)
		one.lock.Unlock()
	}
	return out
}

func (d *driver) close(name string) {
	d.lock.Lock()
	one := d.readers[name]
	delete(d.readers, name)
	d.closed[name] = one
	d.lock.Unlock()
	if one.stop != nil {
		one.stop()
		<-one.done
	}
	if one.auto {
		// What the last poll gave counts as read with the next one, which does not come.
		if err := one.client.CommitUncommittedOffsets(context.Background()); err != nil {
			fmt.Fprintln(os.Stderr, "commit", err)
		}
	}
	one.client.CloseAllowingRebalance()
}

func (d *driver) reset() {
	d.lock.Lock()
	var names []string
	for name := range d.readers {
		names = append(names, name)
	}
	d.lock.Unlock()
	for _, name := range names {
		d.close(name)
	}
	d.lock.Lock()
	d.closed = map[string]*reader{}
	d.lock.Unlock()
}

func named(name string) string {
	if name == "" {
		return "consumer"
	}
	return name
}

func decoded(text *string) []byte {
	if text == nil {
		return nil
	}
	data, err := base64.StdEncoding.DecodeString(*text)
	if err != nil {
		panic(err)
	}
	return data
}

func encoded(data []byte) *string {
	if data == nil {
		return nil
	}
	text := base64.StdEncoding.EncodeToString(data)
	return &text
}
