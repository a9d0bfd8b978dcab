package memcache

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// FuzzSessionsAgainstAModel: whatever a text and a binary client do in turn, with a clock that moves on by nothing, a second or more
// across flushes and expiries, every answer is the model's. The first byte chooses between items with and without unique numbers.
func FuzzSessionsAgainstAModel(f *testing.F) {
	for seed := range 60 { // so that each command is in one, with each exptime
		f.Add(randomProgram(byte(seed), 1500))
	}
	f.Fuzz(func(t *testing.T, program []byte) {
		d := &dice{program[:min(len(program), 4096)]}
		clock := new(trapClock)
		clock.now.Store(1_700_000_000)
		m := newModel(clock.Unix(), d.roll(4) == 3)
		c, err := New(Config{Memory: 64 << 20, Clock: clock, Logger: slog.New(slog.DiscardHandler), NoCAS: m.noCAS})
		if err != nil {
			t.Fatal(err)
		}
		sessions := map[bool]*session{}
		for _, speaksBinary := range []bool{false, true} {
			sessions[speaksBinary] = &session{w: c.newWorker(), known: true}
		}
		var history []string
		for len(d.bytes) > 0 {
			if by := pick[int64](d, 0, 0, 0, 0, 0, 1, 1, 1, 2, 40); by > 0 {
				clock.now.Add(by)
				m.now += by
				if by == 2 {
					c.store.Reap(1000)
				}
			}
			draw := pick(d, textCommand, metaCommand, binCommand)
			said, want := draw(d, m)
			if it := m.items["a"]; it != nil && len(it.value) > 500_000 {
				return // what is too large is another matter
			}
			got := ask(t, sessions[said[0] == protocol.RequestMagic], said)
			if history = append(history, short(said)); got != want {
				t.Fatalf("at second %d, after\n%s\nthe answer is %.300q, want %.300q", m.now-m.began, strings.Join(history, "\n"), got, want)
			}
		}
		if st := c.store.Stats(); st.Coming != 0 || st.Held != 0 {
			t.Errorf("%d bytes are coming, %d are held", st.Coming, st.Held)
		}
	})
}

// randomProgram is n bytes that differ with seed.
func randomProgram(seed byte, n int) []byte {
	program := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(program)
	return program
}

// ask passes one command to a session without a connection, and returns the answer.
func ask(t *testing.T, s *session, said string) string {
	w := s.w
	w.begin(nil)
	for p := []byte(said); len(p) > 0; {
		used, whole := s.step(p)
		if used == 0 && !whole {
			t.Fatalf("%.100q: more is waited for", said)
		}
		p = p[used:]
	}
	if w.quit {
		t.Fatalf("%.100q: the connection would end", said)
	}
	return string(w.out)
}

// short is a command that can be read.
func short(said string) string {
	if len(said) > 100 {
		said = said[:100]
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8([]byte(said), []byte("?"))))
}
