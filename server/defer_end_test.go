package server_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// Its context ends, its methods return the reason, once also Close, and the handler's Close does not wait for it.
func TestADeferredReplyReturnsTheReasonOfItsConnection(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(s *running, nc net.Conn, c *server.Conn)
		reason error
	}{
		"abort":         {func(_ *running, _ net.Conn, c *server.Conn) { c.Abort() }, server.ErrAborted},
		"server closed": {func(s *running, _ net.Conn, _ *server.Conn) { _ = s.Close() }, server.ErrServerClosed},
	} {
		for _, concurrent := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
					d, replies := deferring(t, concurrent)
					d.Placement = p
					reasons, closed := closings()
					d.Closed = closed
					s := start(t, r, &server.Server{Handler: d})
					nc := s.dial(t)
					send(t, nc, "a\nb\nnow\n")
					all := []held{testkit.Await(t, replies, "a request")}
					if concurrent > 1 {
						all = append(all, testkit.Await(t, replies, "a request"))
					}
					s.deferred(t, len(all))
					row.end(s, nc, all[0].Conn())
					testkit.CheckErr(t, "the handler's Close", testkit.Await(t, reasons, "Close"), row.reason)
					for _, w := range all {
						testkit.Await(t, w.Context().Done(), "the end of the context")
						testkit.CheckErr(t, "the context's cause", context.Cause(w.Context()), row.reason)
						for range 2 {
							testkit.CheckErr(t, "Write", second(w.WriteString("late")), server.ErrClosed, row.reason)
						}
						testkit.CheckErr(t, "Notify", w.Notify(func(error) {}), server.ErrClosed, row.reason)
						testkit.CheckErr(t, "Defer", w.Defer(0), server.ErrClosed, row.reason)
						testkit.CheckErr(t, "Close", w.Close(), server.ErrClosed, row.reason)
						testkit.CheckErr(t, "a second Close", w.Close(), server.ErrReplyEnded)
						testkit.CheckErr(t, "Write", second(w.WriteString("late")), server.ErrReplyEnded)
					}
					s.deferred(t, 0)
					testkit.Until(t, "an empty account", func() bool { st := s.Stats(); return st.BufferedBytes == 0 && st.OpenConns == 0 })
				})
			})
		}
	}
}

// A write to a client that has reset its connection fails, and the reply can be closed.
func TestADeferredReplyToAClientThatIsGoneFails(t *testing.T) {
	for _, r := range []rig{{"tcp", false, 1}, {"tcp", true, 3}} {
		t.Run(r.String(), func(t *testing.T) {
			d, replies := deferring(t, 1)
			reasons, closed := closings()
			d.Closed = closed
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "a\n")
			w := testkit.Await(t, replies, "a request")
			s.deferred(t, 1)
			reset(t, nc)
			testkit.Await(t, w.Context().Done(), "the end of the context")
			testkit.CheckErr(t, "Write", second(w.WriteString("late")), server.ErrClosed)
			if err := w.Close(); !errors.Is(err, server.ErrClosed) {
				t.Errorf("Close: %v", err)
			}
			testkit.Await(t, reasons, "Close")
			testkit.Until(t, "an empty account", func() bool { st := s.Stats(); return st.BufferedBytes == 0 && st.OpenConns == 0 })
		})
	}
}

// The functions of WriteOwned and Notify are called with the reason.
func TestNotifyReportsThatADeferredReplyWasNotSent(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d, replies := deferring(t, 1)
		s := start(t, r, &server.Server{Handler: d, MaxOutput: 32 << 20, Socket: tight()})
		nc := s.dial(t)
		send(t, nc, "a\n")
		w := testkit.Await(t, replies, "a request")
		reported := make(chan error, 2)
		done := func(err error) { reported <- err }
		testkit.Must(t, w.WriteOwned(make([]byte, 16<<20), done)) // more than the buffers of the kernel hold
		testkit.Must(t, w.Notify(done))
		w.Conn().Abort()
		for range 2 {
			testkit.CheckErr(t, "the outcome", testkit.Await(t, reported, "a notification"), server.ErrAborted)
		}
		testkit.CheckErr(t, "Close", w.Close(), server.ErrAborted)
	})
}

// probing makes a Dispatcher report its connections.
func probing(d *server.Dispatcher) *probe {
	p := newProbe(calls{})
	d.Opened, d.Closed = p.Open, p.Close
	return p
}

