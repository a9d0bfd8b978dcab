//go:build unix && !linux

package poller

import "fmt"

func newPlatformWaker(kind WakerKind) (waker, error) {
	if kind == WakerEventfd {
		return nil, fmt.Errorf("poller: no eventfd on this system")
	}
	return newSocketpair()
}
