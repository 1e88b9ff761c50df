package main

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// withMetadata puts a text beside every offset of a commit.
func withMetadata(text string) func(*kmsg.OffsetCommitRequest) error {
	return func(request *kmsg.OffsetCommitRequest) error {
		for i := range request.Topics {
			for j := range request.Topics[i].Partitions {
				request.Topics[i].Partitions[j].Metadata = &text
			}
		}
		return nil
	}
}

type committing = func(*kgo.Client, *kmsg.OffsetCommitRequest, *kmsg.OffsetCommitResponse, error)

// committed keeps the first error of a commit's answer.
func committed(failed *error) committing {
	return func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, response *kmsg.OffsetCommitResponse, err error) {
		*failed = err
		if response == nil {
			return
		}
		for _, topic := range response.Topics {
			for _, partition := range topic.Partitions {
				if *failed == nil {
					*failed = kerr.ErrorForCode(partition.ErrorCode)
				}
			}
		}
	}
}
