package server_test

import (
	"bufio"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// wrapper wraps a handler and has Unwrap.
type wrapper struct{ server.Handler }

func (w wrapper) Unwrap() server.Handler { return w.Handler }

// embedded has a Dispatcher's methods.
type embedded struct{ *server.Dispatcher }

// wrappings has the ways to wrap a Dispatcher.
var wrappings = map[string]func(d *server.Dispatcher) server.Handler{
	"none":            func(d *server.Dispatcher) server.Handler { return d },
	"Unwrap":          func(d *server.Dispatcher) server.Handler { return wrapper{d} },
	"Unwrap twice":    func(d *server.Dispatcher) server.Handler { return wrapper{&wrapper{d}} },
	"embedding":       func(d *server.Dispatcher) server.Handler { return embedded{d} },
	"both":            func(d *server.Dispatcher) server.Handler { return wrapper{embedded{d}} },
	"a user's":        func(d *server.Dispatcher) server.Handler { return wrapper{userDispatcher{d}} },
	"a HandlerFunc's": func(d *server.Dispatcher) server.Handler { return firstData{wrapper{d}} },
}

// firstData handles the input before the wrapped handler.
type firstData struct{ wrapper }

func (h firstData) Data(c *server.Conn, p []byte) (int, error) { return h.wrapper.Data(c, p) }

// eachWrapping runs test with each way to wrap a Dispatcher that handles one or several requests at a time.
func eachWrapping(t *testing.T, test func(t *testing.T, d *server.Dispatcher, wrap func(*server.Dispatcher) server.Handler)) {
	t.Helper()
	for name, wrap := range wrappings {
		for _, concurrent := range []int{1, 3} {
			t.Run(name+[]string{"", " concurrent"}[concurrent/3], func(t *testing.T) {
				d := echoLines()
				d.Concurrent = concurrent
				test(t, d, wrap)
			})
		}
	}
}

// The limit is larger than MaxInput. Several messages come in one piece.
func TestAWrapperKeepsTheFramingsLimit(t *testing.T) {
	eachWrapping(t, func(t *testing.T, d *server.Dispatcher, wrap func(*server.Dispatcher) server.Handler) {
		d.Framing = framing.Split{Func: bufio.ScanLines, Max: 1 << 20}
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: wrap(d), MaxInput: 1000})
		nc := s.dial(t)
		text := "short\n" + strings.Repeat("x", 300<<10) + "\nshort\n"
		send(t, nc, text)
		expect(t, nc, text)
	})
}

// The connection sends a last answer, after those to earlier requests.
func TestAWrapperKeepsMalformed(t *testing.T) {
	eachWrapping(t, func(t *testing.T, d *server.Dispatcher, wrap func(*server.Dispatcher) server.Handler) {
		d.Framing = framing.Split{Func: bufio.ScanLines, Max: 100}
		d.Malformed = func(c *server.Conn, err error) { _, _ = c.WriteString("ERROR " + errors.Unwrap(err).Error()) }
		reasons, closed := closings()
		d.Closed = closed
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: wrap(d)})
		nc := s.dial(t)
		send(t, nc, "a\nb\n"+strings.Repeat("x", 200))
		expect(t, nc, "a\nb\nERROR framing: message is too long")
		expectEOF(t, nc)
		hangUp(nc)
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), framing.ErrTooLong)
	})
}

// These are the last message and the end of the stream.
func TestAWrapperKeepsTheLastMessageAndTheEnd(t *testing.T) {
	eachWrapping(t, func(t *testing.T, d *server.Dispatcher, wrap func(*server.Dispatcher) server.Handler) {
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: wrap(d)})
		nc := s.dial(t)
		send(t, nc, "a\nlast")
		closeWrite(t, nc)
		expect(t, nc, "a\nlast\n")
		expectEOF(t, nc)

		d2 := *d
		d2.OnEOF = func(c *server.Conn) {
			_, _ = c.WriteString("bye")
			c.Close()
		}
		s = start(t, rig{"tcp", false, 1}, &server.Server{Handler: wrap(&d2)})
		nc = s.dial(t)
		send(t, nc, "a\nlast")
		closeWrite(t, nc)
		expect(t, nc, "a\nlast\nbye")
		expectEOF(t, nc)
	})
}

// The functions of the Dispatcher are called.
func TestAWrapperKeepsTheWaterMarks(t *testing.T) {
	eachWrapping(t, func(t *testing.T, d *server.Dispatcher, wrap func(*server.Dispatcher) server.Handler) {
		marks := make(chan string, 1000)
		d.OnHighWater = func(*server.Conn) { offer(marks, "high") }
		d.OnLowWater = func(*server.Conn) { offer(marks, "low") }
		opened := make(chan *server.Conn, 1)
		d.Opened = func(c *server.Conn) { opened <- c }
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: wrap(d), Socket: tight()})
		nc := s.dial(t)
		n := fill(t, testkit.Await(t, opened, "Open"), 100<<10)
		if got := testkit.Await(t, marks, "a mark"); got != "high" {
			t.Errorf("the first mark is %s", got)
		}
		_, err := io.CopyN(io.Discard, nc, int64(n))
		testkit.Must(t, err)
		if got := testkit.Await(t, marks, "a mark"); got != "low" {
			t.Errorf("the second mark is %s", got)
		}
	})
}

// overriding replaces the methods that it implements.
type overriding struct{ wrapper }

func (overriding) EOF(c *server.Conn) {
	_, _ = c.WriteString("wrapper's end")
	c.Close()
}

func (overriding) InputError(c *server.Conn, _ error) { _, _ = c.WriteString("wrapper's error") }
func (overriding) MaxInput() int                      { return 1 << 20 }

// It replaces no others.
func TestAWrapperReplacesTheMethodsThatItHas(t *testing.T) {
	d := echoLines()
	d.Framing = framing.Split{Func: bufio.ScanLines, Max: 100}
	d.Malformed = func(*server.Conn, error) { t.Error("Malformed was called") }
	d.OnEOF = func(*server.Conn) { t.Error("OnEOF was called") }
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: overriding{wrapper{d}}})
	nc := s.dial(t)
	send(t, nc, "last")
	closeWrite(t, nc)
	expect(t, nc, "last\nwrapper's end")
	nc = s.dial(t)
	send(t, nc, strings.Repeat("x", 200))
	expect(t, nc, "wrapper's error")
	expectEOF(t, nc)
}

// ring wraps itself.
type ring struct{ calls }

func (r *ring) Unwrap() server.Handler { return r }

// Every call that takes a handler refuses it, also in a wrapper.
func TestAHandlerThatCannotWorkIsRefused(t *testing.T) {
	for name, h := range map[string]server.Handler{
		"no framing": wrapper{&server.Dispatcher{}}, "nil Dispatcher": wrapper{(*server.Dispatcher)(nil)}, "nil HandlerFunc": wrapper{server.HandlerFunc(nil)},
		"embedded nil": embedded{}, "a chain without end": &ring{},
	} {
		srv := &server.Server{Handler: h}
		testkit.CheckErr(t, name+": Start", srv.Start(), server.ErrInvalid)
		set := make(chan error, 1)
		p := newProbe(calls{open: func(c *server.Conn) { set <- c.SetHandler(h) }})
		s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: p})
		s.dial(t)
		testkit.CheckErr(t, name+": SetHandler", testkit.Await(t, set, "Open"), server.ErrInvalid)
	}
}
