package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/tick"
	"github.com/evmq/evmq/internal/workpool"
)

// One goroutine of the pool at a time is the leader of a loop of the server. The leader runs the turns of the event loop, and between two
// turns it runs requests itself: a quick handler on the leader costs much less than one on a worker. While a handler runs, the leader does
// not run the event loop. If the handler blocks, or computes for long, another goroutine of the pool becomes the leader and runs the next
// turn. The goroutine that is blocked is a worker from then on: it uses nothing of the loop, and ends its request as a worker does.
//
// The leadership passes from one goroutine to another only by changes of the leadWord. docs/model checks the protocol.

// leadState is what the leader does.
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

// init prepares the leadership of a loop that leaders run.
func (lead *leadership) init(slow time.Duration) {
	lead.slow = slow
	lead.over = make(chan struct{})
	lead.word.Store(loopNumbers.Add(1) << 48)
}

// leadership is the part of a loop that concerns its leader.
type leadership struct {
	word     atomic.Uint64   // a leadWord. Any goroutine
	seen     leadWord        // the word at the last tick if a handler ran then, otherwise 0. Only Tick uses it
	wantTurn atomic.Bool     // a turn is due before the next request. Any goroutine
	stop     atomic.Bool     // the leader has to end. Any goroutine
	over     chan struct{}   // closed when the leader has ended
	labels   context.Context // of the goroutine that runs the loop, in profiles; not changed

	// The rest belongs to the leader.
	runner   *event.Runner
	suspends bool // Suspend was called in this turn
	inline   inlineQueue
	running  *route        // the route of the request that the leader runs; nil if it runs none
	last     *route        // the route of the latest request, if it has calls for countRan
	slow     time.Duration // a handler that has the loop for longer is logged; 0: none is
	began    time.Duration // with slow: when the handler began, since processStart
	yielded  bool          // Reply.Blocking has taken the leadership from it. Set by the goroutine that has changed the word to leadTaken
	routes   routeTable

	finished *loopConn    // the connection of a request that has ended or has answers already, if it has to be served; not in the loop's queue
	result   *flushResult // what answer has left to serveFinished
}

// A leader is a goroutine that leads a loop.
type leader struct {
	l      *loop
	runner *event.Runner
	word   leadWord  // while it runs a handler
	ex     *executor // that of the request that it runs
	lost   bool      // its leadership was taken
	rests  bool      // Rest of the tick has to be called before the next sleep
	serve  func()    // the method value serveFinished, made once
}

// exitOf returns how the leadership of ld has ended, when the request that it ran has ended, too.
func (ld *leader) exitOf() workpool.Exit {
	switch {
	case !ld.lost:
		return workpool.LeadOver
	case ld.ex.isOwn():
		return workpool.LeadReplaced
	}
	ld.ex.apart.Add(-1)
	return workpool.LeadApart
}

// canLead reports whether leaders run the loop. The goroutine of a loop with the thread driver is locked to its thread, and the
// program runs the loops of UseLoops itself: their requests are run by workers.
func (l *loop) canLead() bool { return l.lead.over != nil }

// start starts the goroutine that runs the loop, unless the program does.
func (l *loop) start() {
	switch {
	case l.canLead():
		tick.Process.Watch(l)
		l.srv.pool.Lead(l.leads)
	case l.owner != nil:
		l.srv.goroutines.Add(1)
		go l.run()
	}
}

// leads makes the calling goroutine, which belongs to the pool, the leader of the loop, until the loop is closed or another goroutine has
// become the leader.
func (l *loop) leads() (how workpool.Exit) {
	runner, err := l.owner.Runner()
	if err != nil {
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err)) // newLoop has checked that there is one
	}
	ld := &leader{l: l, runner: runner}
	ld.serve = ld.serveFinished
	label(l.lead.labels)
	leading(ld, func() { how = ld.lead() })
	return how
}

