package event

import (
	"time"

	"github.com/evmq/evmq/internal/poller"
)

// A Poller has the operations that a loop requires of the kernel. Config.OpenPoller replaces the built-in implementations, for tests that control a loop
// without sockets, or for another kernel facility.
//
// Add, Modify and Remove are called with the loop's lock held, on any goroutine, one at a time, also while Wait runs. Wait is called on one
// goroutine at a time, and Wake on any goroutine at any time before Close. Name and FD may be called at any time, also after Close, and
// also with the lock held. Methods that are called with the lock held must not call the loop, must not block and must not panic. Errors
// are compared by errors.Is with those named below, which are of golang.org/x/sys/unix or package syscall.
type Poller interface {
	// Name returns the name of the backend, in lower case.
	Name() string

	// Features returns the properties of the backend.
	Features() Features

	// FD returns a descriptor that is readable while Wait would return a report, or -1 if there is none; DriverPark requires one. It
	// belongs to the poller.
	FD() int

	// Add registers fd for want: any of Read, Write and Closed, with EdgeTriggered for changes only. Reports carry tag, which is
	// never the largest uint64. Errors and hang-ups are always reported. It fails with EEXIST if fd is registered (nothing is changed
	// then), EBADF if fd is not open, EPERM if this kind of file cannot be polled, ELOOP or EINVAL if fd is a poller that is nested
	// too deeply, and EOPNOTSUPP if want needs a missing feature.
	Add(fd int, want Flags, tag uint64) error

	// Modify replaces want and tag of a registered descriptor. A condition that holds is reported again, also if it is
	// edge-triggered. It fails with ENOENT if this open file is not registered, and otherwise as Add does. Without
	// FeatureStale a number that was closed and opened again counts as the same file.
	Modify(fd int, want Flags, tag uint64) error

	// Remove removes the registration of fd. It fails with ENOENT or EBADF as Modify does; if fd is not open, the registration is
	// removed nevertheless, unless the kernel keeps it for a duplicate (FeatureStale).
	Remove(fd int) error

	// Wait fills ready, whose length is at least one, with reports, at most one per registration, and returns their number. If
	// there are more, the next Wait continues with the others. It returns when there is a report, when Wake was called, or when
	// timeout has passed (0: at once; negative: never). It may return early without a report.
	Wait(ready []Ready, timeout time.Duration) (int, error)

	// Wake ends the running Wait, or else the next one with a timeout other than 0. Several calls before the Wait returns count as
	// one. It must not block.
	Wake() error

	// Close closes the poller's own descriptors, not the registered ones.
	Close() error
}

// Ready is the report of one descriptor by a Poller.
type Ready struct {
	Tag     uint64 // of the registration
	What    Flags  // the conditions that hold: any of Read, Write and Closed
	Error   bool   // an error is pending; events that wait only for Closed are activated, too
	Invalid bool   // the descriptor is not open; its events end with ErrStale
}

// Features is a set of properties of a backend.
type Features uint8

const (
	FeatureEdge       Features = 1 << iota // EdgeTriggered is supported
	FeatureClosed                          // Closed is supported: it is reported without a read
	FeatureConcurrent                      // a descriptor can be added while another goroutine sleeps in Wait, without a wake
	FeatureStale                           // a descriptor that was closed before Del is detected, also if its number is in use again
	FeatureAnyFile                         // regular files are accepted and always ready
)

// The values are those of package poller; this is checked at compile time.
var (
	_ = [1]struct{}{}[FeatureEdge-Features(poller.FeatureEdge)]
	_ = [1]struct{}{}[FeatureClosed-Features(poller.FeatureClosed)]
	_ = [1]struct{}{}[FeatureConcurrent-Features(poller.FeatureConcurrent)]
	_ = [1]struct{}{}[FeatureStale-Features(poller.FeatureStale)]
	_ = [1]struct{}{}[FeatureAnyFile-Features(poller.FeatureAnyFile)]
)

// Has reports whether f contains all of want. Any goroutine.
func (f Features) Has(want Features) bool { return f&want == want }

// String lists the features, separated by "|". Any goroutine.
func (f Features) String() string { return poller.Features(f).String() }

// userPoller adapts a user's Poller to the interface of the built-in ones.
type userPoller struct {
	Poller
	ready []Ready // used by Wait only
}

func (p *userPoller) Features() poller.Features { return poller.Features(p.Poller.Features()) }

func (p *userPoller) Add(fd int, want poller.Flags, tag uint64) error {
	return p.Poller.Add(fd, Flags(want), tag)
}

func (p *userPoller) Modify(fd int, want poller.Flags, tag uint64) error {
	return p.Poller.Modify(fd, Flags(want), tag)
}

func (p *userPoller) Wait(ready []poller.Ready, timeout time.Duration) (int, error) {
	if len(p.ready) < len(ready) {
		p.ready = make([]Ready, len(ready))
	}
	n, err := p.Poller.Wait(p.ready[:len(ready)], timeout)
	for i, r := range p.ready[:n] {
		what := poller.Flags(r.What & readiness)
		if r.Error {
			what |= poller.Error
		}
		if r.Invalid {
			what |= poller.Invalid
		}
		ready[i] = poller.Ready{Tag: r.Tag, What: what}
	}
	return n, err
}
