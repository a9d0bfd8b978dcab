package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"reflect"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

var errOnLoop = event.ErrOnLoop

// ListenAndServe opens a listening socket and serves it until the server is shut down: ErrServerClosed is returned then, and
// Shutdown or Close has its own result. Networks are tcp, tcp4, tcp6 and unix. May block; not in a callback.
func (s *Server) ListenAndServe(network, address string) error {
	ln, err := s.Listen(network, address)
	if err != nil {
		return err
	}
	return ln.Wait()
}

// Serve accepts connections from l, which is the server's from now on, until the server is shut down; the error is that of Wait.
// A listener that has a descriptor (as those of package net) is accepted from on a loop, by a duplicate of it: l.Close does not
// end that, AddListener returns what does. Of any other, Accept is called on a goroutine. An error of it that says it is
// temporary, as when descriptors are short, is logged and Accept called again after a while; any other ends Serve. The connections
// have to have a descriptor (SyscallConn): if the first has none, Serve ends with ErrUnsupported, and later ones are closed. A
// listener of package tls is ErrUnsupported; see TLS. May block; not in a callback.
func (s *Server) Serve(l net.Listener) error {
	ln, err := s.AddListener(l)
	if err != nil {
		return err
	}
	return ln.Wait()
}

// A Listener is one of a server's listening sockets.
type Listener struct {
	srv      *Server
	addr     net.Addr
	handler  Handler
	begins   start // of its connections
	accepts  []*acceptor
	original net.Listener  // brought by Serve; closed with this
	file     sock.File     // of a unix socket, to be removed
	stopping chan struct{} // closed when it is to end
	done     chan struct{} // closed when it has ended
	once     sync.Once
	err      error

	accepted atomic.Uint64
}

// acceptor is a listening descriptor on a loop.
type acceptor struct {
	ln      *Listener
	loop    *loop
	fd      int
	e       event.Event
	balance bool // hands connections to other loops, too
	perConn bool // what it accepts does not inherit all options
	earlier bool // the kernel's queue may have connections from before the listener had the options, which did not inherit them
	backoff time.Duration
	retry   *event.Event
	known   bool // e is an event of the loop
	closed  bool

	finished int // connections that finish has accepted, or tried to
}

// Listen opens a listening socket and begins to accept from it. It starts the server if need be. Errors: ErrInvalid, ErrServerClosed, the
// system's. A name in the address is looked up before it returns. May block; not in a callback.
func (s *Server) Listen(network, address string) (*Listener, error) {
	return s.ListenWith(context.Background(), network, address, ListenOptions{})
}

// ListenHandler is ListenWith with only a handler. May block; not in a callback.
func (s *Server) ListenHandler(network, address string, h Handler) (*Listener, error) {
	return s.ListenWith(context.Background(), network, address, ListenOptions{Handler: h})
}

// ListenWith is Listen with options. ctx bounds the look-up of a name. May block; not in a callback.
func (s *Server) ListenWith(ctx context.Context, network, address string, o ListenOptions) (*Listener, error) {
	ln, err := s.listen(ctx, network, address, &o)
	if err != nil {
		return nil, fmt.Errorf("listen on %s %s: %w", network, address, err)
	}
	return ln, nil
}

func (s *Server) listen(ctx context.Context, network, address string, o *ListenOptions) (*Listener, error) {
	if err := s.begin(o.Handler); err != nil {
		return nil, err
	}
	if !isStream(network) {
		return nil, unknownNetwork(network)
	}
	if err := o.check(network); err != nil {
		return nil, err
	}
	options := *s.cfg.socket()
	loops := s.loops[:1]
	if s.cfg.ReusePort && network != "unix" {
		options.ReusePort = true
		loops = s.loops
	}
	if err := options.Check(network); err != nil {
		return nil, fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	}
	ln := s.newListener(o)
	for _, l := range loops {
		fd, addr, err := s.openListener(ctx, network, address, o, &options)
		if err != nil {
			for _, a := range ln.accepts {
				err = errors.Join(err, unix.Close(a.fd))
			}
			return nil, err
		}
		ln.addr, ln.file = addr, sock.FileOf(addr)
		ln.accepts = append(ln.accepts, &acceptor{ln: ln, loop: l, fd: fd, balance: len(loops) == 1})
		if _, port, err := net.SplitHostPort(addr.String()); err == nil { // the others take the port that the first was given
			host, _, _ := net.SplitHostPort(address)
			address = net.JoinHostPort(host, port)
		}
	}
	if err := s.open1(ln); err != nil {
		return nil, err
	}
	return ln, nil
}

// newListener makes a Listener without descriptors.
func (s *Server) newListener(o *ListenOptions) *Listener {
	return &Listener{srv: s, handler: o.Handler, begins: o.start(s), stopping: make(chan struct{}), done: make(chan struct{})}
}

// AddListener is AddListenerWith without options. Any goroutine.
func (s *Server) AddListener(l net.Listener) (*Listener, error) {
	return s.AddListenerWith(l, ListenOptions{})
}

// AddListenerWith is ListenWith for a listener that is open already and belongs to the server from now on; see Serve. After an error it still
// belongs to the caller. Errors: ErrInvalid, ErrUnsupported, as for a listener of package tls, ErrServerClosed, the system's. Any
// goroutine.
func (s *Server) AddListenerWith(l net.Listener, o ListenOptions) (*Listener, error) {
	if l == nil {
		return nil, fmt.Errorf("serve listener: %w: it is nil", ErrInvalid)
	}
	ln, err := s.addListener(l, &o)
	if err != nil {
		return nil, fmt.Errorf("serve %v: %w", l.Addr(), err)
	}
	return ln, nil
}

// tlsListener is the type of the listeners of package tls.
var tlsListener = reflect.TypeOf(tls.NewListener(nil, nil))

