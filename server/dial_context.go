package server

import (
	"context"
	"fmt"
)

// DialContext is Dial that waits until the connection is open: the address is looked up, the connection established, the TLS handshake
// made, and the handler's Open has returned. If that fails, or ctx ends before, DialContext returns an error, the attempt is given up, and no
// method of the handler is called. Afterwards ctx has no effect on the connection.
//
// If a function of Dispatch that runs on a loop calls it, another goroutine runs the loop from then on, as with Reply.Blocking.
//
// Errors: those of Dial; the reasons that Dial calls the handler's Close with, such as ErrDialTimeout, ErrHandshake and errors of the
// system; with the cause of ctx, ErrDialTimeout if its deadline has passed, and ErrAborted otherwise; event.ErrOnLoop in a callback of a
// loop of a server. May block; not in a callback.
func (s *Server) DialContext(ctx context.Context, network, address string, cfg *DialConfig) (*Conn, error) {
	c, err := s.dialAndWait(ctx, network, address, valueOf(cfg))
	if err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	return c, nil
}

func (s *Server) dialAndWait(ctx context.Context, network, address string, cfg DialConfig) (*Conn, error) {
	if err := s.leaveLoop(); err != nil {
		return nil, err
	}
	opened := make(chan error, 1)
	c, err := s.dial(ctx, network, address, cfg, func(err error) { opened <- err })
	if err != nil {
		return nil, err
	}
	select {
	case err = <-opened:
	case <-ctx.Done():
		if err = c.cancelDial(ctx); err == nil { // otherwise without a wait for the loop, which a callback may block
			err = <-opened
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}
