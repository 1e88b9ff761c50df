package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Positions, offsets and administration.

func (d *driver) administer(ctx context.Context, step string, f *fields) (any, error) {
	switch step {
	case "create_topic":
		return nil, d.createTopic(ctx, f)
	case "delete_topic":
		found, err := d.admin.DeleteTopics(ctx, f.Topic)
		// A producer keeps the id of a topic that it knows.
		d.lock.Lock()
		defer d.lock.Unlock()
		for _, producer := range d.producers {
			producer.PurgeTopicsFromClient(f.Topic)
		}
		return nil, either(err, found[f.Topic].Err)
	case "list_topics":
		found, err := d.admin.ListTopics(ctx)
		return found.Names(), err
	case "describe_topic":
		found, err := d.admin.ListTopics(ctx, f.Topic)
		return row{"topic": f.Topic, "partitions": len(found[f.Topic].Partitions)}, either(err, found[f.Topic].Err)
	case "add_partitions":
		found, err := d.admin.UpdatePartitions(ctx, f.Total, f.Topic)
		return nil, either(err, found[f.Topic].Err)
	case "topic_config":
		return d.topicConfig(ctx, f)
	case "alter_topic_config":
		var changes []kadm.AlterConfig
		for name, value := range f.Config {
			changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: name, Value: &value})
		}
		found, err := d.admin.AlterTopicConfigs(ctx, changes, f.Topic)
		if err != nil {
			return nil, err
		}
		return nil, found[0].Err
	case "list_offsets":
		return d.listOffsets(ctx, f.Topic, f.Partition, f.At)
	case "delete_records":
		return d.deleteRecords(ctx, f)
	case "list_groups":
		found, err := d.admin.ListGroups(ctx)
		return found.Groups(), err
	case "describe_group":
		found, err := d.admin.DescribeGroups(ctx, f.Group)
		one := found[f.Group]
		return row{"state": one.State, "members": len(one.Members)}, either(err, one.Err)
	case "delete_group":
		found, err := d.admin.DeleteGroups(ctx, f.Group)
		return nil, either(err, found[f.Group].Err)
	case "group_offsets":
		return d.groupOffsets(ctx, f.Group)
	case "alter_group_offsets":
		found, err := d.admin.CommitOffsets(ctx, f.Group, offsetsOf(f.Offsets))
		return nil, either(err, found.Error())
	case "describe_cluster":
		found, err := d.admin.BrokerMetadata(ctx)
		return row{"brokers": len(found.Brokers), "controller": found.Controller}, err
	}
	return nil, notPossible("no such step: " + step)
}

func either(one, other error) error {
	if one != nil {
		return one
	}
	return other
}

func (d *driver) createTopic(ctx context.Context, f *fields) error {
	configs := map[string]*string{}
	for name, value := range f.Config {
		configs[name] = &value
	}
	partitions, replicas := int32(1), int16(1)
	if f.Partitions != nil {
		partitions = *f.Partitions
	}
	if f.ReplicationFactor != 0 {
		replicas = f.ReplicationFactor
	}
	found, err := d.admin.CreateTopics(ctx, partitions, replicas, configs, f.Topic)
	return either(err, found[f.Topic].Err)
}

func (d *driver) topicConfig(ctx context.Context, f *fields) (any, error) {
	found, err := d.admin.DescribeTopicConfigs(ctx, f.Topic)
	if err != nil {
		return nil, err
	}
	out := row{}
	for _, config := range found[0].Configs {
		for _, name := range f.Names {
			if config.Key == name {
				out[name] = config.Value
			}
		}
	}
	return out, found[0].Err
}

