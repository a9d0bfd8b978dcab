package server

import (
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/outq"
)

const (
	// replyBuffer is the number of bytes of a reply that are gathered before they become output.
	replyBuffer = 16 << 10
	// inlineReply is that number on the loop, which gives them to the kernel without another copy when the function returns. They take
	// a largeBuffer.
	inlineReply = readSize
)

// smallReply is the number of gathered bytes that are not counted, since they are small beside the other memory of a worker.
const smallReply = 2 << 10

// replyPhase is the state of a reply.
type replyPhase uint8

const (
	replyEnded    replyPhase = iota // there is no reply: its function has not begun, or all of it is output
	replyOpen                       // its function runs, or it was deferred; the bytes become output when it ends
	replyInPieces                   // the same, and a part is output: other writes wait for the rest
	replyWaits                      // Concurrent: it has ended, and waits for the answers to older requests
	replyLost                       // it was deferred, and its connection has ended before Close: its methods return the reason
)

var replyPhases = [...]string{replyEnded: "ended", replyOpen: "open", replyInPieces: "in pieces", replyWaits: "waits for older replies", replyLost: "lost"}

// String returns the phase's name.
func (p replyPhase) String() string { return replyPhases[p] }

// replyNext are the phases that may follow each phase, as bits.
var replyNext = [...]uint8{
	replyEnded:    1<<replyEnded | 1<<replyOpen,
	replyOpen:     1<<replyOpen | 1<<replyInPieces | 1<<replyWaits | 1<<replyEnded | 1<<replyLost,
	replyInPieces: 1<<replyInPieces | 1<<replyOpen | 1<<replyWaits | 1<<replyEnded | 1<<replyLost,
	replyWaits:    1 << replyEnded,
	replyLost:     1 << replyEnded,
}

// replyState is the state of the Replies of an input, one after the other. Each has another number, so that a Reply that is used after its
// end does not affect the next one.
type replyState struct {
	// number is the number of the reply that is open or begins next. It grows with each end. It is changed under mu.
	number atomic.Uint64

	// slow is set by a call that has mu and may wait, or copies much.
	slow atomic.Bool

	// word is the leadWord of the latest call of a function on the loop; 0 before the first. When that call has ended, the loop has another
	// word, so that leaveLoop does nothing.
	word atomic.Uint64

	mu        sync.Mutex // guards what follows; c and order are fixed while a reply is open. Locked before the connection's
	c         *Conn
	buf       []byte      // gathered bytes, not yet output
	small     []byte      // while buf is a largeBuffer: the small buffer that it has replaced, empty
	room      int         // the most bytes that are gathered: replyBuffer or inlineReply
	err       error       // the error of an earlier call; all later calls return it
	order     uint64      // Concurrent: the request's number among those of its connection; else 0
	counted   int         // bytes of buf, and of deferral, counted in Server.buffered
	phase     replyPhase  // changed under c.mu, too, so that either lock is enough to read it
	overfull  bool        // Concurrent: its connection holds MaxOutput, so that it waits for the older replies
	refused   bool        // the reply is BusyText; no worker has answered
	isFinal   bool        // CloseWrite was called: the reply accepts no more bytes. Changed under c.mu, too
	isWatched bool        // OnCancel was called. Under c.mu
	spare     *outq.Queue // an empty queue for the answer; nil for none. Under c.mu
	deferral  *deferral   // nil if the reply was not deferred

	deadline *replyDeadline // of SetWriteDeadline; nil for none. Under c.mu
}

// become changes the phase. Under mu and c.mu.
func (r *replyState) become(next replyPhase) {
	if replyNext[r.phase]&(1<<next) == 0 {
		panic("server: reply: from " + r.phase.String() + " to " + next.String())
	}
	r.phase = next
}

// beginReply begins the reply to the next request of in.
func (in *input) beginReply() Reply {
	r := &in.reply
	r.become(replyOpen) // without mu: no Reply has this number yet, and those with other numbers read only the number
	r.refused, r.overfull, r.room = false, false, replyBuffer
	return Reply{r.c, in, r.number.Load()}
}

// isOpen reports whether the function of the reply runs, or the reply was deferred and has not ended. Under mu.
func (r *replyState) isOpen() bool { return r.phase == replyOpen || r.phase == replyInPieces }

// end ends the reply, if it is open: it accepts no more bytes. Under mu and c.mu.
func (r *replyState) end(phase replyPhase) {
	if r.isOpen() {
		r.number.Add(1)
	}
	r.endFinal()
	r.dropDeadline()
	r.endWatches()
	r.become(phase)
}

