package server

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// AdoptOptions are how AdoptWith serves a connection. The zero value serves it as it is, without TLS and without a PROXY header,
// whatever the server's listeners do.
type AdoptOptions struct {
	// Handler serves the connection; nil means the server's Handler.
	Handler Handler
	// Value is what Conn.Value returns.
	Value any
	// Near, if set, is a connection of the same server: the adopted one is put on its loop.
	Near *Conn
	// Accepted serves the connection like one that a listener of the server has accepted: it begins with a PROXY header if
	// ProxyProtocol is set, and with a TLS handshake if TLS is.
	Accepted bool
	// TLS, if set, makes the connection speak TLS with this configuration: as the server, or as the client with Client. Accepted does
	// not need it.
	TLS *tls.Config
	// Client makes this side the client of TLS. If the handshake fails, the handler's Close is called with the reason, as after
	// Dial, and not OnReject.
	Client bool
}

// Adopt is AdoptWith for a handler and otherwise the zero options; nil means the server's Handler. Any goroutine.
func (s *Server) Adopt(nc net.Conn, h Handler) (*Conn, error) {
	return s.AdoptWith(nc, AdoptOptions{Handler: h})
}

// AdoptWith makes nc the server's: a stream connection of package net, or of another that has SyscallConn. The descriptor is duplicated
// and nc is closed, so that the Go runtime's poller does not watch it as well; bytes that have been read from it already are not
// seen. Errors: ErrInvalid, ErrUnsupported, ErrOverload at MaxConns, ErrNotStarted, ErrServerClosed; nc is the caller's then. Any
// goroutine.
func (s *Server) AdoptWith(nc net.Conn, o AdoptOptions) (*Conn, error) {
	if nc == nil {
		return nil, fmt.Errorf("adopt connection: %w: it is nil", ErrInvalid)
	}
	c, err := s.adopt(nc, o)
	if err != nil {
		if errors.Is(err, ErrOverload) {
			s.totals.refused.Add(1)
		}
		return nil, fmt.Errorf("adopt connection from %v: %w", nc.RemoteAddr(), err)
	}
	return c, nil
}

// start is how the connection begins.
func (o AdoptOptions) start(s *Server) (start, error) {
	config := o.TLS
	switch {
	case o.Near != nil && o.Near.loop.srv != s:
		return start{}, fmt.Errorf("%w: Near is a connection of another server", ErrInvalid)
	case o.Client && o.TLS == nil:
		return start{}, fmt.Errorf("%w: Client is set and TLS is nil", ErrInvalid)
	case o.Client && o.Accepted:
		return start{}, fmt.Errorf("%w: Client and Accepted are both set", ErrInvalid)
	case o.Client:
		if err := checkClientTLS(o.TLS); err != nil {
			return start{}, err
		}
	case o.TLS != nil && !hasCertificate(o.TLS):
		return start{}, fmt.Errorf("%w: TLS has no certificate", ErrInvalid)
	case config == nil && o.Accepted:
		config = s.cfg.TLS
	}
	return start{proxy: o.Accepted && s.cfg.ProxyProtocol, tls: config, client: o.Client}, nil
}

func (s *Server) adopt(nc net.Conn, o AdoptOptions) (*Conn, error) {
	if err := s.arrive(o.Handler); err != nil {
		return nil, err
	}
	defer s.arriving.Done()
	begins, err := o.start(s)
	if err != nil {
		return nil, err
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%w: %s", ErrUnsupported, noDescriptor(nc))
	}
	if _, ok := nc.(net.PacketConn); ok {
		if u, ok := nc.(*net.UnixConn); !ok || u.LocalAddr().Network() != "unix" {
			return nil, fmt.Errorf("%w: %T is no stream", ErrUnsupported, nc)
		}
	}
	if !s.enterConn(o.Client) {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrOverload, s.cfg.MaxConns)
	}
	fd, taken := -1, false
	defer func() {
		if !taken { // also when PickLoop panics or calls runtime.Goexit
			s.leaveConn(o.Client)
			if fd >= 0 {
				_ = s.calls.Close(fd) // the caller keeps the connection, and is told why
			}
		}
	}()
	fd, err = sock.DupConn(sc)
	if err != nil {
		return nil, err
	}
	peer, err := sock.RemotePeer(fd)
	if errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.EINVAL) { // it is reset already, as Linux and BSD have it: a read says so
		peer, err = peerOf(nc.RemoteAddr()), nil
	}
	var c *loopConn
	if err == nil {
		c, err = s.newConn(s.loopNear(o.Near, peer), fd, peer, o.Handler, begins)
	}
	if err != nil {
		return nil, err
	}
	c.SetValue(o.Value)
	if o.Client {
		c.extra().outgoing = true
	}
	if !c.handOver(cmdOpen) { // before nc is closed, since an error leaves it to the caller
		return nil, ErrServerClosed
	}
	taken = true
	if err := nc.Close(); err != nil {
		s.cfg.Logger.Warn("server: close adopted connection", "err", err)
	}
	return &c.Conn, nil
}

