package server

import (
	"errors"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/sock"
)

// packetBudget limits the datagrams that a socket receives in a turn, and writeBudget their bytes, approximately. The rest is received in
// the next turn, after the other sockets.
const packetBudget = 64

// packetSocket is a descriptor of a PacketConn, on a loop.
type packetSocket struct {
	pc   *PacketConn
	loop *loop
	e    event.Event
	v6   bool

	bound sock.Peer                 // the address that it is bound to
	views map[sock.Peer]*PacketConn // by local address, if the socket is bound to a wildcard address; otherwise nil. Loop only
	last  *PacketConn               // the view that was used last. Loop only

	// mu is held for reading during a system call on the descriptor, which does not wait, and for writing to change state and to close the
	// descriptor. So no call uses the number after another file has got it.
	mu    sync.RWMutex
	fd    int
	state packetState

	// Loop only.
	failures  int // reads in succession that have returned no datagram
	finishing int // reads that finish has made
	backoff   time.Duration
}

// packetState is the state of a packetSocket. It only grows. Under mu.
type packetState uint8

const (
	packetOpen    packetState = iota
	packetStopped             // it receives no more datagrams
	packetClosed
)

// start adds the event to the loop.
func (k *packetSocket) start() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state != packetOpen {
		return ErrServerClosed
	}
	return k.e.Add(event.NoTimeout)
}

// stop stops receiving.
func (k *packetSocket) stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == packetOpen {
		k.state = packetStopped
		_ = k.e.Del() // an error changes nothing: the event is not used again
	}
}

// close closes the descriptor of a socket that is stopped.
func (k *packetSocket) close() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.state == packetClosed {
		return nil
	}
	k.state = packetClosed
	return k.pc.srv.calls.Close(k.fd)
}

// sockaddrs has buffers for the addresses of system calls, so that a call allocates none.
var sockaddrs = sync.Pool{New: func() any { return new(sock.Sockaddrs) }}

// send sends p from local to the address to. The zero Peer leaves the choice of the local address to the system.
func (k *packetSocket) send(p []byte, local sock.Peer, to netip.AddrPort) error {
	var sa unix.Sockaddr
	var peer sock.Peer
	if to != (netip.AddrPort{}) {
		var err error
		if peer, err = sock.PeerAt(to, k.v6); err != nil {
			return err
		}
	}
	if local == (sock.Peer{}) && peer != (sock.Peer{}) {
		room := sockaddrs.Get().(*sock.Sockaddrs)
		defer sockaddrs.Put(room)
		sa = peer.SockaddrIn(room)
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.state == packetClosed {
		return ErrClosed
	}
	if local != (sock.Peer{}) {
		return k.pc.srv.calls.SendMsg(k.fd, p, peer, local)
	}
	return k.pc.srv.calls.SendTo(k.fd, p, sa)
}

// receive receives a datagram into p. local is the zero Peer unless the socket is bound to a wildcard address.
func (k *packetSocket) receive(p []byte) (n int, from, local sock.Peer, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.state != packetOpen {
		return 0, from, local, ErrClosed
	}
	if k.views != nil {
		return k.pc.srv.calls.RecvMsg(k.fd, p)
	}
	n, from, err = k.pc.srv.calls.RecvFrom(k.fd, p)
	return n, from, local, err
}

// maxViews limits the views that a socket keeps: the addresses of a machine may be a whole network.
const maxViews = 1024

// view returns the PacketConn for datagrams that were sent to local. On the loop.
func (k *packetSocket) view(local sock.Peer) *PacketConn {
	if k.views == nil || local == (sock.Peer{}) {
		return k.pc
	}
	local = local.WithPort(k.bound.AddrPort().Port())
	if k.last != nil && k.last.local == local {
		return k.last
	}
	pc := k.views[local]
	if pc == nil {
		pc = &PacketConn{endpoint: k.pc.endpoint, local: local}
		if len(k.views) < maxViews {
			k.views[local] = pc
		}
	}
	k.last = pc
	return pc
}

// ready is the callback of the socket's event.
func (k *packetSocket) ready(_ *event.Event, what event.Flags) {
	k.loop.assertInLoop("datagrams")
	if what&event.Timeout != 0 {
		k.resume()
	}
	if what&event.Read != 0 {
		k.read()
	}
}

// read receives as many datagrams as the turn's budget permits; the kernel reports the rest again. An error is about an earlier datagram,
// and reading it removes it. An error that persists would be reported in each turn; then the socket pauses.
func (k *packetSocket) read() {
	buf, room := k.loop.buf, writeBudget
	for i := 0; i < packetBudget && room > 0; i++ {
		n, from, local, err := k.receive(buf)
		switch {
		case err == nil:
			k.failures, k.backoff = 0, 0
			room -= n
			k.deliver(k.view(local), buf[:n], from)
			continue
		case wouldBlock(err) && i > 0:
			k.failures, k.backoff = 0, 0
			return
		case errors.Is(err, ErrClosed):
			return
		case !wouldBlock(err):
			k.pc.errors.Add(1)
		}
		if k.failures++; k.failures >= packetBudget {
			k.pause(err)
			return
		}
		if wouldBlock(err) {
			return
		}
	}
}

// maxLast limits the reads of finish, so that many new datagrams cannot delay the end of a socket.
const maxLast = 64 * packetBudget

// finish receives the datagrams that have arrived before a shutdown.
func (k *packetSocket) finish() {
	for ; k.finishing < maxLast; k.finishing++ {
		n, from, local, err := k.receive(k.loop.buf)
		switch {
		case err == nil:
			k.deliver(k.view(local), k.loop.buf[:n], from)
		case wouldBlock(err) || errors.Is(err, ErrClosed):
			return
		default:
			k.pc.errors.Add(1)
		}
	}
}

// deliver counts a datagram and gives it to the handler.
func (k *packetSocket) deliver(pc *PacketConn, p []byte, from sock.Peer) {
	pc.received.Add(1)
	pc.bytesReceived.Add(uint64(len(p)))
	pc.call(pc.handler, p, from.Numbered())
}

// call calls h, a function of the user. If OnPanic is set, call recovers from a panic.
func (pc *PacketConn) call(h PacketHandler, p []byte, from netip.AddrPort) {
	if pc.srv.cfg.OnPanic == nil {
		h(pc, p, from)
		return
	}
	pc.sockets[0].loop.guard(func() { h(pc, p, from) })
}

// pause stops receiving for a while.
func (k *packetSocket) pause(why error) {
	k.backoff = min(maxBackoff, max(minBackoff, 2*k.backoff))
	s := k.pc.srv
	if k.backoff == minBackoff { // once for each series of errors
		s.cfg.Logger.Warn("server: receive", "addr", k.pc.addr.String(), "err", why)
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.state != packetOpen {
		return
	}
	if err := errors.Join(k.e.SetConditions(0), k.e.SetTimeout(k.backoff)); err != nil && !errors.Is(err, event.ErrClosed) {
		s.cfg.Logger.Error("server: pause receiving", "addr", k.pc.addr.String(), "err", err)
	}
}

// resume ends a pause.
func (k *packetSocket) resume() {
	k.mu.RLock()
	err := error(nil)
	if k.state == packetOpen {
		err = k.e.SetConditions(event.Read)
	}
	k.mu.RUnlock()
	if err != nil { // for example because the system has no memory: try again later
		k.pause(err)
	}
}
