package server_test

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/server"
)

// Many goroutines call all methods of connections that have ended. The clients of connections with the same descriptor read only their
// own bytes.
func TestMethodsOfAClosedConnReachNoOther(t *testing.T) {
	var mu sync.Mutex
	var all []*server.Conn
	p := calls{data: echo, close: func(c *server.Conn, _ error) {
		mu.Lock()
		all = append(all, c)
		mu.Unlock()
	}}
	s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: p})
	stop := make(chan struct{})
	var callers sync.WaitGroup
	for g := range 3 {
		callers.Go(func() {
			for i := g; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				mu.Lock()
				var c *server.Conn
				if len(all) > 0 {
					c = all[i%len(all)]
				}
				mu.Unlock()
				if c != nil {
					callStale(s.Server, c)
				}
			}
		})
	}
	for range 100 {
		nc := s.dial(t)
		send(t, nc, "hi")
		expect(t, nc, "hi")
		closeWrite(t, nc)
		rest, err := io.ReadAll(nc)
		if strings.Contains(string(rest), "STALE") || err != nil {
			t.Errorf("read %q, %v", rest, err)
		}
		nc.Close()
	}
	close(stop)
	callers.Wait()
	s.shutdown(t)
	if st := s.Stats(); st.Opened != st.Closed || st.OpenConns != 0 || st.BufferedBytes != 0 {
		t.Errorf("%+v", st)
	}
}

// callStale calls every method of a connection that has ended.
func callStale(s *server.Server, c *server.Conn) {
	_, _ = c.WriteString("STALE")
	_, _ = c.Writev([][]byte{nil, []byte("STALE")})
	_ = c.WriteOwned([]byte("STALE"), nil)
	_ = c.WriteNotify([]byte("STALE"), nil)
	_ = c.SetHandler(s.Handler)
	c.PauseRead(nil)
	c.ResumeRead(nil)
	_ = c.CloseRead()
	_ = c.CloseWrite()
	c.LocalAddr()
	c.RemoteAddr()
	c.PeerAddr()
	c.Stats()
	c.TLS()
	_ = c.Context().Err()
	c.SetTimeouts(server.Timeouts{Idle: 1})
	_ = c.Detach(func(net.Conn, []byte, error) {})
	c.Abort()
	c.Close()
	server.Broadcast([]*server.Conn{c, c}, []byte("STALE"), nil)
	if other := s.Conn(c.ID()); other != nil {
		other.Abort()
	}
}

// Several goroutines make writes of all kinds, and the connection ends meanwhile in different ways.
func TestEveryAcceptedWriteHasOneOutcome(t *testing.T) {
	f := writeFile(t, noise(100<<10))
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 2}, &server.Server{Handler: p, MaxOutput: 64 << 10})
	var accepted, reported, twice atomic.Int64
	ends := []func(c *server.Conn, nc net.Conn){
		func(c *server.Conn, _ net.Conn) { c.Abort() },
		func(c *server.Conn, _ net.Conn) { c.Close() },
		func(_ *server.Conn, nc net.Conn) { reset(t, nc) },
		func(c *server.Conn, _ net.Conn) { _ = c.CloseWrite() },
		func(c *server.Conn, _ net.Conn) {
			_ = c.Detach(func(nc net.Conn, _ []byte, _ error) {
				if nc != nil {
					_ = nc.Close()
				}
			})
		},
	}
	for round := range 50 {
		c, nc := p.connect(t, s)
		var writers sync.WaitGroup
		for g := range 4 {
			writers.Go(func() {
				for i := range 100 {
					var called atomic.Int32
					done := func(error) {
						if called.Add(1) > 1 {
							twice.Add(1)
						}
						reported.Add(1)
					}
					err := writeSomehow(c, f, i, g, done)
					if err == nil {
						accepted.Add(1)
					} else if errors.Is(err, server.ErrClosed) {
						return
					}
				}
			})
		}
		go func() { _, _ = io.Copy(io.Discard, nc) }()
		ends[round%len(ends)](c, nc)
		writers.Wait()
		_ = nc.Close()
	}
	s.shutdown(t)
	if st := s.Stats(); accepted.Load() != reported.Load() || twice.Load() != 0 || st.BufferedBytes != 0 || st.Opened != st.Closed || server.WaitingFiles(s.Server) != 0 {
		t.Errorf("%d accepted, %d reported, %d of them twice; %d files; %+v", accepted.Load(), reported.Load(), twice.Load(), server.WaitingFiles(s.Server), st)
	}
}

// writeSomehow writes to c in one of the ways that report an outcome.
func writeSomehow(c *server.Conn, f *os.File, i, g int, done func(error)) error {
	switch (i + g) % 6 {
	case 0:
		return c.WriteOwned(nil, done)
	case 1:
		return c.WriteOwned([]byte{}, done)
	case 2:
		return c.WriteOwned(make([]byte, 1000), done)
	case 3:
		return c.WriteNotify(make([]byte, 3000), done)
	case 4:
		return c.SendFile(f, 0, int64(i%3)*1000, done)
	}
	for _, r := range server.Broadcast([]*server.Conn{c}, []byte("hi"), func(_ *server.Conn, err error) { done(err) }) {
		return r.Err
	}
	return nil
}
