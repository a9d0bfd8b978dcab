//go:build linux || darwin || freebsd

// Package socktest makes system calls of package sock fail, as a test determines.
//
// The server receives a fault instead of the kernel's result, or before it. The kernel's state does not change: the
// bytes and the connections are still there. So after an injected EAGAIN an edge-triggered registration is not
// reported again, while a level-triggered one is.
package socktest

import (
	"sync"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// Name is the name of a method of sock.Calls.
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
	FD     int    // for SendFile, the socket
	Number uint64 // counts this call on this descriptor number, from 1; the count continues when the number is used again
}

// Fault is a change of a call's result. The zero Fault changes nothing.
type Fault struct {
	// Err is returned, and the call is not made. Close is made nevertheless, since otherwise the descriptor would be leaked by
	// the test and not by the server.
	Err unix.Errno

	// Limit, if it is above 0, is the largest number of bytes that Read, Write, Writev or SendFile transfers.
	Limit int
}

// Counts are the numbers of faults in the calls of one name.
type Counts struct {
	Calls  uint64
	Errors uint64 // that were injected
	Shorts uint64 // calls that were cut
}

// Faulty makes the calls of inner, with the faults that decide returns. Any goroutine.
type Faulty struct {
	inner  sock.Calls
	decide func(Call) Fault

	mu      sync.Mutex
	numbers map[Call]uint64 // by name and descriptor, Number 0
	counts  map[Name]*Counts
}

var _ sock.Calls = (*Faulty)(nil)

// New wraps inner. decide is called on the goroutines that make calls, by one at a time. It must not make calls itself.
func New(inner sock.Calls, decide func(Call) Fault) *Faulty {
	return &Faulty{inner: inner, decide: decide, numbers: map[Call]uint64{}, counts: map[Name]*Counts{}}
}

// Counts returns the counts for the calls of name.
func (f *Faulty) Counts(name Name) Counts {
	f.mu.Lock()
	defer f.mu.Unlock()
	if c := f.counts[name]; c != nil {
		return *c
	}
	return Counts{}
}

// Injected returns the number of faults of all calls.
func (f *Faulty) Injected() (n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range f.counts {
		n += c.Errors + c.Shorts
	}
	return n
}

// fault decides about one call on size bytes. It returns the number of bytes to transfer, and the error to return instead, or nil.
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
