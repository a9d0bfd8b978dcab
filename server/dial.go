package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
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
	// TLS, if set, makes the connection speak TLS. ServerName is taken from the address if it is empty. Renegotiation is not
	// supported: a value other than tls.RenegotiateNever is ErrInvalid.
	TLS *tls.Config
	// Near, if set, is a connection of the same server: the new one is put on its loop, so that their handlers never run at the same
	// time.
	Near *Conn
	// Value is what Conn.Value returns.
	Value any
}

// DefaultDialTimeout is DialOptions.Timeout's default.
const DefaultDialTimeout = 30 * time.Second

// Dial begins to connect, without waiting: the handler's Open is called when the connection is there, and its Close, with the
// reason, when it could not be made; Open has not been called then. Meanwhile output may be written, which is sent when the
// connection is there. Names are looked up on a goroutine. The addresses of a name are tried in turn, IPv6 and IPv4 alternately as in
// RFC 8305: the next one at once when an attempt fails, and after 250 ms while it is still under way; the first connection that
// is established is used. At most 8 attempts are under way at once, and the next address takes the place of the oldest; the
// attempts of all connections of a server, besides one for each, may take up a quarter of the descriptors that the process may
// open. An address without a host, as ":80", is this machine. The connection's ID is the zero ConnID until Open.
// Networks are tcp, tcp4, tcp6 and unix. Errors: ErrInvalid, ErrNotStarted, ErrServerClosed, ErrOverload at MaxConns. Any goroutine.
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
	if err := s.checkDial(network, o); err != nil {
		return nil, err
	}
	targets, host, port, err := literal(network, address)
	if err != nil && !errors.Is(err, errName) {
		return nil, err
	}
	l := s.loopNear(o.Near, sock.Peer{}) // before anything is taken, since PickLoop may panic or call runtime.Goexit
	if !s.enterConn(true) {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrOverload, s.cfg.MaxConns)
	}
	c, err := s.newConn(l, -1, sock.Peer{}, o.Handler, start{})
	if err != nil {
		s.leaveConn(true)
		return nil, err
	}
	c.SetValue(o.Value)
	c.flags |= flagDialing
	timeout := o.Timeout
	if timeout == 0 {
		timeout = DefaultDialTimeout
	}
	if timeout < 0 {
		timeout = event.NoTimeout
	}
	d := &dialing{network: network, host: host, port: port, targets: targets, tls: o.TLS}
	if d.tls != nil && d.tls.ServerName == "" && host != "" {
		d.tls = d.tls.Clone()
		d.tls.ServerName = host
	}
	d.ctx, d.stop = context.WithTimeoutCause(s.cutCtx, timeout, ErrDialTimeout)
	c.extra().dial, c.ext.unopened, c.ext.outgoing = d, true, true
	c.ext.readyBy = timeout // from begin on, when it is over: the loop's time is of its last turn
	what := cmdOpen
	if targets != nil {
		what |= cmdResolved
	}
	if !c.handOver(what) {
		d.stop()
		s.leaveConn(true)
		return nil, ErrServerClosed
	}
	return &c.Conn, nil
}

// checkDial checks what does not depend on the address.
func (s *Server) checkDial(network string, o DialOptions) error {
	switch {
	case !isStream(network):
		return fmt.Errorf("%w: network %q; it is one of tcp, tcp4, tcp6 and unix", ErrInvalid, network)
	case o.Near != nil && o.Near.loop.srv != s:
		return fmt.Errorf("%w: Near is a connection of another server", ErrInvalid)
	case o.TLS != nil:
		return checkClientTLS(o.TLS)
	}
	return nil
}

// literal returns the address if it needs no looking up, else its host and port.
func literal(network, address string) (targets []unix.Sockaddr, host, port string, err error) {
	if network == "unix" {
		return []unix.Sockaddr{&unix.SockaddrUnix{Name: address}}, "", "", nil
	}
	if host, port, err = net.SplitHostPort(address); err != nil {
		return nil, "", "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	ap, err := netip.ParseAddrPort(address)
	switch sa := sock.Sockaddr(network, ap); {
	case err != nil: // a name, to be looked up
		return nil, host, port, errName
	case sa == nil:
		return nil, "", "", fmt.Errorf("%w: %s is no address of %s", ErrInvalid, address, network)
	default:
		return []unix.Sockaddr{sa}, host, port, nil
	}
}

// errName is literal's answer to an address that has to be looked up.
var errName = errors.New("no literal address")

// startLookUp has a goroutine look the address up, if it is a name. On the loop, whose goroutine a shutdown waits for: it waits for the
// look-up, too.
func (c *Conn) startLookUp() {
	c.mu.Lock()
	d := c.ext.dial
	c.mu.Unlock()
	if d.targets == nil {
		c.loop.srv.down.Go(func() { c.lookUp(d) })
	}
}

// lookUp finds the addresses of a name, and gives them to the loop.
func (c *Conn) lookUp(d *dialing) {
	var targets []unix.Sockaddr
	ctx, host, port := d.ctx, d.host, d.port
	n, err := net.DefaultResolver.LookupPort(ctx, d.network, port)
	if err == nil {
		family := "ip" + d.network[len("tcp"):]
		var addrs []netip.Addr
		switch {
		case host == "" && d.network == "tcp6":
			addrs = []netip.Addr{netip.IPv6Loopback()}
		case host == "":
			addrs = []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}
		default:
			addrs, err = net.DefaultResolver.LookupNetIP(ctx, family, host)
		}
		for _, a := range addrs {
			if sa := sock.Sockaddr(d.network, netip.AddrPortFrom(a, uint16(n))); sa != nil {
				targets = append(targets, sa)
			}
		}
	}
	if err == nil && len(targets) == 0 {
		err = fmt.Errorf("%w: %s has no address of %s", ErrInvalid, host, d.network)
	}
	if cause := context.Cause(ctx); err != nil && cause != nil { // seen here before the loop has seen it
		err = fmt.Errorf("%w: %w", cause, err)
	}
	c.mu.Lock()
	d.targets, d.err = sock.AlternateFamilies(targets), err
	tell := c.mark(cmdResolved)
	c.mu.Unlock()
	c.tell(tell)
}