func (s *Server) addListener(l net.Listener, o *ListenOptions) (*Listener, error) {
	if err := s.begin(o.Handler); err != nil {
		return nil, err
	}
	if err := o.check(l.Addr().Network()); err != nil {
		return nil, err
	}
	if o.Mode != 0 {
		return nil, fmt.Errorf("%w: Mode is %v, and the socket is bound already", ErrInvalid, o.Mode)
	}
	if reflect.TypeOf(l) == tlsListener {
		return nil, fmt.Errorf("%w: a listener of package tls; set Server.TLS, and give the listener beneath it", ErrUnsupported)
	}
	ln := s.newListener(o)
	ln.addr, ln.original, ln.file = l.Addr(), l, sock.FileOf(l.Addr())
	if sc, ok := l.(syscall.Conn); ok {
		fd, err := sock.DupConn(sc)
		if err != nil {
			return nil, err
		}
		err = sock.CheckStream(fd)
		if err != nil {
			err = fmt.Errorf("%w: %w", ErrUnsupported, err)
		} else { // what the listener has, its connections inherit, where they do
			err = s.cfg.socket().ApplyConn(l.Addr().Network(), fd)
		}
		if err != nil {
			return nil, errors.Join(err, unix.Close(fd))
		}
		ln.accepts = []*acceptor{{ln: ln, loop: s.loops[0], fd: fd, balance: true, perConn: sock.IsMultipath(fd), earlier: true}}
	}
	if err := s.open1(ln); err != nil {
		return nil, err
	}
	return ln, nil
}

// begin starts the server and looks at who is to serve.
func (s *Server) begin(h Handler) error {
	if err := s.Start(); err != nil {
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

// open1 makes a listener known and its loops watch it.
func (s *Server) open1(ln *Listener) error {
	s.mu.Lock()
	err := s.runningLocked()
	if err == nil {
		s.listeners[ln] = struct{}{}
		if len(ln.accepts) == 0 {
			s.down.Go(ln.acceptBlocking)
		}
	}
	for _, a := range ln.accepts { // under mu, so that Shutdown finds the listener either not at all or with its events
		if err == nil {
			if err = a.loop.ev.InitEvent(&a.e, a.fd, event.Read|event.Persist, a.accept); err == nil {
				a.known = true
				err = a.e.Add(event.NoTimeout)
			}
		}
	}
	s.mu.Unlock()
	if err != nil {
		ln.original = nil // the caller's
		ln.stop()
	}
	return err
}

// Addr is the address that it listens on. Any goroutine.
func (ln *Listener) Addr() net.Addr { return ln.addr }

// Accepted is how many connections have come in, those that were refused included. Any goroutine.
func (ln *Listener) Accepted() uint64 { return ln.accepted.Load() }

// Close stops accepting, after the connections that the kernel has established already; these and all others go on. The loops close the
// descriptors in their next turns, and Wait waits for that: before, the address is still taken. The file of a unix socket that
// Listen has made is removed at once, unless another file has its path by now. It returns nil. Any goroutine.
func (ln *Listener) Close() error {
	ln.stop()
	return nil
}

// Wait waits until the listener is closed, its descriptors too, and returns the reason: ErrServerClosed, after a shutdown of the
// server; nil after Close; else what Accept said. May block; not in a callback.
func (ln *Listener) Wait() error {
	<-ln.done
	if ln.srv.running() != nil {
		return ErrServerClosed
	}
	return ln.err
}

// stop closes the listener, its descriptors on their loops.
func (ln *Listener) stop() {
	ln.stopWith(nil)
}

// stopWith is stop for a reason, which Wait returns if it is the first.
func (ln *Listener) stopWith(reason error) {
	ln.once.Do(func() {
		ln.err = reason
		close(ln.stopping)
		s := ln.srv
		s.mu.Lock()
		delete(s.listeners, ln)
		s.mu.Unlock()
		ln.closeFile() // first, so that no client finds the listener any more when its queue is emptied
		var open atomic.Int32
		open.Store(1)
		closed := func() {
			if open.Add(-1) == 0 {
				close(ln.done)
			}
		}
		defer closed()
		for _, a := range ln.accepts {
			open.Add(1)
			a.loop.doFully(a.finish, closed)
		}
		if ln.original != nil {
			if err := ln.original.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
				s.cfg.Logger.Warn("server: close listener", "addr", ln.addr.String(), "err", err)
			}
		}
	})
}

// closeFile removes the file of a unix socket, if it is still this listener's. A listener of package net removes its path whatever
// is there now, unless it is told not to.
func (ln *Listener) closeFile() {
	if u, ok := ln.original.(*net.UnixListener); ok {
		if !ln.file.InPlace() {
			u.SetUnlinkOnClose(false)
		}
		return
	}
	if err := ln.file.Remove(); err != nil {
		ln.srv.cfg.Logger.Warn("server: remove socket", "addr", ln.addr.String(), "err", err)
	}
}

// unknownNetwork is the error of Listen for a network that it does not serve.
func unknownNetwork(network string) error {
	if isDatagram(network) {
		return fmt.Errorf("%w: network %q has no connections; use ListenPacket", ErrInvalid, network)
	}
	return fmt.Errorf("%w: network %q; it is one of tcp, tcp4, tcp6 and unix", ErrInvalid, network)
}

// count counts a connection that was accepted: for the listener, and for the server, whose count outlives it.
func (ln *Listener) count() {
	ln.accepted.Add(1)
	ln.srv.totals.accepted.Add(1)
}

func isDatagram(network string) bool {
	return network == "udp" || network == "udp4" || network == "udp6"
}

func isStream(network string) bool {
	return network == "tcp" || network == "tcp4" || network == "tcp6" || network == "unix"
}
