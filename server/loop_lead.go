package server

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/tick"
)

// A loop of the server is led by one goroutine of the pool at a time. The leader makes the turns of the event loop, and between two turns it
// runs requests itself: a quick handler on the leader costs much less than one on a worker. While a handler runs, the leader does not run the
// event loop. If the handler blocks, or computes for long, another goroutine of the pool takes the leadership: it makes the next turn. The
// one that is blocked is a worker from then on, and touches nothing of the loop: it ends its request as a worker does.
//
// The leadership changes hands by one word, leadWord, and nowhere else. docs/model checks the protocol.

// leadState is what the leader does.
type leadState uint8

const (
	leadTurning leadState = iota // a turn, or the work between turns
	leadHandler                  // a handler runs; another goroutine may change the state to leadTaken
	leadTaken                    // the leadership was taken from it; its successor has not begun
	leadOver                     // there is no leader any more: the loop is being closed
)

var leadStates = [...]string{leadTurning: "turning", leadHandler: "in a handler", leadTaken: "taken", leadOver: "over"}

// String returns the state's name.
func (s leadState) String() string { return leadStates[s] }

// leadWord is a number, which is another one for each handler that the leader calls, and a leadState.
type leadWord uint64

func (w leadWord) state() leadState { return leadState(w & 3) }

// with returns the word with another state.
func (w leadWord) with(s leadState) leadWord { return w&^3 | leadWord(s) }

// next returns the word for the next handler.
func (w leadWord) next() leadWord { return (w&^3 + 4).with(leadHandler) }

// leadership is the part of a loop that concerns its leader.
type leadership struct {
	word     atomic.Uint64 // a leadWord. Any goroutine
	seen     leadWord      // the word at the last tick, if it was in a handler, else 0. The tick only
	wantTurn atomic.Bool   // a turn is due before the next request. Any goroutine
	stop     atomic.Bool   // the leader is to end. Any goroutine
	over     chan struct{} // closed when the leader has ended

	// The rest belongs to the leader.
	inline  inlineQueue
	batch   []*input // memory for distribute
	running *route   // of the request that the leader runs
	yielded bool     // Reply.Blocking has taken the leadership from it. Set by the goroutine that has changed the word to leadTaken
	routes  routeTable
}

// A leader is a goroutine that leads a loop.
type leader struct {
	l        *loop
	runner   *event.Runner
	word     leadWord  // while it runs a handler
	lost     bool      // its leadership was taken
	finished *loopConn // the connection of a request that has ended, if it is to be served
	serve    func()    // serveFinished, bound once
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
		l.srv.down.Add(1)
		go l.run()
	}
}

// leads is the function of a goroutine that leads the loop, until the loop is to be closed or another goroutine has taken the leadership. It reports the latter.
func (l *loop) leads() (replaced bool) {
	runner, err := l.owner.Runner()
	if err != nil {
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err)) // newLoop has checked it
	}
	ld := &leader{l: l, runner: runner}
	ld.serve = ld.serveFinished
	returned := false
	defer func() {
		if !returned {
			ld.exit()
		}
	}()
	l.beginLeading()
	for ld.runInline() && !l.lead.stop.Load() {
		l.lead.wantTurn.Store(false)
		if err := runner.Turn(l.lead.inline.len() == 0); err != nil && !errors.Is(err, event.ErrClosed) {
			// The poller has failed, which is not expected. The connections of this loop cannot be served any more.
			panic(fmt.Sprintf("server: loop %d: %v", l.index, err))
		}
	}
	if !ld.lost {
		ld.end()
	}
	returned = true
	return ld.lost
}

// exit is called when a callback or a handler has panicked or called runtime.Goexit on the goroutine of ld.
func (ld *leader) exit() {
	if v := recover(); v != nil {
		panic(v)
	}
	if ld.lost {
		ld.l.srv.pool.Quit()
		return
	}
	if ld.finished != nil {
		ld.finished.enqueue(true)
	}
	ld.l.srv.pool.Lead(ld.l.leads) // setCurrent ends the connection of the callback
}

// beginLeading begins the leadership of the calling goroutine. If it was taken, the handler that had it has stalled the loop.
func (l *loop) beginLeading() {
	lead := &l.lead
	word := leadWord(lead.word.Load())
	lead.word.Store(uint64(word.with(leadTurning)))
	if r := lead.running; r != nil {
		now := l.srv.cfg.clock().Now()
		r.takenOver(now, now-l.now(), lead.yielded)
	}
	lead.running, lead.yielded = nil, false
}

// end ends the leadership when the loop is to be closed. Requests that the leader has not run are given to the workers.
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
	l.do(func() {}) // ends a sleep
	<-l.lead.over
	tick.Process.Unwatch(l)
}

// run runs a loop that has no leader until it is closed.
func (l *loop) run() {
	over := false
	defer func() {
		if v := recover(); v != nil {
			panic(v)
		}
		if over {
			l.srv.down.Done()
			return
		}
		go l.run() // a callback has called runtime.Goexit; setCurrent ends the connection of the callback
	}()
	err := l.owner.RunForever(context.Background())
	over = true
	if err != nil && !errors.Is(err, event.ErrClosed) {
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err)) // as in leads
	}
}
