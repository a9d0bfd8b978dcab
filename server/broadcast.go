package server

import (
	"fmt"
	"slices"
)

// A Refusal is a connection that did not take a broadcast, and why.
type Refusal struct {
	Conn *Conn
	Err  error
}

// Broadcast writes p to all of conns, copying it once for all. Each connection accepts or refuses it as it would a Write; those
// that refuse are returned. done, if not nil, is called once for each of the others, on that connection's loop, with nil when
// p was given to the kernel, or with why it was not. The order of other writes and broadcasts from the same goroutine is kept
// on each connection. Any goroutine.
func Broadcast(conns []*Conn, p []byte, done func(c *Conn, err error)) (refused []Refusal) {
	p = slices.Clone(p)
	for _, c := range conns {
		var release func(error)
		if done != nil {
			release = func(err error) { done(c, err) }
		}
		if err := c.WriteOwned(p, release); err != nil {
			refused = append(refused, Refusal{c, fmt.Errorf("broadcast to %s: %w", c.ID(), err)})
		}
	}
	return refused
}
