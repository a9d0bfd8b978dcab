package server_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Of a thousand connections some are full, some are closed, and some have clients that never read. Each either refuses at the call, or
// has one outcome on its own loop.
func TestBroadcastReportsTheOutcomeForEach(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, r rig) {
		count := 1000
		if r.tls {
			count = 100 // handshakes are expensive
		}
		p := newProbe(calls{})
		s := start(t, r, &server.Server{Handler: p, MaxOutput: 100_000, Socket: tight()})
		var conns []*server.Conn
		var ends []net.Conn
		for range count {
			c, nc := p.connect(t, s)
			conns, ends = append(conns, c), append(ends, nc)
		}
		for i, c := range conns {
			switch i % 10 {
			case 7:
				fill(t, c, 50_000)
			case 8:
				c.Abort()
			}
		}
		message := noise(1000)
		var mu sync.Mutex
		outcome := map[*server.Conn][]error{}
		refused := server.Broadcast(conns, message, func(c *server.Conn, err error) {
			mu.Lock()
			defer mu.Unlock()
			outcome[c] = append(outcome[c], err)
			if !c.Loop().OnLoop() {
				t.Error("an outcome was not reported on the connection's loop")
			}
		})
		clear(message) // it belongs to the caller again
		message = noise(1000)
		if slices.Equal(message, make([]byte, 1000)) {
			t.Fatal("no message")
		}
		no := map[*server.Conn]error{}
		for _, r := range refused {
			no[r.Conn] = r.Err
		}
		for i, c := range conns {
			checkBroadcast(t, i, no[c], ends[i], message)
		}
		testkit.Must(t, s.Close())
		mu.Lock()
		defer mu.Unlock()
		for i, c := range conns {
			if want := 1; no[c] != nil && len(outcome[c]) > 0 || no[c] == nil && len(outcome[c]) != want {
				t.Fatalf("connection %d was refused with %v and has %d outcomes", i, no[c], len(outcome[c]))
			}
			if i%10 < 7 && outcome[c][0] != nil {
				t.Errorf("connection %d got the message, and the outcome is %v", i, outcome[c][0])
			}
		}
		s.drained(t)
	})
}

// checkBroadcast checks whether the i-th connection of TestBroadcastReportsTheOutcomeForEach was refused, with err, and whether its client
// has got the message.
func checkBroadcast(t *testing.T, i int, err error, client net.Conn, message []byte) {
	t.Helper()
	switch i % 10 {
	case 8:
		if !errors.Is(err, server.ErrClosed) {
			t.Errorf("a closed connection: %v", err)
		}
	case 7: // may have sent some of its output meanwhile
		if err != nil && !errors.Is(err, server.ErrFull) {
			t.Errorf("a full connection: %v", err)
		}
	default:
		if err != nil {
			t.Errorf("a good connection: %v", err)
		}
		if i%10 == 9 { // its client never reads, and it has room
			return
		}
		giveTime(t, client)
		got := make([]byte, len(message))
		if _, err := io.ReadFull(client, got); err != nil || !slices.Equal(got, message) {
			t.Fatalf("connection %d did not get the message: %v", i, err)
		}
	}
}

// The message is copied once, whatever the number of connections.
func TestABroadcastIsOneBlock(t *testing.T) {
	r := rigs()[0]
	const size, count = 1 << 20, 50
	p := newProbe(calls{})
	s := start(t, r, &server.Server{Handler: p, Socket: tight()})
	var conns []*server.Conn
	for range count {
		c, _ := p.connect(t, s)
		conns = append(conns, c)
	}
	message := noise(size)
	before := heap()
	if refused := server.Broadcast(conns, message, nil); refused != nil {
		t.Fatal(refused)
	}
	if grown := heap() - before; grown > 5*size {
		t.Errorf("a broadcast of %d bytes to %d connections takes %d bytes", size, count, grown)
	}
	held := int64(0)
	for _, c := range conns {
		held += int64(c.Stats().BufferedBytes)
	}
	if held < 5*size {
		t.Errorf("the connections hold %d bytes; with so few the comparison says nothing", held)
	}
}

func TestABroadcastMayHaveNoConnection(t *testing.T) {
	if refused := server.Broadcast(nil, []byte("hello"), nil); refused != nil {
		t.Error(refused)
	}
}

// A nil connection is refused as a wrong argument, wherever it is in the slice; the others receive the broadcast.
func TestBroadcastRefusesANilConnection(t *testing.T) {
	p := newProbe(calls{})
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
	c, nc := p.connect(t, s)
	outcome := make(chan *server.Conn, 3)
	refused := server.Broadcast([]*server.Conn{nil, c, nil}, []byte("news"), func(c *server.Conn, _ error) { outcome <- c })
	expect(t, nc, "news")
	if got := testkit.Await(t, outcome, "the outcome"); got != c || len(outcome) != 0 {
		t.Errorf("the outcome is that of %v, and there are %d more", got, len(outcome))
	}
	var texts []string
	for _, r := range refused {
		texts = append(texts, r.Error())
		testkit.CheckErr(t, "Broadcast", r, server.ErrInvalid)
		if r.Conn != nil {
			t.Errorf("the refusal is that of %v", r.Conn)
		}
	}
	if want := []string{"broadcast: server: invalid argument or configuration: conns[0] is nil", "broadcast: server: invalid argument or configuration: conns[2] is nil"}; !slices.Equal(texts, want) {
		t.Errorf("the errors are %q, want %q", texts, want)
	}
}

// The result names the connections that have not accepted the broadcast.
func TestBroadcastReportsEveryRefusal(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		opened := make(chan *server.Conn, 1)
		reasons, closed := closings()
		s := start(t, r, &server.Server{Handler: calls{open: func(c *server.Conn) { opened <- c }, close: closed}})
		var conns []*server.Conn
		var clients []net.Conn
		for range 10 {
			nc := s.dial(t)
			send(t, nc, "hello")
			clients, conns = append(clients, nc), append(conns, testkit.Await(t, opened, "Open"))
		}
		for i, c := range conns {
			if i%2 == 0 {
				c.Abort()
				testkit.Await(t, reasons, "Close")
			}
		}
		reported := make(chan error, len(conns))
		refused := server.Broadcast(conns, []byte("news"), func(c *server.Conn, err error) { reported <- err })
		if len(refused) != 5 {
			t.Fatalf("%d connections refused, want 5", len(refused))
		}
		for i, x := range refused {
			if x.Conn != conns[2*i] {
				t.Errorf("refusal %d is of another connection", i)
			}
			testkit.CheckErr(t, "Broadcast", x.Err, server.ErrClosed, server.ErrAborted)
		}
		for i := 1; i < len(clients); i += 2 {
			expect(t, clients[i], "news")
			testkit.Must(t, testkit.Await(t, reported, "the outcome"))
		}
		hangUp(clients...)
		s.shutdown(t)
	})
}
