package server_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// The handlers have random durations, and there is one request of a connection at a time.
func TestAnswersKeepTheOrderOfRequests(t *testing.T) {
	t.Parallel()
	for _, depth := range []int{16, 1000} {
		each(t, func(t *testing.T, r rig) {
			var together atomic.Int32 // requests of a connection that were in progress while another was
			s := start(t, r, &server.Server{Handler: &server.Dispatcher{
				Framing: framing.Lines{}, Opened: func(c *server.Conn) { c.SetValue(new(atomic.Int32)) },
				Serve: func(w server.Reply, line []byte) {
					at := w.Conn().Value().(*atomic.Int32)
					if at.Add(1) != 1 {
						together.Add(1)
					}
					switch rand.IntN(8) {
					case 0:
						time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
					case 1, 2:
						runtime.Gosched()
					}
					_, _ = w.Write(append(line, '\n'))
					at.Add(-1)
				},
			}})
			var all sync.WaitGroup
			for i := range 6 {
				nc := s.dial(t)
				all.Go(func() {
					defer nc.Close()
					if err := pipelined(nc, fmt.Sprint("client ", i), depth); err != nil {
						t.Error(err)
					}
				})
			}
			all.Wait()
			s.shutdown(t)
			if n := together.Load(); n != 0 {
				t.Errorf("%d requests were begun while another of their connection was in progress", n)
			}
			if st := s.Stats(); st.Requests != uint64(6*depth) || st.BufferedBytes != 0 {
				t.Errorf("%d requests answered, %d bytes buffered; want %d, 0", st.Requests, st.BufferedBytes, 6*depth)
			}
		})
	}
}

// Data of a handler that the request has set is not called either.
func TestDataIsNotCalledWhileAWorkerHasARequest(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		var inWork atomic.Bool
		raw := calls{data: func(c *server.Conn, p []byte) (int, error) {
			if inWork.Load() {
				t.Error("Data was called while the request was in progress")
			}
			return echo(c, p)
		}}
		s := start(t, r, &server.Server{NumLoops: 1, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			if string(line) != "upgrade" {
				_, _ = w.Write(append(line, '\n'))
				return
			}
			inWork.Store(true)
			testkit.Must(t, w.Conn().SetHandler(raw))
			begun <- struct{}{}
			<-goOn
			_, _ = w.WriteString("upgraded ")
			inWork.Store(false)
		})})
		nc := s.dial(t)
		send(t, nc, "upgrade\nraw")
		testkit.Await(t, begun, "the request")
		send(t, nc, " bytes")
		other := s.dial(t) // when it is answered, the loop has completed a turn
		for range 3 {
			testkit.Must(t, pipelined(other, "other", 1))
		}
		close(goOn)
		expect(t, nc, "upgraded raw bytes")
		hangUp(nc, other)
		s.shutdown(t)
	})
}

// While a worker is idle, requests of other connections are served, in later bursts and in the same one.
func TestABlockedHandlerDelaysNoOtherConnection(t *testing.T) {
	for _, procs := range []int{1, 2} {
		t.Run(fmt.Sprint("procs-", procs), func(t *testing.T) {
			before := runtime.GOMAXPROCS(procs)
			defer runtime.GOMAXPROCS(before)
			each(t, func(t *testing.T, r rig) {
				release := make(chan struct{})
				s := start(t, r, &server.Server{Workers: 2, Handler: server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
					if string(line) == "block" {
						<-release
					}
					_, _ = w.Write(append(line, '\n'))
				})})
				stuck := s.dial(t)
				others := make([]net.Conn, 10)
				for i := range others {
					others[i] = s.dial(t)
					testkit.Must(t, pipelined(others[i], "hello", 1)) // the handshake has ended
				}
				send(t, stuck, "block\nbehind it\n")
				for round := range 20 {
					for _, nc := range others {
						send(t, nc, fmt.Sprintln("round", round))
					}
					for _, nc := range others {
						expect(t, nc, fmt.Sprintln("round", round))
					}
				}
				close(release)
				expect(t, stuck, "block\nbehind it\n")
				hangUp(append(others, stuck)...)
				s.shutdown(t)
			})
		})
	}
}

// There are never more on workers, and all workers run handlers when all are needed. Where the loops run handlers, too, each may run one more.
func TestAsManyHandlersRunAsThereAreWorkers(t *testing.T) {
	for _, placement := range []server.Placement{server.OnWorkers, server.Adaptive, server.OnLoop} {
		t.Run(placement.String(), func(t *testing.T) { testNumberOfHandlers(t, placement) })
	}
}

func testNumberOfHandlers(t *testing.T, placement server.Placement) {
	each(t, func(t *testing.T, r rig) {
		const workers, clients = 4, 20
		atMost := int32(workers)
		if placement != server.OnWorkers {
			atMost += int32(r.loops)
		}
		begun, release := make(chan struct{}, clients), make(chan struct{})
		var running, most atomic.Int32
		d := server.Dispatch(bufio.ScanLines, func(w server.Reply, line []byte) {
			for n, m := running.Add(1), most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			begun <- struct{}{}
			<-release
			running.Add(-1)
			_, _ = w.Write(append(line, '\n'))
		})
		d.Placement = placement
		s := start(t, r, &server.Server{Workers: workers, Handler: d})
		var clientsOf []net.Conn
		for range clients {
			nc := s.dial(t)
			send(t, nc, "one\n")
			clientsOf = append(clientsOf, nc)
		}
		for range workers {
			testkit.Await(t, begun, "a handler's begin")
		}
		testkit.Until(t, "all requests to have arrived", func() bool {
			st := s.Stats()
			return st.RunningRequests+st.QueuedRequests == clients
		})
		if st := s.Stats(); st.RunningRequests < workers || st.RunningRequests > int(atMost) {
			t.Errorf("%d handlers run, want %d to %d", st.RunningRequests, workers, atMost)
		}
		close(release)
		for _, nc := range clientsOf {
			expect(t, nc, "one\n")
		}
		hangUp(clientsOf...)
		s.shutdown(t)
		if n := most.Load(); n < workers || n > atMost {
			t.Errorf("%d handlers ran at once, want %d to %d", n, workers, atMost)
		}
		if st := s.Stats(); st.RunningRequests != 0 || st.QueuedRequests != 0 {
			t.Errorf("after the shutdown %d handlers run and %d requests wait", st.RunningRequests, st.QueuedRequests)
		}
	})
}

// TestNoRequestIsLostBetweenWorkers makes few workers sleep and wake often by many clients.
func TestNoRequestIsLostBetweenWorkers(t *testing.T) {
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{Workers: 3, Queue: 4, Handler: echoLines()})
		var all sync.WaitGroup
		for i := range 8 {
			nc := s.dial(t)
			all.Go(func() {
				defer nc.Close()
				for round := range 200 {
					if err := pipelined(nc, fmt.Sprint(i, round), 1+round%3); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		s.shutdown(t)
	})
}
