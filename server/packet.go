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

// ListenPacket opens a UDP socket and gives h what comes in there. The networks are udp, udp4 and udp6. It starts the
// server if need be; a Handler for connections is not needed. With ReusePort every loop has a socket, else the sockets of
// a server take turns on its loops. Of the Server's fields, Socket and ListenConfig count, OnPanic (with a nil Conn), and Workers, Queue and
// MaxBuffered for what is dispatched. Errors: ErrInvalid, ErrServerClosed, the system's. A name in the address is looked up
// before it returns. May block; not in a callback.
func (s *Server) ListenPacket(network, address string, h PacketHandler) (*PacketConn, error) {
	pc, err := s.listenPacket(network, address, h)
	if err != nil {
		return nil, fmt.Errorf("listen on %s %s: %w", network, address, err)
	}
	return pc, nil
}

func (s *Server) listenPacket(network, address string, h PacketHandler) (*PacketConn, error) {
	if err := s.beginPackets(h); err != nil {
		return nil, err
	}
	if isStream(network) {
		return nil, fmt.Errorf("%w: network %q has no datagrams; use Listen", ErrInvalid, network)
	}
	if !isDatagram(network) {
		return nil, fmt.Errorf("%w: network %q; it is one of udp, udp4 and udp6", ErrInvalid, network)
	}
	o := *s.cfg.socket()
	o.DeferAccept, o.FastOpen = 0, 0 // the listeners'
	loops := []*loop{s.nextLoop()}
	if s.cfg.ReusePort {
		o.ReusePort = true
		loops = s.loops
	}
	if err := o.Check(network); err != nil {
		return nil, fmt.Errorf("%w: Socket: %w", ErrInvalid, err)
	}
	pc := s.newPacketConn(h)
	for _, l := range loops {
		fd, addr, _, err := sock.ListenPacket(context.Background(), &s.cfg.ListenConfig, network, address, &o)
		if err == nil {
			err = pc.add(l, fd)
		}
		if err != nil {
			return nil, errors.Join(err, pc.Close())
		}
		pc.addr, address = addr, addr.String() // the others take the port that the first was given
	}
	return pc, pc.open()
}

// AddPacketConn is ListenPacket for a UDP socket of package net, or of another that has SyscallConn, which may be connected.
// The descriptor is duplicated and nc is closed, so that the Go runtime's poller does not watch it as well; on an error nc is still the
// caller's. Errors: ErrInvalid, ErrUnsupported, ErrServerClosed, the system's. Any goroutine.
func (s *Server) AddPacketConn(nc net.PacketConn, h PacketHandler) (*PacketConn, error) {
	pc, err := s.addPacketConn(nc, h)
	if err != nil {
		return nil, fmt.Errorf("add packet connection on %v: %w", nc.LocalAddr(), err)
	}
	return pc, nil
}

func (s *Server) addPacketConn(nc net.PacketConn, h PacketHandler) (*PacketConn, error) {
	if err := s.beginPackets(h); err != nil {
		return nil, err
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return nil, fmt.Errorf("%w: %T has no descriptor", ErrUnsupported, nc)
	}
	fd, err := sock.DupConn(sc)
	if err != nil {
		return nil, err
	}
	pc := s.newPacketConn(h)
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

// beginPackets starts the server for h.
func (s *Server) beginPackets(h PacketHandler) error {
	if h == nil {
		return fmt.Errorf("%w: PacketHandler is nil", ErrInvalid)
	}
	return s.Start()
}

func (s *Server) newPacketConn(h PacketHandler) *PacketConn {
	pc := &PacketConn{endpoint: &endpoint{srv: s, handler: h}}
	pc.main = pc
	pc.ctx, pc.cancel = context.WithCancelCause(s.cutCtx)
	return pc
}

// nextLoop lets the loops take turns.
func (s *Server) nextLoop() *loop { return s.loops[int(s.next.Add(1)-1)%len(s.loops)] }

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
	if errors.Is(err, event.ErrClosed) {
		err = ErrServerClosed
	}
	if err != nil {
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
func (pc *PacketConn) Close() error {
	pc.stop()
	s := pc.srv
	s.mu.Lock()
	delete(s.packets, pc.main)
	s.mu.Unlock()
	var err error
	for _, k := range pc.sockets {
		err = errors.Join(err, k.close())
	}
	pc.cancel(ErrClosed)
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
