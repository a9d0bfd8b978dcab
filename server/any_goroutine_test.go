package server_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// stage is a server whose methods are all called from all goroutines.
type stage struct {
	*running
	t        *testing.T
	file     *os.File
	packets  *server.PacketConn
	listener *server.Listener
	ready    chan struct{} // closed when the fields above are set
	accepted atomic.Int64  // writes with an outcome,
	reported atomic.Int64  // and outcomes
	mu       sync.Mutex
	conns    []*server.Conn
}

// any returns a recent connection, which may have ended.
func (s *stage) any() *server.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns[rand.IntN(len(s.conns))]
}

func (s *stage) met(c *server.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conns = append(s.conns, c); len(s.conns) > 8 {
		s.conns = s.conns[1:]
	}
}

// outcome counts a write that was accepted.
func (s *stage) outcome(err error) error {
	if err == nil {
		s.accepted.Add(1)
	}
	return err
}

func (s *stage) done(error) { s.reported.Add(1) }

// methods returns all methods that any goroutine may call, on a connection chosen at random.
func (s *stage) methods() map[string]func(c *server.Conn) error {
	all := s.connMethods()
	maps.Copy(all, s.socketMethods())
	maps.Copy(all, s.serverMethods())
	return all
}

// connMethods are the methods of a Conn.
func (s *stage) connMethods() map[string]func(c *server.Conn) error {
	return map[string]func(c *server.Conn) error{
		"Conn.AfterFunc": func(c *server.Conn) error {
			timer := c.AfterFunc(time.Millisecond, func() { c.Stats() })
			timer.Reset(time.Duration(rand.IntN(2)) * time.Millisecond)
			if rand.IntN(2) == 0 {
				timer.Stop()
			}
			return nil
		},
		"Conn.Abort":            func(c *server.Conn) error { c.Abort(); return nil },
		"Conn.Close":            func(c *server.Conn) error { c.Close(); return nil },
		"Conn.CloseWithError":   func(c *server.Conn) error { return c.CloseWithError(errors.New("a reason")) },
		"Conn.Handler":          func(c *server.Conn) error { c.Handler(); return nil },
		"Conn.Value":            func(c *server.Conn) error { c.Value(); return nil },
		"Conn.CloseRead":        func(c *server.Conn) error { return c.CloseRead() },
		"Conn.CloseWrite":       func(c *server.Conn) error { return c.CloseWrite() },
		"Conn.Context":          func(c *server.Conn) error { return c.Context().Err() },
		"Conn.Detach":           detachAndClose,
		"Conn.DetachCounted":    detachCountedAndClose,
		"Conn.ID":               func(c *server.Conn) error { _ = c.ID().String(); return nil },
		"Conn.FD":               func(c *server.Conn) error { c.FD(); return nil },
		"Conn.LocalAddr":        func(c *server.Conn) error { c.LocalAddr(); return nil },
		"Conn.Loop":             func(c *server.Conn) error { c.Loop().Now(); return nil },
		"Conn.PauseRead":        func(c *server.Conn) error { c.PauseRead(nil); return nil },
		"Conn.PeerAddr":         func(c *server.Conn) error { c.PeerAddr(); return nil },
		"Conn.RemoteAddr":       func(c *server.Conn) error { c.RemoteAddr(); return nil },
		"Conn.AppendRemoteAddr": func(c *server.Conn) error { c.AppendRemoteAddr(nil); return nil },
		"Conn.ResumeRead":       func(c *server.Conn) error { c.ResumeRead(nil); return nil },
		"Conn.SendFile":         func(c *server.Conn) error { return s.outcome(c.SendFile(s.file, 10, 100, s.done)) },
		"Conn.Server":           func(c *server.Conn) error { c.Server().Stats(); return nil },
		"Conn.StartTLS": func(c *server.Conn) error {
			_ = c.StartTLS(&tls.Config{}, nil) // has no certificate
			return nil
		},
		"Conn.SetValue":   func(c *server.Conn) error { c.SetValue(1); return nil },
		"Conn.SetHandler": func(c *server.Conn) error { return c.SetHandler(s.handler(rand.IntN(3))) },
		"Conn.SetTimeouts": func(c *server.Conn) error {
			c.SetTimeouts(server.Timeouts{Idle: time.Duration(rand.IntN(50)) * time.Millisecond})
			return nil
		},
		"Conn.Stats":       func(c *server.Conn) error { c.Stats(); return nil },
		"Conn.TLS":         func(c *server.Conn) error { c.TLS(); return nil },
		"Conn.Write":       func(c *server.Conn) error { _, err := c.Write([]byte("written\n")); return err },
		"Conn.WriteNotify": func(c *server.Conn) error { return s.outcome(c.WriteNotify([]byte("notified\n"), s.done)) },
		"Conn.WriteOwned":  func(c *server.Conn) error { return s.outcome(c.WriteOwned(make([]byte, 3000), s.done)) },
		"Conn.WriteString": func(c *server.Conn) error { _, err := c.WriteString("string\n"); return err },
		"Conn.Writev":      func(c *server.Conn) error { _, err := c.Writev([][]byte{{'a'}, nil, {'b'}}); return err },
	}
}

