package server_test

import (
	"cmp"
	"fmt"
	"io"
	"os"
	"testing"

	"github.com/evmq/evmq/server"
)

// userDispatcher works like a server.Dispatcher with the same fields, and uses only exported methods: it shows that a user can write one.
// It uses the fields of settings and none of its methods.
type userDispatcher struct{ settings *server.Dispatcher }

func (d userDispatcher) ServeRequest(w server.Reply, message []byte) { d.settings.Serve(w, message) }

func (d userDispatcher) RunsOn() server.Placement { return d.settings.Placement }

func (d userDispatcher) CancelsOnEOF() bool { return d.settings.CancelOnEOF }

func (d userDispatcher) RouteOf(message []byte) (key []byte) {
	if d.settings.Route == nil {
		return nil
	}
	return d.settings.Route(message)
}

func (d userDispatcher) ExecutorOf(message []byte) (name string) {
	if d.settings.ExecutorFor != nil {
		name = d.settings.ExecutorFor(message)
	}
	return cmp.Or(name, d.settings.Executor)
}

func (d userDispatcher) ExecutorNames() []string { return []string{d.settings.Executor} }

func (d userDispatcher) Open(c *server.Conn) {
	if d.settings.Opened != nil {
		d.settings.Opened(c)
	}
}

func (d userDispatcher) Close(c *server.Conn, reason error) {
	if d.settings.Closed != nil {
		d.settings.Closed(c, reason)
	}
}

func (d userDispatcher) Data(c *server.Conn, p []byte) (int, error) { return d.take(c, p, false) }

func (d userDispatcher) LastData(c *server.Conn, p []byte) (int, error) { return d.take(c, p, true) }

// take hands over the first message of p, or all of p from that message on.
func (d userDispatcher) take(c *server.Conn, p []byte, atEOF bool) (int, error) {
	requests := c.Requests()
	found, err := d.settings.Framing.Next(p, requests.Cursor(), atEOF)
	if err == nil && found.Advance > len(p) {
		err = fmt.Errorf("%w: advance of %d bytes", server.ErrHandler, found.Advance)
	}
	if err != nil {
		if requests.Pending() == 0 {
			return 0, err
		}
		requests.SetCursor(0)
		requests.Hold(0)
		return 0, nil
	}
	if found.Message != nil {
		if d.settings.Concurrent <= 1 {
			return 0, requests.ServeInput(d, d.settings.Framing, p, found)
		}
		if err = requests.Serve(d, found.Message); err != nil {
			return 0, err
		}
		requests.Hold(d.settings.Concurrent - 1)
	}
	requests.SetCursor(found.Cursor)
	if found.Final {
		if !atEOF {
			_ = c.Close()
		}
		return len(p), nil
	}
	return found.Advance, nil
}

func (d userDispatcher) EOF(c *server.Conn) {
	if d.settings.OnEOF != nil {
		d.settings.OnEOF(c)
	} else {
		_ = c.CloseWithError(io.EOF)
	}
}

func (d userDispatcher) HighWater(c *server.Conn) {
	if d.settings.OnHighWater != nil {
		d.settings.OnHighWater(c)
	}
}

func (d userDispatcher) LowWater(c *server.Conn) {
	if d.settings.OnLowWater != nil {
		d.settings.OnLowWater(c)
	}
}

func (d userDispatcher) InputError(c *server.Conn, err error) {
	if d.settings.Malformed != nil {
		d.settings.Malformed(c, err)
	}
}

func (d userDispatcher) MaxInput() int { return d.settings.Framing.MaxLen() }

func (d userDispatcher) Check() error { return d.settings.Check() } // the error of the settings

// dispatchers are the implementations that the tests of a Dispatcher run with.
var dispatchers = map[string]func(d *server.Dispatcher) server.Handler{
	"Dispatcher": func(d *server.Dispatcher) server.Handler { return d },
	"a user's":   func(d *server.Dispatcher) server.Handler { return userDispatcher{d} },
}

// eachDispatcher runs test with each implementation.
func eachDispatcher(t *testing.T, test func(t *testing.T, handler func(d *server.Dispatcher) server.Handler)) {
	t.Helper()
	for name, handler := range dispatchers {
		t.Run(name, func(t *testing.T) { test(t, handler) })
	}
}

// chosen returns h, or, with EVMQ_DISPATCHER=user, a userDispatcher in place of a server.Dispatcher. So all the
// tests can be run with either.
func chosen(h server.Handler) server.Handler {
	if d, ok := h.(*server.Dispatcher); ok && d != nil && os.Getenv("EVMQ_DISPATCHER") == "user" {
		return userDispatcher{d}
	}
	return h
}
