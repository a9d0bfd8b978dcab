package server

import (
	"time"

	"github.com/evmq/evmq/internal/tick"
)

// Tick is called by tick.Process at each tick, one call at a time, on a goroutine of the timer. It takes the leadership from the leader if the
// handler that ran at the tick before still runs. It also makes the leader run a turn before the next request, so that many short handlers
// do not delay timers and descriptors.
func (l *loop) Tick(late bool) (busy bool) {
	lead := &l.lead
	word := leadWord(lead.word.Load())
	lead.wantTurn.Store(true)
	switch {
	case word.state() != leadHandler:
		lead.seen = 0
		return false
	case late: // the process was stopped
		lead.seen = 0
	case word == lead.seen:
		if l.takeOver(word, false) {
			tick.Process.Faster()
		}
		lead.seen = 0
	default:
		lead.seen = word
	}
	return true
}

// IsBusy implements tick.Watcher.
func (l *loop) IsBusy() bool { return leadWord(l.lead.word.Load()).state() == leadHandler }

// takeOver takes the leadership from the leader whose handler began with word, and makes another goroutine the leader. It reports false if the
// handler has returned, or the leadership was taken before. byHandler says that the handler itself asks for it, by Reply.Blocking or in a
// method of Reply or Input that waits; otherwise a tick has found that the handler takes too long. Any goroutine.
func (l *loop) takeOver(word leadWord, byHandler bool) bool {
	if !l.lead.word.CompareAndSwap(uint64(word), uint64(word.with(leadTaken))) {
		return false
	}
	l.lead.byHandler = byHandler // the fields of lead belong to this goroutine until the next leader begins
	if l.lead.slow > 0 {
		l.lead.taken = time.Since(processStart)
	}
	apart := !l.lead.running.ex.isOwn() // then it takes the place of no worker of the pool
	if apart {
		l.lead.running.ex.apart.Add(1)
	}
	l.srv.pool.Replace(l.runAsLeader, apart)
	return true
}
