package sse

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/evmq/evmq/httpd"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// A late is a client that has missed many events, and reads nothing yet.
type late struct {
	g    *Group
	s    *httpd.Server
	c    *client
	left chan error
	sent int // events
}

// lateText is the rest of an event of a late's group.
var lateText = strings.Repeat("x", 1000)

// send sends n events.
func (x *late) send(t *testing.T, n int) {
	t.Helper()
	for range n {
		send(t, x.g, Event{ID: strconv.Itoa(x.sent), Data: lateText})
		x.sent++
	}
}

// startLate makes a group that has sent 250 KB, and a client that has received nothing of it.
func startLate(t *testing.T, cfg *GroupConfig) *late {
	t.Helper()
	x := &late{left: make(chan error, 10)}
	cfg.MaxPending = 16 << 10
	cfg.OnLeave = func(_ Stream, reason error) { x.left <- reason }
	var addr string
	x.g, x.s, addr = group(t, cfg)
	x.send(t, 250)
	x.c = open(t, addr, "Last-Event-ID: none\r\n")
	testkit.Until(t, "the stream", func() bool { return x.g.Len() == 1 })
	return x
}

// isBehind reports whether the stream gets the history.
func (x *late) isBehind() bool {
	x.g.mu.Lock()
	defer x.g.mu.Unlock()
	return len(x.g.behind) > 0
}

// reads makes the client fast from now on.
func (x *late) reads() { testkit.Must(x.c.t, x.c.Conn.(*net.TCPConn).SetReadBuffer(1<<20)) }

// next reads the events from the number first on up to the one before end.
func (x *late) next(first, end int) {
	x.c.t.Helper()
	for i := first; i < end; i++ {
		if e := x.c.next(); e.id != strconv.Itoa(i) {
			x.c.t.Fatalf("event %d has the ID %s", i, e.id)
		}
	}
}

// A client that has missed more than MaxPending gets all of it, and all events that are sent meanwhile, at its own speed. The output that waits for
// it is limited by MaxPending.
func TestAClientThatHasMissedMuchCatchesUp(t *testing.T) {
	x := startLate(t, &GroupConfig{})
	for range 30 { // more than MaxPending
		x.send(t, 1)
		x.g.mu.Lock()
		for p := range x.g.behind {
			if n := p.Pending(); n > 16<<10 {
				t.Errorf("%d bytes wait", n)
			}
		}
		x.g.mu.Unlock()
	}
	x.reads()
	for i := range 250 {
		x.next(i, i+1)
		if i%10 == 0 && x.isBehind() { // else the events wait for the loop, and there is a limit
			x.send(t, 1)
		}
	}
	x.next(250, x.sent)
	testkit.Until(t, "the client among the others", func() bool { return !x.isBehind() })
	x.send(t, 1)
	x.next(x.sent-1, x.sent)
	testkit.WantEqual(t, "streams", x.g.Len(), 1)
	testkit.WantEqual(t, "streams that have left", len(x.left), 0)
}

// A client that reads more slowly than events come leaves when the history does not have its next event any more, or misses events with
// KeepSlow. The events that it has received before are without a gap.
func TestAClientThatDoesNotCatchUpLeavesWithoutAGap(t *testing.T) {
	for _, keep := range []bool{false, true} {
		x := startLate(t, &GroupConfig{History: 250, KeepSlow: keep})
		x.send(t, 1000)
		x.reads()
		gaps := 0
		for last := -1; last < x.sent-1; {
			e, err := x.c.tryNext()
			if errors.Is(err, io.EOF) && !keep { // the stream is complete
				break
			}
			testkit.Must(t, err)
			n, err := strconv.Atoi(e.id)
			testkit.Must(t, err)
			if n != last+1 {
				gaps++
			}
			if n <= last || n != last+1 && !keep {
				t.Fatalf("event %d follows event %d", n, last)
			}
			last = n
		}
		if keep {
			testkit.WantEqual(t, "streams that have left", len(x.left), 0)
			testkit.WantEqual(t, "a gap", gaps > 0, true)
			continue
		}
		testkit.WantErr(t, testkit.Await(t, x.left, "OnLeave"), server.ErrFull)
		testkit.WantEqual(t, "streams", x.g.Len(), 0)
	}
}

