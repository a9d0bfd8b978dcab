package server_test

import (
	"context"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The client closes its sending half after the body of its request. The context ends when the request has consumed the body, whether the loop
// has read the end of the stream before or after that.
func TestCancelOnEOFEndsTheContextWhenTheBodyIsConsumed(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, later := range []bool{false, true} {
			d, read, readings, begun := steps(p, later)
			d.CancelOnEOF = true
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "0\nhello")
			w := testkit.Await(t, begun, "the request")
			closeWrite(t, nc)
			testkit.Until(t, "the end", func() bool { return server.HasReadEnd(w.Conn()) })
			for _, n := range []int{3, 2} {
				testkit.Must(t, w.Context().Err())
				read <- n
				testkit.Must(t, testkit.Await(t, readings, "the body").err)
			}
			testkit.Await(t, w.Context().Done(), "the end of the context")
			testkit.CheckErr(t, "the cause", context.Cause(w.Context()), server.ErrPeerClosed)
			close(read)
			expect(t, nc, "done\n")
			expectEOF(t, nc)
		}
	})
}

// The end was read while an earlier request was in progress.
func TestCancelOnEOFEndsTheContextOfALaterRequest(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, later := range []bool{false, true} {
			begun, resume := make(chan server.Reply, 1), make(chan struct{})
			d := withBodies(p, func(w server.Reply, body io.Reader, n int) {
				serve := func() {
					if n == 0 {
						begun <- w
						<-resume
					}
					_, err := io.ReadFull(body, make([]byte, n))
					if n > 0 {
						testkit.Await(t, w.Context().Done(), "the end of the context")
					}
					_, _ = fmt.Fprintln(w, n, w.Context().Err() != nil, err)
				}
				if !later {
					serve()
					return
				}
				testkit.Must(t, w.Defer(time.Hour))
				go func() {
					serve()
					testkit.Must(t, w.Close())
				}()
			})
			d.CancelOnEOF = true
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "0\n5\nhello")
			w := testkit.Await(t, begun, "the first request")
			closeWrite(t, nc)
			testkit.Until(t, "the end", func() bool { return server.HasReadEnd(w.Conn()) })
			close(resume)
			expect(t, nc, "0 false <nil>\n5 true <nil>\n")
			expectEOF(t, nc)
		}
	})
}
