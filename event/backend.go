package event

import (
	"fmt"
	"runtime"

	"github.com/evmq/evmq/internal/poller"
)

// Poller is what a loop asks of the kernel. Config.OpenPoller replaces the built-in ones, for tests that step a loop without
// sockets or for a kernel facility of one's own. Add, Modify and Remove are called with the loop's lock held, and so are FD and
// Name when the loop replaces its poller: these must not call the loop, nor panic. Wait, Wake and Close are called without the lock;
// Name and FD may be called at any time, also after Close. The methods, with their contract beside the declaration:
//
//	Name() string                                       // lower case
//	Features() Features                                 // what Add and Wait can do
//	FD() int                                            // a pollable descriptor, or -1; the parked driver needs one
//	Add(fd int, want PollerFlags, tag uint64) error     // unix.EEXIST, EBADF, EPERM
//	Modify(fd int, want PollerFlags, tag uint64) error  // unix.ENOENT, EBADF
//	Remove(fd int) error                                // unix.ENOENT, EBADF
//	Wait(ready []Ready, timeout time.Duration) (int, error)
//	Wake() error                                        // ends a Wait, from any goroutine
//	Close() error
type Poller = poller.Poller

// Ready is one report of a Poller: the Tag that a descriptor was added under, and What holds for it.
type Ready = poller.Ready

// PollerFlags are the conditions that a Poller knows; they have the values of Read, Write, Closed and EdgeTriggered.
type PollerFlags = poller.Flags

// Features says what a loop's backend can do.
type Features = poller.Features

// The features of backends.
const (
	FeatureEdge       = poller.FeatureEdge       // EdgeTriggered is honoured
	FeatureClosed     = poller.FeatureClosed     // Closed is reported without reading
	FeatureConcurrent = poller.FeatureConcurrent // adding a descriptor from another goroutine needs no wake
	FeatureStale      = poller.FeatureStale      // a descriptor closed before Del is found, also when its number is in use again
	FeatureAnyFile    = poller.FeatureAnyFile    // regular files are accepted, and always ready
)

// backends lists what exists here, the default first.
var backends []backendEntry

type backendEntry struct {
	name Backend
	open func(poller.WakerKind) (Poller, error)
}

// Backends lists the backends of this system, the default first.
func Backends() []Backend {
	var names []Backend
	for _, b := range backends {
		names = append(names, b.name)
	}
	return names
}

// opener returns what opens the loop's poller: the user's own, or the named backend with the given waker.
func (c *config) opener() (func(poller.WakerKind) (Poller, error), error) {
	if c.OpenPoller != nil {
		return func(poller.WakerKind) (Poller, error) { return c.OpenPoller() }, nil
	}
	for _, b := range backends {
		if c.Backend == b.name || c.Backend == BackendDefault {
			return b.open, nil
		}
	}
	return nil, fmt.Errorf("%w: backend %q on %s", ErrUnsupported, c.Backend, runtime.GOOS)
}
