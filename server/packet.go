package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// A PacketHandler is told of a datagram and who has sent it. p may be empty, and is borrowed until the function returns. As
// the handler of a socket it runs on a loop, one at a time, or one on each loop with ReusePort, and must not block; what blocks goes
// to the workers, see DispatchPackets. The zone of an IPv6 address is the interface's number.
type PacketHandler func(pc *PacketConn, p []byte, from netip.AddrPort)

// A PacketConn is a UDP socket of a server's. It has no peers and keeps nothing: a datagram is given to the handler or to the
// kernel, or dropped and counted. What the kernel drops before, because its buffer is full, is counted by the kernel alone.
//
// A socket that is bound to no particular address of this machine, as ":53", receives at all of them. Its handler is given a
// PacketConn of its own for each of them, whose WriteTo answers from the address that the datagram was sent to, from any goroutine
// and at any time; Local tells that address. All of them are one socket: its Close, Stats and so on are shared. On systems other than
// Linux, and by the PacketConn that ListenPacket returns, the system chooses the address that is sent from.
type PacketConn struct {
	*endpoint
	local sock.Peer // what is sent from; the zero Peer: the system's choice
}

// endpoint is what the PacketConns of one socket share.
type endpoint struct {
	main    *PacketConn // the one that ListenPacket has returned
	srv     *Server
	handler PacketHandler
	addr    net.Addr
	sockets []*packetSocket // one, or one for each loop, all of one address
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stopped atomic.Bool // nothing is received any more

	received, sent, bytesReceived, bytesSent, full, dropped, errors atomic.Uint64
}

// PacketStats counts what has happened on a PacketConn.
type PacketStats struct {
	Received      uint64 // datagrams given to the handler
	Sent          uint64 // datagrams given to the kernel
	BytesReceived uint64
	BytesSent     uint64
	Full          uint64 // writes that found the kernel's buffer full
	Dropped       uint64 // datagrams for which the workers had no room, or no time before the socket was closed or the server was cut off
	Errors        uint64 // reads and other writes that failed, as with an ICMP error about an earlier datagram
}

// PacketConfig says how the datagrams of a socket are served. The zero value of each field means as the server's fields say.
type PacketConfig struct {
	// Handler serves the datagrams. Nil means Server.PacketHandler.
	Handler PacketHandler
}

// ListenPacket opens a UDP socket and serves the datagrams that it receives. It starts the server if it has not been started. The
// networks are "udp", "udp4" and "udp6"; the form of the address is that of net.ListenPacket. cfg says how the datagrams are served; nil
// means as the server's fields say. cfg is copied and not written to.
//
// With Server.ReusePort each loop has a socket; otherwise the sockets of a server are distributed over its loops in turn. Of the other
// fields of the Server these apply: Socket, ListenConfig, OnPanic (with a nil Conn), and Workers, Queue and MaxBuffered for datagrams that
// are dispatched.
//
// ctx bounds the lookup of a name in the address. When ListenPacket has returned, the end of ctx has no effect on the socket.
//
// Errors: ErrInvalid, ErrServerClosed, ErrLoopClosed; the cause of ctx if it has ended; the errors of package net and of the system. May
// block; not in a callback.
func (s *Server) ListenPacket(ctx context.Context, network, address string, cfg *PacketConfig) (*PacketConn, error) {
	err := s.Start()
	var pc *PacketConn
	if err == nil {
		pc, err = s.listenPacket(ctx, network, address, valueOf(cfg))
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s %s: %w", network, address, err)
	}
	return pc, nil
}

func (s *Server) listenPacket(ctx context.Context, network, address string, cfg PacketConfig) (*PacketConn, error) {
	if isStream(network) {
		return nil, fmt.Errorf("%w: network %q has no datagrams; use Listen", ErrInvalid, network)
	}
	if !isDatagram(network) {
		return nil, fmt.Errorf("%w: network %q is none of udp, udp4 and udp6", ErrInvalid, network)
	}
	pc, err := s.newPacketConn(cfg)
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	o := *s.cfg.socket()
	o.DeferAccept, o.FastOpen = 0, 0 // options of listeners
	loops := []*loop{s.nextLoop()}
	if s.cfg.ReusePort {
		o.ReusePort = true
		loops = s.loops
	}
	if err := o.Check(network); err != nil {
		return nil, fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	}
	for _, l := range loops {
		fd, addr, _, err := sock.ListenPacket(ctx, &s.cfg.ListenConfig, network, address, &o)
		if err == nil {
			err = pc.add(l, fd)
		}
		if err != nil {
			return nil, errors.Join(err, pc.Close())
		}
		pc.addr, address = addr, addr.String() // the other sockets use the port that the first one was given
	}
	if err := pc.open(); err != nil {
		return nil, err
	}
	return pc, nil
}

