package server

// handshakeState is the state of a connection's PROXY header and TLS handshake, at its beginning or by StartTLS. It is stored in ext, which
// a connection with a layerProxy or layerTLS has. Loop only.
type handshakeState uint8

const (
	handshakeNone  handshakeState = iota // there is none
	handshakeProxy                       // reads a PROXY header
	handshakeHello                       // TLS: as the server, reads until the ClientHello is complete
	handshakeRuns                        // TLS: runs on a goroutine, or waits for a place; handshakes knows which
	handshakeFull                        // the same, and accepts no more input for now
	handshakeDone                        // has ended; the handler is given input
)

// String returns the state's name.
func (h handshakeState) String() string {
	return [...]string{"none", "PROXY header", "hello", "runs", "full", "done"}[h]
}

// handshakeSteps are the states that may follow each, as bits. A handshake that fails ends the connection in its state.
var handshakeSteps = [...]uint8{
	handshakeNone:  1<<handshakeProxy | 1<<handshakeHello,
	handshakeProxy: 1<<handshakeHello | 1<<handshakeDone,
	handshakeHello: 1 << handshakeRuns,
	handshakeRuns:  1<<handshakeFull | 1<<handshakeDone,
	handshakeFull:  1<<handshakeRuns | 1<<handshakeDone,
	handshakeDone:  1 << handshakeHello, // StartTLS on a connection that began with a PROXY header
}

// to returns next, which must be allowed to follow h.
func (h handshakeState) to(next handshakeState) handshakeState {
	if handshakeSteps[h]>>next&1 == 0 {
		panic("server: handshake: " + h.String() + " to " + next.String())
	}
	return next
}

// isUnderWay reports whether a PROXY header or a TLS handshake is not complete yet, so that no input is given to the handler.
func (h handshakeState) isUnderWay() bool { return h != handshakeNone && h != handshakeDone }

// isBegun reports whether the TLS handshake runs on a goroutine or waits in the queue of handshakes: it has a complete ClientHello, or
// this side is the client.
func (h handshakeState) isBegun() bool { return h == handshakeRuns || h == handshakeFull }

// handshake returns the state.
func (c *loopConn) handshake() handshakeState {
	if !c.layers.has(layerProxy | layerTLS) {
		return handshakeNone
	}
	return c.ext.handshake
}

// setHandshake changes the state to next. The connection has the layer that it belongs to.
func (c *loopConn) setHandshake(next handshakeState) { c.ext.handshake = c.ext.handshake.to(next) }

// isSettingUp reports whether the handler is not given input yet: the connection is not connected, not open, or in the handshake of StartTLS.
func (c *loopConn) isSettingUp() bool { return c.life.isUnopened() || c.handshake().isUnderWay() }
