package server_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/outq"
	"github.com/evmq/evmq/internal/sock"
	"github.com/evmq/evmq/internal/sock/socktest"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// The queue that a request takes along for its answer counts in BufferedBytes. It comes back to the loop when the answer is written, is freed
// when there is no answer, and is not kept by a reply that is deferred.
func TestTheQueueForAnAnswerIsCountedAndComesBack(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		r.loops = 1
		runs, goOn := make(chan server.Reply), make(chan struct{})
		d := several(1, func(w server.Reply, m []byte) {
			switch string(m) {
			case "answer":
				_, _ = w.WriteString("ok\n")
				return
			case "defer":
				testkit.Must(t, w.Defer(-1))
			}
			runs <- w
			<-goOn
		})
		d.Placement = server.OnWorkers
		s := start(t, r, &server.Server{Handler: d})
		nc := s.dial(t)
		answer := func() {
			send(t, nc, "answer\n")
			expect(t, nc, "ok\n")
		}
		held := func() int { return int(s.Stats().BufferedBytes) }
		empty := func() { testkit.Until(t, "an empty account", func() bool { return held() == 0 }) }
		begin := func(line string) server.Reply {
			send(t, nc, line)
			return testkit.Await(t, runs, "the request")
		}
		c := begin("silent\n").Conn()
		goOn <- struct{}{}
		fill := func() (spares int) { // a worker that answers while the loop works on the connection takes another queue
			testkit.Until(t, "a queue of an answer", func() bool {
				answer()
				empty()
				spares = server.SpareQueues(c)
				return spares > 0
			})
			return spares
		}
		spares := fill()

		begin("silent\n") // it has no answer
		testkit.WantEqual(t, "queues of the loop while a request runs", server.SpareQueues(c), spares-1)
		if held() <= outq.SmallFootprint {
			t.Errorf("a request with a queue counts %d bytes", held())
		}
		goOn <- struct{}{}
		empty()

		spares = fill()
		w := begin("defer\n")
		testkit.WantEqual(t, "queues of the loop while a request runs", server.SpareQueues(c), spares-1)
		running := held()
		goOn <- struct{}{}
		testkit.Until(t, "the end of the function", func() bool { return held() == running-outq.SmallFootprint })
		testkit.Must(t, w.Close())
		answer()
		empty()
	})
}

// A loop adds the bytes of a turn to the counters before it sleeps, whichever goroutine answers.
func TestBytesAreCountedWithoutAFurtherRequest(t *testing.T) {
	line := "a line\n"
	d := func(p server.Placement) server.Handler {
		d := echoLines()
		d.Placement = p
		return d
	}
	for name, h := range map[string]server.Handler{
		"callback": calls{data: echo}, "workers": d(server.OnWorkers), "loop": d(server.OnLoop), "adaptive": d(server.Adaptive),
		"concurrent": several(4, func(w server.Reply, m []byte) { _, _ = w.WriteString(string(m) + "\n") }),
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, r rig) {
				s := start(t, r, &server.Server{Handler: h})
				nc := s.dial(t)
				for i := range uint64(3) {
					send(t, nc, line)
					expect(t, nc, line)
					want := (i + 1) * uint64(len(line))
					testkit.Until(t, "the counters", func() bool {
						st := s.Stats()
						return st.BytesRead == want && st.BytesWritten == want
					})
				}
			})
		})
	}
}

// The system call for an answer may accept a part of it or nothing, or fail.
func TestAnAnswerOfAWorkerIsSentWhateverTheFirstWriteAccepts(t *testing.T) {
	for name, fault := range map[string]socktest.Fault{
		"all": {}, "a part": {Limit: 3}, "nothing": {Err: unix.EAGAIN}, "nothing, after a signal": {Err: unix.EINTR},
	} {
		t.Run(name, func(t *testing.T) {
			faulty := socktest.New(&sock.Kernel{}, func(c socktest.Call) socktest.Fault {
				if c.Name == socktest.Write && c.Number == 1 {
					return fault
				}
				return socktest.Fault{}
			})
			d := echoLines()
			d.Placement = server.OnWorkers
			srv := &server.Server{Handler: d}
			srv.SetCalls(faulty)
			s := start(t, rig{"tcp", false, 1}, srv)
			nc := s.dial(t)
			for _, line := range []string{"the first answer\n", "the second answer\n"} {
				send(t, nc, line)
				expect(t, nc, line)
			}
			s.shutdown(t)
			if st := s.Stats(); st.BytesWritten != st.BytesRead || st.BufferedBytes != 0 {
				t.Errorf("%+v", st)
			}
		})
	}
	reasons, closed := closings()
	d := echoLines()
	d.Placement, d.Closed = server.OnWorkers, closed
	srv := &server.Server{Handler: d}
	srv.SetCalls(socktest.New(&sock.Kernel{}, func(c socktest.Call) socktest.Fault {
		if c.Name == socktest.Write {
			return socktest.Fault{Err: unix.EPIPE}
		}
		return socktest.Fault{}
	}))
	s := start(t, rig{"tcp", false, 1}, srv)
	nc := s.dial(t)
	send(t, nc, "a line\n")
	hangUp(nc)
	testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "the end"), unix.EPIPE)
}