// AddPacketConn serves the datagrams of nc, a UDP socket of package net or another one that has a descriptor (a method SyscallConn),
// which may be connected. It starts the server if it has not been started. cfg says how the datagrams are served; nil means as the
// server's fields say. cfg is copied and not written to.
//
// The descriptor is duplicated and nc is closed, so that the Go runtime's poller does not watch it as well. After an error nc still
// belongs to the caller.
//
// Errors: ErrInvalid, ErrUnsupported, ErrServerClosed, ErrLoopClosed, the system's. Any goroutine.
func (s *Server) AddPacketConn(nc net.PacketConn, cfg *PacketConfig) (*PacketConn, error) {
	if nc == nil {
		return nil, fmt.Errorf("add packet connection: %w: connection is nil", ErrInvalid)
	}
	err := s.Start()
	var pc *PacketConn
	if err == nil {
		pc, err = s.addPacketConn(nc, valueOf(cfg))
	}
	if err != nil {
		return nil, fmt.Errorf("add packet connection on %v: %w", nc.LocalAddr(), err)
	}
	return pc, nil
}

func (s *Server) addPacketConn(nc net.PacketConn, cfg PacketConfig) (*PacketConn, error) {
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%w: %T has no descriptor", ErrUnsupported, nc)
	}
	pc, err := s.newPacketConn(cfg)
	if err != nil {
		return nil, err
	}
	fd, err := sock.DupConn(sc)
	if err != nil {
		return nil, err
	}
	pc.addr = nc.LocalAddr()
	if err := pc.add(s.nextLoop(), fd); err != nil {
		return nil, err
	}
	network, err := sock.Network(fd)
	if err == nil && network != "udp" {
		err = fmt.Errorf("%w: network %s", ErrUnsupported, network)
	}
	if err == nil {
		err = s.cfg.socket().ApplyConn(network, fd)
	}
	if err != nil {
		return nil, errors.Join(err, pc.Close())
	}
	if err := pc.open(); err != nil {
		return nil, err
	}
	if err := nc.Close(); err != nil {
		s.cfg.Logger.Warn("server: close added packet connection", "addr", pc.addr.String(), "err", err)
	}
	return pc, nil
}

// newPacketConn makes a PacketConn without sockets.
func (s *Server) newPacketConn(cfg PacketConfig) (*PacketConn, error) {
	h := cfg.Handler
	if h == nil {
		h = s.cfg.PacketHandler
	}
	if h == nil {
		return nil, fmt.Errorf("%w: PacketHandler is nil", ErrInvalid)
	}
	pc := &PacketConn{endpoint: &endpoint{srv: s, handler: h}}
	pc.main = pc
	pc.ctx, pc.cancel = context.WithCancelCause(s.cutCtx)
	return pc, nil
}

// add makes fd one of pc's, or closes it.
func (pc *PacketConn) add(l *loop, fd int) error {
	k := &packetSocket{pc: pc, loop: l, fd: fd}
	local, err := sock.LocalPeer(fd)
	k.v6, k.bound = local.IsIPv6(), local
	if err == nil && sock.HasPacketInfo && local.IsWildcard() {
		k.views = map[sock.Peer]*PacketConn{}
		err = sock.ReceivePacketInfo(fd, k.v6)
	}
	if err == nil {
		err = l.ev.InitEvent(&k.e, fd, event.Read|event.Persist, k.ready)
	}
	if err = l.closedError(err); err != nil {
		return errors.Join(err, pc.srv.calls.Close(fd))
	}
	pc.sockets = append(pc.sockets, k)
	return nil
}

// open makes pc known, to the server first, so that a shutdown finds it. It closes pc when it fails.
func (pc *PacketConn) open() error {
	s := pc.srv
	s.mu.Lock()
	err := s.runningLocked()
	if err == nil {
		s.packets[pc.main] = struct{}{}
	}
	s.mu.Unlock()
	for _, k := range pc.sockets {
		if err == nil {
			err = k.start()
		}
	}
	if err != nil {
		return errors.Join(err, pc.Close())
	}
	return nil
}

// WriteTo sends p as one datagram, at once and whole; it never waits. It is sent from the address that Local has; see PacketConn. The
// zero address is the peer of a connected socket. An
// IPv6 address may have a zone, an interface's number or name; a name is looked up. Errors: ErrFull when the kernel's
// buffer is full, ErrClosed, or the system's, as when p is too large for a datagram, or an ICMP error came about an earlier one; nothing
// was taken then, and nobody tries again. That the kernel has a datagram does not mean that it arrives. Any goroutine.
func (pc *PacketConn) WriteTo(p []byte, to netip.AddrPort) (int, error) {
	n, err := pc.sendFrom(p, pc.local, to)
	if err != nil {
		return 0, fmt.Errorf("write %d bytes to %v: %w", len(p), to, err)
	}
	return n, nil
}