// loopNear is the loop of near if that is set, else the one that the server chooses for peer.
func (s *Server) loopNear(near *Conn, peer sock.Peer) *loop {
	if near != nil {
		return near.loop
	}
	return s.pick(peer)
}

// noDescriptor says why nc, a connection or a listener, cannot be served.
func noDescriptor(nc any) string {
	if _, ok := nc.(*tls.Conn); ok {
		return "a *tls.Conn cannot be served: set Server.TLS or AdoptOptions.TLS, and give the connection beneath it"
	}
	return fmt.Sprintf("%T has no descriptor", nc)
}

// peerOf is a stream's address as package net has it in short; the zero Peer for one that is neither IP nor unix.
func peerOf(a net.Addr) sock.Peer {
	switch a := a.(type) {
	case *net.TCPAddr:
		return sock.PeerOf(sock.Sockaddr("tcp", a.AddrPort()))
	case *net.UnixAddr:
		return sock.PeerOf(&unix.SockaddrUnix{})
	}
	return sock.Peer{}
}

// arrive is canServe for a connection that comes now: a shutdown waits for arriving.Done, when its loop has been told of it.
func (s *Server) arrive(h Handler) error {
	s.mu.Lock()
	err := s.runningLocked()
	if err == nil {
		s.arriving.Add(1)
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	if err = s.canServe(h); err != nil {
		s.arriving.Done()
	}
	return err
}

// canServe says whether the server takes a connection for h.
func (s *Server) canServe(h Handler) error {
	if err := s.running(); err != nil {
		return err
	}
	if h == nil {
		h = s.cfg.Handler
	}
	if h == nil {
		return fmt.Errorf("%w: Handler is nil", ErrInvalid)
	}
	return checkHandler(h)
}

// Detach takes the connection out of the server once its output is flushed and no request of it is in work: fn is called, on the
// loop, with a net.Conn that is fn's own, with package net's no-delay and keep-alive, and a copy of what was read and not consumed.
// Until then nothing is read and no output is accepted. When it cannot be, as with TLS or because the connection ends first, fn is
// called with the reason. Close is told ErrDetached. Errors: ErrClosed, ErrUnsupported; fn is not called then. Any goroutine.
func (c *Conn) Detach(fn func(nc net.Conn, rest []byte, err error)) error {
	c.mu.Lock()
	var err error
	switch {
	case fn == nil:
		err = fmt.Errorf("%w: nil function", ErrInvalid)
	case c.state != connOpen:
		err = c.refusal()
	case c.ext != nil && (c.ext.tls != nil || c.ext.dial != nil && c.ext.dial.tls != nil):
		err = fmt.Errorf("%w: TLS", ErrUnsupported)
	}
	if err != nil {
		c.mu.Unlock()
		return fmt.Errorf("detach: %w", err)
	}
	c.state = connHalf
	c.extra().detach = fn
	c.ext.paused = true
	tell := c.mark(cmdLook)
	c.mu.Unlock()
	c.tell(tell)
	return nil
}

// takeDetach takes what Detach has left. Under mu.
func (c *Conn) takeDetach() func(net.Conn, []byte, error) {
	if c.ext == nil {
		return nil
	}
	fn := c.ext.detach
	c.ext.detach = nil
	return fn
}

// detachNow hands the descriptor out. On the loop, when nothing waits.
func (c *loopConn) detachNow() {
	var rest []byte
	if c.in != nil {
		rest = slices.Clone(c.in.rest())
	}
	c.mu.Lock()
	fn := c.takeDetach()
	c.extra().handed = true // before its number is another's, lest LocalAddr ask that
	c.mu.Unlock()
	_ = c.ev.Del() // before the descriptor is somebody else's
	c.loop.srv.conns.set(c.ev.FD(), nil)
	c.flags |= flagHanded
	nc, err := sock.FileConn(c.ev.FD())
	c.guard(func() { fn(nc, rest, err) })
	c.fail(ErrDetached)
}