// socketMethods are the methods of a Listener and of a PacketConn.
func (s *stage) socketMethods() map[string]func(c *server.Conn) error {
	return map[string]func(c *server.Conn) error{
		"Listener.Accepted": func(*server.Conn) error { s.listener.Accepted(); return nil },
		"Listener.Addr":     func(*server.Conn) error { s.listener.Addr(); return nil },
		"Listener.FD":       func(*server.Conn) error { s.listener.FD(); return nil },
		"Listener.Close":    func(*server.Conn) error { return s.listener.Close() },

		"PacketConn.Close":   func(*server.Conn) error { return nil }, // not here: the others would not be called
		"PacketConn.Context": func(*server.Conn) error { return s.packets.Context().Err() },
		"PacketConn.Dispatch": func(*server.Conn) error {
			return s.packets.Dispatch(func(*server.PacketConn, []byte, netip.AddrPort) {}, []byte("work"), netip.AddrPort{})
		},
		"PacketConn.LocalAddr": func(*server.Conn) error { s.packets.LocalAddr(); return nil },
		"PacketConn.Server":    func(*server.Conn) error { s.packets.Server(); return nil },
		"PacketConn.FD":        func(*server.Conn) error { s.packets.FD(); return nil },
		"PacketConn.Stats":     func(*server.Conn) error { s.packets.Stats(); return nil },
		"PacketConn.Local":     func(*server.Conn) error { s.packets.Local(); return nil },
		"PacketConn.WriteFrom": func(*server.Conn) error {
			to := s.packets.Local()
			_, err := s.packets.WriteFrom([]byte("datagram"), to.Addr(), to)
			return err
		},
		"PacketConn.WriteTo": func(*server.Conn) error {
			_, err := s.packets.WriteTo([]byte("datagram"), s.packets.LocalAddr().(*net.UDPAddr).AddrPort())
			return err
		},
	}
}

