package server_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The lines of each writer arrive in its order, whether it writes on the loop, on other goroutines, or alternately. The close follows
// the writes before it.
func TestWritesOfAllGoroutinesHaveOneOrder(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const writers, lines = 5, 400
		p := newProbe(calls{data: func(c *server.Conn, p []byte) (int, error) {
			for i := range lines {
				_, err := fmt.Fprintf(c, "data %d\n", i)
				if err != nil {
					return 0, err
				}
			}
			return len(p), nil
		}})
		s := start(t, r, &server.Server{Handler: p})
		c, nc := p.connect(t, s)
		send(t, nc, "go")
		var all sync.WaitGroup
		for w := range writers {
			all.Go(func() {
				for i := range lines {
					line := fmt.Sprintf("writer%d %d\n", w, i)
					var err error
					switch (w + i) % 4 {
					case 0:
						_, err = c.WriteString(line)
					case 1:
						err = c.WriteOwned([]byte(line), nil)
					case 2:
						err = c.WriteNotify([]byte(line), nil)
					case 3: // the same writer, for this line on the loop
						onLoop(t, c, func() { _, err = c.Writev([][]byte{[]byte(line[:3]), []byte(line[3:])}) })
					}
					if err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		read := make(chan map[string]int, 1)
		go func() { read <- inOrder(t, nc) }()
		all.Wait()
		testkit.Until(t, "all lines of Data", func() bool { return c.Stats().BytesRead == 2 })
		c.Close()
		if _, err := c.WriteString("late\n"); err == nil {
			t.Error("a write behind the close was accepted")
		}
		next := testkit.Await(t, read, "the end of the stream")
		for w := range writers {
			if n := next[fmt.Sprint("writer", w)]; n != lines {
				t.Errorf("%d lines of writer %d came before the end, want %d", n, w, lines)
			}
		}
		if next["data"] != lines || len(next) != writers+1 {
			t.Errorf("came: %v", next)
		}
	})
}

// inOrder reads lines "name number" until the end, checks that the numbers of each name count from 0, and returns the last ones.
func inOrder(t testing.TB, nc net.Conn) map[string]int {
	next := map[string]int{}
	lines := bufio.NewScanner(nc)
	for lines.Scan() {
		name, number, _ := strings.Cut(lines.Text(), " ")
		if number != strconv.Itoa(next[name]) {
			t.Errorf("%q came where %d was due", lines.Text(), next[name])
			break
		}
		next[name]++
	}
	if err := lines.Err(); err != nil {
		t.Error(err)
	}
	return next
}

// A write after the close is not sent, also if writes and the close race.
func TestWritesBeforeACloseAreSent(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		for range 50 {
			c, nc := p.connect(t, s)
			accepted := make(chan int, 1)
			go func() {
				n := 0
				for {
					if _, err := fmt.Fprintf(c, "line %d\n", n); err != nil {
						break
					}
					n++
					runtime.Gosched()
				}
				accepted <- n
			}()
			go c.Close()
			got := inOrder(t, nc)["line"]
			if want := testkit.Await(t, accepted, "the refusal"); got != want {
				t.Fatalf("%d lines were accepted before the close, and %d came", want, got)
			}
			testkit.Must(t, nc.Close())
			if reason := testkit.Await(t, p.closed, "Close"); reason != nil {
				t.Fatalf("the reason is %v", reason)
			}
		}
		s.shutdown(t)
		s.drained(t)
	})
}

// Each connection sends them in order with its other writes.
func TestBroadcastsOfOneGoroutineKeepTheirOrder(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		const n = 200
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p})
		var conns []*server.Conn
		var ends []net.Conn
		for range 10 {
			c, nc := p.connect(t, s)
			conns, ends = append(conns, c), append(ends, nc)
		}
		var all sync.WaitGroup
		for b := range 3 {
			all.Go(func() {
				for i := range n {
					if refused := server.Broadcast(conns, fmt.Appendf(nil, "b%d %d\n", b, 2*i), nil); refused != nil {
						t.Error(refused)
					}
					for _, c := range conns {
						if _, err := fmt.Fprintf(c, "b%d %d\n", b, 2*i+1); err != nil {
							t.Error(err)
						}
					}
				}
			})
		}
		all.Wait()
		for _, c := range conns {
			c.Close()
		}
		for i, nc := range ends {
			if got := inOrder(t, nc); got["b0"] != 2*n || got["b1"] != 2*n || got["b2"] != 2*n {
				t.Errorf("connection %d: %v", i, got)
			}
		}
	})
}

// Bytes of Write, Writev and WriteOwned that the kernel accepts in pieces arrive in order.
func TestPartialWritesLoseNothing(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		data := noise(4 << 20)
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, MaxOutput: server.Unlimited, HighWater: 1 << 20, Socket: tight()})
		c, nc := p.connect(t, s)
		for rest, i := data, 0; len(rest) > 0; i++ {
			n := min(len(rest), 1+(i*7919)%50_000)
			var err error
			switch i % 3 {
			case 0:
				_, err = c.Write(rest[:n])
			case 1:
				_, err = c.Writev([][]byte{rest[:n/2], rest[n/2 : n]})
			case 2:
				err = c.WriteOwned(rest[:n], nil)
			}
			testkit.Must(t, err)
			rest = rest[n:]
		}
		c.Close()
		got, err := io.ReadAll(nc)
		if err != nil || string(got) != string(data) {
			t.Fatalf("%d of %d bytes came, %v; equal: %v", len(got), len(data), err, string(got) == string(data))
		}
	})
}
