package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// DialOptions are how Dial connects. The zero value will do.
type DialOptions struct {
	// Handler serves the connection; nil means the server's Handler.
	Handler Handler
	// Timeout bounds looking up, connecting and shaking hands together. 0 means DefaultDialTimeout, less than 0 none.
	Timeout time.Duration
	// TLS, if set, makes the connection speak TLS. ServerName is taken from the address if it is empty.
	TLS *tls.Config
	// Near, if set, puts the connection on the loop of this one, so that their handlers never run at the same time.
	Near *Conn
	// Data is what Conn.Data returns.
	Data any
}

// DefaultDialTimeout is DialOptions.Timeout's default.
const DefaultDialTimeout = 30 * time.Second

// dialing is what a connection needs until it is connected.
type dialing struct {
	network string
	stop    context.CancelFunc // ends the look-up
	targets []unix.Sockaddr    // what is left to try
	target  unix.Sockaddr      // what is being tried
	err     error              // of the look-up, then of the last attempt
	tls     *tls.Config
}

// Dial begins to connect, without waiting: the handler's Open is called when the connection is there, and its Close, with the
// reason, when it could not be made; Open has not been called then. Meanwhile output may be written, which is sent when the
// connection is there. Names are looked up on a goroutine; of several addresses one is tried after the other. The connection's ID is the
// zero ID until Open. Networks are tcp, tcp4, tcp6 and unix. Errors: ErrConfig, ErrNotStarted, ErrServerClosed, ErrOverload at
// MaxConns. Any goroutine.
func (s *Server) Dial(network, address string, o DialOptions) (*Conn, error) {
	c, err := s.dial(network, address, o)
	if err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	return c, nil
}

func (s *Server) dial(network, address string, o DialOptions) (*Conn, error) {
	if err := s.arrive(o.Handler); err != nil {
		return nil, err
	}
	defer s.arriving.Done()
	if !isStream(network) {
		return nil, fmt.Errorf("%w: network %q", ErrConfig, network)
	}
	targets, host, port, err := literal(network, address)
	if err != nil && !errors.Is(err, errName) {
		return nil, err
	}
	var l *loop
	if o.Near != nil {
		l = o.Near.loop
	} else {
		l = s.pick(sock.Peer{}) // before anything is taken, since PickLoop may panic or call runtime.Goexit
	}
	if !s.open.enter(s.MaxConns) {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrOverload, s.MaxConns)
	}
	c, err := s.newConn(l, -1, sock.Peer{}, o.Handler)
	if err != nil {
		s.open.leave()
		return nil, err
	}
	c.data = o.Data
	c.flags |= flagDialing
	timeout := o.Timeout
	if timeout == 0 {
		timeout = DefaultDialTimeout
	}
	if timeout < 0 {
		timeout = event.NoTimeout
	}
	c.since = timeout // from begin on, when it is over: the loop's time is of its last turn
	d := &dialing{network: network, targets: targets, tls: o.TLS}
	if d.tls != nil && d.tls.ServerName == "" && !d.tls.InsecureSkipVerify {
		d.tls = d.tls.Clone()
		d.tls.ServerName = host
	}
	ctx, cancel := context.WithTimeoutCause(s.cutCtx, timeout, ErrDialTimeout)
	d.stop = cancel
	c.mu.Lock()
	c.extra().dial = d
	what := cmdOpen
	if targets == nil {
		s.down.Go(func() { c.lookUp(ctx, d, host, port) })
	} else {
		what |= cmdResolved
	}
	tell := c.mark(what)
	c.mu.Unlock()
	c.tell(tell)
	return c, nil
}

// literal returns the address if it needs no looking up, else its host and port.
func literal(network, address string) (targets []unix.Sockaddr, host, port string, err error) {
	if network == "unix" {
		return []unix.Sockaddr{&unix.SockaddrUnix{Name: address}}, "", "", nil
	}
	if host, port, err = net.SplitHostPort(address); err != nil {
		return nil, "", "", fmt.Errorf("%w: %w", ErrConfig, err)
	}
	ap, err := netip.ParseAddrPort(address)
	switch sa := sockaddr(network, ap); {
	case err != nil: // a name, to be looked up
		return nil, host, port, errName
	case sa == nil:
		return nil, "", "", fmt.Errorf("%w: %s is no address of %s", ErrConfig, address, network)
	default:
		return []unix.Sockaddr{sa}, host, port, nil
	}
}

// errName is literal's answer to an address that has to be looked up.
var errName = errors.New("no literal address")

