package server

import (
	"context"
	"runtime/pprof"
	"strconv"
)

// In profiles, the label "evmq" of a goroutine of the server shows the goroutine's work. It is set when the goroutine begins, and when it
// becomes a leader or a worker, so a request does not pay for it. Every goroutine that the server starts on a loop sets its own, because a
// goroutine inherits the labels of the one that has started it.
var (
	handshakeLabels = labels("handshake")
	fileLabels      = labels("file")
	lookupLabels    = labels("lookup")
	acceptLabels    = labels("accept")
)

// labels returns a context with the label "evmq" and others, for pprof.SetGoroutineLabels.
func labels(does string, others ...string) context.Context {
	return pprof.WithLabels(context.Background(), pprof.Labels(append([]string{"evmq", does}, others...)...))
}

// leaderLabels returns the labels of a goroutine that runs a loop.
func leaderLabels(index int) context.Context { return labels("leader", "loop", strconv.Itoa(index)) }

// label sets the labels of the calling goroutine.
func label(ctx context.Context) { pprof.SetGoroutineLabels(ctx) }
