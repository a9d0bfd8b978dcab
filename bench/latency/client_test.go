//go:build linux

package main

import (
	"bufio"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const patience = time.Minute

// serve runs a server with a goroutine for each connection until the end of the test.
func serve(t *testing.T, handle func(net.Conn)) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var goroutines sync.WaitGroup
	t.Cleanup(func() {
		ln.Close()
		goroutines.Wait()
	})
	goroutines.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			goroutines.Go(func() {
				defer c.Close()
				handle(c)
			})
		}
	})
	return ln.Addr().String()
}

// echo hides the type of the connection: package net keeps pipes for a copy from one to another.
func echo(c net.Conn) { io.Copy(struct{ io.Writer }{c}, struct{ io.Reader }{c}) }

func load(rate float64, length time.Duration) plan {
	p := plan{conns: 3, rate: rate, time: length, patience: patience}
	p.requests = [kinds][]byte{[]byte("quick\n"), []byte("slow\n")}
	return p
}

// expect measures and requires a number of latencies in total.
func expect(t *testing.T, p plan, addr string, count int) *result {
	t.Helper()
	r, err := measure(p, addr, os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if got := len(r.latencies[quick]) + len(r.latencies[slow]); got != count || len(r.late) != count {
		t.Fatalf("got %d latencies and %d requests, want %d", got, len(r.late), count)
	}
	for k := range kind(kinds) {
		slices.Sort(r.latencies[k])
	}
	return r
}

// TestEachRequestIsCountedOnce, in all ways of waiting and with few and many connections. The server is this process.
func TestEachRequestIsCountedOnce(t *testing.T) {
	addr := serve(t, echo)
	for _, spin := range []bool{false, true} {
		for _, conns := range []int{1, 100} {
			p := load(5000, 200*time.Millisecond)
			p.warmup, p.conns, p.spin = 50*time.Millisecond, conns, spin
			r := expect(t, p, addr, 1000)
			if r.unanswered != 0 || r.rate <= 0 || r.cpu <= 0 {
				t.Errorf("%d connections: %d requests were not answered, the rate is %g and the processor time %v", conns, r.unanswered, r.rate, r.cpu)
			}
			if first := r.latencies[quick][0]; first <= 0 {
				t.Errorf("a latency is %v", first)
			}
		}
	}
}

// TestTimeCountsThatARequestWaitsForAnEarlierOne: the server answers nothing until it has all requests. A client that sends a request only after
// an answer would wait forever, and one that counts from the time of sending would count less.
func TestTimeCountsThatARequestWaitsForAnEarlierOne(t *testing.T) {
	const count, rate = 200, 100
	request := "quick\n"
	addr := serve(t, func(c net.Conn) {
		all := make([]byte, count*len(request))
		if _, err := io.ReadFull(c, all); err == nil {
			c.Write(all)
			io.Copy(io.Discard, c)
		}
	})
	p := load(rate, count*time.Second/rate)
	p.conns = 1
	r := expect(t, p, addr, count)
	for i, latency := range r.latencies[quick] { // sorted: the last request first
		if least := time.Duration(i) * time.Second / rate; latency < least {
			t.Fatalf("latency %d is %v, and less than the %v that the request has waited", i, latency, least)
		}
	}
}

// TestTimeCountsThatARequestWaitsForRoom: the server reads nothing for a second after the last request is due, so that most wait in the client.
func TestTimeCountsThatARequestWaitsForRoom(t *testing.T) {
	addr := serve(t, func(c net.Conn) {
		first := make([]byte, 1)
		if _, err := io.ReadFull(c, first); err == nil {
			time.Sleep(2 * time.Second)
			c.Write(first)
			echo(c)
		}
	})
	p := load(50, time.Second)
	p.conns, p.requests[quick] = 1, []byte(strings.Repeat("x", 256<<10)+"\n")
	if least := expect(t, p, addr, 50).latencies[quick][0]; least < time.Second {
		t.Errorf("a latency is %v", least)
	}
}

// TestQuickAndSlowRequestsAreCountedApart: the server answers slow ones when it has answered all quick ones. A quick one is sent on an idle
// connection, so none waits for a slow one.
func TestQuickAndSlowRequestsAreCountedApart(t *testing.T) {
	const count = 100
	p := load(count, time.Second)
	p.conns, p.slow = count, 0.2
	choose := p.choices()
	var left, slows atomic.Int64
	for range count {
		if choose() == quick {
			left.Add(1)
		} else {
			slows.Add(1)
		}
	}
	want := slows.Load()
	done := make(chan struct{})
	addr := serve(t, func(c net.Conn) {
		for r := bufio.NewReader(c); ; {
			line, err := r.ReadString('\n')
			if err != nil {
				return
			}
			if line == "slow\n" {
				<-done
				slows.Add(-1)
			} else if left.Add(-1) == 0 {
				close(done)
			}
			io.WriteString(c, line)
		}
	})
	r := expect(t, p, addr, count)
	if n := int64(len(r.latencies[slow])); n != want || n == 0 || n == count || slows.Load() != 0 || r.unanswered != 0 {
		t.Errorf("%d requests are counted as slow, want %d; %d were not answered", n, want, r.unanswered)
	}
}

// TestUnansweredRequestsAreReported with the time that they have waited.
func TestUnansweredRequestsAreReported(t *testing.T) {
	addr := serve(t, func(c net.Conn) { io.Copy(io.Discard, c) })
	p := load(100, time.Second)
	p.patience = time.Second
	r := expect(t, p, addr, 100)
	if r.unanswered != 100 || r.latencies[quick][0] < time.Second {
		t.Errorf("%d requests were not answered, the shortest wait is %v", r.unanswered, r.latencies[quick][0])
	}
}

func TestWrongAnswersAndEndsAreErrors(t *testing.T) {
	for name, c := range map[string]struct {
		handle func(net.Conn)
		want   string
	}{
		"other bytes": {func(c net.Conn) { io.ReadFull(c, make([]byte, 6)); io.WriteString(c, "quack\n"); echo(c) }, `want "quick\n"`},
		"too much":    {func(c net.Conn) { io.WriteString(c, "quick\nquick\n"); echo(c) }, "without a request"},
		"the end":     {func(c net.Conn) { io.ReadFull(c, make([]byte, 6)) }, "were not answered"},
	} {
		p := load(1, time.Second) // one request
		p.conns = 1
		if _, err := measure(p, serve(t, c.handle), 0); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v and does not contain %q", name, err, c.want)
		}
	}
}
