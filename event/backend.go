package event

import (
	"fmt"
	"runtime"

	"github.com/evmq/evmq/internal/poller"
)

// backends lists the backends of this system, the default first.
var backends []backendEntry

// openPoller opens a poller with the given waker.
type openPoller func(poller.WakerKind) (poller.Poller, error)

type backendEntry struct {
	name Backend
	open openPoller
}

// Backends returns the backends of this system, the default first. The slice is the caller's. Any goroutine.
func Backends() []Backend {
	var names []Backend
	for _, b := range backends {
		names = append(names, b.name)
	}
	return names
}

// opener returns the function that opens the loop's poller: the user's, or that of the chosen backend.
func (c *config) opener() (openPoller, error) {
	if c.OpenPoller != nil {
		return c.openUserPoller, nil
	}
	for _, b := range backends {
		if c.Backend == b.name || c.Backend == BackendDefault {
			return b.open, nil
		}
	}
	return nil, fmt.Errorf("%w: backend %q on %s", ErrUnsupported, c.Backend, runtime.GOOS)
}

func (c *config) openUserPoller(poller.WakerKind) (poller.Poller, error) {
	p, err := c.OpenPoller()
	if err != nil {
		return nil, err
	}
	return &userPoller{Poller: p}, nil
}
