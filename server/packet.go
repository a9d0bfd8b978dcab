package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// A PacketHandler is called with a datagram and its sender. p may be empty, and is valid until the function returns. As the handler of a
// socket it is called on the socket's loop, or on each loop with ReusePort, and must not block; DispatchPackets makes one that runs on
// workers. The zone of an IPv6 address is the number of the interface.
type PacketHandler func(pc *PacketConn, p []byte, from netip.AddrPort)

// A PacketConn is a UDP socket of a server. It has no buffers: a datagram that arrives is given to the handler, and one that is sent is
// given to the kernel. If that is not possible at once, the datagram is discarded and counted. Datagrams that the kernel discards, because
// its buffer is full, are counted by the kernel alone.
//
// A socket that is bound to a wildcard address, such as ":53", receives the datagrams for all addresses of this machine. On Linux its
// handler is given another PacketConn for each of these addresses. WriteTo of that PacketConn sends from the address that the datagram was
// sent to; Local returns that address. All these PacketConns are one socket and share Close, Stats and all other methods. On other systems,
// and with the PacketConn that ListenPacket returns, the system chooses the address to send from.
type PacketConn struct {
	*endpoint
	local sock.Peer // the address to send from; the zero Peer leaves it to the system
}

// endpoint is the state that the PacketConns of one socket share.
type endpoint struct {
	main    *PacketConn // the PacketConn that ListenPacket or AddPacketConn has returned
	srv     *Server
	handler PacketHandler
	addr    net.Addr
	sockets []*packetSocket // one, or one for each loop, all with the same address
	ctx     context.Context
	cancel  context.CancelCauseFunc
	stopped atomic.Bool // no datagrams are received any more

	received, sent, bytesReceived, bytesSent, full, dropped, errors atomic.Uint64
}

// PacketStats has the counters of a PacketConn. They only grow.
type PacketStats struct {
	Received      uint64 // datagrams given to the handler
	Sent          uint64 // datagrams given to the kernel
	BytesReceived uint64 // bytes in the datagrams that were received
	BytesSent     uint64 // bytes in the datagrams that were sent
	Full          uint64 // writes refused because the kernel's buffer was full
	Dropped       uint64 // datagrams discarded because the workers had no room, or because the socket or the server ended first
	Errors        uint64 // reads and other writes that failed, for example with an ICMP error about an earlier datagram
}

// PacketConfig says how the datagrams of a socket are served, where that differs from the fields of the Server.
type PacketConfig struct {
	// Handler serves the datagrams. Nil means Server.PacketHandler.
	Handler PacketHandler
}

// ListenPacket opens a UDP socket and serves the datagrams that it receives. It starts the server if it has not been started. The networks
// are "udp", "udp4" and "udp6"; the form of the address is that of net.ListenPacket. cfg says how the datagrams are served; with nil, the
// fields of the Server apply. cfg is copied and not written to.
//
// With Server.ReusePort each loop has a socket; otherwise the sockets of a server are distributed over its loops in turn. The following
// other fields of the Server apply: Socket, ListenConfig, OnPanic (with a nil Conn), and, for datagrams that are dispatched, Workers, Queue
// and MaxBuffered.
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
	if err := checkContext(ctx); err != nil {
		return nil, err
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
			return nil, errors.Join(openError(err), pc.Close())
		}
		pc.addr, address = addr, addr.String() // the other sockets use the port that the first one was given
	}
	if err := pc.open(); err != nil {
		return nil, err
	}
	return pc, nil
}

// AddPacketConn serves the datagrams of nc, a UDP socket of package net or another one that has a descriptor (a method SyscallConn), which
// may be connected. It starts the server if it has not been started. cfg says how the datagrams are served; with nil, the fields of the
// Server apply. cfg is copied and not written to.
//
// The descriptor is duplicated and nc is closed, so that the Go runtime's poller does not watch it as well. After an error nc still
// belongs to the caller.
//
// Errors: ErrInvalid, ErrUnsupported, ErrServerClosed, ErrLoopClosed, the system's. Any goroutine.
func (s *Server) AddPacketConn(nc net.PacketConn, cfg *PacketConfig) (*PacketConn, error) {
	if isNil(nc) {
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
	pc.ctx, pc.cancel = context.WithCancelCause(s.baseCtx)
	return pc, nil
}

// add makes fd a socket of pc. If it fails, it closes fd.
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

// open adds pc to the server and then its sockets to their loops, so that a shutdown finds it. If it fails, it closes pc.
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

// Close closes the socket. Its address is free when Close returns. Calls of the handler on other goroutines are not interrupted, and
// datagrams that were dispatched are still handled, but writes fail with ErrClosed. Errors: the system's. A second Close returns nil. Any
// goroutine.
func (pc *PacketConn) Close() error { return pc.closeWith(ErrClosed) }

// closeWith is Close with the cause of the end of Context.
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

// finish is called by Shutdown. It gives the datagrams that have arrived to the handler, on the loops, stops receiving, and calls done.
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

// stop stops receiving. Answers can still be sent.
func (pc *PacketConn) stop() {
	pc.stopped.Store(true)
	for _, k := range pc.sockets {
		k.stop()
	}
}

// LocalAddr returns the address that the socket is bound to, also after Close. Any goroutine.
func (pc *PacketConn) LocalAddr() net.Addr { return pc.addr }

// Local returns the address that WriteTo sends from. If the PacketConn was given to a handler, it is the address that the datagram was sent
// to; otherwise it is the address that the socket is bound to, and if that is a wildcard address, the system chooses. Any goroutine.
func (pc *PacketConn) Local() netip.AddrPort {
	if pc.local == (sock.Peer{}) {
		return pc.sockets[0].bound.Numbered()
	}
	return pc.local.Numbered()
}

// FD returns the number of the socket's descriptor, of the first one with ReusePort. It is meant for logs and reports, as Conn.FD is. Any
// goroutine.
func (pc *PacketConn) FD() int {
	if len(pc.sockets) == 0 {
		return -1
	}
	return pc.sockets[0].fd
}

// Server returns the server that the socket belongs to. Any goroutine.
func (pc *PacketConn) Server() *Server { return pc.srv }

// Context returns a context that ends when the socket is closed, and at the latest when the context of a Shutdown ends. Any goroutine.
func (pc *PacketConn) Context() context.Context { return pc.ctx }

// Stats returns the current counters. Any goroutine.
func (pc *PacketConn) Stats() PacketStats {
	return PacketStats{
		Received: pc.received.Load(), BytesReceived: pc.bytesReceived.Load(), Sent: pc.sent.Load(), BytesSent: pc.bytesSent.Load(),
		Full: pc.full.Load(), Dropped: pc.dropped.Load(), Errors: pc.errors.Load(),
	}
}
