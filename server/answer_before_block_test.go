package server_test

import (
	"bufio"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// TestAnAnswerIsSentBeforeALaterRequestOfTheSameInputReturns: the requests have arrived together, and the later one blocks until the client has
// the first answer.
func TestAnAnswerIsSentBeforeALaterRequestOfTheSameInputReturns(t *testing.T) {
	for _, placement := range []server.Placement{server.Adaptive, server.OnLoop, server.OnWorkers} {
		t.Run(placement.String(), func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				release := make(chan bool)
				d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
					if string(line) == "second" {
						testkit.Await(t, release, "the first answer")
					}
					_, _ = w.Write(append(line, '\n'))
				})
				d.Placement = placement
				s := start(t, r, &server.Server{Handler: d})
				for range 10 {
					nc := s.dial(t)
					send(t, nc, "first\nsecond\nthird\n")
					expect(t, nc, "first\n")
					release <- true
					expect(t, nc, "second\nthird\n")
					hangUp(nc)
				}
			})
		})
	}
}
