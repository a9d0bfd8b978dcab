package server

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math"
	"net"
	"net/netip"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// DialConfig says how Dial connects. The zero value of each field is its default.
type DialConfig struct {
	// Handler serves the connection. Nil means Server.Handler.
	Handler Handler
	// Timeout bounds the lookup of a name, connecting and the TLS handshake together. 0 means DefaultDialTimeout; a negative value means no
	// limit.
	Timeout time.Duration
	// TLS, if not nil, makes the connection use TLS, as its client. If ServerName is empty, it is taken from the address. Renegotiation is
	// not supported: a value other than tls.RenegotiateNever is ErrInvalid.
	TLS *tls.Config
	// Resolver looks up the names of hosts and services. Nil means net.DefaultResolver.
	Resolver *net.Resolver
	// Near, if not nil, is a connection of the same server. The new connection is put on the loop of Near, so that their handlers never run
	// at the same time. Nil means that the server chooses the loop.
	Near *Conn
	// Value is the result of Conn.Value until SetValue is called.
	Value any
}

// DefaultDialTimeout is the default of DialConfig.Timeout.
const DefaultDialTimeout = 30 * time.Second

// Dial begins to connect to an address and returns without waiting. The networks are "tcp", "tcp4", "tcp6" and "unix"; the form of
// the address is that of net.Dial. cfg says how to connect; nil means the defaults. cfg is copied and not written to.
//
// The handler's Open is called when the connection is established, TLS handshake included. If that fails, the handler's Close is called
// with the reason, and Open is not called. Output that is written meanwhile is sent after Open. Conn.ID is the zero ConnID until Open.
//
// The end of ctx before Open ends the connection. The reason wraps the cause of ctx, and ErrDialTimeout if the deadline of ctx has passed,
// ErrAborted otherwise. After Open, ctx has no effect.
//
// Names are looked up on a goroutine. The addresses of a name are tried in turn, IPv6 and IPv4 alternately as in RFC 8305: the next one
// when an attempt fails, or when it has been under way for 250 ms. The first connection that is established is used. At most 8 attempts of
// a Dial are under way at once; the next address then replaces the oldest attempt. Besides one for each Dial, all attempts of a server
// together may use a quarter of the descriptors that the process may open. An address without a host, such as ":80", means this machine.
//
// In a Shutdown Dial works until all other connections have ended and no handler runs any more, since handlers may need it.
//
// Errors: ErrInvalid; ErrNotStarted; ErrServerClosed; ErrLoopClosed; ErrOverload at MaxConns; ErrDialTimeout or ErrAborted with the cause of
// ctx if it has ended already. Any goroutine.
func (s *Server) Dial(ctx context.Context, network, address string, cfg *DialConfig) (*Conn, error) {
	c, err := s.dial(ctx, network, address, valueOf(cfg), nil)
	if err != nil {
		return nil, fmt.Errorf("dial %s %s: %w", network, address, err)
	}
	return c, nil
}

// dial is Dial without the operation in the error. If opened is not nil, it is called once on the loop: with nil after Open, or with the reason
// if the connection ends before Open, in place of the handler's Close.
func (s *Server) dial(ctx context.Context, network, address string, cfg DialConfig, opened func(error)) (*Conn, error) {
	if ctx == nil {
		return nil, errNilContext
	}
	if err := s.beginDial(); err != nil {
		return nil, err
	}
	defer s.dials.leave()
	if err := s.checkServes(cfg.Handler); err != nil {
		return nil, err
	}
	if err := s.checkDial(network, &cfg); err != nil {
		return nil, err
	}
	d, err := s.newDialing(network, address, &cfg)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, dialEnded(ctx)
	}
	l := s.loopNear(cfg.Near, sock.Peer{}) // before the connection is counted, since PickLoop may panic or call runtime.Goexit
	if !s.enterConn(true) {
		return nil, fmt.Errorf("%w: MaxConns is %d", ErrOverload, s.cfg.MaxConns)
	}
	c, err := s.newConn(l, -1, sock.Peer{}, cfg.Handler, connSetup{})
	if err != nil {
		s.leaveConn(true)
		return nil, err
	}
	c.SetValue(cfg.Value)
	c.life = c.life.to(lifeDialing)
	timeout := cmp.Or(cfg.Timeout, DefaultDialTimeout)
	if timeout < 0 {
		timeout = event.NoTimeout
	}
	d.ctx, d.stop = context.WithCancel(s.baseCtx) // without a deadline: the loop ends the dial when its time has passed
	c.extra().dial, c.ext.unopened, c.ext.outgoing = d, true, true
	c.ext.dialTimeout, c.ext.dialOpened = timeout, opened
	commands := cmdOpen
	if d.targets != nil {
		commands |= cmdResolved
	}
	if !c.giveToLoop(commands) {
		d.stop()
		s.leaveConn(true)
		return nil, l.closedError(event.ErrClosed)
	}
	c.endWith(ctx)
	return &c.Conn, nil
}

