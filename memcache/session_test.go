package memcache

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
	"github.com/evmq/evmq/internal/memcache/store"
	"github.com/evmq/evmq/memcache/internal/watch"
)

// still is a Clock that does not advance.
type still int64

func (s still) Unix() int64 { return int64(s) }

func newCache(t testing.TB, c Config) *Cache {
	t.Helper()
	c.Clock, c.Logger = still(1_700_000_000), slog.New(slog.DiscardHandler)
	cache, err := New(&c)
	if err != nil {
		t.Fatal(err)
	}
	return cache
}

// serveInPieces passes input to a session without a connection, in pieces of the given numbers of bytes, the last of which is repeated. It returns the
// answers, and whether the connection would be closed.
func serveInPieces(c *Cache, input []byte, pieces ...int) (answers []byte, quit bool) {
	w := c.newWorker()
	w.begin(nil)
	s := &session{w: w, known: c.config.Users == nil}
	all := len(input)
	var kept []byte
	for i := 0; len(input) > 0 && !w.quit; i++ {
		n := min(max(1, pieces[min(i, len(pieces)-1)], all/500), len(input))
		kept = append(kept, input[:n]...)
		input = input[n:]
		for len(kept) > 0 && !w.quit {
			used, whole := s.step(bytes.Clone(kept))
			if used == 0 && !whole {
				break
			}
			kept = kept[used:]
		}
	}
	if s.value != nil {
		s.value.drop()
	}
	return w.out, w.quit
}

// FuzzSession sends any input. Nothing panics, no memory remains assigned to values that are being received, and the answers do not depend on the
// pieces in which the input arrives, except for a line of more than MaxLine bytes: if its end has not arrived, the connection is closed.
func FuzzSession(f *testing.F) {
	f.Add([]byte("set a 7 0 1\r\nx\r\nget a b\r\ngets a\r\nincr a 1\r\nmg a s v t f c k h l Oabc\r\n"), uint8(3), uint8(50))
	f.Add([]byte("ms a 2 T0 F3 c\r\nhi\r\nma n N0 J5 v\r\nmd a I\r\nmg a v\r\nme a\r\nbogus\r\n\r\ndelete a\r\n"), uint8(1), uint8(1))
	f.Add([]byte("set big 0 0 20000\r\n"+string(make([]byte, 20_000))+"\r\nget big\r\nset huge 0 0 2000000\r\nxx"), uint8(200), uint8(7))
	f.Add([]byte("bogus "+strings.Repeat("x", protocol.MaxLine)+"\r\nget a\r\n"), uint8(200), uint8(7))
	f.Add([]byte("\x80\x01\x00\x01\x08\x00\x00\x00\x00\x00\x00\x0a\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x07\x00\x00\x00\x00kv"+
		"\x80\x0c\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00k"), uint8(5), uint8(1))
	f.Fuzz(func(t *testing.T, input []byte, a, b uint8) {
		if bytes.Contains(input, []byte("stats")) || bytes.Contains(input, []byte{0x80, byte(protocol.BinStat)}) {
			return // its answer contains the memory in use, which depends on the pieces
		}
		whole := newCache(t, Config{Memory: 4 << 20, MaxItem: 100_000})
		parts := newCache(t, Config{Memory: 4 << 20, MaxItem: 100_000})
		want, wantQuit := serveInPieces(whole, input, max(1, len(input)))
		got, gotQuit := serveInPieces(parts, input, int(a), int(b))
		cut := gotQuit && !wantQuit && hasLongLine(input) && bytes.HasPrefix(want, got)
		if !cut && (!bytes.Equal(got, want) || gotQuit != wantQuit) {
			t.Errorf("in pieces %q %v; at once %q %v", got, gotQuit, want, wantQuit)
		}
		for _, st := range []store.Stats{whole.store.Stats(), parts.store.Stats()} {
			if st.Coming != 0 || st.Held != 0 {
				t.Errorf("%d bytes are being received and %d held after the last request", st.Coming, st.Held)
			}
		}
	})
}

// hasLongLine reports whether input has a line that is too long for a command. Such a line is answered if it is there at once; otherwise the
// connection is closed at its beginning.
func hasLongLine(p []byte) bool {
	for line := range bytes.Lines(p) {
		if len(line) > protocol.MaxLine {
			return true
		}
	}
	return false
}

// TestARequestAllocatesNothing: get with a hit and with a miss, set, incr, touch, delete, mg, and their like in binary.
func TestARequestAllocatesNothing(t *testing.T) {
	c := newCache(t, Config{})
	allocatesNothing(t, c.newWorker())
}

// TestARequestThatIsWatchedAllocatesNothing: the same, while a client watches everything.
func TestARequestThatIsWatchedAllocatesNothing(t *testing.T) {
	c := newCache(t, Config{})
	defer c.Close()
	if _, err := c.hub.Add(allTaken{}, watch.Fetchers|watch.Mutations); err != nil {
		t.Fatal(err)
	}
	allocatesNothing(t, c.newWorker())
	// While allocations are counted, the hub's goroutine has no processor of its own: some lines find the buffer full.
	if n := c.hub.Counts(); n.Written == 0 || n.Written+n.Dropped < 1000 {
		t.Errorf("%+v", n)
	}
}

// allTaken is a watcher's client that takes all lines at once.
type allTaken struct{}

func (allTaken) Pending() int                { return 0 }
func (allTaken) Write(p []byte) (int, error) { return len(p), nil }

func allocatesNothing(t *testing.T, w *worker) {
	t.Helper()
	s := &session{w: w, known: true}
	binaryGet := make([]byte, protocol.HeaderLen, protocol.HeaderLen+1)
	binaryGet[0], binaryGet[3], binaryGet[11] = protocol.RequestMagic, 1, 1
	binaryGet = append(binaryGet, 'a')
	for _, input := range []string{
		"set a 7 0 5\r\nhello\r\n", "get a\r\n", "gets a b\r\n", "get b\r\n", "touch a 0\r\n", "gat 0 a\r\n", "mg a v t s\r\n",
		"set n 0 0 2\r\n10\r\n", "incr n 5\r\n", "ma n v\r\n", "ms a 5 c\r\nhello\r\n", "delete b\r\n", "cas a 0 0 1 1\r\nx\r\n", "append a 0 0 0\r\n\r\n",
		string(binaryGet),
	} {
		input := []byte(input)
		s.protocol = Auto
		allocs := testing.AllocsPerRun(1000, func() {
			w.begin(nil)
			if used, whole := s.step(input); used != len(input) || !whole {
				t.Fatalf("%q: %d bytes were used", input, used)
			}
		})
		if allocs > 0 {
			t.Errorf("%q: %v allocations", input, allocs)
		}
	}
}

// BenchmarkRequest measures a request without a connection.
func BenchmarkRequest(b *testing.B) {
	for _, input := range []string{"get a\r\n", "set a 0 0 32\r\n01234567890123456789012345678901\r\n", "mg a v\r\n"} {
		b.Run(input[:3], func(b *testing.B) {
			w := newCache(b, Config{}).newWorker()
			s := &session{w: w, known: true}
			w.begin(nil)
			s.step([]byte("set a 0 0 32\r\n01234567890123456789012345678901\r\n"))
			input := []byte(input)
			b.ReportAllocs()
			for b.Loop() {
				w.out = w.out[:0]
				s.step(input)
			}
		})
	}
}
