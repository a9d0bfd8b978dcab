package server

import (
	"context"
	"errors"
	"fmt"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/tick"
	"github.com/evmq/evmq/internal/workpool"
)

// start starts the goroutine that runs the loop, unless the program does.
func (l *loop) start() {
	switch {
	case l.isLed():
		tick.Process.Watch(l)
		l.srv.pool.Lead(l.runAsLeader)
	case l.owner != nil:
		l.srv.goroutines.Add(1)
		go l.runForever()
	}
}

// runAsLeader is the function of the pool's goroutines that run the loop. It makes the calling goroutine the leader, until the loop is
// closed or another goroutine has become the leader.
func (l *loop) runAsLeader() (how workpool.Exit) {
	runner, err := l.owner.Runner()
	if err != nil {
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err)) // newLoop has checked that there is one
	}
	ld := &leader{l: l, runner: runner}
	ld.serve = ld.serveFinished
	label(l.lead.labels)
	leading(ld, func() { how = ld.runTurns() })
	return how
}

// runTurns runs the turns of the loop, and after each turn the requests of the leader's queue. It returns when the leadership of ld is over
// and the request that ld runs has ended.
func (ld *leader) runTurns() workpool.Exit {
	l, runner := ld.l, ld.runner
	returned := false
	defer func() {
		if returned {
			return
		}
		if v := recover(); v != nil { // the program ends; meanwhile no other goroutine runs the loop
			panic(v)
		}
		ld.afterGoexit()
	}()
	ld.begin()
	for suspended := runner.Suspended(); ld.runInline() && !l.lead.stop.Load(); {
		polls := !suspended
		if ld.needsRest && polls && l.lead.inline.len() == 0 {
			ld.needsRest = false
			tick.Process.Rest()
		}
		if err := runner.Turn(l.lead.inline.len() == 0); err != nil && !errors.Is(err, event.ErrClosed) {
			// The poller has failed unexpectedly. The connections of this loop cannot be served any more.
			panic(fmt.Sprintf("server: loop %d: %v", l.index, err))
		}
		if suspended = l.lead.suspends && runner.Suspended(); suspended && len(l.turnRequests) > 0 {
			_ = runner.Call(l.endTurn) // otherwise the workers would get the other requests of the turn only after the leader's
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
	return ld.exit()
}

// afterGoexit is called when a callback or a handler has called runtime.Goexit on the goroutine of ld, which ends. Another goroutine takes its
// place.
func (ld *leader) afterGoexit() {
	if ld.lost {
		ld.l.srv.pool.Quit(ld.exit())
		return
	}
	ld.l.srv.pool.Lead(ld.l.runAsLeader) // setCurrent aborts the connection of the callback
}

// begin makes the calling goroutine the leader. If the leadership was taken from another goroutine, begin records that in the route of its
// handler, and completes the work that it has left.
func (ld *leader) begin() {
	l := ld.l
	lead := &l.lead
	lead.runner = ld.runner
	word := leadWord(lead.word.Load())
	lead.word.Store(uint64(word.with(leadTurning)))
	taken := lead.running
	if taken != nil {
		now := l.ev.Clock().Now()
		taken.takenOver(now, now-l.now(), lead.byHandler)
	}
	lead.setRoute(nil)
	lead.byHandler = false
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

// end ends the last leadership, before the loop is closed. Requests that the leader has not run are given to the workers.
func (ld *leader) end() {
	lead := &ld.l.lead
	for lead.inline.len() > 0 {
		ld.giveToWorkers(lead.inline.pop())
	}
	lead.word.Store(uint64(leadWord(lead.word.Load()).with(leadOver)))
	close(lead.over)
}

// stopLeading makes the leader end, and waits for that. If the leadership is taken from it meanwhile, its successor ends. Not on
// the loop.
func (l *loop) stopLeading() {
	l.lead.stop.Store(true)
	l.do(func() {}) // wakes the loop
	<-l.lead.over
	tick.Process.Unwatch(l)
}

// runForever runs a loop that is not led, on a goroutine of its own, until it is closed.
func (l *loop) runForever() {
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
		go l.runForever() // a callback has called runtime.Goexit; setCurrent aborts the connection of the callback
	}()
	var err error
	leading(&leader{l: l}, func() { err = l.owner.RunForever(context.Background()) })
	over = true
	if err != nil && !errors.Is(err, event.ErrClosed) {
		panic(fmt.Sprintf("server: loop %d: %v", l.index, err)) // as in runAsLeader
	}
}
