package server_test

import (
	"bufio"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/internal/tick"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// askOn sends a line and expects it as the answer.
func askOn(t *testing.T, nc net.Conn, line string) {
	t.Helper()
	send(t, nc, line)
	expect(t, nc, line)
}

// OnPanic may block as the handler may: another goroutine continues the loop.
func TestOnPanicMayBlockOnTheLoop(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		begun, goOn := make(chan struct{}), make(chan struct{})
		reasons, closed := closings()
		s := start(t, r, &server.Server{NumLoops: 1, Workers: 2, Handler: &server.Dispatcher{Framing: framing.Lines{}, Placement: server.OnLoop, Closed: closed, Serve: func(w server.Reply, line []byte) {
			if string(line) == "panic" {
				panic("a request")
			}
			_, _ = w.Write(append(line, '\n'))
		}}, OnPanic: func(*server.Conn, any, []byte) {
			close(begun)
			<-goOn
		}})
		nc, other := s.dial(t), s.dial(t)
		askOn(t, other, "before\n")
		send(t, nc, "panic\n")
		<-begun
		askOn(t, other, "meanwhile\n")
		close(goOn)
		testkit.CheckErr(t, "Close", testkit.Await(t, reasons, "Close"), server.ErrPanic)
	})
}

// always keeps the tick of the process pending.
type always struct{}

func (always) IsBusy() bool { return true }

func (always) Tick(bool) (busy bool) { return true }

// Each turn of the loop is longer than the tick. Requests that wait for the leader run nevertheless.
func TestRequestsOfTheLeaderRunBetweenLongTurns(t *testing.T) {
	needsLeaders(t)
	each(t, func(t *testing.T, r rig) {
		s := start(t, r, &server.Server{NumLoops: 1, Handler: &server.Dispatcher{Framing: framing.Lines{}, Placement: server.OnLoop, Serve: func(w server.Reply, line []byte) {
			_, _ = w.Write(append(line, '\n'))
		}}})
		tick.Process.Watch(always{})
		defer tick.Process.Unwatch(always{})
		tick.Process.Use()
		nc := s.dial(t)
		loop := s.Loops()[0]
		var over atomic.Bool
		var long func()
		long = func() {
			time.Sleep(20 * time.Millisecond)
			if !over.Load() {
				testkit.Must(t, loop.Post(long))
			}
		}
		testkit.Must(t, loop.Post(long))
		defer over.Store(true)
		lines := bufio.NewReader(nc)
		for range 3 {
			send(t, nc, "line\n")
			if got, err := lines.ReadString('\n'); got != "line\n" {
				t.Fatalf("read %q, %v", got, err)
			}
		}
	})
}
