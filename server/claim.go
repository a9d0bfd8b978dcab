package server

import "sync/atomic"

// A claim says which goroutine has the requests of an input that was handed to an Executor: the server does not rely on an Executor to run
// each job once, and a request that waits for too long is refused while the Executor still has its job.
//
// It has a number, which is another one for each job of the input, so that a job that is run late does not affect later requests, which may
// be those of another connection. It belongs to the loop, except while its state is claimWaiting, claimTaken or claimEmptied.
type claim struct {
	word atomic.Uint64 // the number, and the claimState in the lowest bits
}

// claimState is the state of the claim of a job.
type claimState uint8

const (
	claimNone    claimState = iota // the loop has taken the requests, and the job was run or is in no Executor
	claimWaiting                   // the job waits, in an Executor or in the backlog of the loop
	claimStarted                   // a goroutine of the Executor runs the requests, or has run them
	claimTaken                     // the loop is moving the requests to another input
	claimEmptied                   // the loop has moved them; the Executor still has the job
)

var claimStates = [...]string{claimNone: "none", claimWaiting: "waiting", claimStarted: "started", claimTaken: "taken", claimEmptied: "emptied"}

// String returns the state's name.
func (s claimState) String() string { return claimStates[s] }

// claimBits is the number of bits of a claimState.
const claimBits = 3

// begin begins a claim with a new number, which it returns. The state is claimWaiting. Loop only.
func (c *claim) begin() (number uint64) {
	number = c.word.Load()>>claimBits + 1
	c.word.Store(number<<claimBits | uint64(claimWaiting))
	return number
}

// change changes the state of the claim with this number. It reports whether the state was from. Any goroutine.
func (c *claim) change(number uint64, from, to claimState) bool {
	return c.word.CompareAndSwap(number<<claimBits|uint64(from), number<<claimBits|uint64(to))
}

// isWaiting reports whether the job with this number waits. Any goroutine.
func (c *claim) isWaiting(number uint64) bool {
	return c.word.Load() == number<<claimBits|uint64(claimWaiting)
}

// unclaimed is the number of a job without a claim: the server's own pool runs each job once, and no loop takes its requests from it unless
// there is a QueueTimeout.
const unclaimed = 0

// isWaiting reports whether the job waits.
func (j Job) isWaiting() bool { return j.number == unclaimed || j.in.claim.isWaiting(j.number) }

// reclaim takes a job that is in no Executor back, and returns its input. It returns nil if an Executor has run the job nevertheless.
func (j Job) reclaim() *input {
	if j.number != unclaimed && !j.in.claim.change(j.number, claimWaiting, claimNone) {
		return nil
	}
	return j.in
}

// withdraw takes the requests from a job that an Executor has. They move to another input, which withdraw returns, because the Executor will
// call Run of the job at some time. It returns nil if it has done so. Until then the empty input counts in Server.buffered. Loop only.
func (j Job) withdraw() *input {
	in := j.in
	if !in.claim.change(j.number, claimWaiting, claimTaken) {
		return nil
	}
	full := in.moveRequests()
	j.ex.srv.addBuffered(inputOverhead)
	if !in.claim.change(j.number, claimTaken, claimEmptied) { // Run was called meanwhile
		j.ex.srv.addBuffered(-inputOverhead)
		in.become(inputWithLoop)
		in.recycle()
	}
	return full
}

// moveRequests moves the requests of an input that is queued to another input, which it returns. Loop only.
func (in *input) moveRequests() (full *input) {
	in.reply.c.loop.assertInLoop("the refusal of a request")
	full = inputs.Get().(*input)
	full.buf, full.small, full.pos, full.cursor, full.counted = in.buf, in.small, in.pos, in.cursor, in.counted
	full.request, full.state = in.request, in.state
	full.reply.c, full.reply.order = in.reply.c, in.reply.order
	if c := in.reply.c.loopPart(); c.in == in {
		c.mu.Lock()
		c.in = full
		full.stream, in.stream = in.stream, nil // with CancelOnEOF the loop may have read
		c.mu.Unlock()
	}
	full.reply.spare, in.reply.spare = in.reply.spare, nil
	in.buf, in.small, in.counted, in.request = nil, nil, 0, request{}
	in.become(inputEmptied)
	return full
}