// WriteFrom is WriteTo from an address of this machine that the caller chooses; the zero Addr leaves that to the system. An address
// that is not this machine's is an error of the system's, one of another family than the socket's unix.EAFNOSUPPORT. Errors:
// those of WriteTo; ErrUnsupported on systems other than Linux. Any goroutine.
func (pc *PacketConn) WriteFrom(p []byte, from netip.Addr, to netip.AddrPort) (int, error) {
	var local sock.Peer
	var err error
	if from.IsValid() {
		local, err = sock.PeerAt(netip.AddrPortFrom(from, 0), pc.sockets[0].v6)
		if err == nil && !sock.HasPacketInfo {
			err = ErrUnsupported
		}
		if err != nil {
			pc.errors.Add(1)
		}
	}
	n := 0
	if err == nil {
		n, err = pc.sendFrom(p, local, to)
	}
	if err != nil {
		return 0, fmt.Errorf("write %d bytes from %v to %v: %w", len(p), from, to, err)
	}
	return n, nil
}

func (pc *PacketConn) sendFrom(p []byte, local sock.Peer, to netip.AddrPort) (int, error) {
	// Datagrams to one peer stay on one socket, and so in their order.
	err := pc.sockets[int(to.Port())%len(pc.sockets)].send(p, local, to)
	switch {
	case err == nil:
		pc.sent.Add(1)
		pc.bytesSent.Add(uint64(len(p)))
		return len(p), nil
	case wouldBlock(err) || errors.Is(err, unix.ENOBUFS):
		pc.full.Add(1)
		err = ErrFull
	case !errors.Is(err, ErrClosed):
		pc.errors.Add(1)
	}
	return 0, err
}

// Close closes the socket: its address is free when Close returns. A call of the handler that runs on another goroutine goes on,
// and what was dispatched is still handled, but writes are refused with ErrClosed. Any goroutine.
func (pc *PacketConn) Close() error { return pc.closeWith(ErrClosed) }

// closeWith is Close with the cause of the context's end.
func (pc *PacketConn) closeWith(reason error) error {
	pc.stop()
	s := pc.srv
	s.mu.Lock()
	delete(s.packets, pc.main)
	s.mu.Unlock()
	var err error
	for _, k := range pc.sockets {
		err = errors.Join(err, k.close())
	}
	pc.cancel(reason)
	if err != nil {
		return fmt.Errorf("close packet connection on %v: %w", pc.addr, err)
	}
	return nil
}

// finish gives the handler the datagrams that have arrived, on the loops, then ends the receiving, and calls done: Shutdown.
func (pc *PacketConn) finish(done func()) {
	var open atomic.Int32
	open.Store(int32(len(pc.sockets)))
	for _, k := range pc.sockets {
		k.loop.doFully(k.finish, func() {
			if open.Add(-1) == 0 {
				pc.stop()
				done()
			}
		})
	}
}

// stop ends the receiving. Answers still go out.
func (pc *PacketConn) stop() {
	pc.stopped.Store(true)
	for _, k := range pc.sockets {
		k.stop()
	}
}

// LocalAddr is the address that the socket is bound to, also when it is closed. Any goroutine.
func (pc *PacketConn) LocalAddr() net.Addr { return pc.addr }

// Local is the address of this machine that WriteTo sends from: the one that the datagram was sent to, if the PacketConn is a
// handler's. Else it is what the socket is bound to, and if that is no particular address, the system chooses. Any goroutine.
func (pc *PacketConn) Local() netip.AddrPort {
	if pc.local == (sock.Peer{}) {
		return pc.sockets[0].bound.Numbered()
	}
	return pc.local.Numbered()
}

// Server is the server that the socket belongs to. Any goroutine.
func (pc *PacketConn) Server() *Server { return pc.srv }

// Context ends when the socket is closed, and at the latest with Shutdown's deadline. Any goroutine.
func (pc *PacketConn) Context() context.Context { return pc.ctx }

// Stats returns the counts of this moment. Any goroutine.
func (pc *PacketConn) Stats() PacketStats {
	return PacketStats{
		Received: pc.received.Load(), BytesReceived: pc.bytesReceived.Load(), Sent: pc.sent.Load(), BytesSent: pc.bytesSent.Load(),
		Full: pc.full.Load(), Dropped: pc.dropped.Load(), Errors: pc.errors.Load(),
	}
}
