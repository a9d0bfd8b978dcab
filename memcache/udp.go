package memcache

import (
	"encoding/binary"
	"net/netip"
	"sync"
	"sync/atomic"

	"github.com/evmq/evmq/server"
)

const (
	// frameHeader is the length of the header of every datagram: the client's number of the request, the number of the datagram in the request
	// or answer, the number of datagrams, and two reserved bytes.
	frameHeader = 8
	// maxDatagram is the maximum payload of a datagram of an answer, so that it is not fragmented.
	maxDatagram = 1400 - frameHeader
	// maxDatagrams is the maximum number of datagrams of an answer. With more, a client would lose some, and forged addresses could be used for
	// amplification attacks.
	maxDatagrams = 64
	maxAnswer    = maxDatagrams * maxDatagram
)

// Packet serves a datagram of a server: see server.Server.ListenPacket. A request must be in one datagram; its answer may have several. A datagram
// without a request is not answered. p is valid until Packet returns. Loop only.
func (c *Cache) Packet(pc *server.PacketConn, p []byte, from netip.AddrPort) {
	if len(p) < frameHeader || binary.BigEndian.Uint16(p[2:]) != 0 || binary.BigEndian.Uint16(p[4:]) != 1 {
		return
	}
	c.packets.mu.Lock() // the sockets of one server may be on several loops
	defer c.packets.mu.Unlock()
	w := c.packets.worker
	w.begin(nil)
	w.socket = pc.FD()
	c.packets.last.Store(c.clock.Unix())
	w.serveDatagram(p[frameHeader:])
	w.counts.add(bytesRead, uint64(len(p)))
	w.sendDatagrams(pc, p[:2], from)
}

// packets is the worker of all datagrams.
type packets struct {
	mu     sync.Mutex // guards worker
	worker *worker
	last   atomic.Int64 // second of the last datagram. Any goroutine reads it
}

// serveDatagram serves the requests of a datagram. An incomplete request is ignored.
func (w *worker) serveDatagram(p []byte) {
	s := session{w: w, known: w.config.Users == nil}
	defer func() {
		if s.value != nil {
			s.value.drop()
		}
	}()
	for len(p) > 0 && !w.quit && len(w.out) <= maxAnswer {
		used, whole := s.step(p)
		if used == 0 && !whole {
			break
		}
		p = p[used:]
	}
}

// sendDatagrams sends the answer in datagrams. If the kernel refuses one, the rest of the answer is dropped.
func (w *worker) sendDatagrams(pc *server.PacketConn, id []byte, to netip.AddrPort) {
	if len(w.out) > maxAnswer {
		w.out = append(w.out[:0], "SERVER_ERROR out of memory writing get response\r\n"...)
	}
	total := (len(w.out) + maxDatagram - 1) / maxDatagram
	var d [frameHeader + maxDatagram]byte
	copy(d[:], id)
	binary.BigEndian.PutUint16(d[4:], uint16(total))
	for i := range total {
		binary.BigEndian.PutUint16(d[2:], uint16(i))
		part := w.out[i*maxDatagram : min(len(w.out), (i+1)*maxDatagram)]
		n := copy(d[frameHeader:], part)
		if _, err := pc.WriteTo(d[:frameHeader+n], to); err != nil {
			return
		}
		w.counts.add(bytesWritten, uint64(n))
	}
	if cap(w.out) > 4*maxOut {
		w.out = make([]byte, 0, outBuffer)
	}
}
