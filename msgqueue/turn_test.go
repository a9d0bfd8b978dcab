package msgqueue_test

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// Something more urgent that becomes active comes before the queue's next message, and the rest is delivered afterwards.
func TestUrgentEventComesBeforeTheNextMessage(t *testing.T) {
	l := testkit.NewLoop(t, &event.Config{Priorities: 2})
	delivered, at := 0, -1
	urgent, err := l.NewEvent(-1, 0, func(*event.Event, event.Flags) { at = delivered })
	if err != nil {
		t.Fatal(err)
	}
	if err := urgent.SetPriority(0); err != nil {
		t.Fatal(err)
	}
	q := newQueue(t, l, func(n int) {
		if delivered++; n == 3 {
			if err := urgent.Activate(0); err != nil {
				t.Error(err)
			}
		}
	}, &msgqueue.Config{Priority: new(1)})
	for n := range 100 {
		push(t, q, n+1)
	}
	turn(t, l)
	turn(t, l)
	if at != 3 {
		t.Errorf("%d messages were delivered before the urgent event, want 3", at)
	}
	for range 3 {
		turn(t, l)
	}
	if delivered != 100 {
		t.Errorf("%d messages of 100", delivered)
	}
}

// stepClock is a clock that passes a step with each message, and no time otherwise.
type stepClock struct{ now time.Duration }

func (c *stepClock) Now() time.Duration { return c.now }

func (c *stepClock) AfterFunc(time.Duration, func()) event.ClockTimer {
	panic("a loop that is stepped does not sleep")
}

// The messages of a turn stop when Budget.Time is spent, one at least being delivered; in a priority that the budget exempts they do not.
func TestMessagesOfATurnCountForBudgetTime(t *testing.T) {
	for _, c := range []struct {
		priority int
		step     time.Duration
		want     int
	}{
		{1, time.Millisecond, 10}, {1, 4 * time.Millisecond, 3}, {1, time.Second, 1}, {0, time.Millisecond, 100},
	} {
		clock := &stepClock{}
		l := testkit.NewLoop(t, &event.Config{Clock: clock, Priorities: 2, Budget: event.Budget{Time: 10 * time.Millisecond, MinPriority: 1}})
		delivered := 0
		q := newQueue(t, l, func(int) {
			delivered++
			clock.now += c.step
		}, &msgqueue.Config{Priority: new(c.priority)})
		for n := range 100 {
			push(t, q, n)
		}
		turn(t, l)
		if delivered != c.want {
			t.Errorf("priority %d, %v a message: %d delivered in a turn, want %d", c.priority, c.step, delivered, c.want)
		}
		for delivered < 100 {
			turn(t, l)
		}
	}
}

// PushContext accepts where there is room, even if its context has ended: the context bounds the waiting. In a full queue it says the
// context's cause at once.
func TestPushContextWithAnEndedContextPushesWhereThereIsRoom(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	cause := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: 2})
	for n := range 2 {
		if err := q.PushContext(ctx, n); err != nil {
			t.Fatalf("with room: %v", err)
		}
	}
	if err := q.PushContext(ctx, 2); !errors.Is(err, cause) {
		t.Fatalf("without room: %v", err)
	}
	if s := q.Stats(); s.Pushed != 2 || s.Refused != 1 || s.Waiters != 0 {
		t.Errorf("%+v", s)
	}
}

// A PushContext that waits ends when its loop is closed, even if a function that Close calls before panics.
func TestPushContextEndsWhenALoopClosesWithAPanic(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("first") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			l := testkit.NewLoop(t, nil)
			if _, err := l.OnClose(end); err != nil {
				t.Fatal(err)
			}
			if err := l.Post(end); err != nil {
				t.Fatal(err)
			}
			q := newQueue(t, l, func(int) {}, &msgqueue.Config{Bound: 1})
			push(t, q, 1)
			over := make(chan error, 1)
			go func() { over <- q.PushContext(context.Background(), 2) }()
			testkit.Until(t, "PushContext waits", func() bool { return q.Stats().Waiters == 1 })
			go func() {
				defer func() { _ = recover() }()
				_ = l.Close()
			}()
			select {
			case err := <-over:
				if !errors.Is(err, msgqueue.ErrClosed) {
					t.Errorf("PushContext: %v", err)
				}
			case <-time.After(testkit.Patience):
				t.Error("PushContext waits for ever")
			}
			<-l.Done()
			if left := q.Close(); len(left) != 1 || left[0] != 1 {
				t.Errorf("Close returned %v", left)
			}
		})
	}
}