// lead is leads for the leader ld.
func (ld *leader) lead() workpool.Exit {
	l, runner := ld.l, ld.runner
	returned := false
	defer func() {
		if !returned {
			ld.exit()
		}
	}()
	ld.begin()
	for suspended := runner.Suspended(); ld.runInline() && !l.lead.stop.Load(); {
		polls := !suspended
		if ld.rests && polls && l.lead.inline.len() == 0 {
			ld.rests = false
			tick.Process.Rest()
		}
		if err := runner.Turn(l.lead.inline.len() == 0); err != nil && !errors.Is(err, event.ErrClosed) {
			// The poller has failed unexpectedly. The connections of this loop cannot be served any more.
			panic(fmt.Sprintf("server: loop %d: %v", l.index, err))
		}
		if suspended = l.lead.suspends && runner.Suspended(); suspended && len(l.turnRequests) > 0 {
			_ = runner.Call(l.endTurn) // the workers do not wait for the leader's requests
		}
		l.lead.suspends = false
		if polls {
			l.lead.wantTurn.Store(false) // not before: turns that are longer than a tick would leave no time for requests
		}
	}
	if !ld.lost {
		ld.end()
	}
	returned = true
	return ld.exitOf()
}

// exit is called when a callback or a handler has panicked or called runtime.Goexit on the goroutine of ld.
func (ld *leader) exit() {
	if v := recover(); v != nil {
		panic(v)
	}
	if ld.lost {
		ld.l.srv.pool.Quit(ld.exitOf())
		return
	}
	ld.l.srv.pool.Lead(ld.l.leads) // setCurrent aborts the connection of the callback
}

// begin makes the calling goroutine the leader. If the leadership was taken from another goroutine, the route of that one's handler records
// it. It completes the work that the other goroutine has left.
func (ld *leader) begin() {
	l := ld.l
	lead := &l.lead
	lead.runner = ld.runner
	word := leadWord(lead.word.Load())
	lead.word.Store(uint64(word.with(leadTurning)))
	if r := lead.running; r != nil {
		now := l.ev.Clock().Now()
		r.takenOver(now, now-l.now(), lead.yielded)
	}
	taken := lead.running
	lead.run(nil)
	lead.yielded = false
	if taken != nil {
		l.recordHandler(taken, true)
	}
	// The loop is not closed while there is a leader, so Call does not fail.
	if l.current != nil || len(l.turnRequests) > 0 { // a callback has called runtime.Goexit in a Call
		_ = ld.runner.Call(l.endTurn)
	}
	if lead.finished != nil { // the earlier answers to an input whose handler blocks now
		_ = ld.runner.Call(ld.serve)
	}
}

// end ends the leadership before the loop is closed. Requests that the leader has not run are given to the workers.
func (ld *leader) end() {
	lead := &ld.l.lead
	for lead.inline.len() > 0 {
		ld.giveToWorkers(lead.inline.pop())
	}
	lead.word.Store(uint64(leadWord(lead.word.Load()).with(leadOver)))
	close(lead.over)
}

// stopLeading makes the leader end, and waits for that. Its successors end, too.
func (l *loop) stopLeading() {
	l.lead.stop.Store(true)
	l.do(func() {}) // wakes the loop
	<-l.lead.over
	tick.Process.Unwatch(l)
}

// run runs a loop that has no leader until it is closed.
func (l *loop) run() {
	label(l.lead.labels)
	over := false
	defer func() {
		if v := recover(); v != nil {
			panic(v)
		}
		if over {
			l.srv.goroutines.Done()
			return
		}
		go l.run() // a callback has called runtime.Goexit; setCurrent aborts the connection of the callback
	}()
	var err error
	leading(&leader{l: l}, func() { err = l.owner.RunForever(context.Background()) })
	over = true
	if err != nil && !errors.Is(err, event.ErrClosed) {
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err)) // as in leads
	}
}
