package sse

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// group starts a server for a Group.
func group(t *testing.T, cfg *GroupConfig) (g *Group, s *httpd.Server, addr string) {
	t.Helper()
	g, err := NewGroup(cfg)
	testkit.Must(t, err)
	s, addr = start(t, g)
	return g, s, addr
}

// send sends an event, which no stream refuses.
func send(t *testing.T, g *Group, e Event) {
	t.Helper()
	if refused, err := g.Broadcast(e, nil); err != nil || refused != nil {
		t.Errorf("Broadcast: %v, %v", refused, err)
	}
}

// Each client of a group gets each event, and the outcome of each is told.
func TestAGroupSendsToAllStreams(t *testing.T) {
	g, _, addr := group(t, &GroupConfig{Retry: time.Second})
	var clients []*client
	for range 5 {
		clients = append(clients, open(t, addr))
	}
	testkit.Until(t, "the streams", func() bool { return g.Len() == len(clients) })
	outcomes := make(chan error, len(clients))
	if refused, err := g.Broadcast(Event{ID: "7", Name: "n", Data: "x"}, func(_ Stream, err error) { outcomes <- err }); refused != nil || err != nil {
		t.Errorf("Broadcast: %v, %v", refused, err)
	}
	_, err := g.Broadcast(Event{ID: "\n"}, nil)
	testkit.WantErr(t, err, ErrInvalid)
	for _, c := range clients {
		testkit.Must(t, testkit.Await(t, outcomes, "the outcome"))
		testkit.WantEqual(t, "event", c.next(), received{"7", "n", "x"})
		testkit.WantEqual(t, "retry", c.retry, "1000")
	}
	g.Close()
	for _, c := range clients {
		c.wantEnd()
	}
	testkit.WantEqual(t, "streams", g.Len(), 0)
}

// A client that connects again gets the events after its last one: all of them, in order, once. A new client gets none, and one with an
// ID that the history does not have gets all of it.
func TestAReconnectLosesNoEvent(t *testing.T) {
	g, _, addr := group(t, &GroupConfig{History: 10})
	for i := range 15 {
		send(t, g, Event{ID: strconv.Itoa(i), Data: fmt.Sprint("data ", i)})
	}
	for _, row := range []struct {
		last  string
		first int
	}{{"", 15}, {"14", 15}, {"13", 14}, {"5", 6}, {"4", 5}, {"3", 5}, {"other", 5}} {
		var more []string
		if row.last != "" {
			more = append(more, "Last-Event-ID: "+row.last+"\r\n")
		}
		c := open(t, addr, more...)
		testkit.Until(t, "the stream", func() bool { return g.Len() == 1 })
		send(t, g, Event{ID: "15", Data: "data 15"})
		for i := row.first; i <= 15; i++ {
			testkit.WantEqual(t, "event after "+row.last, c.next(), received{strconv.Itoa(i), "", fmt.Sprint("data ", i)})
		}
		g.Close()
		c.wantEnd()
		g.mu.Lock() // the next row begins with the same history
		g.history = history{maxEvents: 10, maxBytes: DefaultHistoryBytes}
		g.mu.Unlock()
		for i := range 15 {
			send(t, g, Event{ID: strconv.Itoa(i), Data: fmt.Sprint("data ", i)})
		}
	}
}

// While events are sent, clients connect, leave at any event, and connect again: each gets consecutive events.
func TestReconnectsDuringSendsLoseNoEvent(t *testing.T) {
	g, s, addr := group(t, &GroupConfig{History: 1 << 20, HistoryBytes: 1 << 30})
	stop := make(chan struct{})
	var sender, clients sync.WaitGroup
	sender.Go(func() {
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			_, err := g.Broadcast(Event{Data: strconv.Itoa(i)}, nil) // may cut clients off
			testkit.Must(t, err)
			if i%20 == 0 {
				time.Sleep(100 * time.Microsecond) // leaves time to the clients
			}
		}
	})
	for range 4 {
		clients.Go(func() {
			var more []string
			last := 0
			for range 8 {
				c := open(t, addr, more...)
				for range 30 {
					e, err := c.tryNext()
					if err != nil { // it was cut off
						break
					}
					number, err := strconv.Atoi(e.data)
					if err != nil || last > 0 && number != last+1 {
						t.Errorf("%q follows %d", e.data, last)
						return
					}
					last = number
				}
				if last > 0 {
					more = []string{"Last-Event-ID: " + c.id + "\r\n"}
				}
				_ = c.Close() // by intention
			}
		})
	}
	clients.Wait()
	close(stop)
	sender.Wait()
	testkit.Until(t, "the end of all", func() bool { return s.Parked() == 0 && g.Len() == 0 })
}