// The deadline is the server's, or the argument's, and begins anew with each Defer. Replies that are closed have none.
func TestADeferredReplyThatIsNotClosedEndsAtItsDeadline(t *testing.T) {
	const minute = time.Minute
	for name, row := range map[string]struct {
		server, argument time.Duration
		again            bool // Defer is called again after half of the time
		want             time.Duration
	}{
		"default":         {0, 0, false, server.DefaultReplyTimeout},
		"the server's":    {minute, 0, false, minute},
		"the argument's":  {minute, 2 * minute, false, 2 * minute},
		"renewed":         {2 * minute, 0, true, 3 * minute},
		"argument, below": {-1, minute, false, minute},
	} {
		for _, concurrent := range []int{1, 3} {
			t.Run(name, func(t *testing.T) {
				eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
					replies := make(chan server.Reply, 3)
					d := several(concurrent, func(w server.Reply, _ []byte) {
						if err := w.Defer(row.argument); err != nil {
							t.Errorf("Defer: %v", err)
						}
						replies <- w
					})
					d.Placement = p
					probe := probing(d)
					s, clock := startWithClock(t, r, &server.Server{Handler: d, ReplyTimeout: row.server, IdleTimeout: -1, WriteTimeout: -1})
					c, nc := probe.connect(t, s)
					send(t, nc, "closed\n")
					finish(t, testkit.Await(t, replies, "a request"), "done\n")
					expect(t, nc, "done\n")
					send(t, nc, "forgotten\n")
					w := testkit.Await(t, replies, "a request")
					s.deferred(t, 1)
					want := row.want
					if row.again {
						half := want - max(row.argument, row.server)
						clock.Advance(half)
						twoTurns(t, c)
						testkit.Must(t, w.Defer(row.argument))
						want -= half
					}
					staysOpen(t, probe, c, clock, want-time.Millisecond)
					clock.Advance(time.Millisecond)
					err := testkit.Await(t, probe.closed, "Close")
					testkit.CheckErr(t, "the reason", err, server.ErrReplyTimeout, os.ErrDeadlineExceeded)
					var timeout net.Error
					if !errors.As(err, &timeout) || !timeout.Timeout() || server.ReasonOf(err) != server.EndedReplyTimeout {
						t.Errorf("%v is no timeout", err)
					}
					testkit.CheckErr(t, "Write", second(w.WriteString("late")), server.ErrClosed, server.ErrReplyTimeout)
					testkit.CheckErr(t, "Close", w.Close(), server.ErrClosed, server.ErrReplyTimeout)
					testkit.Until(t, "an empty account", func() bool { st := s.Stats(); return st.BufferedBytes == 0 && st.DeferredReplies == 0 })
				})
			})
		}
	}
}

// A negative timeout is none, of the argument and of the server. A later Defer sets one.
func TestADeferredReplyMayHaveNoDeadline(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		for _, argument := range []time.Duration{0, -1} {
			replies := make(chan server.Reply, 1)
			d := several(1, func(w server.Reply, _ []byte) {
				if err := w.Defer(argument); err != nil {
					t.Errorf("Defer: %v", err)
				}
				replies <- w
			})
			p := probing(d)
			s, clock := startWithClock(t, r, &server.Server{Handler: d, ReplyTimeout: min(-1, argument), IdleTimeout: time.Minute})
			c, nc := p.connect(t, s)
			send(t, nc, "a\n")
			w := testkit.Await(t, replies, "a request")
			s.deferred(t, 1)
			staysOpen(t, p, c, clock, 1000*time.Hour)
			testkit.Must(t, w.Defer(time.Minute))
			testkit.Must(t, w.Defer(-1))
			staysOpen(t, p, c, clock, 1000*time.Hour)
			finish(t, w, "done\n")
			expect(t, nc, "done\n")
			hangUp(nc)
			s.shutdown(t)
		}
	})
}

// A reply that the program has dropped ends at its deadline, without a method call.
func TestADeferredReplyThatWasGarbageCollectedEndsAtItsDeadline(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		d := several(1, func(w server.Reply, _ []byte) {
			if err := w.Defer(time.Minute); err != nil {
				t.Errorf("Defer: %v", err)
			}
		})
		p := probing(d)
		s, clock := startWithClock(t, r, &server.Server{Handler: d})
		_, nc := p.connect(t, s)
		send(t, nc, "a\n")
		s.deferred(t, 1)
		runtime.GC()
		clock.Advance(time.Minute)
		testkit.CheckErr(t, "the reason", testkit.Await(t, p.closed, "Close"), server.ErrReplyTimeout)
		s.shutdown(t)
	})
}