// reset prepares the state for an input of another connection. A reply that has ended and was not sent, since its connection is closed, is
// discarded.
func (r *replyState) reset() {
	if r.phase == replyWaits {
		r.become(replyEnded)
	}
	if r.empty(); cap(r.buf) > replyBuffer {
		r.buf = nil
	}
	r.count(0)
	r.dropDeadline()
	r.c, r.err, r.order, r.deferral, r.isFinal = nil, nil, 0, nil, false
}

// empty discards the gathered bytes, whether they have become output or not, and gives a large buffer back. Under mu.
func (r *replyState) empty() {
	if isLarge(r.buf) {
		giveLarge(r.buf)
		r.buf, r.small = r.small, nil
	}
	r.buf = r.buf[:0]
}

// lockOnLoop locks mu, unless the call that has it is slow: that call may wait for the loop. It reports whether mu is locked.
func (r *replyState) lockOnLoop() bool {
	for tries := 1; !r.mu.TryLock(); tries++ {
		if r.slow.Load() {
			return false
		}
		if tries%100 == 0 { // the goroutine of that call does not run
			runtime.Gosched()
		}
	}
	return true
}

// checkConn sets err if the connection accepts no more output, and overfull. Under mu.
func (r *replyState) checkConn() {
	c := r.c
	c.mu.Lock()
	if c.state.isDead() {
		r.err = c.refusal()
	}
	if r.order != 0 {
		r.overfull = c.outputBytes() >= c.loop.srv.cfg.MaxOutput && !r.isOldest(c.ext)
	}
	c.mu.Unlock()
}

// gather adds p to the gathered bytes, for which there is room. Under mu.
func (r *replyState) gather(p []byte) {
	if len(r.buf)+len(p) > replyBuffer && !isLarge(r.buf) {
		large := takeLarge()
		n := copy(large, r.buf)
		r.buf, r.small = large[:n], r.buf[:0]
	}
	r.buf = append(r.buf, p...)
	r.countGathered()
}

// countGathered counts the gathered bytes, if they are many or the reply was deferred. Under mu.
func (r *replyState) countGathered() {
	n := cap(r.buf)
	if r.deferral != nil {
		r.count(n + deferralCost)
	} else if n > smallReply {
		r.count(n)
	}
}

// count sets the number of bytes that buf and deferral are counted with. Under mu, or when the reply has ended.
func (r *replyState) count(n int) {
	if n != r.counted {
		r.c.loop.srv.addBuffered(n - r.counted)
		r.counted = n
	}
}

// leaveLoop makes another goroutine the leader of the loop if the function of the reply runs on the loop, as Server.leaveLoop does for the
// function that calls it. Any goroutine.
func (r *replyState) leaveLoop(c *Conn) {
	if word := r.word.Load(); word != 0 {
		c.loop.takeOver(leadWord(word), true)
	}
}

// lock locks the reply's state. It fails if the reply has ended, so that the state is that of another reply, or if the connection accepts
// no more output.
func (w Reply) lock() (*replyState, error) {
	r, err := w.lockOpen()
	if err != nil {
		return nil, err
	}
	if r.err == nil && (r.order != 0 || w.c.isDead()) {
		r.checkConn()
	}
	if err = r.err; err == nil && r.isFinal {
		err = ErrClosed
	}
	if err != nil {
		r.mu.Unlock()
		return nil, err
	}
	return r, nil
}

// lockOpen locks the state of a reply that has not ended, whether its connection accepts output or not.
func (w Reply) lockOpen() (*replyState, error) {
	if w.in == nil { // the zero Reply
		return nil, ErrReplyEnded
	}
	r := &w.in.reply
	if r.number.Load() != w.number { // before the lock, which another reply may hold for long
		return nil, ErrReplyEnded
	}
	if !r.mu.TryLock() {
		if !w.c.loop.ev.OnLoop() {
			r.mu.Lock()
		} else if !r.lockOnLoop() {
			return nil, event.ErrOnLoop
		}
	}
	if r.number.Load() != w.number {
		r.mu.Unlock()
		return nil, ErrReplyEnded
	}
	return r, nil
}

// isOldest reports whether all requests before this one are answered. Under c.mu.
func (r *replyState) isOldest(x *ext) bool { return r.order == 0 || r.order == x.conc.oldest }
