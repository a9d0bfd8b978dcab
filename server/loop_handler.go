package server

import (
	"time"

	"github.com/evmq/evmq/internal/tick"
)

// call calls the handler of in with one message. Meanwhile the leadership may be taken from ld.
func (ld *leader) call(in *input, w Reply, message []byte) {
	lead := &ld.l.lead
	r := in.request.route
	lead.setRoute(r)
	timed := r.isTimed()
	var start time.Duration
	if timed || lead.slow > 0 {
		start = time.Since(processStart)
		lead.began = start
	}
	ld.ex = in.request.ex
	ld.word = leadWord(lead.word.Load()).next()
	in.reply.room = inlineReply
	in.reply.word.Store(uint64(ld.word))
	lead.word.Store(uint64(ld.word))
	if tick.Process.Use() { // after the store: a tick before it would not see the handler, and need not be followed by another one
		ld.needsRest = true // a field of ld: the leadership may have been taken since
	}
	in.request.handler.ServeRequest(w, message)
	if !ld.leaveHandler(in) {
		return
	}
	if timed {
		r.sample(ld.l.now(), time.Since(processStart)-start)
	}
}

// mayGoOn reports whether the leader may answer another message of the same input.
func (ld *leader) mayGoOn(in *input) bool {
	return !ld.l.lead.wantTurn.Load() && (in.request.place == OnLoop || in.request.route.state != routeAway)
}

// leaveHandler is called when a handler has returned, panicked or called runtime.Goexit. It returns false if the leadership was taken
// meanwhile. A further call for the same handler does nothing and returns true.
func (ld *leader) leaveHandler(in *input) bool {
	word := ld.word
	if word == 0 {
		return true
	}
	ld.word = 0
	if !ld.l.lead.word.CompareAndSwap(uint64(word), uint64(word.with(leadTurning))) {
		ld.lost = true
		in.leader = nil
		return false
	}
	r := ld.l.lead.running
	r.ran++
	ld.l.lead.running = nil
	ld.l.recordHandler(r, false)
	return true
}

// enqueue makes the loop serve c, a connection whose request has ended, if needed is true. The leader serves it next; a worker, or a
// goroutine that has lost the leadership, puts it into the loop's queue. ld is nil on a worker.
func (ld *leader) enqueue(c *Conn, needed bool) {
	if ld == nil || ld.lost {
		c.enqueue(needed)
	} else if needed {
		ld.l.lead.finished = c.loopPart()
	}
}

// processStart is the origin of the times that handlers take. They are measured by the system's clock, even if the loop has another one.
var processStart = time.Now()

// recordHandler records the time for which a handler of route r has had the loop, and logs it if it is longer than SlowCallback of LoopConfig.
// It is called by the leader when the handler has returned, or by its successor when the leadership was taken from it; the time until the
// successor begins is not the handler's. The logger may call runtime.Goexit: after the first the connection of the request is aborted, and after
// the second the next leader does the rest of begin.
func (l *loop) recordHandler(r *route, taken bool) {
	slow := l.lead.slow
	if slow <= 0 {
		return
	}
	end := l.lead.taken
	if !taken {
		end = time.Since(processStart)
	}
	took := end - l.lead.began
	r.longest.Store(max(r.longest.Load(), int64(took)))
	if took > slow {
		l.srv.loopLogger().Warn("server: slow handler on a loop", "loop", l.index, "handler", r.handler, "route", r.key, "took", took, "threshold", slow, "continues", taken)
	}
}
