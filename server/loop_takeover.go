package server

import "github.com/evmq/evmq/internal/tick"

// Tick is called by tick.Process, one call at a time. It takes the leadership from the leader if the handler that ran at the tick before
// still runs. It also makes the leader run a turn before the next request, so that many short handlers do not delay timers and descriptors.
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

// takeOver takes the leadership from the leader whose handler began with word, unless the handler has returned, and makes another goroutine
// the leader. yielded says whether the handler has called Reply.Blocking, or waits in a method of Reply. Any goroutine.
func (l *loop) takeOver(word leadWord, yielded bool) bool {
	if !l.lead.word.CompareAndSwap(uint64(word), uint64(word.with(leadTaken))) {
		return false
	}
	l.lead.yielded = yielded
	apart := !l.lead.running.ex.isOwn()
	if apart {
		l.lead.running.ex.apart.Add(1)
	}
	l.srv.pool.Replace(l.leads, apart)
	return true
}
