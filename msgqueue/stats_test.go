package msgqueue_test

import (
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// MaxLen does not fall, whether the loop, Stats or Close has seen the largest length.
func TestMaxLenDoesNotFall(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	q := newQueue(t, l, func(int) {}, nil)
	testkit.Must(t, q.PushBatch([]int{1, 2}))
	testkit.Must(t, l.RunNonblock()) // the loop takes a batch of 2
	testkit.Must(t, q.PushBatch([]int{1, 2, 3}))
	if s := q.Stats(); s.MaxLen != 3 {
		t.Errorf("with 3 messages, after 2: %+v", s)
	}
	testkit.Must(t, l.RunNonblock())
	testkit.Must(t, q.PushBatch([]int{1, 2, 3, 4}))
	q.Close()
	if s := q.Stats(); s.Len != 0 || s.MaxLen != 4 {
		t.Errorf("closed with 4 messages: %+v", s)
	}
}
