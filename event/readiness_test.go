package event_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
)

func TestOneShotReadSeesData(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := readable(t)
	var got []string
	e := eventFor(t, l, fd, event.Read, func(_ *event.Event, what event.Flags) {
		testkit.WantEqual(t, "what", what, event.Read)
		s, err := receive(fd)
		testkit.Must(t, err)
		got = append(got, s)
	})
	testkit.Must(t, e.Add(event.NoTimeout))
	testkit.Run(t, l)
	wantOrder(t, got, "data")
}

func TestOneShotWriteFiresWhereThereIsRoom(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fd, peer := pair(t)
	calls := 0
	e := eventFor(t, l, fd, event.Write, func(_ *event.Event, what event.Flags) {
		calls++
		testkit.WantEqual(t, "what", what, event.Write)
	})
	n := fill(t, fd)
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 3)
	testkit.WantEqual(t, "calls on a full socket", calls, 0)
	for left := n; left > 0; {
		s, err := receive(peer)
		testkit.Must(t, err)
		left -= len(s)
	}
	testkit.Run(t, l)
	testkit.WantEqual(t, "calls", calls, 1)
}

// Several events of one descriptor are all called for one readiness, and each keeps its own conditions.
func TestEventsOfOneDescriptorAreIndependent(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	fd := readable(t)
	counts := map[string]int{}
	count := func(name string, want event.Flags) func(*event.Event, event.Flags) {
		return func(_ *event.Event, what event.Flags) {
			counts[name]++
			testkit.WantEqual(t, name+": what", what, want)
		}
	}
	once := eventFor(t, l, fd, event.Read, count("once", event.Read))
	always := eventFor(t, l, fd, event.Read|event.Persist, count("always", event.Read))
	write := eventFor(t, l, fd, event.Write, count("write", event.Write))
	both := eventFor(t, l, fd, event.Read|event.Write|event.Persist, count("both", event.Read|event.Write))
	for _, e := range []*event.Event{once, always, write, both} {
		testkit.Must(t, e.Add(event.NoTimeout))
	}
	turns(t, l, 3)
	testkit.Must(t, both.Del())
	turns(t, l, 2)
	testkit.WantEqual(t, "once, always, write, both", [4]int{counts["once"], counts["always"], counts["write"], counts["both"]}, [4]int{1, 5, 1, 3})
}

// A one-shot read is called once although its data stays unread, and again only after another Add.
func TestOneShotIsCalledOnceThoughDataStays(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	calls := 0
	e := eventFor(t, l, readable(t), event.Read, func(*event.Event, event.Flags) { calls++ })
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 5)
	testkit.WantEqual(t, "calls", calls, 1)
	testkit.Must(t, e.Add(event.NoTimeout))
	turns(t, l, 5)
	testkit.WantEqual(t, "calls after another Add", calls, 2)
}

// Two one-shots that are ready in the same turn add each other: both are called, and the one that was added last stays.
func TestOneShotsThatAddEachOther(t *testing.T) {
	l := testkit.NewLoop(t, nil)
	_, _, fa, fb := pair(t)
	send(t, fa, "x")
	send(t, fb, "x")
	var a, b, last *event.Event
	calls := 0
	adds := func(other **event.Event) func(*event.Event, event.Flags) {
		return func(e *event.Event, _ event.Flags) {
			calls++
			_, err := receive(e.FD())
			testkit.Must(t, err)
			last = *other
			testkit.Must(t, last.Add(event.NoTimeout))
		}
	}
	a = eventFor(t, l, fa, event.Read, adds(&b))
	b = eventFor(t, l, fb, event.Read, adds(&a))
	testkit.Must(t, a.Add(event.NoTimeout))
	testkit.Must(t, b.Add(event.NoTimeout))
	testkit.Must(t, l.RunOnce(context.Background()))
	testkit.WantEqual(t, "calls", calls, 2)
	for name, e := range map[string]*event.Event{"a": a, "b": b} {
		testkit.WantEqual(t, name+" is pending", e.Pending() == event.Read, e == last)
	}
}

// transfer sends data from one descriptor to another through a loop, in small pieces.
type transfer struct {
	t        *testing.T
	from, to int
	data     []byte
	sent     int
	got      []byte
	persist  event.Flags
}

