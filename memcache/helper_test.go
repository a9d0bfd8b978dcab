package memcache_test

import (
	"bufio"
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/leaktest"
	"github.com/evmq/evmq/internal/memcache/recycled"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
	"github.com/evmq/evmq/server"
)

func TestMain(m *testing.M) {
	recycled.Scribble()
	testkit.ParallelTests(8)
	leaktest.Main(m)
}

// testTimeout is the time after which a test fails if something that should happen at once has not happened.
const testTimeout = testkit.Patience

// clock is a Clock that the test advances.
type clock struct{ now atomic.Int64 }

// startTime is the time at which tests begin.
const startTime = 1_700_000_000

func newClock() *clock {
	c := new(clock)
	c.now.Store(startTime)
	return c
}

func (c *clock) Unix() int64       { return c.now.Load() }
func (c *clock) add(seconds int64) { c.now.Add(seconds) }

// running is a cache behind a server.
type running struct {
	*memcache.Cache
	srv   *server.Server
	clock *clock
	addr  string
}

// start starts a server for a cache with this configuration, on a clock that the test advances.
func start(t testing.TB, c memcache.Config) *running {
	t.Helper()
	return startOn(t, c, &server.Server{NumLoops: 2})
}

// startOn is start with a server that has not been started.
func startOn(t testing.TB, c memcache.Config, srv *server.Server) *running {
	t.Helper()
	r := &running{clock: newClock()}
	c.Clock = r.clock
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	var err error
	r.Cache, err = memcache.New(&c)
	testkit.Must(t, err)
	r.srv, srv.Logger = srv, c.Logger
	r.Attach(r.srv)
	ln, err := r.srv.Listen(context.Background(), "tcp", "127.0.0.1:0", nil)
	testkit.Must(t, err)
	r.addr = ln.Addr().String()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		testkit.Must(t, r.srv.Shutdown(ctx))
		testkit.Must(t, r.Close())
	})
	return r
}

// listen makes the server also listen on an address, and clients connect to it.
func (r *running) listen(addr string) error {
	_, err := r.srv.Listen(context.Background(), "tcp", addr, nil)
	r.addr = addr
	return err
}

// client is a connection to the server.
type client struct {
	net.Conn
	t *testing.T
	r *bufio.Reader
}

func (r *running) connect(t *testing.T) *client {
	t.Helper()
	nc, err := net.Dial("tcp", r.addr)
	testkit.Must(t, err)
	t.Cleanup(func() { nc.Close() })
	testkit.Must(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	return &client{nc, t, bufio.NewReader(nc)}
}

// send writes lines, each with its end.
func (c *client) send(lines ...string) {
	c.t.Helper()
	_, err := io.WriteString(c, strings.Join(lines, "\r\n")+"\r\n")
	testkit.Must(c.t, err)
}

// expect reads exactly these lines.
func (c *client) expect(lines ...string) {
	c.t.Helper()
	for _, want := range lines {
		got, err := c.r.ReadString('\n')
		if got = strings.TrimSuffix(got, "\r\n"); err != nil || got != want {
			c.t.Fatalf("%q, %v; want %q", got, err, want)
		}
	}
}

// ask sends lines, separated by |, and expects answers, separated in the same way. "" stands for no answer.
func (c *client) ask(request, answers string) {
	c.t.Helper()
	c.send(strings.Split(request, "|")...)
	if answers != "" {
		c.expect(strings.Split(answers, "|")...)
	}
}

// closed expects the connection to end.
func (c *client) closed() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.r); len(rest) > 0 || isTimeout(err) {
		c.t.Errorf("%q, %v; want an end", rest, err)
	}
}

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
