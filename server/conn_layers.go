package server

import (
	"strings"
)

// layers is the set of steps between a connection's socket and its handler. A connection with any of them has an ext that never changes
// again, so the loop may use the pointer without the lock. Loop only.
type layers uint8

const (
	layerProxy    layers = 1 << iota // a PROXY header at the beginning
	layerRate                        // rate limits
	layerTLS                         // TLS
	layerReadInto                    // ReadInto has been used
)

var layerNames = [...]string{"PROXY", "rate", "TLS", "read into"}

// String returns the names of the layers.
func (s layers) String() string {
	var names []string
	for i, name := range layerNames {
		if s>>i&1 != 0 {
			names = append(names, name)
		}
	}
	return strings.Join(names, "|")
}

// has reports whether one of these layers is in the set.
func (s layers) has(one layers) bool { return s&one != 0 }

// add adds a layer.
func (s *layers) add(one layers) { *s |= one }

// isTLSClient reports whether this side is the client of TLS. Without the lock, on the loop.
func (c *loopConn) isTLSClient() bool {
	return c.layers.has(layerTLS) && c.ext.tls.client
}

// hasMoreTLS reports whether input waits in the TLS state, which the kernel does not report. Without the lock, on the loop.
func (c *loopConn) hasMoreTLS() bool { return c.layers.has(layerTLS) && c.ext.tls.more }
