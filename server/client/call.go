package client

import "sync"

// A call is a request and its answer. It belongs to the goroutine of AppendDo, except while it waits for a connection or was sent.
type call struct {
	request    []byte
	answer     []byte        // the dst of AppendDo, and the answer
	err        error         // the outcome; nil if there is an answer
	repeatable bool          // with err: the connection had been used before, and the peer has ended it before any byte of the answer
	done       chan struct{} // receives a value when the call has ended, unless it was abandoned. Its capacity is 1

	// Guarded by Client.mu.
	state      callState
	conn       *conn // with callSent
	reused     bool  // conn had answered before
	repeat     bool  // the request is sent for the second time, on a new connection
	list       *callList
	prev, next *call // in list
}

// callState is the state of a call.
type callState uint8

const (
	callNew       callState = iota
	callWaiting             // for a connection
	callSent                // its request was written to the connection
	callReceiving           // its answer is being copied, without the lock
	callAbandoned           // it was sent, and its answer will be discarded
	callEnded               // it has an answer or an error, or was abandoned before it was sent
)

// String returns the state's name.
func (s callState) String() string {
	return [...]string{"new", "waiting", "sent", "receiving", "abandoned", "ended"}[s]
}

// calls has calls for reuse.
var calls = sync.Pool{New: func() any { return &call{done: make(chan struct{}, 1)} }}

// newCall returns a call.
func newCall(dst, request []byte) *call {
	x := calls.Get().(*call)
	x.answer, x.request = dst, request
	return x
}

// release makes a call that has ended, or has not begun, available for reuse.
func (x *call) release() {
	*x = call{done: x.done}
	calls.Put(x)
}

// end ends the call with its outcome. Under Client.mu; x is in no list.
func (x *call) end(err error) {
	x.err, x.state, x.conn = err, callEnded, nil
	x.done <- struct{}{} // does not block: this is the only value
}

// A callList is a list of calls, first in, first out.
type callList struct {
	first, last *call
	n           int
}

func (l *callList) push(x *call) {
	x.list, x.prev = l, l.last
	if l.last != nil {
		l.last.next = x
	} else {
		l.first = x
	}
	l.last = x
	l.n++
}

// pushFront adds x as the oldest.
func (l *callList) pushFront(x *call) {
	x.list, x.next = l, l.first
	if l.first != nil {
		l.first.prev = x
	} else {
		l.last = x
	}
	l.first = x
	l.n++
}

// pop removes and returns the oldest call, or nil.
func (l *callList) pop() *call {
	x := l.first
	if x != nil {
		l.remove(x)
	}
	return x
}

func (l *callList) remove(x *call) {
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		l.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	} else {
		l.last = x.prev
	}
	x.list, x.prev, x.next = nil, nil, nil
	l.n--
}
