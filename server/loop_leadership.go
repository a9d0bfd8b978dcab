package server

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/workpool"
)

// One goroutine of the pool at a time is the leader of a loop of the server. The leader runs the turns of the event loop, and between two
// turns it runs requests itself: a quick handler on the leader costs much less than one on a worker. While a handler runs, the leader does
// not run the event loop. If the handler blocks, or computes for long, another goroutine of the pool becomes the leader and runs the next
// turn. The goroutine that is blocked is a worker from then on: it uses nothing of the loop, and ends its request as a worker does.
//
// The leadership passes from one goroutine to another only by changes of the leadWord. docs/model checks the protocol. loop_lead.go has the
// goroutine of a leader, loop_turn.go the choice of its requests, loop_inline.go and loop_handler.go their execution, and loop_takeover.go
// the change of the leader.

// leadState says what the leader does, or that there is none.
type leadState uint8

const (
	leadTurning leadState = iota // the leader runs a turn, or works between turns
	leadHandler                  // a handler runs; another goroutine may change the state to leadTaken
	leadTaken                    // the leadership was taken from the handler's goroutine; its successor has not begun
	leadOver                     // there is no leader any more: the loop is being closed
)

var leadStates = [...]string{leadTurning: "turning", leadHandler: "in a handler", leadTaken: "taken", leadOver: "over"}

// String returns the state's name.
func (s leadState) String() string { return leadStates[s] }

// leadWord is a leadState, and a number that differs for each call of a handler by the leader of any loop.
type leadWord uint64

// state returns the state.
func (w leadWord) state() leadState { return leadState(w & 3) }

// with returns the word with another state.
func (w leadWord) with(s leadState) leadWord { return w&^3 | leadWord(s) }

// next returns the word for the next handler.
func (w leadWord) next() leadWord { return (w&^3 + 4).with(leadHandler) }

// loopNumbers counts the loops of the process. The number of a loop is the first part of its leadWords, so that the word in a Reply never is
// that of another loop.
var loopNumbers atomic.Uint64

// leadership is the part of a loop that its leaders pass on to each other.
type leadership struct {
	word     atomic.Uint64   // a leadWord. Any goroutine
	seen     leadWord        // the word at the last tick if a handler ran then, otherwise 0. Only Tick uses it
	wantTurn atomic.Bool     // a turn is due before the next request. Any goroutine
	stop     atomic.Bool     // the leader has to end. Any goroutine
	over     chan struct{}   // closed when the last leader has ended; nil if no leaders run the loop
	labels   context.Context // of the goroutine that runs the loop, in profiles; not changed

	// The rest belongs to the leader.
	runner    *event.Runner
	suspends  bool // Suspend was called in this turn
	inline    inlineQueue
	running   *route        // the route of the request that the leader runs; nil if it runs none
	last      *route        // the route of the latest request, whose calls setRoute counts when the route changes; nil at first
	slow      time.Duration // a handler that has the loop for longer is logged; 0: none is
	began     time.Duration // with slow: when the handler began, since processStart
	taken     time.Duration // with slow: when the handler lost the loop, since processStart. Set like byHandler
	byHandler bool          // see takeOver. Set by the goroutine that has changed the word to leadTaken
	routes    routeTable

	finished *loopConn    // the connection of a request that has ended or has answers already, if it has to be served; not in the loop's queue
	result   *flushResult // what writeAnswer has left to serveFinished
}

// init prepares the leadership of a loop that leaders run.
func (lead *leadership) init(slow time.Duration) {
	lead.slow = slow
	lead.over = make(chan struct{})
	lead.word.Store(loopNumbers.Add(1) << 48)
}

// A leader is a goroutine that leads a loop.
type leader struct {
	l         *loop
	runner    *event.Runner
	word      leadWord  // while it runs a handler
	ex        *executor // that of the request that it runs
	lost      bool      // its leadership was taken
	needsRest bool      // Rest of the tick has to be called before the next sleep
	serve     func()    // the method value serveFinished, made once, since making it allocates
}

// exit returns how the leadership of ld has ended, for the pool. If the leadership was taken, it is called when the request that ld ran has
// ended, too.
func (ld *leader) exit() workpool.Exit {
	switch {
	case !ld.lost:
		return workpool.LeadOver
	case ld.ex.isOwn():
		return workpool.LeadReplaced
	}
	ld.ex.apart.Add(-1)
	return workpool.LeadApart
}

// isLed reports whether leaders run the loop, which does not change. The goroutine of a loop with the thread driver is locked to its
// thread, and the program runs the loops of UseLoops itself: their requests are run by workers.
func (l *loop) isLed() bool { return l.lead.over != nil }

// setRoute records the route of the request that the leader runs next, or nil if it runs none, and counts the calls of the route before.
func (lead *leadership) setRoute(r *route) {
	if lead.last != r {
		if lead.last != nil {
			lead.last.countRan()
		}
		lead.last = r
	}
	lead.running = r
}
