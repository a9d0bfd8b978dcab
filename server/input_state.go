package server

import (
	"sync"

	"github.com/evmq/evmq/server/framing"
)

// input is the input of a connection that its handler has not consumed. Most connections have none most of the time. An input also carries
// requests to the goroutine that runs them: the connection's own input, which is given back afterwards, or one that holds a copy of one
// message.
//
// It belongs to one goroutine at a time, according to state. It passes from the loop to a worker through the queue of an executor, or to the
// loop's leader through its own queue, and back under the connection's lock, with cmdDone.
type input struct {
	buf        []byte
	small      []byte // while buf is a largeBuffer: the small buffer that it has replaced, empty
	pos        int    // the bytes before it are consumed
	cursor     int    // of the framing, in the incomplete message at pos
	counted    int    // bytes counted in Server.buffered
	earlyBytes int    // Concurrent: bytes counted in the connection's output while the answer waits for older ones; see holdEarly
	state      inputState
	usesInput  bool // a method of Input was called for the request
	isShared   bool // the loop may read pos at any time: pos is changed under the connection's mu, also between two messages. Set by commit
	claim      claim
	leader     *leader // the loop's leader, if it runs the request; nil on a worker
	request    request // while the input is handed over; otherwise zero

	// stream has what was read while a request is in progress; nil if nothing was. Meanwhile the connection's mu guards stream and usesInput and,
	// in the methods of Input, pos and cursor.
	stream  *stream
	copying sync.Mutex // held while bytes of buf and stream are copied. Locked after the connection's mu
	reply   replyState
}

// request is the part of a request that is not its bytes.
type request struct {
	handler      RequestHandler
	framing      framing.Framing // finds the messages after first; nil if there is only first
	first        []byte          // the message that the loop has found; nil when takeMessage has returned it
	atEOF        bool            // the stream ends after the input
	final        bool            // the framing has ended the stream: the rest of the input is ignored
	endRead      bool            // with cancels: the end of the peer's half was read, and this input is before it. Under the connection's mu
	direct       bool            // the connection has no layers, so that the request may read the socket; see readNow
	cancels      bool            // Conn.Context ends with the peer's half; see CancelHandler
	ex           *executor       // runs the request, unless the loop's leader does
	chooser      ExecutorHandler // handler, if it chooses between executors
	place        Placement
	isForWorkers bool         // the loop's leader does not run it, as was found out in this turn
	router       RouteHandler // handler, if it distinguishes routes
	route        *route       // the route of first; set by the loop's leader
}

// inputState says which goroutine owns an input.
type inputState uint8

const (
	inputWithLoop   inputState = iota // the loop, or none while the input is unused
	inputQueued                       // no goroutine: it was handed over, and waits for the end of the turn or for a worker
	inputInProgress                   // a worker, or the loop's leader
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

// become changes the state to next, which must be allowed to follow it. The goroutine that owns the input calls it.
func (in *input) become(next inputState) {
	if inputNext[in.state]&(1<<next) == 0 {
		panic("server: input: from " + in.state.String() + " to " + next.String())
	}
	in.state = next
}

// rest returns the bytes that are not consumed.
func (in *input) rest() []byte { return in.buf[in.pos:] }

// inputOverhead is the memory of an input besides its bytes.
const inputOverhead = 384

// memory returns the memory that the input takes up, in bytes, without its reply and its stream.
func (in *input) memory() int { return cap(in.buf) + inputOverhead }
