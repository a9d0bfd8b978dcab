package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/evmq/evmq/server"
)

// The ways in which a session ends.
const (
	endHalfClose = iota // the client closes its sending half, and reads the rest
	endTruncated        // the same, in the middle of a message
	endBye              // the server closes after an answer
	endHalf             // the server closes its sending half
	endAbort            // the server aborts
	endReset            // the client resets the connection
	endVanish           // the client closes in the middle of a message
	endHalfReset        // the client closes its sending half, and resets the connection
	endSilent           // the client reads nothing, and resets the connection
	endExit             // a handler calls runtime.Goexit
	endUsual
	endStay = iota - 1 // the client stays until the server is shut down
)

var endNames = [...]string{"half-close", "truncated", "bye", "half", "abort", "reset", "vanish", "half-close and reset", "silent", "exit", "stay"}

// isAbrupt reports whether a session that ends in this way may lose bytes in transit.
func isAbrupt(ending int) bool {
	switch ending {
	case endAbort, endReset, endVanish, endHalfReset, endSilent, endExit:
		return true
	}
	return false
}

// silence is how long a client that reads nothing stays connected.
const silence = 200 * time.Millisecond

// soakClient is one session.
type soakClient struct {
	*soak
	rng     *rand.Rand // for writing, and before
	rngRead *rand.Rand
	link    *link
	nc, raw net.Conn // nc may be TLS over raw
	ending  int
	slow    bool // reads slowly
	bytes   bool // writes byte for byte
	busy    bool // pipelines until it is full
	count   int  // of requests

	sent  chan frame    // requests without an answer yet, at most the depth of the pipeline
	wrote uint32        // requests that were sent, when writing has ended
	gone  chan struct{} // closed when reading has ended

	got    uint32 // answers
	asked  *frame // the request of the next answer, if it was taken from sent
	part   bool   // and the first part of its answer was received
	pushed [soakPushers + 1]uint32
	casts  uint32
	cast   int64 // the last broadcast
}

// client makes session after session.
func (s *soak) client(rng *rand.Rand) {
	for !s.over() {
		d := s.listeners[rng.IntN(len(s.listeners))]
		c := &soakClient{
			soak: s, rng: rng, rngRead: rand.New(rand.NewPCG(rng.Uint64(), 0)), ending: rng.IntN(endUsual), count: 1 + rng.IntN(100), cast: -1,
			slow: rng.IntN(5) == 0, bytes: rng.IntN(8) == 0, busy: rng.IntN(2) == 0,
			sent: make(chan frame, 1+rng.IntN(64)), gone: make(chan struct{}),
		}
		if left := time.Until(s.end); left < time.Until(s.begun)/-4 && rng.IntN(2) == 0 {
			c.ending, c.count = endStay, c.count<<(20*rng.IntN(2))
		}
		if c.bytes {
			c.count = min(c.count, 10)
		}
		if c.ending == endSilent {
			c.sent = make(chan frame, c.count) // the client does not wait for answers
		}
		way := rng.IntN(8)
		c.link = &link{id: s.lastLink.Add(1), concurrent: d.concurrent, abrupt: isAbrupt(c.ending), closed: make(chan struct{})}
		c.link.name = fmt.Sprintf("%s, %s, way %d, slow %v, bytes %v, %d requests, %d deep",
			d.name, endNames[c.ending], way, c.slow, c.bytes, c.count, cap(c.sent))
		s.links.Store(c.link.id, c.link)
		if err := c.connect(d, way); err != nil {
			if !s.stopping.Load() {
				s.fail("%v: connect: %v", c.link, err)
			}
			return
		}
		c.run()
	}
}

// connect makes the connection: to a listener, by AddConn, or by the server's Dial.
func (c *soakClient) connect(d soakListener, way int) (err error) {
	switch way {
	case 0:
		return c.connectByDial(d)
	case 1:
		err = c.connectByAddConn(d)
	default:
		c.raw, err = net.DialTimeout(d.addr.Network(), d.addr.String(), soakPatience)
	}
	if err != nil {
		return err
	}
	if c.nc = c.raw; c.tls {
		c.nc = tls.Client(c.raw, clientTLS())
	}
	return nil
}

// connectByDial makes the server connect to the client, with TLS if the server uses it, and sometimes if it does not.
func (c *soakClient) connectByDial(d soakListener) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	o := server.DialConfig{Handler: d.handler, Timeout: soakPatience}
	secret := c.tls || c.rng.IntN(3) == 0
	if secret {
		o.TLS = clientTLS()
	}
	if _, err = c.srv.Dial(context.Background(), "tcp", ln.Addr().String(), &o); err != nil {
		return err
	}
	for limit := time.Now().Add(soakPatience); c.raw == nil; { // a server that is shut down does not dial
		if err = ln.(*net.TCPListener).SetDeadline(time.Now().Add(100 * time.Millisecond)); err == nil {
			c.raw, err = ln.Accept()
		}
		if err != nil && (!errors.Is(err, os.ErrDeadlineExceeded) || c.stopping.Load() || time.Now().After(limit)) {
			return err
		}
	}
	if c.nc = c.raw; secret {
		c.nc = tls.Server(c.raw, serverTLS())
	}
	return nil
}

