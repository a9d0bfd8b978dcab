package server

import (
	"sync"

	"github.com/evmq/evmq/server/framing"
)

// input is the input of a connection that its handler has not consumed. Most connections have none most of the time. An input also carries
// requests to a worker: the connection's own input, which is given back afterwards, or one that holds a copy of one message.
//
// It belongs to one goroutine at a time, according to state. It passes from the loop to a worker through the workers' queue, and back
// under the connection's lock, with cmdDone.
type input struct {
	buf        []byte
	small      []byte // while buf is a largeBuffer: the small buffer that it has replaced, empty
	pos        int    // the bytes before it are consumed
	cursor     int    // of the framing, in the incomplete message at pos
	counted    int    // bytes counted in Server.buffered
	earlyBytes int    // Concurrent: bytes counted in the connection's output while the answer waits for older ones
	state      inputState
	isRead     bool // a method of Input was called
	isShared   bool // between two messages, too, the loop may use pos, under the connection's mu. Of the goroutine that answers them
	claim      claim
	leader     *leader // the leader that runs it; nil on a worker
	request    request // while the input is handed over; otherwise zero

	// stream has what was read since; it is nil if nothing was. While a request is in progress, the connection's mu guards it, isRead, and in the
	// methods of Input pos and cursor.
	stream  *stream
	copying sync.Mutex // held while bytes of buf and stream are copied. Locked after the connection's mu
	reply   replyState
}

// request is the part of a request that is not its bytes.
type request struct {
	handler      RequestHandler
	framing      framing.Framing // finds the messages after first; nil if there is only first
	first        []byte          // the message that the loop has found; nil when it was taken
	atEOF        bool            // the stream ends after the input
	final        bool            // the framing has ended the stream: the rest of the input is ignored
	direct       bool            // the connection has no layers; see readNow
	cancels      bool            // Conn.Context ends with the peer's half; see CancelHandler
	ex           *executor       // runs it, unless the loop's leader does
	chooser      ExecutorHandler // handler, if it chooses between executors
	place        Placement
	isForWorkers bool         // the loop's leader does not run it
	router       RouteHandler // handler, if it distinguishes routes
	route        *route       // the route of first; set by the loop's leader
}

// inputState is the owner of an input.
type inputState uint8

const (
	inputWithLoop   inputState = iota // the loop, or none while the input is unused
	inputQueued                       // no goroutine: it was handed over, and waits for the end of the turn or for a worker
	inputInProgress                   // a worker
	inputAnswered                     // no goroutine: Concurrent, its answer waits for older ones
	inputDeferred                     // no goroutine: its reply was deferred, and waits for Close
	inputEmptied                      // no goroutine: its requests were moved to another input, and an Executor still has its job
)

var inputStates = [...]string{inputWithLoop: "with the loop", inputQueued: "queued", inputInProgress: "in progress", inputAnswered: "answered", inputDeferred: "deferred", inputEmptied: "emptied"}

// String returns the state's name.
func (s inputState) String() string { return inputStates[s] }

// inputNext are the states that may follow each state, as bits.
var inputNext = [...]uint8{
	inputWithLoop:   1 << inputQueued,
	inputQueued:     1<<inputInProgress | 1<<inputWithLoop | 1<<inputAnswered | 1<<inputEmptied, // the others if no worker gets it: it is refused, or the loop's connections are aborted
	inputInProgress: 1<<inputWithLoop | 1<<inputAnswered | 1<<inputDeferred,
	inputAnswered:   1 << inputWithLoop,
	inputDeferred:   1<<inputWithLoop | 1<<inputAnswered,
	inputEmptied:    1 << inputWithLoop,
}

// become changes the state. The goroutine that owns the input calls it.
func (in *input) become(next inputState) {
	if inputNext[in.state]&(1<<next) == 0 {
		panic("server: input: from " + in.state.String() + " to " + next.String())
	}
	in.state = next
}

var inputs = sync.Pool{New: func() any { return new(input) }}

// A loop keeps up to maxKeptInputs unused inputs, with buffers of up to maxKeptInput bytes each, outside the pool, because it gets them
// faster there.
const (
	maxKeptInputs = 64
	maxKeptInput  = 2 << 10
)

// maxKept limits the buffer that an input in the pool keeps.
const maxKept = 16 << 10

// newInput makes an unused input the connection's.
func (c *loopConn) newInput() *input {
	var in *input
	if kept := c.loop.inputs; len(kept) > 0 {
		last := len(kept) - 1
		in, kept[last] = kept[last], nil
		c.loop.inputs = kept[:last]
	} else {
		in = inputs.Get().(*input)
	}
	in.reply.c = &c.Conn
	c.in = in
	return in
}

// rest returns the bytes that are not consumed.
func (in *input) rest() []byte { return in.buf[in.pos:] }

// inputOverhead is the memory of an input besides its bytes.
const inputOverhead = 384

// memory returns the memory of the input, without its reply.
func (in *input) memory() int { return cap(in.buf) + inputOverhead }

// dropInput discards the input that is not consumed.
func (c *loopConn) dropInput() {
	in := c.in
	if in == nil {
		return
	}
	c.in = nil
	c.deadlines.stop(readDeadline)
	c.count(in, 0)
	if in.isLost() {
		in.uncountStream()
		in.drop()
		return
	}
	c.freeStream(in)
	in.reset()
	if l := c.loop; len(l.inputs) < maxKeptInputs && cap(in.buf)+cap(in.reply.buf) <= maxKeptInput {
		l.inputs = append(l.inputs, in)
	} else {
		inputs.Put(in)
	}
}

// drop leaves an input to the garbage collector, except for its reply, which the program may still use.
func (in *input) drop() { in.buf, in.stream, in.request = nil, nil, request{} }

// recycle puts the input into the pool.
func (in *input) recycle() {
	if in.isLost() {
		in.drop()
		return
	}
	in.reset()
	inputs.Put(in)
}

// reset prepares the input for another connection.
func (in *input) reset() {
	in.shrink()
	in.pos, in.cursor, in.earlyBytes, in.isRead = 0, 0, 0, false
	in.request = request{}
	in.reply.reset()
}

// maxReleased limits the buffer of an input that is no longer counted when its last request has ended, although the loop has not taken it
// back. It is small compared with the other memory of a connection.
const maxReleased = 4 << 10

// release ends the counting of an input without unanswered bytes, if it is small. It returns the number of bytes that the input was counted
// with, which the caller subtracts from Server.buffered.
func (in *input) release() int {
	if cap(in.buf) > maxReleased || len(in.rest()) > 0 {
		return 0
	}
	n := in.counted
	in.counted = 0
	return n
}

// count sets the number of bytes that the input is counted with in Server.buffered.
func (c *Conn) count(in *input, n int) {
	if n != in.counted {
		c.loop.srv.addBuffered(n - in.counted)
		in.counted = n
	}
}
