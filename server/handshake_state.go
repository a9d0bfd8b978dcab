package server

// handshakeState is how far a connection has come with what it begins with, a PROXY header and a TLS handshake, or with the handshake of
// StartTLS. It is stored in ext, which a connection with a layerProxy or layerTLS has. Loop only.
type handshakeState uint8

const (
	handshakeNone  handshakeState = iota // there is none
	handshakeProxy                       // reads a PROXY header
	handshakeHello                       // TLS: as the server, reads until the ClientHello is complete
	handshakeRuns                        // TLS: runs on a goroutine, or waits for a place; handshakes knows which
	handshakeFull                        // the same, and takes no more input for now
	handshakeDone                        // has ended; the handler is given input
)

// String is the state's name.
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
	handshakeDone:  1 << handshakeHello, // StartTLS behind a PROXY header
}

// to returns next, which must be allowed to follow h.
func (h handshakeState) to(next handshakeState) handshakeState {
	if handshakeSteps[h]>>next&1 == 0 {
		panic("server: handshake: " + h.String() + " to " + next.String())
	}
	return next
}

// isUnderWay reports whether the handler is not given input yet.
func (h handshakeState) isUnderWay() bool { return h != handshakeNone && h != handshakeDone }

// isBegun reports whether a TLS handshake runs or waits for a place, with a whole ClientHello: there may be none to come.
func (h handshakeState) isBegun() bool { return h == handshakeRuns || h == handshakeFull }

// handshake is the connection's state.
func (c *loopConn) handshake() handshakeState {
	if !c.layers.has(layerProxy | layerTLS) {
		return handshakeNone
	}
	return c.ext.handshake
}

// setHandshake makes next the state. The connection has the layer that it belongs to.
func (c *loopConn) setHandshake(next handshakeState) { c.ext.handshake = c.ext.handshake.to(next) }

// isConnecting reports whether the handler is not given input yet: the connection is not connected, not open, or shakes hands for StartTLS.
func (c *loopConn) isConnecting() bool { return c.life.isConnecting() || c.handshake().isUnderWay() }
