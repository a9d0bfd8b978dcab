package server_test

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The test ends connections in every way.
func TestCloseIsCalledWithTheReason(t *testing.T) {
	inAllRigs(t, func(t *testing.T, r rig) {
		own := errors.New("the handler's own")
		p := newProbe(calls{data: endAs(own)})
		s := start(t, r, &server.Server{Handler: p, MaxInput: 1000})
		say := func(text string) func(net.Conn) { return func(nc net.Conn) { send(t, nc, text) } }
		for _, end := range []struct {
			how  string
			do   func(nc net.Conn)
			want error
		}{
			{"Close", say("close"), nil},
			{"Abort", say("abort"), server.ErrAborted},
			{"an error of Data", say("fail"), own},
			{"too much consumed", say("greedy"), server.ErrHandler},
			{"less than nothing consumed", say("less"), server.ErrHandler},
			{"input too long", say(strings.Repeat("x", 1001)), server.ErrTooLong},
			{"the client's end", func(nc net.Conn) { closeWrite(t, nc) }, io.EOF},
			{"the client's close", func(nc net.Conn) { testkit.Must(t, nc.Close()) }, io.EOF},
		} {
			_, nc := p.connect(t, s)
			end.do(nc)
			if end.want != server.ErrAborted {
				expectEOFUnlessClosed(t, nc)
			}
			hangUp(nc)
			if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, end.want) {
				t.Errorf("%s: the reason is %v, want %v", end.how, reason, end.want)
			}
		}
		if r.network == "tcp" {
			_, nc := p.connect(t, s)
			reset(t, nc)
			if reason := testkit.Await(t, p.closed, "Close"); !isGone(reason) {
				t.Errorf("a reset: the reason is %v", reason)
			}
		}
		p.connect(t, s)
		testkit.Must(t, s.Close())
		if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrServerClosed) {
			t.Errorf("the server's end: the reason is %v", reason)
		}
		s.drained(t)
	})
}

// endAs returns a Data function that ends its connection as the client requests; own is the error for "fail".
func endAs(own error) func(c *server.Conn, p []byte) (int, error) {
	return func(c *server.Conn, p []byte) (int, error) {
		switch string(p) {
		case "close":
			c.Close()
		case "abort":
			c.Abort()
		case "fail":
			return len(p), own
		case "greedy":
			return len(p) + 1, nil
		case "less":
			return -1, nil
		default: // consumes nothing, up to MaxInput
			return 0, nil
		}
		return len(p), nil
	}
}

func expectEOFUnlessClosed(t testing.TB, nc net.Conn) {
	t.Helper()
	if rest, err := io.ReadAll(nc); len(rest) > 0 || err != nil && !errors.Is(err, net.ErrClosed) {
		t.Errorf("the client read %q, %v; want the end", rest, err)
	}
}

// One byte makes the difference. The pieces have any size.
func TestMaxInputMayBeReachedAndNotExceeded(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const limit = 50_000 // more than the buffer of an input that was used before
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) { return 0, nil }})
		s := start(t, r, &server.Server{Handler: p, MaxInput: limit})
		for _, first := range []int{1, limit / 2, limit} {
			c, nc := p.connect(t, s)
			send(t, nc, strings.Repeat("x", first))
			testkit.Until(t, "the first part", func() bool { return c.Stats().BytesRead == uint64(first) })
			if first < limit {
				send(t, nc, strings.Repeat("x", limit-first))
				testkit.Until(t, "the limit", func() bool { return c.Stats().BytesRead == limit })
			}
			onLoop(t, c, func() {})
			if len(p.closed) > 0 {
				t.Fatalf("closed at the limit: %v", <-p.closed)
			}
			if n := s.Stats().BufferedBytes; n < limit || n > 2*limit+1<<10 { // with their overhead
				t.Errorf("%d bytes are counted, %d are kept", n, limit)
			}
			send(t, nc, "!")
			hangUp(nc)
			if reason := testkit.Await(t, p.closed, "Close"); !errors.Is(reason, server.ErrTooLong) {
				t.Errorf("the reason is %v", reason)
			}
			testkit.Until(t, "an empty account", func() bool { return s.Stats().BufferedBytes == 0 })
		}
	})
}

