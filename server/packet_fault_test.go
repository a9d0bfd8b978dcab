package server

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
)

// faultyPackets is a server with one socket, of which decide makes calls fail, and a client of it.
func faultyPackets(t *testing.T, s *Server, decide func(socktest.Call) socktest.Fault, h PacketHandler) (*PacketConn, net.Conn) {
	t.Helper()
	s.NumLoops = 1
	s.calls = socktest.New(&sock.Kernel{}, decide)
	if s.Logger == nil {
		s.Logger = slog.New(slog.DiscardHandler)
	}
	pc, err := s.ListenPacket(context.Background(), "udp4", "127.0.0.1:0", &PacketConfig{Handler: h})
	if err != nil {
		t.Fatal(err)
	}
	nc, err := net.Dial("udp4", pc.LocalAddr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		nc.Close()
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return pc, nc
}

// lines counts the records of a Logger, by message.
type lines struct {
	slog.Handler
	mu    sync.Mutex
	count map[string]int
}

func (l *lines) Enabled(context.Context, slog.Level) bool { return true }
func (l *lines) Handle(_ context.Context, r slog.Record) error {
	l.mu.Lock()
	l.count[r.Message]++
	l.mu.Unlock()
	return nil
}

// In one case reads return an error, in the other no datagram. Afterwards receiving continues.
func TestReceivingPausesWhileTheKernelReportsAnErrorThatPersists(t *testing.T) {
	for _, c := range []struct {
		fault  unix.Errno
		errors uint64
	}{{unix.ENOMEM, packetBudget + 2}, {unix.EAGAIN, 0}} {
		t.Run(c.fault.Error(), func(t *testing.T) {
			log := &lines{Handler: slog.DiscardHandler, count: map[string]int{}}
			got := make(chan string, 1)
			var failed int
			pc, nc := faultyPackets(t, &Server{Logger: slog.New(log)}, func(call socktest.Call) (f socktest.Fault) {
				if call.Name == socktest.RecvFrom && failed < packetBudget+2 {
					failed++
					f.Err = c.fault
				}
				return f
			}, func(_ *PacketConn, p []byte, _ netip.AddrPort) { got <- string(p) })
			if _, err := nc.Write([]byte("in the end")); err != nil {
				t.Fatal(err)
			}
			select {
			case text := <-got:
				if text != "in the end" {
					t.Errorf("received %q", text)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("the datagram was never received")
			}
			if n := pc.Stats().Errors; n != c.errors {
				t.Errorf("%d errors were counted, want %d", n, c.errors)
			}
			log.mu.Lock()
			defer log.mu.Unlock()
			if len(log.count) != 1 || log.count["server: receive"] != 1 {
				t.Errorf("logged: %v; want one rest", log.count)
			}
		})
	}
}

// No datagram is lost.
func TestAnErrorBetweenDatagramsLosesNone(t *testing.T) {
	gate, entered := make(chan struct{}), make(chan struct{})
	var got []string
	done := make(chan struct{})
	var reads int
	pc, nc := faultyPackets(t, &Server{}, func(call socktest.Call) (f socktest.Fault) {
		if call.Name == socktest.RecvFrom {
			if reads++; reads == 2 || reads == 4 {
				f.Err = unix.ECONNREFUSED
			}
		}
		return f
	}, func(_ *PacketConn, p []byte, _ netip.AddrPort) {
		if got = append(got, string(p)); len(got) == 1 {
			close(entered)
			<-gate
		}
		if len(got) == 3 {
			close(done)
		}
	})
	for _, p := range []string{"a", "b", "c"} {
		if _, err := nc.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	<-entered
	close(gate)
	<-done
	if text := strings.Join(got, ""); text != "abc" || pc.Stats().Errors != 2 {
		t.Errorf("received %q with %d errors; want abc, 2", text, pc.Stats().Errors)
	}
}

// Many errors wait, and each read removes one.
func TestErrorsOfPeersDoNotPauseReceiving(t *testing.T) {
	log := &lines{Handler: slog.DiscardHandler, count: map[string]int{}}
	got := make(chan struct{})
	var reads int
	pc, nc := faultyPackets(t, &Server{Logger: slog.New(log)}, func(call socktest.Call) (f socktest.Fault) {
		if call.Name == socktest.RecvFrom && reads < 4*packetBudget {
			f.Err = []unix.Errno{unix.ECONNREFUSED, unix.EAGAIN}[reads%2]
			reads++
		}
		return f
	}, func(*PacketConn, []byte, netip.AddrPort) { close(got) })
	if _, err := nc.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	<-got
	log.mu.Lock()
	defer log.mu.Unlock()
	if n := pc.Stats().Errors; n != 2*packetBudget || len(log.count) != 0 {
		t.Errorf("%d errors, logged %v; want %d and no rest", n, log.count, 2*packetBudget)
	}
}

// Datagrams that wait when it is stopped in the middle of a turn are not received.
func TestAStoppedSocketReceivesNothingMore(t *testing.T) {
	stopped := make(chan struct{})
	gate := make(chan struct{})
	pc, nc := faultyPackets(t, &Server{}, func(socktest.Call) (f socktest.Fault) { return f },
		func(pc *PacketConn, p []byte, _ netip.AddrPort) {
			if <-gate; string(p) == "first" {
				pc.stop()
				close(stopped)
			}
		})
	for _, p := range []string{"first", "second"} {
		if _, err := nc.Write([]byte(p)); err != nil {
			t.Fatal(err)
		}
	}
	close(gate)
	<-stopped
	turn := make(chan struct{})
	if err := pc.sockets[0].loop.ev.Post(func() { close(turn) }); err != nil {
		t.Fatal(err)
	}
	<-turn
	if n := pc.Stats().Received; n != 1 {
		t.Errorf("%d datagrams were received", n)
	}
}

// Neither the loop nor the server keeps anything of it.
func TestNothingIsLeftOfAClosedSocket(t *testing.T) {
	pc, _ := faultyPackets(t, &Server{}, func(socktest.Call) (f socktest.Fault) { return f },
		func(*PacketConn, []byte, netip.AddrPort) {})
	if err := pc.Close(); err != nil {
		t.Fatal(err)
	}
	pc.srv.mu.Lock()
	known := len(pc.srv.packets)
	pc.srv.mu.Unlock()
	if pc.sockets[0].e.Added() || known != 0 {
		t.Errorf("its event is added: %v; the server knows %d sockets", pc.sockets[0].e.Added(), known)
	}
	if err := pc.Dispatch(pc.handler, nil, netip.AddrPort{}); !errors.Is(err, ErrClosed) {
		t.Errorf("Dispatch: %v", err)
	}
}

// Nothing was accepted, and the caller may try again.
func TestAFullKernelRefusesADatagramWhole(t *testing.T) {
	var sends int
	pc, nc := faultyPackets(t, &Server{}, func(call socktest.Call) (f socktest.Fault) {
		if call.Name == socktest.SendTo {
			if sends++; sends <= 2 {
				f.Err = []unix.Errno{unix.EAGAIN, unix.ENOBUFS}[sends-1]
			}
		}
		return f
	}, func(*PacketConn, []byte, netip.AddrPort) {})
	to := nc.LocalAddr().(*net.UDPAddr).AddrPort()
	for range 2 {
		if n, err := pc.WriteTo([]byte("hello"), to); n != 0 || !errors.Is(err, ErrFull) {
			t.Errorf("WriteTo: %d, %v; want 0, ErrFull", n, err)
		}
	}
	if n, err := pc.WriteTo([]byte("hello"), to); n != 5 || err != nil {
		t.Errorf("WriteTo with room: %d, %v", n, err)
	}
	if st := pc.Stats(); st.Full != 2 || st.Errors != 0 || st.Sent != 1 || st.BytesSent != 5 {
		t.Errorf("%+v", st)
	}
}

// slowSend has a SendTo that blocks until it is released.
type slowSend struct {
	sock.Kernel
	entered, gate chan struct{}
	sent, closed  atomic.Bool
}

func (k *slowSend) SendTo(fd int, p []byte, sa unix.Sockaddr) error {
	close(k.entered)
	<-k.gate
	if !k.closed.Load() {
		k.sent.Store(true)
	}
	return k.Kernel.SendTo(fd, p, sa)
}

func (k *slowSend) Close(fd int) error {
	k.closed.Store(true)
	return k.Kernel.Close(fd)
}

// Its number could belong to another file before the sender uses it.
func TestADescriptorIsNotClosedUnderASender(t *testing.T) {
	kernel := &slowSend{entered: make(chan struct{}), gate: make(chan struct{})}
	s := &Server{NumLoops: 1, calls: kernel, Logger: slog.New(slog.DiscardHandler)}
	defer s.Close()
	pc, err := s.ListenPacket(context.Background(), "udp4", "127.0.0.1:0", &PacketConfig{Handler: func(*PacketConn, []byte, netip.AddrPort) {}})
	if err != nil {
		t.Fatal(err)
	}
	wrote, closed := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := pc.WriteTo([]byte("x"), pc.LocalAddr().(*net.UDPAddr).AddrPort())
		wrote <- err
	}()
	<-kernel.entered
	go func() { closed <- pc.Close() }()
	for deadline := time.Now().Add(20 * time.Second); pc.sockets[0].mu.TryRLock(); time.Sleep(time.Millisecond) {
		pc.sockets[0].mu.RUnlock() // Close does not wait for the sender yet
		if time.Now().After(deadline) {
			t.Fatal("Close does not wait for the sender")
		}
	}
	close(kernel.gate)
	if err := errors.Join(<-wrote, <-closed); err != nil {
		t.Error(err)
	}
	if !kernel.sent.Load() || !kernel.closed.Load() {
		t.Errorf("sent before the close: %v; closed: %v", kernel.sent.Load(), kernel.closed.Load())
	}
}

// With ReusePort there is one on each loop; otherwise the sockets are on the loops in turn.
func TestSocketsAreSpreadOverTheLoops(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		s := &Server{NumLoops: 3, ReusePort: reuse, Logger: slog.New(slog.DiscardHandler)}
		used := map[int]int{}
		for range 3 {
			pc, err := s.ListenPacket(context.Background(), "udp4", "127.0.0.1:0", &PacketConfig{Handler: func(*PacketConn, []byte, netip.AddrPort) {}})
			if err != nil {
				t.Fatal(err)
			}
			for _, k := range pc.sockets {
				used[k.loop.index]++
				if p, err := sock.LocalPeer(k.fd); err != nil || p.AddrPort().String() != pc.LocalAddr().String() {
					t.Errorf("a socket's address is %v, %v; want %v", p.AddrPort(), err, pc.LocalAddr())
				}
			}
		}
		for i := range 3 {
			if want := map[bool]int{false: 1, true: 3}[reuse]; used[i] != want {
				t.Errorf("ReusePort %v: loop %d has %d sockets, want %d", reuse, i, used[i], want)
			}
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
}