func (x *transfer) start(l *event.Loop) {
	testkit.Must(x.t, eventFor(x.t, l, x.from, event.Write|x.persist, x.write).Add(event.NoTimeout))
	testkit.Must(x.t, eventFor(x.t, l, x.to, event.Read|x.persist, x.read).Add(event.NoTimeout))
}

func (x *transfer) write(e *event.Event, _ event.Flags) {
	n, err := unix.Write(x.from, x.data[x.sent:min(len(x.data), x.sent+3000)])
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		x.t.Fatal(err)
	}
	x.sent += max(0, n)
	x.again(e, x.sent)
}

func (x *transfer) read(e *event.Event, _ event.Flags) {
	var buf [1000]byte
	n, err := unix.Read(x.to, buf[:])
	if err != nil && !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR) {
		x.t.Fatal(err)
	}
	x.got = append(x.got, buf[:max(0, n)]...)
	x.again(e, len(x.got))
}

// again keeps the event going until done bytes are all.
func (x *transfer) again(e *event.Event, done int) {
	switch {
	case done == len(x.data) && x.persist != 0:
		testkit.Must(x.t, e.Del())
	case done < len(x.data) && x.persist == 0:
		testkit.Must(x.t, e.Add(event.NoTimeout))
	}
}

// A reader and a writer move all data, and so do both ends at once, with persistent events and with one-shots.
func TestReadersAndWritersMoveAllData(t *testing.T) {
	for name, persist := range map[string]event.Flags{"one-shot": 0, "persistent": event.Persist} {
		for _, ways := range []int{1, 2} {
			t.Run(fmt.Sprintf("%s %d", name, ways), func(t *testing.T) {
				l := testkit.NewLoop(t, nil)
				_, _, fa, fb := pair(t)
				all := []*transfer{{from: fa, to: fb}, {from: fb, to: fa}}[:ways]
				rng := rand.NewChaCha8([32]byte{byte(ways)})
				for _, x := range all {
					x.t, x.persist, x.data = t, persist, make([]byte, 600_000)
					_, err := rng.Read(x.data)
					testkit.Must(t, err)
					x.start(l)
				}
				testkit.Run(t, l)
				for i, x := range all {
					if !bytes.Equal(x.got, x.data) {
						t.Errorf("way %d: %d bytes arrived of %d, or other ones", i, len(x.got), len(x.data))
					}
				}
			})
		}
	}
}

// manyPairs returns readable descriptors, and events for them that count their calls.
func manyPairs(t *testing.T, l *event.Loop, n int, flags event.Flags) (events []*event.Event, calls []int) {
	calls = make([]int, n)
	for i := range n {
		fd := readable(t)
		events = append(events, eventFor(t, l, fd, flags, func(_ *event.Event, what event.Flags) {
			calls[i]++
			testkit.WantEqual(t, "what", what, event.Read)
		}))
	}
	return events, calls
}

// However many descriptors are ready at once, none is left out.
func TestManyReadyDescriptorsAreAllReported(t *testing.T) {
	for _, n := range []int{70, 700} { // fewer and more than a turn takes from the kernel
		l := testkit.NewLoop(t, nil)
		events, calls := manyPairs(t, l, n, event.Read)
		for _, e := range events {
			testkit.Must(t, e.Add(event.NoTimeout))
		}
		testkit.Run(t, l)
		for i, c := range calls {
			testkit.WantEqual(t, fmt.Sprintf("calls of event %d of %d", i, n), c, 1)
		}
	}
}

// Descriptors that stay ready are reported in every turn, and so are those that are added later.
func TestDescriptorsAddedTurnByTurnAreAllReported(t *testing.T) {
	const n = 70
	l := testkit.NewLoop(t, nil)
	events, calls := manyPairs(t, l, n, event.Read|event.Persist)
	for i, e := range events {
		testkit.Must(t, e.Add(event.NoTimeout))
		turns(t, l, 1)
		for j, c := range calls {
			testkit.WantEqual(t, fmt.Sprintf("calls of event %d after %d turns", j, i+1), c, max(0, i+1-j))
		}
	}
}
