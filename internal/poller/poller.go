// Package poller is the kernel's side of an event loop: epoll, poll(2) and kqueue behind one contract.
//
// The contract stands at [Poller]; the backends repeat none of it. Each backend's file translates flags and calls the
// kernel, with the same methods in the same order; policy (what a stale registration means, when to rebuild,
// how the loop sleeps) lives in package event. One conformance suite, in package pollertest, runs against all of them.
package poller

import (
	"strings"
	"time"
)

// Flags is a set of conditions of a descriptor. The values are those of event.Flags, so that a set passes from one
// package to the other unchanged; event checks the equality when it is compiled.
type Flags uint16

const (
	Read    Flags = 0x02  // readable, or at end of file
	Write   Flags = 0x04  // writable
	Edge    Flags = 0x20  // wanted only: report changes, not states
	Closed  Flags = 0x80  // the peer closed its sending half or reset the connection
	Error   Flags = 0x100 // reported only: the kernel flags an error, wanted or not
	Invalid Flags = 0x200 // reported only: the descriptor is not open any more
)

// Ready is one descriptor's report: the tag it was registered under and what holds for it.
type Ready struct {
	Tag  uint64
	What Flags
}

// Features says what a backend can do. See the constants.
type Features uint8

const (
	FeatureEdge       Features = 1 << iota // Edge is honoured
	FeatureClosed                          // Closed is reported without reading
	FeatureConcurrent                      // Add and Modify take effect in a Wait that is already blocked
	FeatureStale                           // a descriptor closed and reopened behind the poller's back is told from the old one
	FeatureAnyFile                         // regular files are accepted; they are always ready
)

// Has reports whether all of want are among f.
func (f Features) Has(want Features) bool { return f&want == want }

// String lists the features, separated by "|".
func (f Features) String() string {
	names := [...]string{"edge", "closed", "concurrent", "stale", "anyfile"}
	var set []string
	for i, name := range names {
		if f&(1<<i) != 0 {
			set = append(set, name)
		}
	}
	return strings.Join(set, "|")
}

// MaxWait bounds what Wait sleeps at a stretch; a longer or an endless timeout is slept in pieces by the caller or
// without a bound by the kernel, never cut to nothing. It keeps milliseconds inside a C int.
const MaxWait = 24 * time.Hour

// Louder is a Poller whose Wait with timeout 0 goes past the Go scheduler, and that can make the same look in a way which the
// scheduler hears of.
type Louder interface {
	LookAloud(ready []Ready) (int, error)
}

// Poller watches descriptors.
//
// Threads: Add, Modify and Remove are called by any goroutine, one at a time, also while Wait runs; Wait is called by
// one goroutine at a time; Wake by any, at any time before Close; Close by the last user, when nothing else runs.
// The tags are the caller's; a poller only hands them back. ^uint64(0) is reserved for the poller's own use.
type Poller interface {
	// Name is the backend's name in lower case: "epoll".
	Name() string

	// Features says what this backend can do.
	Features() Features

	// FD is a descriptor that is readable while Wait would return something, fit for another poller to watch; -1
	// where there is none. It belongs to the poller.
	FD() int

	// Add begins to watch fd for want (Read, Write, Closed, with Edge for changes only; level-triggered otherwise)
	// and reports it under tag. Errors and hang-ups are reported whatever is wanted. It fails with unix.EEXIST where fd
	// is watched already (nothing is changed then), unix.EBADF where fd is not open, unix.EPERM where the kernel
	// cannot watch this kind of file, unix.ELOOP or unix.EINVAL where fd is a poller nested too deep,
	// unix.EOPNOTSUPP where want holds Edge or Closed and the feature is missing, unix.EINVAL where tag is reserved.
	Add(fd int, want Flags, tag uint64) error

	// Modify replaces want and tag of a watched descriptor. A level-triggered condition that holds is reported
	// again; so is an edge-triggered one. It fails with unix.ENOENT where this open file is not watched under fd,
	// with unix.EBADF where fd is not open, and as Add does for want and tag. Without FeatureStale a number that was
	// closed and opened again counts as the same file: Add says EEXIST, Modify succeeds for the new file.
	Modify(fd int, want Flags, tag uint64) error

	// Remove ends the watching of fd; it fails with unix.ENOENT and unix.EBADF as Modify does. Where fd is not open,
	// its registration is gone all the same, unless the kernel keeps it for a duplicate (FeatureStale). What a Wait
	// has reported before may still be in its caller's hands.
	Remove(fd int) error

	// Wait fills ready, which has room for at least one, with reports, at most one per registration, and says how
	// many. With more to report than fit, the next Wait goes on with the others, so that none starves. It returns
	// when there is a report, when Wake was called, when timeout has passed (0: at once; below 0: never) or, with no
	// report, early for no reason (a signal came). It never returns before timeout without one of these. A pending
	// Wake ends a Wait once.
	Wait(ready []Ready, timeout time.Duration) (int, error)

	// Wake ends a Wait that runs, or else the next one with a timeout other than 0; a Wait with timeout 0 returns
	// anyway and leaves it pending, FD readable with it. Wakes before the Wait returns are one wake. It never blocks.
	Wake() error

	// Close releases the poller's own descriptors and none of its users'.
	Close() error
}

// wakeTag is the tag of a poller's own waker.
const wakeTag = ^uint64(0)

// milliseconds rounds up, so that a wait never ends early, and cuts at MaxWait.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int((min(timeout, MaxWait) + time.Millisecond - 1) / time.Millisecond)
}