// The answer is sent, and Shutdown returns nil. At the end of its context it counts the replies that are open.
func TestShutdownWaitsForDeferredReplies(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		for _, concurrent := range []int{1, 3} {
			d, replies := deferring(t, concurrent)
			d.Placement = p
			s := start(t, r, &server.Server{Handler: d})
			nc := s.dial(t)
			send(t, nc, "a\n")
			w := testkit.Await(t, replies, "a request")
			ended := make(chan error, 1)
			go func() { ended <- s.Shutdown(context.Background()) }()
			testkit.Until(t, "the shutdown of the connection", func() bool { return server.IsDraining(w.Conn()) })
			s.deferred(t, 1)
			select {
			case err := <-ended:
				t.Fatalf("Shutdown returned %v", err)
			default:
			}
			finish(t, w.Reply, "done\n")
			expect(t, nc, "a: done\n")
			expectEOF(t, nc)
			hangUp(nc)
			testkit.Must(t, testkit.Await(t, ended, "the end of Shutdown"))
		}
	})
}

func TestAShutdownErrorCountsDeferredReplies(t *testing.T) {
	eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
		d, replies := deferring(t, 3)
		d.Placement = p
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		send(t, nc, "a\nb\n")
		w := testkit.Await(t, replies, "a request")
		s.deferred(t, 2)
		testkit.Until(t, "idle workers", func() bool { return s.Stats().RunningRequests == 0 }) // otherwise they may count as handlers
		err := s.Shutdown(testkit.Canceled())
		var late *server.ShutdownError
		if !errors.As(err, &late) || late.Deferred != 2 || late.Conns != 1 || late.Handlers != 0 {
			t.Errorf("Shutdown: %v", err)
		}
		testkit.CheckErr(t, "Close", w.Close(), server.ErrServerClosed)
	})
}

// Also when the function has ended by a panic or by Goexit after Defer, the connection ends.
func TestADeferredReplyOfAFunctionThatPanicsEndsWithTheConnection(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("test") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			eachPlacement(t, func(t *testing.T, r rig, p server.Placement) {
				for _, concurrent := range []int{1, 3} {
					replies := make(chan server.Reply, 1)
					d := several(concurrent, func(w server.Reply, _ []byte) {
						_ = w.Defer(-1)
						replies <- w
						end()
					})
					d.Placement = p
					reasons, closed := closings()
					d.Closed = closed
					s := start(t, r, &server.Server{Handler: d, OnPanic: func(*server.Conn, any, []byte) {}})
					nc := s.dial(t)
					send(t, nc, "a\n")
					w := testkit.Await(t, replies, "a request")
					testkit.CheckErr(t, "the reason", testkit.Await(t, reasons, "Close"), server.ErrPanic)
					testkit.CheckErr(t, "Close", w.Close(), server.ErrClosed, server.ErrPanic)
					testkit.Until(t, "an empty account", func() bool { st := s.Stats(); return st.BufferedBytes == 0 && st.OpenConns == 0 })
					_, _ = io.Copy(io.Discard, nc)
				}
			})
		})
	}
}

// The program closes the loop, with each driver. The replies of its connections are lost.
func TestDeferredRepliesOnLoopsOfTheProgram(t *testing.T) {
	for name, driver := range map[string]event.Driver{"adaptive": event.DriverAdaptive, "park": event.DriverPark, "thread": event.DriverThread} {
		t.Run(name, func(t *testing.T) {
			loops := programLoops(t, 1, driver)
			d, replies := deferring(t, 3)
			s := start(t, rig{"tcp", false, 1}, &server.Server{Handler: d, UseLoops: loops})
			nc := s.dial(t)
			send(t, nc, "a\nb\nc\n")
			var all []held
			for range 3 {
				all = append(all, testkit.Await(t, replies, "a request"))
			}
			s.deferred(t, 3)
			testkit.Must(t, loops[0].Close())
			s.deferred(t, 0)
			for _, w := range all {
				testkit.CheckErr(t, "Close", w.Close(), server.ErrClosed, server.ErrLoopClosed)
			}
			s.shutdown(t)
			if n := s.Stats().BufferedBytes; n != 0 {
				t.Errorf("%d bytes buffered", n)
			}
		})
	}
}