// sockaddr is nil when ap is not of the network, or in a zone that is not here.
func sockaddr(network string, ap netip.AddrPort) unix.Sockaddr {
	if !ap.IsValid() {
		return nil
	}
	a := ap.Addr().Unmap()
	if network == "tcp4" && !a.Is4() || network == "tcp6" && !a.Is6() {
		return nil
	}
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4(), Port: int(ap.Port())}
	}
	sa := &unix.SockaddrInet6{Addr: a.As16(), Port: int(ap.Port())}
	if zone := a.Zone(); zone != "" {
		n, err := strconv.ParseUint(zone, 10, 32)
		if i, e := net.InterfaceByName(zone); e == nil {
			n, err = uint64(i.Index), nil
		}
		if err != nil {
			return nil
		}
		sa.ZoneId = uint32(n)
	}
	return sa
}

// lookUp finds the addresses of a name, and gives them to the loop.
func (c *Conn) lookUp(ctx context.Context, d *dialing, host, port string) {
	var targets []unix.Sockaddr
	n, err := net.DefaultResolver.LookupPort(ctx, d.network, port)
	if err == nil {
		family := "ip" + d.network[len("tcp"):]
		var addrs []netip.Addr
		if host == "" {
			addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		} else {
			addrs, err = net.DefaultResolver.LookupNetIP(ctx, family, host)
		}
		for _, a := range addrs {
			if sa := sockaddr(d.network, netip.AddrPortFrom(a, uint16(n))); sa != nil {
				targets = append(targets, sa)
			}
		}
	}
	if err == nil && len(targets) == 0 {
		err = fmt.Errorf("%w: %s has no address of %s", ErrConfig, host, d.network)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil { // seen here before the loop has seen it
		err = fmt.Errorf("%w: %w", cause, err)
	}
	c.mu.Lock()
	d.targets, d.err = targets, err
	tell := c.mark(cmdResolved)
	c.mu.Unlock()
	c.tell(tell)
}

// connect tries the next address.
func (c *Conn) connect() {
	c.mu.Lock()
	d := c.ext.dial
	c.mu.Unlock()
	for len(d.targets) > 0 {
		d.target, d.targets = d.targets[0], d.targets[1:]
		if d.err = c.tryConnect(d.target); d.err == nil {
			return
		}
	}
	c.fail(fmt.Errorf("dial: %w", d.err))
}

// tryConnect begins to connect to target.
func (c *Conn) tryConnect(target unix.Sockaddr) error {
	s := c.loop.srv
	if err := c.dropAttempt(); err != nil {
		return err
	}
	c.mu.Lock()
	network := c.ext.dial.network
	c.mu.Unlock()
	fd, err := sock.Socket(network, target)
	if err != nil {
		return err
	}
	o := *s.socket()
	if err = o.ApplyConn(network, fd); err == nil {
		if err = s.calls.Connect(fd, target); errors.Is(err, unix.EINPROGRESS) {
			err = nil
		}
	}
	if err == nil {
		err = c.ev.Del()
	}
	if err == nil {
		err = c.loop.ev.InitEvent(&c.ev, fd, event.Write|event.Persist, c.loop.callback)
	}
	if err == nil {
		delete(c.loop.dialing, c)
		s.conns.set(fd, c)
		c.flags |= flagConnecting
		if err = c.ev.Add(event.NoTimeout); err == nil {
			c.arm()
			return nil
		}
		_ = c.dropAttempt() // closes fd; err says what went wrong
		return err
	}
	return errors.Join(err, s.calls.Close(fd))
}

// dropAttempt closes the descriptor of an attempt that has failed; the connection has none then, but still its timer.
func (c *Conn) dropAttempt() error {
	if c.flags&flagConnecting == 0 {
		return nil
	}
	c.flags &^= flagConnecting
	fd := c.ev.FD()
	_ = c.ev.Del() // the next line is what matters
	c.loop.srv.conns.set(fd, nil)
	c.loop.dialing[c] = struct{}{}
	err := c.loop.ev.InitEvent(&c.ev, -1, event.Persist, c.loop.callback)
	return errors.Join(err, c.loop.srv.calls.Close(fd))
}

// connected is called when an attempt has succeeded or failed.
func (c *Conn) connected() {
	if err := c.loop.srv.calls.SockError(c.ev.FD()); err != nil {
		c.mu.Lock()
		d := c.ext.dial
		c.mu.Unlock()
		d.err = err
		c.connect()
		return
	}
	c.mu.Lock()
	d := c.ext.dial
	c.ext.dial = nil
	c.place |= visited
	c.mu.Unlock()
	d.stop()
	peer, err := sock.RemotePeer(c.ev.FD())
	if err != nil { // it was there and is reset already: Open is called, and a read says so
		peer = sock.PeerOf(d.target)
	}
	c.mu.Lock()
	c.peer = peer
	c.mu.Unlock()
	c.flags = c.flags&^(flagDialing|flagConnecting) | flagReading
	c.last = momentOf(c.loop.now())
	if d.tls != nil {
		c.startTLS(d.tls, true)
	} else {
		c.sinceNow()
		c.opened()
	}
	if c.flags&flagGone != 0 {
		return
	}
	if err := c.watch(); err != nil {
		c.fail(err)
		return
	}
	c.mu.Lock()
	c.flush()
}
