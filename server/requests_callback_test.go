package server_test

import (
	"errors"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// inputFrom is a Handler that calls ServeInput in the callback named where, with bytes of its own.
type inputFrom struct {
	calls
	where   string
	results chan error
}

func (h inputFrom) serve(c *server.Conn, where string) {
	if where == h.where {
		p := []byte("not input of the connection\nmore\n")
		h.results <- c.Requests().ServeInput(inBrackets, framing.Lines{}, p, framing.Result{Message: p[:27], Advance: 28})
	}
}

func (h inputFrom) Open(c *server.Conn) {
	h.serve(c, "Open")
	c.AfterFunc(0, func() { h.serve(c, "AfterFunc") })
}

func (h inputFrom) Data(c *server.Conn, p []byte) (int, error) {
	err := c.WriteNotify(make([]byte, 3000), func(error) { h.serve(c, "WriteNotify") })
	if h.where == "InputError" {
		return 0, errors.New("invalid input")
	}
	return 1, err // so that Data has to be called again, above HighWater
}
func (h inputFrom) HighWater(c *server.Conn)           { h.serve(c, "HighWater") }
func (h inputFrom) LowWater(c *server.Conn)            { h.serve(c, "LowWater") }
func (h inputFrom) InputError(c *server.Conn, _ error) { h.serve(c, "InputError") }
func (h inputFrom) EOF(c *server.Conn)                 { h.serve(c, "EOF"); c.Close() }

// In other callbacks the connection's input belongs to the loop, which would change it while a worker has it.
func TestServeInputIsRefusedOutsideOfData(t *testing.T) {
	for _, where := range []string{"Open", "AfterFunc", "WriteNotify", "HighWater", "LowWater", "InputError", "EOF"} {
		t.Run(where, func(t *testing.T) {
			h := inputFrom{where: where, results: make(chan error, 100)}
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: h, MaxOutput: 4096, HighWater: 2048, LowWater: 512})
			nc := s.dial(t)
			send(t, nc, "abcdefgh")
			closeWrite(t, nc)
			testkit.CheckErr(t, "ServeInput", testkit.Await(t, h.results, where), server.ErrHandler)
			_ = nc.Close()
			s.shutdown(t)
			s.drained(t)
		})
	}
}

// The other connection is on the same loop.
func TestServeInputIsRefusedInDataOfAnotherConnection(t *testing.T) {
	results := make(chan error, 1)
	opened := make(chan bool, 2)
	var first *server.Conn // loop only
	s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: calls{open: func(c *server.Conn) {
		if first == nil {
			first = c
		}
		opened <- true
	}, data: func(_ *server.Conn, p []byte) (int, error) {
		results <- first.Requests().ServeInput(inBrackets, framing.Lines{}, p, framing.Result{Message: p[:1], Advance: 2})
		return len(p), nil
	}}})
	s.dial(t)
	testkit.Await(t, opened, "Open")
	send(t, s.dial(t), "a\n")
	testkit.CheckErr(t, "ServeInput", testkit.Await(t, results, "Data"), server.ErrHandler)
	s.shutdown(t)
	s.drained(t)
}