// A stream that is behind leaves, once, as members do: with its client, by Close, and when Shutdown begins.
func TestAStreamThatIsBehindEndsAsOthers(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(x *late)
		reason error // nil for any
	}{
		"reset": {func(x *late) { _ = x.c.Close() }, nil}, // unread input makes it a reset
		"close of the group": {func(x *late) {
			x.g.Close()
			testkit.WantEqual(t, "streams", x.g.Len(), 0)
		}, context.Canceled},
		"abort": {func(x *late) {
			x.g.mu.Lock()
			var behind []*httpd.Parked
			for p := range x.g.behind {
				behind = append(behind, p)
			}
			x.g.mu.Unlock()
			for _, p := range behind {
				p.Abort()
			}
		}, nil},
		"shutdown": {func(x *late) {
			ctx, cancel := testkit.Soon()
			defer cancel()
			ended := make(chan error, 1)
			go func() { ended <- x.s.Shutdown(ctx) }()
			testkit.WantErr(t, testkit.Await(t, x.left, "OnLeave"), http.ErrServerClosed)
			x.left <- nil
			for err := error(nil); err == nil; {
				_, err = x.c.tryNext()
			}
			_ = x.c.Close() // so that the server's close ends
			testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			x := startLate(t, &GroupConfig{})
			row.end(x)
			if err := testkit.Await(t, x.left, "OnLeave"); row.reason != nil && !errors.Is(err, row.reason) {
				t.Errorf("the reason is %v", err)
			}
			_ = x.c.Close() // so that the server's close ends
			testkit.Until(t, "the end", func() bool { return x.g.Len() == 0 && x.s.Parked() == 0 })
			testkit.WantEqual(t, "further calls of OnLeave", len(x.left), 0)
		})
	}
}

// Replay is not called for more than 1 MB: then the stream ends, and the client continues after it by its reconnect.
func TestReplayIsLimitedForAStream(t *testing.T) {
	const pages, each = 40, 100 // of 1 KB
	var calls atomic.Int64
	_, _, addr := group(t, &GroupConfig{Replay: func(_ *http.Request, lastID string) ([]Event, error) {
		calls.Add(1)
		last, err := strconv.Atoi(lastID)
		if err != nil || last >= pages*each {
			return nil, err
		}
		var events []Event
		for i := range each {
			events = append(events, Event{ID: fmt.Sprint(last + i + 1), Data: lateText})
		}
		return events, nil
	}})
	id, connections := "0", 0
	for ; id != strconv.Itoa(pages*each); connections++ {
		before := calls.Load()
		c := open(t, addr, "Last-Event-ID: "+id+"\r\n")
		for {
			last, err := strconv.Atoi(id)
			testkit.Must(t, err)
			e, err := c.tryNext()
			if err != nil {
				break
			}
			testkit.WantEqual(t, "ID", e.id, strconv.Itoa(last+1))
			if id = e.id; id == strconv.Itoa(pages*each) {
				break
			}
		}
		if n := calls.Load() - before; n > maxReplayed/(each*1000)+2 {
			t.Errorf("Replay was called %d times for a stream", n)
		}
	}
	testkit.WantEqual(t, "connections", connections, 4)
}

// Each ID that is accepted comes back as it is in the head of a request, as EventSource sends it. Others are refused: a client could not
// continue after them.
func TestAnAcceptedIDComesBackWithTheReconnect(t *testing.T) {
	var ids []string
	for b := range 0x80 {
		ids = append(ids, "a"+string(rune(b))+"z", string(rune(b))+"z", "a"+string(rune(b)))
	}
	ids = append(ids, strings.Repeat("i", MaxID), strings.Repeat("i", MaxID+1), "é", "\u00a0", "\ufeff", "\u2028", ": ,;\"", "none", "\xff")
	got := make(chan string, 1)
	_, addr := start(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- LastEventID(r) }))
	accepted := 0
	for _, id := range ids {
		if _, err := (&Event{ID: id}).Append(nil); err != nil {
			testkit.WantErr(t, err, ErrInvalid)
			continue
		}
		accepted++
		c := open(t, addr, "Last-Event-ID: "+id+"\r\n")
		testkit.WantEqual(t, "status", c.status, http.StatusOK)
		testkit.WantEqual(t, "ID", testkit.Await(t, got, "the request"), id)
		_ = c.Close() // there are many
	}
	if accepted < 3*95 {
		t.Errorf("%d of %d IDs were accepted", accepted, len(ids))
	}
}
