//go:build linux || darwin || freebsd

// Package socktest makes the system calls of package sock fail where and as a test wants.
//
// A fault is told to the server instead of, or before, what the kernel would have said; it costs the kernel nothing: the
// bytes and the connections are still there. A server that waits for a change of readiness (an edge-triggered watch)
// will wait in vain after an EAGAIN that the kernel knows nothing of; a level-triggered one asks again.
package socktest

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// Name is a call's, as the method of sock.Calls is called.
type Name string

const (
	Read      Name = "Read"
	Write     Name = "Write"
	Writev    Name = "Writev"
	Accept    Name = "Accept"
	SendFile  Name = "SendFile"
	Shutdown  Name = "Shutdown"
	Close     Name = "Close"
	Connect   Name = "Connect"
	SockError Name = "SockError"
	SendTo    Name = "SendTo"
	RecvFrom  Name = "RecvFrom"
	SendMsg   Name = "SendMsg"
	RecvMsg   Name = "RecvMsg"
)

// Call is one call that is about to be made.
type Call struct {
	Name   Name
	FD     int    // SendFile's is the socket
	Number uint64 // counts this call on this descriptor number, from 1; a number used again goes on counting
}

// Fault is what happens to a call. The zero Fault is nothing.
type Fault struct {
	// Err is returned instead of making the call. Close is made all the same: a descriptor that stayed open would be
	// the test's leak, not the server's.
	Err unix.Errno

	// Limit, above 0, is the most bytes that Read, Write, Writev or SendFile moves.
	Limit int
}

// Counts are of one name of call.
type Counts struct {
	Calls  uint64
	Errors uint64 // that were injected
	Shorts uint64 // calls that were cut
}

// Faulty makes the calls of inner, with the faults that decide tells. Any goroutine.
type Faulty struct {
	inner  sock.Calls
	decide func(Call) Fault

	mu      sync.Mutex
	numbers map[Call]uint64 // by name and descriptor, Number 0
	counts  map[Name]*Counts
}

var _ sock.Calls = (*Faulty)(nil)

// New wraps inner. decide is called by the goroutines that make calls, by one at a time; it must make none itself.
func New(inner sock.Calls, decide func(Call) Fault) *Faulty {
	return &Faulty{inner: inner, decide: decide, numbers: map[Call]uint64{}, counts: map[Name]*Counts{}}
}

// Counts says what was called under name, and injected.
func (f *Faulty) Counts(name Name) Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.counts[name]; c != nil {
		return *c
	}
	return Counts{}
}

// Injected is the number of faults of all calls.
func (f *Faulty) Injected() (n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.counts {
		n += c.Errors + c.Shorts
	}
	return n
}

// fault decides one call on size bytes: how many to move, and the error to return instead, or nil.
func (f *Faulty) fault(name Name, fd, size int) (limit int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key := Call{Name: name, FD: fd}
	f.numbers[key]++
	c := f.counts[name]
	if c == nil {
		c = &Counts{}
		f.counts[name] = c
	}
	c.Calls++
	what := f.decide(Call{name, fd, f.numbers[key]})
	if what.Err != 0 {
		c.Errors++
		return 0, what.Err
	}
	if what.Limit > 0 && what.Limit < size {
		c.Shorts++
		return what.Limit, nil
	}
	return size, nil
}