// connectByAddConn gives the server a connection that another listener has accepted.
func (c *soakClient) connectByAddConn(d soakListener) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer ln.Close()
	if c.raw, err = net.DialTimeout("tcp", ln.Addr().String(), soakPatience); err != nil {
		return err
	}
	theirs, err := ln.Accept()
	if err != nil {
		return errors.Join(err, c.raw.Close())
	}
	if _, err = c.srv.AddConn(theirs, &server.ConnConfig{Handler: d.handler, Accepted: true}); err != nil {
		return errors.Join(err, theirs.Close(), c.raw.Close())
	}
	return nil
}

// run runs the session.
func (c *soakClient) run() {
	defer c.raw.Close()
	c.sessions.Add(1)
	written := make(chan error, 1)
	go func() { written <- c.write() }()
	var err, wrote error
	if c.ending == endSilent {
		wrote = <-written
		time.Sleep(time.Duration(c.rngRead.IntN(int(silence))))
	} else {
		err = c.read()
	}
	close(c.gone)
	if c.ending == endSilent {
		c.reset()
	}
	c.nc.Close()
	if c.ending != endSilent {
		wrote = <-written
	}
	c.answers.Add(int64(c.got))
	c.checkEnd(err, wrote)
}

// write sends the requests and ends the session in the chosen way.
func (c *soakClient) write() error {
	var buf []byte
	last := byte(kindPlain)
	switch c.ending {
	case endBye:
		last = kindBye
	case endHalf:
		last = kindHalf
	case endAbort:
		last = kindAbort
	case endExit:
		last = kindExit
	}
	for i := range c.count {
		f := frame{tag: tagRequest, kind: byte(c.rng.IntN(kindUsual)), link: c.link.id, seq: c.wrote}
		f.size = uint32(someSize(c.rng))
		f.body = c.someNoise(c.rng, someSize(c.rng))
		if c.bytes {
			f.body = f.body[:min(len(f.body), 50)]
		}
		if i == c.count-1 {
			f.kind = last
		}
		start := len(buf)
		buf = f.append(buf)
		f.body = nil
		select {
		case c.sent <- f:
		default:
			if err := c.flush(buf[:start]); err != nil {
				return err
			}
			buf = buf[:copy(buf, buf[start:])]
			select {
			case c.sent <- f:
			case <-c.gone:
				return nil
			}
		}
		c.wrote++
		if !c.busy || len(buf) > 64<<10 || i == c.count-1 {
			if err := c.flush(buf); err != nil {
				return err
			}
			buf = buf[:0]
		}
	}
	return c.finish()
}

// flush writes p, perhaps in pieces.
func (c *soakClient) flush(p []byte) error {
	limit := soakPatience
	if c.ending == endSilent {
		limit = silence
	}
	if err := c.nc.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	for len(p) > 0 {
		n := len(p)
		switch {
		case c.bytes:
			n = 1
		case c.rng.IntN(4) == 0:
			n = 1 + c.rng.IntN(n)
		}
		if _, err := c.nc.Write(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// finish ends the writing.
func (c *soakClient) finish() error {
	switch c.ending {
	case endTruncated, endVanish:
		f := frame{tag: tagRequest, link: c.link.id, seq: c.wrote, body: c.someNoise(c.rng, 100)}
		p := f.append(nil)
		if err := c.flush(p[:1+c.rng.IntN(len(p)-1)]); err != nil {
			return err
		}
	}
	switch c.ending {
	case endHalfClose, endTruncated:
		return c.nc.(halfCloser).CloseWrite()
	case endHalfReset:
		err := c.nc.(halfCloser).CloseWrite()
		time.Sleep(time.Duration(c.rng.IntN(3)) * time.Millisecond)
		return errors.Join(err, c.reset())
	case endReset:
		return c.reset()
	case endVanish:
		return c.raw.Close()
	}
	return nil
}

// reset closes the connection, with a reset if the network has one.
func (c *soakClient) reset() error {
	if tcp, ok := c.raw.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return err
		}
	}
	return c.raw.Close()
}

// read reads the frames of the server, until its end.
func (c *soakClient) read() error {
	size := 64 << 10
	if c.slow {
		size = 1 << 10
	}
	r := bufio.NewReaderSize(c.nc, size)
	buf := make([]byte, 4)
	for {
		limit := time.Now().Add(soakPatience)
		if c.ending == endStay {
			limit = time.Now().Add(max(0, time.Until(c.end)) + soakPatience)
		}
		if err := c.nc.SetReadDeadline(limit); err != nil {
			return err
		}
		if _, err := io.ReadFull(r, buf[:4]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint32(buf))
		if n > frameMax {
			return fmt.Errorf("%w: a length of %d bytes", errWrong, n)
		}
		if cap(buf) < n {
			buf = make([]byte, n)
		}
		if _, err := io.ReadFull(r, buf[:n]); err != nil {
			if err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		f, err := parseFrame(buf[:n])
		if err == nil {
			err = c.take(f)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", errWrong, err)
		}
		if c.slow && c.rngRead.IntN(8) == 0 {
			time.Sleep(time.Duration(c.rngRead.IntN(2000)) * time.Microsecond)
		}
	}
}
