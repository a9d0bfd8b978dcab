package server

// lifecycle is the state of a connection on its loop. It only grows, in the steps that lifecycleSteps allows. The states that other
// goroutines request are in connState; the loop carries them out later. When the connection was given to its loop, only the loop changes
// its lifecycle.
type lifecycle uint8

const (
	lifeNew        lifecycle = iota // begin was not called yet
	lifeDialing                     // Dial: not connected yet
	lifeHandshake                   // connected; the PROXY header is read or TLS negotiated
	lifeOpen                        // Open was called
	lifeHalfClosed                  // CloseWrite: the write side is closed, input is still read
	lifeFlushing                    // Close: output is written, input is discarded
	lifeLingering                   // Close: the write side is closed; the loop reads until EOF
	lifeClosed                      // removed from the loop; Handler.Close was not called yet
	lifeRejected                    // removed from the loop before Open; OnReject, or Handler.Close if it is outgoing, was not called yet
	lifeReleased                    // the last callback was called
)

// String returns the state's name.
func (l lifecycle) String() string {
	return [...]string{"new", "dialing", "handshake", "open", "half-closed", "flushing", "lingering", "closed", "rejected", "released"}[l]
}

// lifecycleSteps are the states that may follow each, as bits.
var lifecycleSteps = [...]uint16{
	lifeNew:        1<<lifeDialing | 1<<lifeHandshake | 1<<lifeOpen | 1<<lifeRejected,
	lifeDialing:    1<<lifeHandshake | 1<<lifeOpen | 1<<lifeRejected,
	lifeHandshake:  1<<lifeOpen | 1<<lifeRejected,
	lifeOpen:       1<<lifeHalfClosed | 1<<lifeFlushing | 1<<lifeClosed,
	lifeHalfClosed: 1<<lifeLingering | 1<<lifeClosed,
	lifeFlushing:   1<<lifeLingering | 1<<lifeClosed,
	lifeLingering:  1 << lifeClosed,
	lifeClosed:     1 << lifeReleased,
	lifeRejected:   1 << lifeReleased,
	lifeReleased:   0,
}

// to returns next, which must be allowed to follow l.
func (l lifecycle) to(next lifecycle) lifecycle {
	if lifecycleSteps[l]>>next&1 == 0 {
		panic("server: connection lifecycle: " + l.String() + " to " + next.String())
	}
	return next
}

// isUnopened reports whether the handler's Open was not called yet.
func (l lifecycle) isUnopened() bool { return l <= lifeHandshake }

// takesInput reports whether input is given to the handler.
func (l lifecycle) takesInput() bool { return l == lifeOpen || l == lifeHalfClosed }

// isClosing reports whether Close is being carried out.
func (l lifecycle) isClosing() bool { return l == lifeFlushing || l == lifeLingering }

// isShut reports whether the write side is closed and the descriptor still open.
func (l lifecycle) isShut() bool { return l == lifeHalfClosed || l == lifeLingering }

// isGone reports whether the connection was removed from the loop: its descriptor is closed or detached.
func (l lifecycle) isGone() bool { return l >= lifeClosed }

// closing returns the state that follows when Close is carried out.
func (l lifecycle) closing() lifecycle {
	if l == lifeHalfClosed {
		return l.to(lifeLingering)
	}
	return l.to(lifeFlushing)
}

// shut returns the state that follows when the write side is closed.
func (l lifecycle) shut() lifecycle {
	if l == lifeFlushing {
		return l.to(lifeLingering)
	}
	return l.to(lifeHalfClosed)
}

// gone returns the state that follows when the descriptor is closed.
func (l lifecycle) gone() lifecycle {
	if l.isUnopened() {
		return l.to(lifeRejected)
	}
	return l.to(lifeClosed)
}
