package server

// drainState is the state of a connection during Shutdown. Loop only.
type drainState uint8

const (
	drainNone drainState = iota // the server runs
	drainIdle                   // the connection ends at once: it had nothing to do when the shutdown began, and has done nothing since
	drainBusy                   // the connection ends when it has nothing to do any more
)

// String returns the state's name.
func (d drainState) String() string { return [...]string{"none", "idle", "busy"}[d] }

// isDraining reports whether the server shuts down.
func (d drainState) isDraining() bool { return d != drainNone }

// begin returns the state after a shutdown has begun. idle says whether the connection had nothing to do. A later call changes nothing.
func (d drainState) begin(idle bool) drainState {
	switch {
	case d != drainNone:
		return d
	case idle:
		return drainIdle
	}
	return drainBusy
}

// busy returns the state after the connection has had something to do.
func (d drainState) busy() drainState {
	if d == drainIdle {
		return drainBusy
	}
	return d
}
