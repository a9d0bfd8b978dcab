package client_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/client"
)

// MaxConns with Pipeline requests each are in progress, MaxWaiting calls wait, and the next one is refused. Each number is reached.
func TestTheBoundsOfAClientAreExact(t *testing.T) {
	for _, pipeline := range []int{1, 5} {
		release := make(chan struct{})
		p, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
			<-release
			echoes(n, nc, lines)
		})
		c.MaxConns, c.Pipeline, c.MaxWaiting = 3, pipeline, 7
		var calls []chan result
		for i := range 3*pipeline + 7 {
			calls = append(calls, background(context.Background(), c, fmt.Sprint(i)))
			untilStats(t, c, "the call", func(s client.Stats) bool { return s.ActiveRequests+s.WaitingCalls == i+1 && s.DialingConns == 0 })
		}
		if s := c.Stats(); s.OpenConns != 3 || s.ActiveRequests != 3*pipeline || s.WaitingCalls != 7 {
			t.Errorf("%+v", s)
		}
		fails(t, c, "too many", server.ErrFull)
		testkit.WantEqual(t, "refused calls", c.Stats().Full, 1)
		close(release)
		for i, call := range calls {
			testkit.WantEqual(t, "the answer", testkit.Await(t, call, "the answer"), result{fmt.Sprint(i), nil})
		}
		untilStats(t, c, "idle connections", func(s client.Stats) bool { return s.IdleConns == 3 && s.OpenConns == 3 })
		testkit.WantEqual(t, "connections", len(p.accepted), 3)
	}
}

// A single caller uses one connection, whatever MaxConns is, and after others were used the one that was used last.
func TestTheConnectionThatWasUsedLastIsUsedNext(t *testing.T) {
	used, release := make(chan int, 100), make(chan struct{}, 100)
	_, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			used <- n
			<-release
			_, _ = io.WriteString(nc, line)
		}
	})
	first := background(context.Background(), c, "first")
	testkit.WantEqual(t, "the connection", testkit.Await(t, used, "the request"), 1)
	second := background(context.Background(), c, "second")
	testkit.WantEqual(t, "the connection", testkit.Await(t, used, "the request"), 2)
	release <- struct{}{}
	release <- struct{}{}
	testkit.Await(t, first, "the answer")
	testkit.Await(t, second, "the answer")
	untilStats(t, c, "two idle connections", func(s client.Stats) bool { return s.IdleConns == 2 })
	last := 0
	for i := range 10 {
		release <- struct{}{}
		do(t, c, "x", "x")
		if n := testkit.Await(t, used, "the request"); i > 0 && n != last {
			t.Errorf("connection %d was used after connection %d", n, last)
		} else {
			last = n
		}
		untilStats(t, c, "two idle connections", func(s client.Stats) bool { return s.IdleConns == 2 })
	}
}

// The connection that was used longest ago is closed.
func TestNoMoreThanMaxIdleConnectionsAreKept(t *testing.T) {
	p, c := newPeer(t, echoes)
	c.MaxConns, c.MaxIdle = 8, 2
	many(t, c, 20, 20)
	untilStats(t, c, "the end of the others", func(s client.Stats) bool { return s.IdleConns == 2 && s.OpenConns == 2 })
	testkit.Until(t, "two connections at the peer", func() bool { return len(p.accepted) >= 2 })
}

// The loop notices their end, and the next call opens another one.
func TestIdleConnectionsThatThePeerClosesAreNotUsed(t *testing.T) {
	p, c := newPeer(t, echoes)
	c.MaxConns = 4
	for round := range 5 {
		many(t, c, 10, 10)
		untilStats(t, c, "the end of all", func(s client.Stats) bool {
			for len(p.accepted) > 0 { // the peer may accept a connection after the last call, which has used another one
				nc := <-p.accepted
				if round%2 == 0 {
					_ = nc.(*net.TCPConn).SetLinger(0) // a reset
				}
				nc.Close()
			}
			return s.OpenConns+s.DialingConns == 0
		})
	}
	if s := c.Stats(); s.Errors > 0 {
		t.Errorf("%+v", s)
	}
}