// beginDial registers a call that dials. If it returns nil, the caller calls dials.leave when the connection was given to its loop. A
// shutdown in which handlers may still run permits dials, since they may need connections to other servers.
func (s *Server) beginDial() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.runningLocked()
	if s.state == serverDraining && !s.drains(true) && s.baseCtx.Err() == nil {
		err = nil
	}
	if err == nil {
		s.dials.enter(math.MaxInt)
	}
	return err
}

// newDialing returns the state of a Dial of the address.
func (s *Server) newDialing(network, address string, cfg *DialConfig) (*dialing, error) {
	targets, host, port, err := literal(network, address)
	if err != nil && !errors.Is(err, errName) {
		return nil, err
	}
	d := &dialing{network: network, host: host, port: port, targets: targets, tls: cfg.TLS, resolver: cmp.Or(cfg.Resolver, net.DefaultResolver)}
	if d.tls != nil && d.tls.ServerName == "" && host != "" {
		d.tls = d.tls.Clone()
		d.tls.ServerName = host
	}
	return d, nil
}

// endWith makes the connection end when ctx ends before Open.
func (c *Conn) endWith(ctx context.Context) {
	if ctx.Done() == nil {
		return
	}
	stop := context.AfterFunc(ctx, func() { _ = c.cancelDial(ctx) }) // the loop reports the reason
	c.mu.Lock()
	waits := c.isUnopened() && c.state != connClosed
	if waits {
		c.ext.stopContext = stop
	}
	c.mu.Unlock()
	if !waits {
		stop()
	}
}

// cancelDial ends the connection, because ctx has ended, unless Open was called. It returns the reason of the end, or nil if Open was called.
func (c *Conn) cancelDial(ctx context.Context) error {
	c.mu.Lock()
	if !c.isUnopened() {
		c.mu.Unlock()
		return nil
	}
	queue := false
	if c.state != connClosed {
		c.setState(connClosed)
		c.setReason(dialEnded(ctx))
		queue = c.mark(cmdCheck)
	}
	reason := orClosed(c.reasonLocked())
	c.mu.Unlock()
	c.enqueue(queue)
	return reason
}

// dialEnded returns the reason of a connection whose Dial's context, ctx, has ended before Open.
func dialEnded(ctx context.Context) error {
	kind := ErrAborted
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		kind = ErrDialTimeout
	}
	return fmt.Errorf("%w: %w", kind, context.Cause(ctx))
}

// checkDial checks the network and the configuration.
func (s *Server) checkDial(network string, cfg *DialConfig) error {
	switch {
	case !isStream(network):
		return fmt.Errorf("%w: network %q is none of tcp, tcp4, tcp6 and unix", ErrInvalid, network)
	case cfg.Near != nil && cfg.Near.loop.srv != s:
		return fmt.Errorf("%w: DialConfig.Near is a connection of another server", ErrInvalid)
	case cfg.TLS != nil:
		return checkClientTLS(cfg.TLS)
	}
	return nil
}

// literal returns the target of an address that needs no lookup. For any other address it returns its host and port, and errName.
func literal(network, address string) (targets []unix.Sockaddr, host, port string, err error) {
	if network == "unix" {
		return []unix.Sockaddr{&unix.SockaddrUnix{Name: address}}, "", "", nil
	}
	if host, port, err = net.SplitHostPort(address); err != nil {
		return nil, "", "", fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if n, err := strconv.Atoi(port); err == nil && (n < 0 || n > math.MaxUint16) {
		return nil, "", "", fmt.Errorf("%w: port of %s is not in 0 to %d", ErrInvalid, address, math.MaxUint16)
	}
	ap, err := netip.ParseAddrPort(address)
	switch sa := sock.Sockaddr(network, ap); {
	case err != nil: // a name
		return nil, host, port, errName
	case sa == nil:
		return nil, "", "", fmt.Errorf("%w: %s is not an address of %s", ErrInvalid, address, network)
	default:
		return []unix.Sockaddr{sa}, host, port, nil
	}
}

// errName reports that an address has to be looked up.
var errName = errors.New("not a literal address")
