package server

// drainState is the state of a connection during Shutdown, and a flag. Loop only.
type drainState uint8

const (
	drainNone drainState = iota // the server runs
	drainIdle                   // the connection ends at once: it had nothing to do when the shutdown began, and has done nothing since
	drainBusy                   // the connection ends when it has nothing to do any more

	drainRead drainState = 1 << 2 // the last read was made
)

// String returns the state's name.
func (d drainState) String() string {
	s := [...]string{"none", "idle", "busy"}[d&^drainRead]
	if d&drainRead != 0 {
		s += ", read"
	}
	return s
}

// isDraining reports whether the server shuts down.
func (d drainState) isDraining() bool { return d != drainNone }

// isIdle reports whether the connection has had nothing to do in the shutdown.
func (d drainState) isIdle() bool { return d&^drainRead == drainIdle }

// isRead reports whether the last read was made.
func (d drainState) isRead() bool { return d&drainRead != 0 }

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
	if d.isIdle() {
		return d ^ drainIdle ^ drainBusy
	}
	return d
}

// read returns the state after the last read, if the server shuts down.
func (d drainState) read() drainState {
	if d.isDraining() {
		d |= drainRead
	}
	return d
}

// unread returns the state in which the connection is read again.
func (d drainState) unread() drainState { return d &^ drainRead }
