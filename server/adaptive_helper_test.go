package server_test

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/evmq/evmq/event"
	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
	"github.com/evmq/evmq/server/framing"
)

// placements are the ways in which requests may be run.
var placements = []server.Placement{server.Adaptive, server.OnLoop, server.OnWorkers}

// eachPlacement runs a test with each placement, in every rig with EVMQ_FULL, and otherwise in one rig for each placement, so that all
// pairs occur among the tests.
func eachPlacement(t *testing.T, test func(t *testing.T, r rig, p server.Placement)) {
	t.Helper()
	name, _, _ := strings.Cut(t.Name(), "/")
	for i, p := range placements {
		in := rigs()
		if !testkit.Full() {
			one := (i + len(name)) % len(in)
			in = in[one : one+1]
		}
		t.Run(p.String(), func(t *testing.T) {
			eachOf(t, in, func(t *testing.T, r rig) { test(t, r, p) })
		})
	}
}

// needsLeaders skips a test of requests on loops if the environment chooses the thread driver, with which workers run all requests (see
// TestLoopsWithoutALeaderUseWorkers), or an Executor for all requests.
func needsLeaders(t *testing.T) {
	t.Helper()
	if !leadersRun() {
		t.Skip("with the thread driver workers run all requests, and with EVMQ_EXECUTOR another Executor does")
	}
}

// leadersRun reports whether the environment leaves the loops of a server, and requests, to leaders.
func leadersRun() bool {
	return os.Getenv("EVMQ_DRIVER") != string(event.DriverThread) && !hasUserExecutor()
}

// placed is a Dispatcher of lines. serve returns the answer to each line, which the Dispatcher sends with a line end.
func placed(p server.Placement, serve func(w server.Reply, line string) (answer string)) *server.Dispatcher {
	return &server.Dispatcher{Framing: framing.Lines{}, Placement: p, Serve: func(w server.Reply, line []byte) {
		_, _ = w.WriteString(serve(w, string(line)) + "\n") // fails only if the client has disconnected
	}}
}

// A holder is a handler that answers each line with the line, and that holds a line which begins with "hold" until it is released.
type holder struct {
	*server.Dispatcher
	begun   chan bool // each line that is held: whether it began on the loop
	release chan struct{}
	wait    func(w server.Reply, release <-chan struct{}) // how a line is held
}

func newHolder(p server.Placement) *holder {
	h := &holder{begun: make(chan bool, 100), release: make(chan struct{}), wait: func(_ server.Reply, release <-chan struct{}) { <-release }}
	h.Dispatcher = placed(p, func(w server.Reply, line string) string {
		if len(line) >= 4 && line[:4] == "hold" {
			h.begun <- server.BeganOnLoop(w)
			h.wait(w, h.release)
		}
		return line
	})
	return h
}

// routes returns the sum of the server's RouteStats.
func (s *running) routes() (sum server.RouteStats) {
	for _, st := range s.RouteStats() {
		sum.Inline += st.Inline
		sum.OnWorkers += st.OnWorkers
		sum.TakenOver += st.TakenOver
		sum.Stalls += st.Stalls
	}
	return sum
}

// listenAlso adds a listener with another handler to the server.
func listenAlso(t *testing.T, s *running, h server.Handler) *running {
	t.Helper()
	ln, err := s.Listen(context.Background(), "tcp", "127.0.0.1:0", &server.ListenerConfig{Handler: h})
	testkit.Must(t, err)
	return &running{s.Server, rig{"tcp", s.rig.tls, s.rig.loops}, ln.Addr()}
}