// serverMethods are the methods of a Server.
func (s *stage) serverMethods() map[string]func(c *server.Conn) error {
	return map[string]func(c *server.Conn) error{
		"Server.AddListener": func(*server.Conn) error {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			ln, err := s.AddListener(inner, nil)
			if err != nil {
				return errors.Join(err, inner.Close())
			}
			return ln.Close()
		},
		"Server.AddPacketConn": func(*server.Conn) error {
			inner, err := net.ListenPacket("udp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			pc, err := s.AddPacketConn(inner, &server.PacketConfig{Handler: func(*server.PacketConn, []byte, netip.AddrPort) {}})
			if err != nil {
				return errors.Join(err, inner.Close())
			}
			return pc.Close()
		},
		"Server.AddConn": func(*server.Conn) error {
			nc, err := net.Dial(s.addr.Network(), s.addr.String())
			if err != nil {
				return err
			}
			if _, err = s.AddConn(nc, &server.ConnConfig{Handler: calls{}}); err != nil {
				return errors.Join(err, nc.Close())
			}
			return nil
		},
		"Server.Conn":      func(c *server.Conn) error { s.Conn(c.ID()); return nil },
		"Server.CloseIdle": func(*server.Conn) error { s.CloseIdle(nil); return nil },
		"Server.Conns":     func(*server.Conn) error { _ = slices.Collect(s.Conns()); return nil },
		"Server.Dial": func(c *server.Conn) error {
			_, err := s.Dial(context.Background(), s.addr.Network(), s.addr.String(), &server.DialConfig{Near: c, Handler: calls{}, Timeout: time.Second})
			return err
		},
		"Server.DialContext": func(c *server.Conn) error {
			_, err := s.DialContext(c.Context(), s.addr.Network(), s.addr.String(), &server.DialConfig{Near: c, Handler: calls{}, Timeout: time.Second})
			return err
		},
		"Server.Blocking":    func(*server.Conn) error { return s.Blocking() },
		"Server.Start":       func(*server.Conn) error { return s.Start() },
		"Server.Listeners":   func(*server.Conn) error { s.Listeners(); return nil },
		"Server.PacketConns": func(*server.Conn) error { s.PacketConns(); return nil },
		"Server.Loop":        func(*server.Conn) error { s.Loop(0); return nil },
		"Server.Loops":       func(*server.Conn) error { s.Loops(); return nil },
		"Server.Stats":       func(*server.Conn) error { s.Stats(); return nil },
		"Server.RouteStats":  func(*server.Conn) error { s.RouteStats(); return nil },
	}
}

// waiting returns the methods that may block, for goroutines of the test.
func (s *stage) waiting() map[string]func() error {
	open := func(ln *server.Listener, err error) error {
		if err != nil {
			return err
		}
		return errors.Join(ln.Close(), ln.Wait())
	}
	return map[string]func() error{
		"Listener.Wait":         func() error { return s.listener.Wait() },
		"Server.Listen":         func() error { return open(s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)) },
		"Server.ListenAndServe": func() error { return s.ListenAndServe("tcp", "127.0.0.1:0") },
		"Server.Serve": func() error {
			inner, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				return err
			}
			return s.Serve(inner)
		},
		"Server.ListenPacket": func() error {
			pc, err := s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: func(*server.PacketConn, []byte, netip.AddrPort) {}})
			if err != nil {
				return err
			}
			return pc.Close()
		},
		"Server.Shutdown": func() error { return s.Shutdown(endedContext(context.Canceled)) },
		"Server.Close":    func() error { return s.Close() },
	}
}

func detachAndClose(c *server.Conn) error {
	return c.Detach(func(nc net.Conn, _ []byte, err error) {
		if err == nil {
			_ = nc.Close()
		}
	})
}

func detachCountedAndClose(c *server.Conn) error {
	return c.DetachCounted(func(nc net.Conn, _ []byte, leave func(), err error) {
		if err == nil {
			_ = nc.Close()
			leave()
		}
	})
}

// handler returns one of three handlers, each of which calls methods at random, too.
func (s *stage) handler(kind int) server.Handler {
	if kind == 0 {
		return calls{
			open: func(c *server.Conn) { s.met(c); s.call(c) },
			data: func(c *server.Conn, p []byte) (int, error) { s.call(s.any()); return c.Write(p) },
		}
	}
	d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
		s.call(s.any())
		_, _ = w.Write(line)
		if rand.IntN(4) == 0 {
			_ = w.Flush()
		}
		_, _ = w.WriteString("\n")
		if w.Context().Err() == nil {
			s.call(w.Conn())
		}
	})
	d.Opened = func(c *server.Conn) { s.met(c); s.call(c) }
	d.Concurrent = kind // one at a time, or two
	return d
}

// call calls one of the methods.
func (s *stage) call(c *server.Conn) {
	<-s.ready
	if c.Server() != s.Server {
		s.t.Error("a connection of another server")
	}
	all := s.methods()
	names := make([]string, 0, len(all))
	for name := range all {
		names = append(names, name)
	}
	_ = all[names[rand.IntN(len(names))]](c) // errors are expected: c may have ended
}

