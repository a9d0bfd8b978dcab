package server

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/msgqueue"
)

// A loop is one of a server's loops with what its connections share. All but the marked fields belong to its goroutine.
//
// Its turn: descriptors that are ready are read and their bytes given to handlers (ready); connections that other goroutines
// have told it of are served, their output written (serve); and the requests that the turn has found are handed to the
// workers in one go (endTurn).
type loop struct {
	srv     *Server
	index   int
	ev      *event.Loop
	owner   *event.Owner               // runs and closes ev; nil if the program does, with UseLoops
	queue   *msgqueue.Queue[*loopConn] // connections with output or a command, each once. Any goroutine
	count   atomic.Int32               // its connections. Any goroutine
	traffic traffic                    // of its connections. Any goroutine

	// orders are functions of the server's for the loop to call. They are few, and not bounded as posts are: a shutdown must not
	// depend on the room that users' posts leave. Any goroutine.
	orders *msgqueue.Queue[func()]

	buf        []byte    // what is read, borrowed to Data
	plain      []byte    // what TLS has decrypted, or is to encrypt
	cipher     []byte    // room for the records of one flush
	cursor     int       // of the framing in what Data was given; see Executor
	current    *loopConn // the connection that the loop works on; see enter
	iov        [maxVectors][]byte
	dones      []outq.Done                     // completions to be called,
	reported   int                             // how many of them have been,
	outcome    error                           // and with what
	handover   []*input                        // requests of this turn
	backlog    []*input                        // requests that wait for room in the workers' queue
	fed        *event.Event                    // activated by the workers when there is room again
	dialing    map[*loopConn]struct{}          // Dial: those that are not connected
	ending     map[*loopConn]struct{}          // closed, with a request still in work
	refusals   map[*refusal]struct{}           // clients that are being told to go
	cut        bool                            // everything is aborted: Shutdown's deadline
	left       []*loopConn                     // when the loop is being closed: connections to be ended,
	leftOrders []func()                        // and what was still to be done
	watchers   []*event.Watcher                // of ev
	endReason  error                           // of the connections, when the loop has ended; see loop_end.go
	ended      atomic.Bool                     // the same. Any goroutine
	late       lateWork                        // Any goroutine
	goneOnce   sync.Once                       // closes gone
	gone       chan struct{}                   // closed when the loop has ended and everything of it. Any goroutine
	callback   func(*event.Event, event.Flags) // ready, bound once
	loopAssert
}

const (
	maxVectors = 16
	// readSize is what one read of a connection takes in a turn; the rest comes next turn, after the others.
	readSize = 64 << 10
	// writeBudget is what a connection may write in a turn: what one system call takes.
	writeBudget = sock.MaxRaw
)

func (s *Server) newLoop(index int) (*loop, error) {
	ev, err := s.newEventLoop(index)
	if err != nil {
		return nil, err
	}
	l := &loop{srv: s, index: index, ev: ev, buf: make([]byte, readSize), dialing: map[*loopConn]struct{}{}, refusals: map[*refusal]struct{}{},
		ending: map[*loopConn]struct{}{}, gone: make(chan struct{}), late: lateWork{busy: true}}
	l.callback = l.ready
	l.queue, err = msgqueue.New(ev, l.serve, &msgqueue.Config{Bound: msgqueue.Unlimited, Budget: 1024})
	if err == nil {
		l.orders, err = msgqueue.New(ev, func(fn func()) { fn() }, &msgqueue.Config{Bound: msgqueue.Unlimited})
	}
	watch := func(on func(func()) (*event.Watcher, error), fn func()) {
		if err == nil {
			var w *event.Watcher
			if w, err = on(fn); err == nil {
				l.watchers = append(l.watchers, w)
			}
		}
	}
	watch(ev.OnTurnEnd, l.endTurn)
	watch(ev.OnClose, l.closedByOwner)
	if err == nil {
		l.fed, err = ev.NewEvent(-1, event.Persist, func(*event.Event, event.Flags) { l.feed() })
	}
	if err == nil && len(s.cfg.UseLoops) == 0 {
		l.owner, err = ev.Own()
	}
	if err != nil {
		_ = l.discard() // nothing runs on it yet; err says what went wrong
		if len(s.cfg.UseLoops) == 0 {
			_ = ev.Close()
		}
		return nil, fmt.Errorf("loop %d: %w", index, l.closedError(err))
	}
	return l, nil
}

// now is the loop's time, as this turn has read it.
func (l *loop) now() time.Duration { return l.ev.Now() }

// discard ends a loop that has not been used.
func (l *loop) discard() error {
	if l.owner != nil {
		return l.owner.Close()
	}
	if l.queue != nil {
		l.queue.Close()
	}
	if l.orders != nil {
		l.orders.Close()
	}
	for _, w := range l.watchers {
		w.Stop()
	}
	return nil
}

// close ends the loop for the server, waits for that, and sends the outcome to closed.
func (l *loop) close(closed chan<- error) {
	var err error
	defer func() { // also when a function that was posted to the loop calls runtime.Goexit
		<-l.gone
		closed <- err
	}()
	if l.owner == nil {
		l.doFully(l.leave, func() {})
	} else {
		err = l.owner.Close()
	}
}
