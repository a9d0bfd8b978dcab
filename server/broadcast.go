package server

import (
	"fmt"
	"slices"
)

// A BroadcastError says that a connection did not accept a broadcast, and why.
type BroadcastError struct {
	Conn *Conn // nil if the element of conns was nil
	Err  error // as Conn.Write returns it; ErrInvalid for a nil connection
}

// Error returns a text that names the connection and the reason. Any goroutine.
func (e BroadcastError) Error() string {
	if e.Conn == nil {
		return fmt.Sprintf("broadcast: %v", e.Err)
	}
	return fmt.Sprintf("broadcast to %s: %v", e.Conn.ID(), e.Err)
}

// Unwrap returns the reason, so that errors.Is and errors.As find it. Any goroutine.
func (e BroadcastError) Unwrap() error { return e.Err }

// Broadcast writes p to each of conns. It copies p once, whatever the number of connections. Each connection accepts or refuses it as it
// would accept or refuse a Write. The result has an error for each connection that has refused it, in the order of conns, and is nil if
// there is none.
//
// done, if not nil, is called once for each of the other connections, on the connection's loop: with nil when p was given to the kernel,
// or with the reason why it was not. On each connection the order of the writes and broadcasts of one goroutine is kept. Any goroutine.
func Broadcast(conns []*Conn, p []byte, done func(c *Conn, err error)) (refused []BroadcastError) {
	p = slices.Clone(p)
	for i, c := range conns {
		if c == nil {
			refused = append(refused, BroadcastError{nil, fmt.Errorf("%w: conns[%d] is nil", ErrInvalid, i)})
			continue
		}
		var release func(error)
		if done != nil {
			release = func(err error) { done(c, err) }
		}
		if err := c.WriteOwned(p, release); err != nil {
			refused = append(refused, BroadcastError{c, err})
		}
	}
	return refused
}
