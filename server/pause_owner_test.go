package server_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/server"
)

// Owners do not undo each other's pauses, and one that pauses twice resumes once.
func TestReadingResumesWhenEachOwnerHasResumed(t *testing.T) {
	type owner string
	for name, test := range map[string]struct {
		pauses, resumes []any
		held            bool
	}{
		"one owner":                     {[]any{"a"}, []any{"a"}, false},
		"one owner that pauses twice":   {[]any{"a", "a"}, []any{"a"}, false},
		"two owners, one has resumed":   {[]any{"a", "b"}, []any{"b"}, true},
		"two owners, both have resumed": {[]any{"a", "b"}, []any{"a", "b"}, false},
		"another owner resumes":         {[]any{"a"}, []any{"b"}, true},
		"equal words of two types":      {[]any{"a", owner("a")}, []any{"a"}, true},
		"nil is an owner":               {[]any{nil, "a"}, []any{"a"}, true},
		"a resume before the pause":     {[]any{"a"}, []any{"b", "b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, conns := startOpened(t)
			nc := s.dial(t)
			c := <-conns
			for _, owner := range test.pauses {
				c.PauseRead(owner)
			}
			send(t, nc, "held\n")
			for _, owner := range test.resumes {
				c.ResumeRead(owner)
			}
			if test.held {
				onLoop(t, c, func() {}) // earlier commands are applied, and input that has arrived would be read in the next turn
				onLoop(t, c, func() {})
				if n := c.Stats().BytesRead; n != 0 {
					t.Errorf("%d bytes were given to the handler of a paused connection", n)
				}
				for _, owner := range test.pauses {
					c.ResumeRead(owner)
				}
			}
			expect(t, nc, "held\n")
		})
	}
}

// PauseRead panics before the lock is taken, so that the connection can still be used.
func TestAnOwnerThatCannotBeComparedPanics(t *testing.T) {
	s, conns := startOpened(t)
	nc := s.dial(t)
	c := <-conns
	for name, fn := range map[string]func(any){"PauseRead": c.PauseRead, "ResumeRead": c.ResumeRead} {
		for _, owner := range []any{[]int{1}, func() {}, struct{ v any }{[]int{1}}} {
			func() {
				defer func() {
					if recover() == nil {
						t.Errorf("%s(%T) does not panic", name, owner)
					}
				}()
				fn(owner)
			}()
		}
	}
	send(t, nc, "on\n")
	expect(t, nc, "on\n")
}

// startOpened starts an echo server, which sends its connections when they are open.
func startOpened(t *testing.T) (*running, <-chan *server.Conn) {
	conns := make(chan *server.Conn, 1)
	s := start(t, rig{"tcp", false, 1}, &server.Server{IdleTimeout: time.Minute, Handler: calls{
		open: func(c *server.Conn) { conns <- c },
		data: func(c *server.Conn, p []byte) (int, error) {
			_, err := c.Write(p)
			return len(p), err
		},
	}})
	return s, conns
}
