package memcache

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// configOf draws a configuration, as the options of evcached make it: -C, -M, -F, -X, -I 1k, -m 2, -B, -S, -Y.
func configOf(d *dice, users *Users) Config {
	c := Config{Memory: 2 << 20}
	bits := d.roll(256)
	c.NoCAS, c.NoEvict, c.NoFlush, c.NoDump = bits&1 > 0, bits&2 > 0, bits&4 > 0, bits&8 > 0
	if bits&16 > 0 {
		c.MaxItem = 1024
	}
	if bits&32 > 0 {
		c.Users = users
		c.SASL = bits&64 > 0
	}
	c.Protocol = Protocol(d.roll(3))
	switch { // as evcached chooses
	case c.SASL:
		c.Protocol = Binary
	case c.Users != nil:
		c.Protocol = Text
	}
	return c
}

// fill stores items until the cache evicts or refuses.
func fill(c *Cache) {
	w := c.newWorker()
	w.begin(nil)
	for i := 0; i < 20_000 && c.store.Stats().Evicted == 0; i++ {
		o := order{op: protocol.OpSet, key: fmt.Appendf(nil, "full%d", i), expires: int64(i%3) * (c.clock.Unix() + 2)}
		o.value, o.size = make([]byte, 700), 700
		if what, _ := w.put(&o); what != stored {
			return
		}
	}
}

// fuzzUsers returns one user, ann, whose password is secret.
func fuzzUsers(t testing.TB) *Users {
	path := filepath.Join(t.TempDir(), "users")
	if err := os.WriteFile(path, []byte("ann:secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	users, err := LoadUsers(path)
	if err != nil {
		t.Fatal(err)
	}
	return users
}

// wholeSessions returns input that logs in, fills memory, and contains commands that the model does not have.
func wholeSessions() []string {
	return []string{
		"set a 7 0 1\r\nx\r\nget a b\r\nincr a 1\r\nmg a s v t f c k h l Oabc\r\nlru_crawler metadump all\r\nstats\r\nflush_all 1\r\nma n N0\r\n",
		"set auth 0 0 10\r\nann secret\r\nset big 0 0 20000\r\n" + strings.Repeat("v", 20_000) + "\r\nget big\r\nset huge 0 0 2000000\r\nxx",
		"cache_memlimit 8\r\nverbosity 2\r\nstats slabs\r\nstats items\r\nstats sizes\r\nstats detail on\r\nget a:b\r\nstats detail dump\r\n",
		binFrame(protocol.BinSASLAuth, "", "PLAIN", "\x00ann\x00secret") + binFrame(protocol.BinFlush, "\x00\x00\x00\x01", "", "") +
			binFrame(protocol.BinIncrement, oneAndOne+noExpiry, "k", "") + binFrame(protocol.BinGATK, noExpiry, "k", "") + binFrame(protocol.BinStat, "", "", ""),
	}
}

// FuzzOptions sends any input to a cache with any options, full or not. Nothing panics, every request ends, the store keeps its limit, and no memory
// stays assigned to values that are not received. The first bytes choose the options, whether the cache is full, and the form of the input:
// commands drawn from the rest, or the rest itself.
func FuzzOptions(f *testing.F) {
	users := fuzzUsers(f)
	for i := range 128 {
		f.Add(append([]byte{byte(2 * i), byte(i), 0, byte(i % 8), 0}, randomProgram(byte(i), 300)...))
	}
	for _, input := range wholeSessions() {
		for bits := range byte(16) {
			f.Add(append([]byte{bits * 17, 0, bits % 2, bits, 1}, input...))
		}
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		d := &dice{program[:min(len(program), 32<<10)]}
		config := configOf(d, users)
		clock := new(trapClock)
		clock.now.Store(1_700_000_000)
		config.Clock, config.Logger = clock, slog.New(slog.DiscardHandler)
		c, err := New(&config)
		if err != nil {
			t.Fatal(err)
		}
		if d.roll(2) == 1 {
			fill(c)
		}
		step := int64(d.roll(8))
		w := c.newWorker()
		if raw := d.roll(2) == 1; raw {
			piece := 1 + int(step)*7
			receive(t, w, d.bytes, piece)
		} else {
			s := &session{w: w, known: true}
			m := newModel(clock.Unix(), config.NoCAS)
			var kept []byte
			for len(d.bytes) > 0 && !w.quit {
				input, _ := pick(d, textCommand, metaCommand, binCommand)(d, m)
				if s.protocol == Auto || (s.protocol == Binary) == (input[0] == protocol.RequestMagic) {
					kept = serve(t, s, append(kept, input...))
				}
				clock.now.Add(step % 3)
				m.now += step % 3
				c.store.Reap(int(step) * 10)
			}
			s.value.dropIfAny()
		}
		if st := c.store.Stats(); st.Memory > st.Limit || st.Items < 0 || st.Held != 0 || st.Coming != 0 {
			t.Errorf("%d bytes of memory, the limit is %d; %d items, %d bytes are held, %d are being received", st.Memory, st.Limit, st.Items, st.Held, st.Coming)
		}
	})
}

// dropIfAny is drop for a session that may have no value.
func (v *value) dropIfAny() {
	if v != nil {
		v.drop()
	}
}

// receive passes the input to a new session in pieces.
func receive(t *testing.T, w *worker, input []byte, piece int) {
	s := &session{w: w, known: w.config.Users == nil}
	var kept []byte
	for len(input) > 0 {
		n := min(piece, len(input))
		kept = append(kept, input[:n]...)
		input = input[n:]
		if kept = serve(t, s, kept); w.quit {
			break
		}
	}
	s.value.dropIfAny()
}

// serve serves input as the loop does, and returns the rest, which is incomplete. Each step must consume input, or need more, or end a request whose
// value is discarded by the next step.
func serve(t *testing.T, s *session, p []byte) (rest []byte) {
	w := s.w
	w.begin(nil)
	for len(p) > 0 && !w.quit {
		used, whole := s.step(bytes.Clone(p))
		if used == 0 && !whole {
			break
		}
		if used < 0 || used > len(p) || used == 0 && whole && s.skip == 0 {
			t.Fatalf("%d bytes of %d were used, whole %v", used, len(p), whole)
		}
		p = p[used:]
	}
	if len(w.out) > 4<<20 {
		t.Fatalf("%d bytes of answers", len(w.out))
	}
	return bytes.Clone(p)
}
