package msgqueue_test

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/msgqueue"
)

// machine makes one call after the other on a queue and on a simple model of it, and compares. The property test and the
// fuzz test draw the calls.
type machine struct {
	t       fataler
	loop    *event.Loop
	q       *msgqueue.Queue[message]
	budget  int
	nextID  int
	limit   int         // of what this turn may deliver
	pending chan result // of a Shutdown that waits for the rest

	// The model.
	bound      int
	in         []message
	waiters    []waiter
	shut       bool // nothing comes in any more
	loopClosed bool
	pushed     uint64
	delivered  uint64
	returned   uint64
	refused    uint64
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// message tells the callback what to do.
type message struct {
	id  int
	act action
}

type action uint8

const (
	actNothing action = iota
	actPush
	actPushBatch
	actPushContext
	actShutdown
	actPanic
	actClose
	actions // how many there are
)

type waiter struct {
	m       message
	cancel  context.CancelFunc
	outcome chan error
}

type result struct {
	left []message
	err  error
}

// planned is the value of the panics that are part of the test.
type planned struct{}

func newMachine(t fataler, bound, budget int) *machine {
	l, err := event.NewLoop(&event.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("%v", err)
	}
	m := &machine{t: t, loop: l, bound: bound, budget: budget}
	m.q, err = msgqueue.New(l, m.callback, &msgqueue.Config{Bound: bound, Budget: budget})
	if err != nil {
		t.Fatalf("%v", err)
	}
	return m
}

func (m *machine) message(act action) message {
	m.nextID++
	return message{m.nextID, act % actions}
}

// callback checks that the message is the model's next, and does what it says.
func (m *machine) callback(msg message) {
	if len(m.in) == 0 || m.in[0] != msg {
		m.t.Fatalf("delivered %v, want the first of %v", msg, m.in)
	}
	if m.limit--; m.limit < 0 {
		m.t.Fatalf("turn delivers more than its budget, or what came during it")
	}
	m.in = m.in[1:]
	m.delivered++
	m.serve()
	switch msg.act {
	case actPush:
		m.push(actNothing)
	case actPushBatch:
		m.pushBatch(2, actNothing)
	case actPushContext:
		m.pushContext(actNothing, event.ErrOnLoop)
	case actShutdown:
		if _, err := m.q.Shutdown(testkit.Canceled()); !errors.Is(err, event.ErrOnLoop) {
			m.t.Fatalf("Shutdown on the loop: %v", err)
		}
	case actPanic:
		panic(planned{})
	case actClose:
		m.close()
	}
	m.compare()
}

// accept is what the model says to n messages.
func (m *machine) accept(ms []message, err error) {
	m.t.Helper()
	want := error(nil)
	switch {
	case m.shut:
		want = msgqueue.ErrClosed
	case m.loopClosed && errors.Is(err, msgqueue.ErrClosed):
		m.shut = true // the queue has found out, which it must when nothing waits or when it is full
		return
	case m.loopClosed && len(m.in) == 0:
		want = msgqueue.ErrClosed
	case len(m.in)+len(ms) > m.bound:
		want = msgqueue.ErrFull
		m.refused += uint64(len(ms))
	default:
		m.in = append(m.in, ms...)
		m.pushed += uint64(len(ms))
	}
	if !errors.Is(err, want) {
		m.t.Fatalf("%d messages into a queue with %d of %d: %v, want %v", len(ms), len(m.in), m.bound, err, want)
	}
}

func (m *machine) push(act action) {
	m.t.Helper()
	msg := m.message(act)
	m.accept([]message{msg}, m.q.Push(msg))
}

func (m *machine) pushBatch(n int, act action) {
	m.t.Helper()
	var ms []message
	for range n {
		ms = append(ms, m.message(act))
	}
	err := m.q.PushBatch(ms)
	if n == 0 {
		if err != nil {
			m.t.Fatalf("empty batch: %v", err)
		}
		return
	}
	m.accept(ms, err)
}

// pushContext does not wait: full is the error when there is no room.
func (m *machine) pushContext(act action, full error) {
	m.t.Helper()
	msg := m.message(act)
	err := m.q.PushContext(testkit.Canceled(), msg)
	if errors.Is(err, full) {
		err = msgqueue.ErrFull
	}
	m.accept([]message{msg}, err)
}

// wait has one more PushContext wait, if the queue is full.
func (m *machine) wait(act action) {
	if m.shut || m.loopClosed || len(m.in) < m.bound || len(m.waiters) > 3 {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := waiter{m.message(act), cancel, make(chan error, 1)}
	go func() { w.outcome <- m.q.PushContext(ctx, w.m) }()
	m.waiters = append(m.waiters, w)
	for deadline := time.Now().Add(testkit.Patience); m.q.Stats().Waiters < len(m.waiters); time.Sleep(time.Microsecond) {
		if time.Now().After(deadline) {
			m.t.Fatalf("PushContext does not wait")
		}
	}
}

// serve admits waiting calls.
func (m *machine) serve() {
	for len(m.waiters) > 0 && len(m.in) < m.bound {
		w := m.waiters[0]
		m.in = append(m.in, w.m)
		m.pushed++
		m.outcome(0, nil)
	}
}

// outcome expects the end of a wait.
func (m *machine) outcome(i int, want error) {
	m.t.Helper()
	w := m.waiters[i]
	m.waiters = append(m.waiters[:i:i], m.waiters[i+1:]...)
	if err := receive(m.t, w.outcome); !errors.Is(err, want) {
		m.t.Fatalf("PushContext that waited: %v, want %v", err, want)
	}
	w.cancel()
}

// cancel ends the context of one that waits.
func (m *machine) cancel(i int) {
	if len(m.waiters) > 0 {
		i %= len(m.waiters)
		m.waiters[i].cancel()
		m.refused++
		m.outcome(i, context.Canceled)
	}
}

// shutDoor is the model's end of coming in.
func (m *machine) shutDoor() {
	m.shut = true
	for len(m.waiters) > 0 {
		m.outcome(0, msgqueue.ErrClosed)
	}
}

// turn makes a turn of the loop. Panics that the test has planned end it, and are no failure.
func (m *machine) turn() {
	if m.loopClosed {
		return
	}
	m.limit = min(m.budget, len(m.in))
	before, waited := m.delivered, len(m.in)
	defer func() {
		if v := recover(); v != nil && v != any(planned{}) {
			panic(v)
		}
		if waited > 0 && m.delivered == before {
			m.t.Fatalf("turn delivered none of %d", waited)
		}
	}()
	if err := m.loop.RunNonblock(); err != nil {
		m.t.Fatalf("RunNonblock: %v", err)
	}
}

func (m *machine) checkReturned(left []message) {
	m.t.Helper()
	if len(left) != len(m.in) {
		m.t.Fatalf("returned %v, want %v", left, m.in)
	}
	for i := range left {
		if left[i] != m.in[i] {
			m.t.Fatalf("returned %v, want %v", left, m.in)
		}
	}
	m.returned += uint64(len(left))
	m.in = nil
}

func (m *machine) close() {
	m.checkReturned(m.q.Close())
	m.shutDoor()
}

// shutdownNow is a Shutdown whose context has ended.
func (m *machine) shutdownNow() {
	waited, returned := len(m.in), m.returned
	left, err := m.q.Shutdown(testkit.Canceled())
	m.checkReturned(left)
	m.shutDoor()
	switch {
	case waited == 0 && returned == 0 && err == nil:
	case waited == 0 && returned > 0 && errors.Is(err, msgqueue.ErrClosed):
	case waited > 0 && errors.Is(err, context.Canceled):
	case waited > 0 && m.loopClosed && errors.Is(err, msgqueue.ErrClosed):
	default:
		m.t.Fatalf("Shutdown with %d messages waiting, %d returned before: %v", waited, returned, err)
	}
}

// shutdown begins a Shutdown that waits for the rest to be delivered.
func (m *machine) shutdown() {
	if m.pending != nil || m.loopClosed {
		return
	}
	pending := make(chan result, 1)
	m.pending = pending
	offer := make([]message, m.bound+1) // never fits
	go func() {
		left, err := m.q.Shutdown(context.Background())
		pending <- result{left, err}
	}()
	for deadline := time.Now().Add(testkit.Patience); ; time.Sleep(time.Microsecond) {
		err := m.q.PushBatch(offer)
		if errors.Is(err, msgqueue.ErrClosed) {
			break
		}
		m.refused += uint64(len(offer))
		if time.Now().After(deadline) {
			m.t.Fatalf("Shutdown does not shut the door")
		}
	}
	m.shutDoor()
}

// closeLoop closes the loop, which ends all waits.
func (m *machine) closeLoop() {
	if err := m.loop.Close(); err != nil {
		m.t.Fatalf("close loop: %v", err)
	}
	if m.loopClosed {
		return
	}
	m.loopClosed = true
	if len(m.waiters) > 0 {
		m.shutDoor()
	}
	m.endShutdown()
}

// endShutdown expects the end of the Shutdown that waits.
func (m *machine) endShutdown() {
	if m.pending == nil {
		return
	}
	r := receive(m.t, m.pending)
	m.pending = nil
	m.checkReturned(r.left)
	if all := m.returned == 0; all && r.err != nil || !all && !errors.Is(r.err, msgqueue.ErrClosed) {
		m.t.Fatalf("Shutdown: %v, when %d messages in all were returned", r.err, m.returned)
	}
}

// compare holds the queue's own account against the model's.
func (m *machine) compare() {
	m.t.Helper()
	s := m.q.Stats()
	if s.MaxLen > m.bound || s.Pushed != s.Delivered+s.Returned+uint64(s.Len) {
		m.t.Fatalf("stats %+v", s)
	}
	if s.Len != len(m.in) || s.Waiters != len(m.waiters) || s.Pushed != m.pushed || s.Delivered != m.delivered ||
		s.Returned != m.returned || s.Refused != m.refused || s.Len != m.q.Len() {
		m.t.Fatalf("stats %+v; model: %d in, %d waiting, %d pushed, %d delivered, %d returned, %d refused",
			s, len(m.in), len(m.waiters), m.pushed, m.delivered, m.returned, m.refused)
	}
}

// end lets what is under way come to its end, and checks that every message had its outcome.
func (m *machine) end() {
	for i := 0; m.pending != nil && !m.loopClosed && len(m.pending) == 0; i++ {
		m.turn()
		if len(m.in) == 0 && i > 100 {
			time.Sleep(time.Microsecond) // Shutdown is about to return
		}
		if i > 1_000_000 {
			m.t.Fatalf("Shutdown does not end")
		}
	}
	m.endShutdown()
	m.close()
	m.compare()
	if m.pushed != m.delivered+m.returned {
		m.t.Fatalf("pushed %d, delivered %d, returned %d", m.pushed, m.delivered, m.returned)
	}
}

// release gives back what a machine holds, also after a failure.
func (m *machine) release() {
	m.q.Close()
	_ = m.loop.Close()
}

func receive[T any](t fataler, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(testkit.Patience):
		t.Fatalf("a wait does not end")
	}
	return v
}
