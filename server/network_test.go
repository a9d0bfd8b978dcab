package server_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Connections of one address are on one loop, whatever the port; those of several addresses on several loops.
func TestSourceHashIsOfThePeersAddress(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 3}, &server.Server{Balance: server.BalanceSourceHash, Handler: p})
	used := map[any]bool{}
	for host := range 24 {
		var first *server.Conn
		for range 3 {
			d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(1+host))}}
			nc, err := d.Dial("tcp", s.addr.String())
			if errors.Is(err, syscall.EADDRNOTAVAIL) {
				t.Skip("only 127.0.0.1 is this machine's")
			}
			testkit.Must(t, err)
			defer nc.Close()
			c := testkit.Await(t, p.opened, "Open")
			if first == nil {
				first = c
			}
			if c.Loop() != first.Loop() {
				t.Errorf("%v and %v are on different loops", c.RemoteAddr(), first.RemoteAddr())
			}
		}
		used[first.Loop()] = true
	}
	if len(used) != 3 {
		t.Errorf("24 addresses share %d of 3 loops", len(used))
	}
}

// ListenConfig's Control is called.
func TestEveryNetworkListens(t *testing.T) {
	for _, row := range [][2]string{{"tcp", "127.0.0.1:0"}, {"tcp4", "127.0.0.1:0"}, {"tcp", "[::1]:0"}, {"tcp6", "[::1]:0"}, {"unix", t.TempDir() + "/s"}} {
		asked := ""
		s := &server.Server{Handler: echoLines(), Logger: slog.New(slog.DiscardHandler)}
		s.ListenConfig.Control = func(network, _ string, _ syscall.RawConn) error { asked = network; return nil }
		ln, err := s.Listen(context.Background(), row[0], row[1], nil)
		if errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) {
			testkit.Must(t, s.Close())
			continue // a machine without IPv6
		}
		testkit.Must(t, err)
		nc, err := net.Dial(row[0], ln.Addr().String())
		testkit.Must(t, err)
		testkit.Must(t, pipelined(nc, "hello", 1))
		for c := range s.Conns() {
			if row[0] != "unix" && c.RemoteAddr().String() != nc.LocalAddr().String() {
				t.Errorf("the peer is %v, want %v", c.RemoteAddr(), nc.LocalAddr())
			}
		}
		hangUp(nc)
		if !strings.HasPrefix(asked, row[0]) {
			t.Errorf("Control was asked about %q on %s", asked, row[0])
		}
		h := newCaller()
		_, err = s.Dial(context.Background(), row[0], ln.Addr().String(), &server.DialConfig{Handler: h})
		testkit.Must(t, err)
		testkit.Await(t, h.opened, "Open")
		testkit.Must(t, s.Shutdown(context.Background()))
	}
}

// A lookup without an answer delays nothing, and ends with its timeout, an abort, or the server.
func TestNamesAreResolvedOffTheLoop(t *testing.T) {
	resolver := net.DefaultResolver
	defer func() { net.DefaultResolver = resolver }()
	asked := make(chan struct{}, 100)
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		offer(asked, struct{}{})
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	each(t, func(t *testing.T, r rig) {
		s, clock := startWithClock(t, r, &server.Server{Handler: echoLines()})
		late, aborted, last := newCaller(), newCaller(), newCaller()
		o := dialConfig(r, late)
		o.Timeout = limit
		lateConn, err := s.Dial(context.Background(), "tcp", fmt.Sprintf("late-%s.example:80", r), o)
		testkit.Must(t, err)
		c, err := s.Dial(context.Background(), "tcp", fmt.Sprintf("aborted-%s.example:80", r), dialConfig(r, aborted))
		testkit.Must(t, err)
		_, err = s.Dial(context.Background(), "tcp", fmt.Sprintf("last-%s.example:80", r), dialConfig(r, last))
		testkit.Must(t, err)
		testkit.Await(t, asked, "the look-up")
		testkit.Must(t, pipelined(s.dial(t), "meanwhile", 3))
		c.Abort()
		aborted.failed(t, server.ErrAborted)
		twoTurns(t, lateConn)
		clock.Advance(limit)
		late.failed(t, server.ErrDialTimeout)
		testkit.Must(t, s.Close())
		last.failed(t, server.ErrServerClosed)
	})
}

// A write, a request and a command wake it without a timeout, also on one processor.
func TestASleepingServerIsWokenAtOnce(t *testing.T) {
	for _, procs := range []int{1, 2} {
		before := runtime.GOMAXPROCS(procs)
		defer runtime.GOMAXPROCS(before)
		for _, r := range []rig{{"tcp", false, 1}, {"unix", true, 3}} {
			p := newProbe(calls{})
			d := echoLines()
			d.Opened, d.Closed = p.Open, p.Close
			s := start(t, r, &server.Server{Handler: d})
			c, nc := p.connect(t, s)
			testkit.Must(t, pipelined(nc, "awake", 1))
			quickest := time.Hour
			for range 5 {
				time.Sleep(10 * time.Millisecond) // time for the loop to wait in the kernel; if it does not, the test checks less
				since := time.Now()
				_, err := c.WriteString("pushed\n")
				testkit.Must(t, err)
				expect(t, nc, "pushed\n")
				testkit.Must(t, pipelined(nc, "request", 1))
				quickest = min(quickest, time.Since(since))
			}
			if quickest > time.Second { // the quickest of five, since the machine may be busy
				t.Errorf("GOMAXPROCS %d, %v: a push and a request took %v at best", procs, r, quickest)
			}
		}
	}
}
