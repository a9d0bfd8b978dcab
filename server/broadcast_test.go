package server_test

import (
	"errors"
	"io"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/evmq/evmq/server"
)

// TestBroadcastTellsWhatBecameOfEach of a thousand connections, with some that are full, some that are closed and some that
// never read among them: every one is either refused at the call, or has one outcome on its own loop.
func TestBroadcastTellsWhatBecameOfEach(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		count := 1000
		if r.tls {
			count = 100 // handshakes are dear
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
				t.Error("an outcome was not told on the connection's loop")
			}
		})
		clear(message) // is the caller's again
		message = noise(1000)
		if slices.Equal(message, make([]byte, 1000)) {
			t.Fatal("no message")
		}
		no := map[*server.Conn]error{}
		for _, r := range refused {
			no[r.Conn] = r.Err
		}
		for i, c := range conns {
			switch err := no[c]; i % 10 {
			case 8:
				if !errors.Is(err, server.ErrClosed) {
					t.Errorf("a closed connection: %v", err)
				}
			case 7: // may have got rid of some meanwhile
				if err != nil && !errors.Is(err, server.ErrFull) {
					t.Errorf("a full connection: %v", err)
				}
			default:
				if err != nil {
					t.Errorf("a good connection: %v", err)
				}
				if i%10 == 9 { // never reads, and has room
					continue
				}
				got := make([]byte, len(message))
				if _, err := io.ReadFull(ends[i], got); err != nil || !slices.Equal(got, message) {
					t.Fatalf("connection %d did not get the message: %v", i, err)
				}
			}
		}
		must(t, s.Close())
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

// TestABroadcastIsOneBlock, however many connections share it.
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

// TestBroadcastToNobody.
func TestBroadcastToNobody(t *testing.T) {
	if refused := server.Broadcast(nil, []byte("hello"), nil); refused != nil {
		t.Error(refused)
	}
}
