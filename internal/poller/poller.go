// Package poller provides the kernel facilities of an event loop, epoll, poll(2) and kqueue, behind one interface.
//
// [Poller] documents the contract; the backends do not repeat it. The file of each backend translates flags and calls the
// kernel, with the same methods in the same order. Policy (stale registrations, replacing a poller,
// how the loop sleeps) is in package event. The conformance suite in package pollertest runs against all backends.
package poller

import (
	"strings"
	"time"
)

// Flags is a set of conditions of a descriptor. The values are those of event.Flags, so that they can be converted;
// package event checks their equality at compile time.
type Flags uint16

const (
	Read    Flags = 0x02  // readable, or at end of file
	Write   Flags = 0x04  // writable
	Edge    Flags = 0x20  // in registrations only: report changes, not states
	Closed  Flags = 0x80  // the peer closed its sending half or reset the connection
	Error   Flags = 0x100 // in reports only: an error, whatever is registered
	Invalid Flags = 0x200 // in reports only: the descriptor is not open
)

// Ready is the report of one descriptor: the tag of its registration and the conditions that hold.
type Ready struct {
	Tag  uint64
	What Flags
}

// Features is a set of properties of a backend.
type Features uint8

const (
	FeatureEdge       Features = 1 << iota // Edge is supported
	FeatureClosed                          // Closed is reported without reading
	FeatureConcurrent                      // Add and Modify take effect in a Wait that is already blocked
	FeatureStale                           // a number that was closed and opened again is distinguished from the registered descriptor
	FeatureAnyFile                         // regular files are accepted and always ready
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

// MaxWait is the longest time that Wait sleeps with a timeout. A longer timeout ends early, and the caller waits again. It keeps the
// number of milliseconds within a C int.
const MaxWait = 24 * time.Hour

// Poller watches descriptors.
//
// Concurrency: Add, Modify and Remove are called on any goroutine, one at a time, also while Wait runs. Wait is called on
// one goroutine at a time. Wake is called on any goroutine at any time before Close. No other call runs during or after Close, except
// of Name and FD. The caller chooses the tags; ^uint64(0) is reserved for the poller.
type Poller interface {
	// Name returns the backend's name in lower case, for example "epoll".
	Name() string

	// Features returns the properties of this backend.
	Features() Features

	// FD returns a descriptor that is readable while Wait would return a report, for use with another poller, or -1 if
	// there is none. It belongs to the poller.
	FD() int

	// Add registers fd for want (Read, Write, Closed, with Edge for changes only; level-triggered otherwise)
	// with tag. Errors and hang-ups are always reported. It fails with unix.EEXIST if fd
	// is registered already (nothing is changed then), unix.EBADF if fd is not open, unix.EPERM if the kernel
	// cannot poll this kind of file, unix.ELOOP or unix.EINVAL if fd is a poller nested too deeply,
	// unix.EOPNOTSUPP if want contains Edge or Closed and the feature is missing, unix.EINVAL if tag is reserved.
	Add(fd int, want Flags, tag uint64) error

	// Modify replaces want and tag of a registered descriptor. A condition that holds is reported again, whether level-triggered
	// or edge-triggered. It fails with unix.ENOENT if this open file is not registered under fd,
	// with unix.EBADF if fd is not open, and as Add does for want and tag. Without FeatureStale a number that was
	// closed and opened again counts as the same file: Add returns EEXIST, and Modify succeeds for the new file.
	Modify(fd int, want Flags, tag uint64) error

	// Remove removes the registration of fd. It fails with unix.ENOENT and unix.EBADF as Modify does. If fd is not open,
	// its registration is removed nevertheless, unless the kernel keeps it for a duplicate (FeatureStale). The caller of Wait may
	// still have an earlier report of it.
	Remove(fd int) error

	// Wait fills ready, whose length is at least one, with reports, at most one per registration, and returns their number. If
	// there are more reports than fit, the next Wait continues with the others, so that each descriptor is reported eventually.
	// It returns when there is a report, when Wake was called, or when timeout has passed (0: at once; negative: never). It may
	// also return without a report when a signal has interrupted it, or after MaxWait, but otherwise not before timeout. A
	// pending Wake ends one Wait.
	Wait(ready []Ready, timeout time.Duration) (int, error)

	// Wake ends the running Wait, or else the next one with a timeout other than 0. A Wait with timeout 0 returns anyway and
	// leaves the wake pending, with FD readable. Several calls before the Wait returns count as one. It never blocks. A poller
	// that was opened with WakerNone ignores it.
	Wake() error

	// Close closes the poller's own descriptors, not the registered ones.
	Close() error
}

// wakeTag is the tag of a poller's waker.
const wakeTag = ^uint64(0)

// milliseconds converts timeout, rounding up so that a wait never ends early, and limits it to MaxWait.
func milliseconds(timeout time.Duration) int {
	if timeout < 0 {
		return -1
	}
	return int((min(timeout, MaxWait) + time.Millisecond - 1) / time.Millisecond)
}
