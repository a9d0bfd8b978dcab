package server_test

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// exits are the ways in which a handler does not return normally.
var exits = map[string]func(){
	"panic":  func() { panic("in a handler") },
	"Goexit": runtime.Goexit,
}

// A handler on the loop panics or calls runtime.Goexit, before and after another goroutine leads the loop. Its connection ends, and the loop and
// the pool have as many goroutines as before. The answers to the earlier requests are sent, or not, as with workers.
func TestAHandlerOnTheLoopThatDoesNotReturnCostsOneConnection(t *testing.T) {
	needsLeaders(t)
	for how, exit := range exits {
		for _, taken := range []bool{false, true} {
			for _, concurrent := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s, taken %v, concurrent %d", how, taken, concurrent), func(t *testing.T) {
					each(t, func(t *testing.T, r rig) { testExit(t, r, exit, how == "panic", taken, concurrent) })
				})
			}
		}
	}
}

func testExit(t *testing.T, r rig, exit func(), panics, taken bool, concurrent int) {
	const rounds = 12         // more than there are workers
	onLoop := concurrent == 1 // concurrent requests run on workers
	reasons, closed := closings()
	panicked := make(chan *server.Conn, 2*rounds)
	began := make(chan *server.Conn, 2*rounds)
	d := placed(server.OnLoop, func(w server.Reply, line string) string {
		if line == "exit" {
			if server.BeganOnLoop(w) != onLoop {
				t.Errorf("a handler began on the loop: %v, want %v", !onLoop, onLoop)
			}
			began <- w.Conn()
			if taken {
				w.Blocking()
			}
			exit()
		}
		return line
	})
	d.Concurrent, d.Closed = concurrent, closed
	s := start(t, r, &server.Server{NumLoops: 1, Workers: 2, Handler: d, OnPanic: func(c *server.Conn, v any, _ []byte) {
		if v != "in a handler" {
			t.Errorf("OnPanic is called with %v", v)
		}
		panicked <- c
	}})
	server.StopTicks(s.Server)
	other := otherClient(t, s)
	for range rounds {
		nc := s.dial(t)
		send(t, nc, "first\n")
		expect(t, nc, "first\n")
		send(t, nc, "exit\nbehind\n")
		c := testkit.Await(t, began, "the handler")
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrPanic)
		if panics && testkit.Await(t, panicked, "OnPanic") != c {
			t.Error("OnPanic is not called with the connection")
		}
		other()
		testkit.Until(t, "the end of the request", func() bool { return s.Stats().RunningRequests == 0 })
	}
	checkLoop(t, s.Loops()[0])
	want := uint64(0)
	if taken && onLoop {
		want = rounds
	}
	if st := s.routes(); st.TakenOver != want {
		t.Errorf("%d handlers have lost the loop, want %d", st.TakenOver, want)
	}
	if len(panicked) > 0 {
		t.Error("OnPanic was called for a handler that did not panic, or twice")
	}
	testkit.Must(t, s.Close())
	s.drained(t)
}

// OnPanic may call runtime.Goexit.
func TestOnPanicMayEndTheLeadersGoroutine(t *testing.T) {
	needsLeaders(t)
	for _, taken := range []bool{false, true} {
		each(t, func(t *testing.T, r rig) {
			reasons, closed := closings()
			d := placed(server.OnLoop, func(w server.Reply, line string) string {
				if line == "exit" {
					if taken {
						w.Blocking()
					}
					panic(line)
				}
				return line
			})
			d.Closed = closed
			s := start(t, r, &server.Server{NumLoops: 1, Workers: 2, Handler: d, OnPanic: func(*server.Conn, any, []byte) { runtime.Goexit() }})
			server.StopTicks(s.Server)
			other := otherClient(t, s)
			for range 5 {
				nc := s.dial(t)
				send(t, nc, "exit\n")
				testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrPanic)
				other()
			}
			testkit.Until(t, "the end of the requests", func() bool { return s.Stats().RunningRequests == 0 })
			testkit.Must(t, s.Close())
			s.drained(t)
		})
	}
}

// A completion that the leader calls after a request, as part of the service of its connection, may call runtime.Goexit.
func TestACompletionMayEndTheLeadersGoroutine(t *testing.T) {
	needsLeaders(t)
	for how, exit := range exits {
		t.Run(how, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				reasons, closed := closings()
				d := placed(server.OnLoop, func(w server.Reply, line string) string {
					if line == "exit" {
						if err := w.Notify(func(error) { exit() }); err != nil {
							t.Error(err)
						}
					}
					return line
				})
				d.Closed = closed
				s := start(t, r, &server.Server{NumLoops: 1, Workers: 2, Handler: d, OnPanic: func(*server.Conn, any, []byte) {}})
				other := otherClient(t, s)
				for range 5 {
					nc := s.dial(t)
					send(t, nc, "exit\n")
					if how == "Goexit" { // OnPanic ends the panic of a completion, which belongs to no connection
						testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrPanic)
					} else {
						expect(t, nc, "exit\n")
					}
					other()
				}
				testkit.Must(t, s.Close())
				s.drained(t)
			})
		})
	}
}