// Data is called at once if it has consumed something, and otherwise with later input. No byte is consumed twice, and none is lost.
func TestDataIsGivenUnconsumedInputAgain(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		var calledWith []string
		var got strings.Builder
		p := newProbe(calls{})
		p.data = func(c *server.Conn, p []byte) (int, error) {
			calledWith = append(calledWith, string(p))
			n := 0
			if len(p) >= 3 {
				n = 3
			}
			got.Write(p[:n])
			return n, nil
		}
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		for i, part := range []string{"12", "3456789a", "", "bc"} {
			if part == "" {
				continue
			}
			send(t, nc, part)
			want := len("123456789abc"[:min(12, []int{2, 10, 10, 12}[i])])
			testkit.Until(t, "input", func() bool { return c.Stats().BytesRead == uint64(want) })
			onLoop(t, c, func() {})
		}
		closeWrite(t, nc)
		expectEOF(t, nc)
		testkit.Must(t, nc.Close())
		if reason := testkit.Await(t, p.closed, "Close"); reason != io.EOF {
			t.Errorf("the reason is %v", reason)
		}
		if want := "[12 123456789a 456789a 789a a abc]"; fmt.Sprint(calledWith) != want {
			t.Errorf("Data was called with %v, want %s", calledWith, want)
		}
		if got.String() != "123456789abc" {
			t.Errorf("consumed: %q", got.String())
		}
	})
}

// Each is called once, also when each method that ends a connection is called twice in each callback.
func TestOpenIsFirstAndCloseLast(t *testing.T) {
	t.Parallel()
	ways := map[string]func(c *server.Conn){
		"Close":      func(c *server.Conn) { c.Close() },
		"Abort":      (*server.Conn).Abort,
		"CloseWrite": func(c *server.Conn) { _ = c.CloseWrite() }, // the second time it is closed already
		"both":       func(c *server.Conn) { c.Close(); c.Abort() },
	}
	places := []string{"Open", "Data", "EOF", "HighWater", "done", "release", "Close"}
	large := make([]byte, 8<<20)
	each(t, func(t *testing.T, r rig) {
		for how, end := range ways {
			for _, place := range places {
				var mu sync.Mutex
				var log []string
				visit := func(c *server.Conn, at string) {
					mu.Lock()
					log = append(log, at)
					mu.Unlock()
					if at == place {
						end(c)
						end(c)
					}
				}
				p := newProbe(calls{
					open: func(c *server.Conn) { visit(c, "Open") },
					data: func(c *server.Conn, p []byte) (int, error) {
						visit(c, "Data")
						_ = c.WriteNotify(p, func(error) { visit(c, "done") }) // refused after the end
						_ = c.WriteOwned(large, func(error) { visit(c, "release") })
						return len(p), nil
					},
					close: func(c *server.Conn, _ error) { visit(c, "Close") },
				})
				h := allProbe{markProbe{p, func(c *server.Conn) { visit(c, "HighWater") }, func(*server.Conn) {}}, func(c *server.Conn) { visit(c, "EOF"); c.Close() }}
				s := start(t, r, &server.Server{Handler: h, CloseTimeout: brief})
				go hello(s)
				testkit.Await(t, p.closed, fmt.Sprintf("%s in %s: Close", how, place))
				s.shutdown(t)
				mu.Lock()
				count := map[string]int{}
				for _, at := range log {
					count[at]++
				}
				if log[0] != "Open" || log[len(log)-1] != "Close" || count["Open"] != 1 || count["Close"] != 1 ||
					count["EOF"] > 1 || count["done"] > count["Data"] || count["release"] > count["Data"] {
					t.Errorf("%s in %s: %v", how, place, log)
				}
				mu.Unlock()
				s.drained(t)
			}
		}
	})
}

// allProbe has all optional methods of a Handler.
type allProbe struct {
	markProbe
	eof func(c *server.Conn)
}

func (p allProbe) EOF(c *server.Conn) { p.eof(c) }

// hello connects, sends some bytes and the end, and reads the answer. Each step may fail if the server has closed already.
func hello(s *running) {
	nc, err := net.Dial(s.addr.Network(), s.addr.String())
	if err != nil {
		return
	}
	defer nc.Close()
	_ = nc.SetDeadline(time.Now().Add(testkit.Patience))
	if s.rig.tls {
		nc = tls.Client(nc, clientTLS())
	}
	_, _ = io.WriteString(nc, "hello")
	_ = nc.(halfCloser).CloseWrite()
	_, _ = io.Copy(io.Discard, nc)
}
