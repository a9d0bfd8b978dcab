package memcache

import (
	"bytes"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/memcache/protocol"
)

// FuzzSessionsAgainstAModel executes random commands of a text and a binary client, on a clock that advances past flushes and expiry times, and
// compares every answer with the model's. The first byte chooses between items with and without unique numbers.
func FuzzSessionsAgainstAModel(f *testing.F) {
	for seed := range 60 { // so that each command is in one, with each exptime
		f.Add(randomProgram(byte(seed), 1500))
	}
	f.Add(slices.Concat([]byte{0}, []byte{0, 0, 0, 0, 0, 6, 0, 0}, // set a to 20 000 bytes
		bytes.Repeat([]byte{0, 0, 0, 0, 3, 6, 0, 0}, 5), // append 20 000 bytes to a
		[]byte{0, 0, 0, 0, 6, 0}))                       // get a a, whose answer is longer than maxAnswer after its first item
	f.Fuzz(func(t *testing.T, program []byte) {
		d := &dice{program[:min(len(program), 4096)]}
		clock := new(trapClock)
		clock.now.Store(1_700_000_000)
		m := newModel(clock.Unix(), d.roll(4) == 3)
		c, err := New(&Config{Memory: 64 << 20, Clock: clock, Logger: slog.New(slog.DiscardHandler), NoCAS: m.noCAS})
		if err != nil {
			t.Fatal(err)
		}
		sessions := map[bool]*session{}
		for _, isBinary := range []bool{false, true} {
			sessions[isBinary] = &session{w: c.newWorker(), known: true}
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
			input, want := draw(d, m)
			for _, it := range m.items { // the model has no limit of an item's size
				if len(it.value) > 500_000 {
					return
				}
			}
			got := ask(t, sessions[input[0] == protocol.RequestMagic], input)
			if history = append(history, short(input)); !sameAnswer(got, want) {
				t.Fatalf("at second %d, after\n%s\nthe answer is %.300q, want %.300q", m.now-m.began, strings.Join(history, "\n"), got, want)
			}
		}
		if st := c.store.Stats(); st.Coming != 0 || st.Held != 0 {
			t.Errorf("%d bytes are being received, %d are held", st.Coming, st.Held)
		}
	})
}

// randomProgram returns n bytes that depend on seed.
func randomProgram(seed byte, n int) []byte {
	program := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(program)
	return program
}

// ask passes one command to a session without a connection, and returns the answer.
func ask(t *testing.T, s *session, input string) string {
	w := s.w
	w.begin(nil)
	for p := []byte(input); len(p) > 0; {
		used, whole := s.step(p)
		if used == 0 && !whole {
			t.Fatalf("%.100q: more input is expected", input)
		}
		p = p[used:]
	}
	if w.quit {
		t.Fatalf("%.100q: the connection would end", input)
	}
	return string(w.out)
}

// sameAnswer compares the answer of a session without a connection. One longer than maxAnswer would not be sent, and may end early after that length.
func sameAnswer(got, want string) bool {
	if len(want) > maxAnswer && len(got) > maxAnswer {
		return got[:maxAnswer] == want[:maxAnswer]
	}
	return got == want
}

// short returns the beginning of a command as readable text.
func short(input string) string {
	if len(input) > 100 {
		input = input[:100]
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8([]byte(input), []byte("?"))))
}