// Requests that may not be repeated are served by a peer that closes after each answer, or after some.
func TestAConnectionHasNoMoreThanMaxRequests(t *testing.T) {
	for _, most := range []int{1, 3} {
		for _, pipeline := range []int{1, 2} {
			p, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
				for range most {
					answersOnce(n, nc, lines)
				}
			})
			c.MaxRequests, c.MaxConns, c.Pipeline = most, 2, pipeline
			many(t, c, 10, 12)
			untilStats(t, c, "the end of full connections", func(s client.Stats) bool { return s.OpenConns == s.IdleConns && s.OpenConns <= 2 })
			if s := c.Stats(); s.Requests != 120 || s.Errors+s.Repeats > 0 || len(p.accepted) < 120/most {
				t.Errorf("%d connections; %+v", len(p.accepted), s)
			}
		}
	}
}

// With a pipeline, requests go to open connections meanwhile, and the pool grows again later.
func TestConnectionsThatCannotBeOpenedDoNotStopTheOthers(t *testing.T) {
	release := make(chan struct{})
	p, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
		<-release
		echoes(n, nc, lines)
	})
	c.Server = start(t, &server.Server{NumLoops: 1, LoopConfig: &event.Config{Clock: testkit.NewClock()}}) // a second after the attempt there may be another
	c.Pipeline, c.MaxConns = 16, 4
	calls := []chan result{background(context.Background(), c, "0")}
	untilStats(t, c, "the first request", func(s client.Stats) bool { return s.ActiveRequests == 1 })
	p.accepted <- testkit.Await(t, p.accepted, "the connection") // closing the listener would reset it before
	testkit.Must(t, p.Close())
	for i := 1; i < 16; i++ {
		calls = append(calls, background(context.Background(), c, fmt.Sprint(i)))
	}
	untilStats(t, c, "all on one connection, and one attempt", func(s client.Stats) bool { return s.ActiveRequests == 16 && s.DialErrors == 1 && s.DialingConns == 0 })
	fails(t, c, "one more")
	close(release)
	for i, call := range calls {
		testkit.WantEqual(t, "the answer", testkit.Await(t, call, "the answer"), result{fmt.Sprint(i), nil})
	}
}

// Calls that wait fail, requests that were sent are answered, and then no connection is left.
func TestCloseAnswersTheRequestsThatWereSent(t *testing.T) {
	release := make(chan struct{})
	_, c := newPeer(t, func(n int, nc net.Conn, lines *bufio.Reader) {
		<-release
		echoes(n, nc, lines)
	})
	c.MaxConns = 2
	var sent, waiting []chan result
	for i := range 2 {
		sent = append(sent, background(context.Background(), c, "sent"))
		untilStats(t, c, "the request", func(s client.Stats) bool { return s.ActiveRequests == i+1 })
	}
	for i := range 5 {
		waiting = append(waiting, background(context.Background(), c, "waits"))
		untilStats(t, c, "the call", func(s client.Stats) bool { return s.WaitingCalls == i+1 })
	}
	testkit.Must(t, c.Close())
	testkit.Must(t, c.Close())
	for _, call := range waiting {
		testkit.CheckErr(t, "Do", testkit.Await(t, call, "its end").err, client.ErrClosed, net.ErrClosed)
	}
	fails(t, c, "late", client.ErrClosed)
	close(release)
	for _, call := range sent {
		testkit.WantEqual(t, "the answer", testkit.Await(t, call, "the answer"), result{"sent", nil})
	}
	untilStats(t, c, "no connection", func(s client.Stats) bool { return s.OpenConns+s.DialingConns == 0 })
	unused := new(client.Client)
	testkit.Must(t, unused.Close())
}

// PickLoop of the server is the program's. The place of the connection that was not begun is free again.
func TestAPanicInPickLoopLeavesNoConnection(t *testing.T) {
	_, c := newPeer(t, echoes)
	var panics atomic.Int32
	c.Server = start(t, &server.Server{NumLoops: 2, PickLoop: func(net.Addr, int) int {
		if panics.Add(1) <= 3 {
			panic("no loop")
		}
		return 1
	}})
	c.MaxConns = 1
	for range 3 {
		func() {
			defer func() { testkit.WantEqual(t, "the panic", recover(), any("no loop")) }()
			_, _ = c.Do(context.Background(), []byte("x\n"))
		}()
	}
	do(t, c, "y", "y")
	if s := c.Stats(); s.OpenConns != 1 || s.DialErrors != 3 || s.WaitingCalls != 0 {
		t.Errorf("%+v", s)
	}
}
