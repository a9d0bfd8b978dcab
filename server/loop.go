package server

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/msgqueue"
)

// A loop is the server's part of an event loop: its connections and the state that they share. Only its goroutine uses it, except for the
// fields that are marked Any goroutine.
//
// In a turn, descriptors that are ready are read and the bytes given to handlers (ready); connections that other goroutines have queued
// are served and their output written (serve); and the requests of the turn are submitted to the workers together (endTurn).
type loop struct {
	srv     *Server
	index   int
	ev      *event.Loop
	owner   *event.Owner               // runs and closes ev; nil with UseLoops, where the program does
	queue   *msgqueue.Queue[*loopConn] // connections with output or commands, each once. Any goroutine
	count   atomic.Int32               // its open connections. Any goroutine
	traffic traffic                    // see Stats. Any goroutine

	// tasks has functions of the server that the loop calls. They are not posts, whose number is limited: a shutdown must not depend on the
	// posts of users. Any goroutine.
	tasks *msgqueue.Queue[func()]

	buf          []byte      // the buffer of reads, which Data is given; a largeBuffer, which a large input may get
	plain        []byte      // the buffer of decrypted input, and of output before its encryption; made when it is needed
	records      []byte      // the buffer of the TLS records of one flush; made when it is needed
	cursor       int         // of the framing in the argument of Data; see Requests
	current      *loopConn   // the connection that the loop works on; see setCurrent
	running      running     // the part of it that other goroutines may use
	inData       bool        // Data or LastData of current is being called
	result       flushResult // of the latest flush
	iov          [maxVectors][]byte
	dones        []outq.Done                     // completions of writes that report will call
	reported     int                             // the number of functions in dones that were called
	outcome      error                           // the argument of dones
	spares       []*outq.Queue                   // empty queues, for lend
	mostSpares   int                             // the number of them that requests have needed so far
	inputs       []*input                        // unused, for newInput
	turnRequests []*input                        // requests of this turn, for endTurn
	queues       []jobQueue                      // to the executors of the server, in their order
	roomEvent    *event.Event                    // activated when an executor has room again
	waits        waitQueue                       // the jobs that QueueTimeout may refuse
	dialing      map[*loopConn]struct{}          // connections of Dial that are not connected yet
	closedBusy   map[*loopConn]struct{}          // closed connections with requests in progress or a file that is being read
	refusals     map[*refusal]struct{}           // connections that are being refused with BusyText
	refusing     atomic.Int32                    // connections that wait for the loop to refuse them. Any goroutine
	aborting     bool                            // new connections end at once, because the context of Shutdown has ended, or the loop is being closed
	leftConns    []*loopConn                     // the connections in queue when the loop ended
	leftTasks    []func()                        // the functions in tasks when the loop ended
	turnEnd      *event.Watcher                  // calls endTurn
	onClose      *event.Watcher                  // calls closedByOwner
	endReason    error                           // the reason of the connections when the loop has ended; nil before
	ended        atomic.Bool                     // endReason was set. Any goroutine
	cancels      cancelWatches                   // the functions of Reply.OnCancel. Any goroutine
	late         lateWork                        // work after the end of the loop. Any goroutine
	goneOnce     sync.Once                       // closes gone
	gone         chan struct{}                   // closed when the loop has ended, with its connections and listeners. Any goroutine
	callback     func(*event.Event, event.Flags) // the method value ready, made once so that connections share it
	lead         leadership
	loopAssert
}

const (
	// maxVectors limits the slices of one writev.
	maxVectors = 16
	// readSize is the size of a read of a connection in a turn; the rest is read in the next turn, after the other connections.
	readSize = 64 << 10
	// writeBudget limits the bytes that one flush writes, in one or more system calls.
	writeBudget = sock.MaxRaw
)

// now returns the loop's time, which is read once in a turn.
func (l *loop) now() time.Duration { return l.ev.Now() }

// closedError wraps event.ErrClosed of the loop in ErrLoopClosed or ErrServerClosed, and returns any other error as it is.
func (l *loop) closedError(err error) error {
	if !errors.Is(err, event.ErrClosed) || errors.Is(err, ErrLoopClosed) || errors.Is(err, ErrServerClosed) {
		return err
	}
	if l.owner == nil && !l.srv.ending.Load() {
		return fmt.Errorf("%w: %w", ErrLoopClosed, err)
	}
	return fmt.Errorf("%w: %w", ErrServerClosed, err)
}