// Replay has the events that the history does not have. Its error is the response.
func TestReplayHasOlderEvents(t *testing.T) {
	calls := make(chan string, 10)
	g, _, addr := group(t, &GroupConfig{History: 3, Replay: func(_ *http.Request, last string) (events []Event, err error) {
		calls <- last
		n, err := strconv.Atoi(last)
		if err != nil {
			return nil, err
		}
		for i := n + 1; i < min(n+3, 9); i++ {
			events = append(events, Event{ID: strconv.Itoa(i), Data: strconv.Itoa(i)})
		}
		return events, nil
	}})
	for i := range 10 {
		send(t, g, Event{ID: strconv.Itoa(i), Data: strconv.Itoa(i)})
	}
	for last, want := range map[string]string{"1": "135", "8": "", "6": "6"} {
		c := open(t, addr, "Last-Event-ID: "+last+"\r\n")
		n, err := strconv.Atoi(last)
		testkit.Must(t, err)
		for i := n + 1; i < 10; i++ {
			testkit.WantEqual(t, "event after "+last, c.next().data, strconv.Itoa(i))
		}
		for _, id := range want {
			testkit.WantEqual(t, "call after "+last, <-calls, string(id))
		}
		testkit.WantEqual(t, "calls after "+last, len(calls), 0)
	}
	c := open(t, addr, "Last-Event-ID: x\r\n")
	testkit.WantEqual(t, "status", c.status, http.StatusInternalServerError)
}

// A group without events for KeepAlive sends a comment, to all streams from one timer, which runs only while there are streams.
func TestKeepAliveIsSentByOneTimer(t *testing.T) {
	clock := testkit.NewClock()
	g, _, addr := group(t, &GroupConfig{Clock: clock})
	clients := []*client{open(t, addr), open(t, addr)}
	testkit.Until(t, "the streams", func() bool { return g.Len() == 2 })
	send(t, g, Event{Data: "0"})
	for i := range 4 {
		clock.Advance(DefaultKeepAlive - 1)
		send(t, g, Event{Data: "s"})
		clock.Advance(DefaultKeepAlive - 1) // the timer is called, and a comment not due
		clock.Advance(1)
		send(t, g, Event{Data: strconv.Itoa(i + 1)})
	}
	for _, c := range clients {
		for _, want := range strings.Fields("0 s 1 s 2 s 3 s 4") {
			testkit.WantEqual(t, "event", c.next().data, want)
		}
		testkit.WantEqual(t, "comments", c.comments, 4)
	}
	g.Close()
	clock.Advance(DefaultKeepAlive)
	g.mu.Lock()
	testkit.WantEqual(t, "the timer runs", g.isTicking, false)
	g.mu.Unlock()
	c := open(t, addr)
	testkit.Until(t, "the stream", func() bool { return g.Len() == 1 })
	clock.Advance(DefaultKeepAlive)
	send(t, g, Event{Data: "again"})
	testkit.WantEqual(t, "event", c.next().data, "again")
	testkit.WantEqual(t, "comments", c.comments, 1)
}

// The client that does not read is cut off, and continues by its reconnect without a gap; with KeepSlow it misses events.
func TestASlowStreamIsCutOffOrMissesEvents(t *testing.T) {
	for _, keep := range []bool{false, true} {
		left := make(chan error, 10)
		g, _, addr := group(t, &GroupConfig{KeepSlow: keep, HistoryBytes: 64 << 20, OnLeave: func(_ Stream, reason error) { left <- reason }})
		c := open(t, addr)
		testkit.Until(t, "the stream", func() bool { return g.Len() == 1 })
		var refused []BroadcastError
		sent := 0
		for ; refused == nil; sent++ {
			var err error
			refused, err = g.Broadcast(Event{Data: strconv.Itoa(sent) + strings.Repeat("x", 1000)}, nil)
			testkit.Must(t, err)
		}
		testkit.WantErr(t, refused[0], server.ErrFull)
		if keep {
			testkit.WantEqual(t, "streams", g.Len(), 1)
			g.Close()
			for range sent - 1 {
				c.next()
			}
			c.wantEnd()
			testkit.WantErr(t, testkit.Await(t, left, "OnLeave"), context.Canceled)
			continue
		}
		testkit.WantErr(t, testkit.Await(t, left, "OnLeave"), server.ErrFull)
		for err := error(nil); err == nil; {
			_, err = c.tryNext()
		}
		next := len(c.events)
		var more []string
		if next > 0 {
			more = append(more, "Last-Event-ID: "+c.id+"\r\n")
		} else { // no event has arrived
			more = append(more, "Last-Event-ID: none\r\n")
		}
		c = open(t, addr, more...)
		for ; next < sent; next++ {
			if e := c.next(); !strings.HasPrefix(e.data, strconv.Itoa(next)+"x") {
				t.Fatalf("event %d is %.20q", next, e.data)
			}
		}
	}
}

// The streams of a group end in order when Shutdown begins, so that the clients connect again.
func TestShutdownClosesTheStreams(t *testing.T) {
	g, s, addr := group(t, nil)
	c := open(t, addr)
	testkit.Until(t, "the stream", func() bool { return g.Len() == 1 })
	ended := make(chan error, 1)
	ctx, cancel := testkit.Soon()
	defer cancel()
	go func() { ended <- s.Shutdown(ctx) }()
	c.wantEnd()
	_ = c.Close() // so that the server's close ends
	testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
}

// HEAD has the head of a stream and ends; other methods are refused.
func TestAGroupServesGET(t *testing.T) {
	_, _, addr := group(t, nil)
	for method, status := range map[string]int{"HEAD": http.StatusOK, "POST": http.StatusMethodNotAllowed} {
		req, err := http.NewRequest(method, "http://"+addr, nil)
		testkit.Must(t, err)
		resp, err := http.DefaultClient.Do(req)
		testkit.Must(t, err)
		_ = resp.Body.Close() // it has none that matters
		if resp.StatusCode != status || method == "HEAD" && resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("the response to %s is %s, %v", method, resp.Status, resp.Header)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