func (d *driver) listOffsets(ctx context.Context, topic string, partition int32, at any) (int64, error) {
	var found kadm.ListedOffsets
	var err error
	switch at := at.(type) {
	case float64:
		found, err = d.admin.ListOffsetsAfterMilli(ctx, int64(at), topic)
		if one, ok := found.Lookup(topic, partition); ok && one.Timestamp == -1 {
			// It gives the end where no record is as late.
			return -1, either(err, one.Err)
		}
	default:
		if at == "earliest" {
			found, err = d.admin.ListStartOffsets(ctx, topic)
		} else {
			found, err = d.admin.ListEndOffsets(ctx, topic)
		}
	}
	one, _ := found.Lookup(topic, partition)
	return one.Offset, either(err, one.Err)
}

func (d *driver) deleteRecords(ctx context.Context, f *fields) (any, error) {
	found, err := d.admin.DeleteRecords(ctx, offsetsOf(f.Before))
	if err != nil {
		return nil, err
	}
	out := []int64{}
	for _, before := range f.Before {
		one, _ := found.Lookup(before[0].(string), int32(before[1].(float64)))
		if one.Err != nil {
			return nil, one.Err
		}
		out = append(out, one.LowWatermark)
	}
	return out, nil
}

func (d *driver) groupOffsets(ctx context.Context, group string) (any, error) {
	found, err := d.admin.FetchOffsets(ctx, group)
	out := []row{}
	for _, one := range found.Sorted() {
		out = append(out, row{"topic": one.Topic, "partition": one.Partition, "offset": one.At, "metadata": one.Metadata})
	}
	return out, err
}

func offsetsOf(rows [][]any) kadm.Offsets {
	out := kadm.Offsets{}
	for _, one := range rows {
		offset := kadm.Offset{Topic: one[0].(string), Partition: int32(one[1].(float64)), At: int64(one[2].(float64)), LeaderEpoch: -1}
		if len(one) > 3 {
			offset.Metadata = one[3].(string)
		}
		out.Add(offset)
	}
	return out
}

func (d *driver) commit(ctx context.Context, f *fields) error {
	one := d.reader(f.Consumer)
	if f.Offsets == nil {
		return one.client.CommitUncommittedOffsets(ctx)
	}
	// By the administration's call the group's own commit goes out: this client's takes metadata from elsewhere.
	wanted := map[string]map[int32]kgo.EpochOffset{}
	for topic, partitions := range offsetsOf(f.Offsets) {
		wanted[topic] = map[int32]kgo.EpochOffset{}
		for partition, at := range partitions {
			wanted[topic][partition] = kgo.EpochOffset{Epoch: -1, Offset: at.At}
		}
	}
	for _, offset := range f.Offsets {
		if len(offset) > 3 && offset[3] != "" {
			ctx = kgo.PreCommitFnContext(ctx, withMetadata(offset[3].(string)))
		}
	}
	var failed error
	one.client.CommitOffsetsSync(ctx, wanted, committed(&failed))
	return failed
}

func (d *driver) committed(ctx context.Context, f *fields) (any, error) {
	found, err := d.admin.FetchOffsets(ctx, d.reader(f.Consumer).group)
	if err != nil {
		return nil, err
	}
	one, there := found.Lookup(f.Topic, f.Partition)
	if !there || one.At < 0 {
		return nil, one.Err
	}
	return row{"offset": one.At, "metadata": one.Metadata}, one.Err
}

func (d *driver) seek(ctx context.Context, f *fields) error {
	one := d.reader(f.Consumer)
	var offset int64
	var err error
	switch to := f.To.(type) {
	case float64:
		offset = int64(to)
	case string:
		offset, err = d.listOffsets(ctx, f.Topic, f.Partition, to)
	case map[string]any:
		offset, err = d.listOffsets(ctx, f.Topic, f.Partition, to["time"])
	default:
		err = fmt.Errorf("not a place: %v", to)
	}
	if err != nil {
		return err
	}
	one.left = nil
	one.client.SetOffsets(map[string]map[int32]kgo.EpochOffset{f.Topic: {f.Partition: {Epoch: -1, Offset: offset}}})
	// What the poll in flight has brought is of before.
	time.Sleep(50 * time.Millisecond)
	return nil
}
