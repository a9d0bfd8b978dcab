package server

import (
	"math"
	"sync"
)

// An openCount counts connections or datagrams that have not ended, so that Shutdown can wait until there is none.
type openCount struct {
	mu   sync.Mutex // guards the fields
	n    int
	zero chan struct{} // made by a goroutine that waits; closed when n becomes 0
}

// enter adds one and returns true, unless limit is reached.
func (o *openCount) enter(limit int) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n >= limit {
		return false
	}
	o.n++
	return true
}

// leave subtracts one.
func (o *openCount) leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.n--
	if o.n == 0 && o.zero != nil {
		close(o.zero)
		o.zero = nil
	}
}

// len returns the count.
func (o *openCount) len() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.n
}

// empty returns a channel that is closed when the count is 0.
func (o *openCount) empty() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.n == 0 {
		c := make(chan struct{})
		close(c)
		return c
	}
	if o.zero == nil {
		o.zero = make(chan struct{})
	}
	return o.zero
}

// enterConn counts one more connection and returns true, unless there are MaxConns.
func (s *Server) enterConn(outgoing bool) bool {
	if !s.open.enter(s.cfg.MaxConns) {
		return false
	}
	if !outgoing {
		s.incoming.enter(math.MaxInt)
	}
	return true
}

// leaveConn counts one connection less.
func (s *Server) leaveConn(outgoing bool) {
	if !outgoing {
		s.incoming.leave()
	}
	s.open.leave()
}