// All methods are called on loops, on workers and on other goroutines at once, while clients connect and disconnect. Then each accepted
// write has had one outcome, each Open its Close, and nothing is left. With -race the test also finds data races.
func TestAnyMethodFromAnyGoroutine(t *testing.T) {
	t.Parallel()
	accepted := int64(0)
	each(t, func(t *testing.T, r rig) {
		s := &stage{t: t, ready: make(chan struct{})}
		var err error
		s.file, err = os.CreateTemp(t.TempDir(), "f")
		testkit.Must(t, err)
		defer s.file.Close()
		testkit.Must(t, s.file.Truncate(1000))
		srv := &server.Server{CloseTimeout: 20 * time.Millisecond, WriteTimeout: time.Second, Workers: 3, HighWater: 10_000}
		srv.Handler = calls{open: func(c *server.Conn) { s.met(c); _ = c.SetHandler(s.handler(rand.IntN(3))) }}
		s.running = start(t, r, srv)
		s.listener, err = s.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
		testkit.Must(t, err)
		s.packets, err = s.ListenPacket(context.Background(), "udp", "127.0.0.1:0", &server.PacketConfig{Handler: func(pc *server.PacketConn, p []byte, from netip.AddrPort) {
			<-s.ready
			s.call(s.any())
		}})
		testkit.Must(t, err)
		close(s.ready)
		nc := s.dial(t)
		send(t, nc, "first\n")
		testkit.Until(t, "the first connection", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			return len(s.conns) > 0
		})
		waiting := s.callAll()
		testkit.Must(t, s.packets.Close())
		s.shutdown(t)
		waiting.Wait()
		if a, n := s.accepted.Load(), s.reported.Load(); a != n {
			t.Errorf("%d writes were accepted, and %d outcomes reported", a, n)
		} else {
			accepted += n
		}
		if st := s.Stats(); st.Opened != st.Closed || st.BufferedBytes != 0 || st.OpenConns != 0 || st.RunningRequests+st.QueuedRequests != 0 {
			t.Errorf("%+v", st)
		}
	})
	if accepted == 0 {
		t.Error("no write was accepted")
	}
}

// callAll calls all methods from all goroutines. waiting is for the calls that end when the server does.
func (s *stage) callAll() (waiting *sync.WaitGroup) {
	waiting = new(sync.WaitGroup)
	for name, wait := range s.waiting() {
		if name == "Server.Shutdown" || name == "Server.Close" { // they would end it
			continue
		}
		waiting.Go(func() {
			if err := wait(); err != nil && !errors.Is(err, server.ErrServerClosed) {
				s.t.Errorf("%s: %v", name, err)
			}
		})
	}
	var clients, callers sync.WaitGroup
	for range 4 {
		clients.Go(func() {
			for range 40 {
				nc, err := s.connectClient()
				if err != nil {
					continue
				}
				_ = nc.SetDeadline(time.Now().Add(20 * time.Millisecond)) // the server may not answer
				_ = pipelined(nc, "line", rand.IntN(5))
				hangUp(nc)
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		callers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
					s.call(s.any())
				}
			}
		})
	}
	clients.Wait()
	close(stop)
	callers.Wait()
	return waiting
}

// connectClient connects a client, whose connection may already be aborted.
func (s *stage) connectClient() (net.Conn, error) {
	nc, err := net.Dial(s.addr.Network(), s.addr.String())
	if err == nil && s.rig.tls {
		nc = tls.Client(nc, clientTLS())
	}
	return nc, err
}

// The test above calls all methods, except those that only the loop or a handler may call.
func TestNoMethodIsLeftOut(t *testing.T) {
	s := &stage{}
	for _, typ := range []reflect.Type{
		reflect.TypeFor[*server.Server](), reflect.TypeFor[*server.Conn](), reflect.TypeFor[*server.Listener](), reflect.TypeFor[*server.PacketConn](),
	} {
		for i := range typ.NumMethod() {
			name := typ.Elem().Name() + "." + typ.Method(i).Name
			switch name {
			case "Server.SetCalls", "Conn.ReadInto", "Conn.Requests": // of the tests, and for the loop
				continue
			}
			if s.methods()[name] == nil && s.waiting()[name] == nil {
				t.Errorf("%s is not called from everywhere", name)
			}
		}
	}
}
