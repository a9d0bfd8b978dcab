package sse

import (
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// OnLeave panics: all slow streams are cut off, and Close ends all streams.
func TestAPanicOfOnLeaveLeavesNoStreamOpen(t *testing.T) {
	recovered := func(fn func()) (panicked bool) {
		defer func() { panicked = recover() != nil }()
		fn()
		return false
	}
	for name, end := range map[string]func(t *testing.T, g *Group, clients []*client){
		"cut off": func(t *testing.T, g *Group, _ []*client) {
			for e := (Event{Data: strings.Repeat("x", 1000)}); g.Len() > 0; {
				before := g.Len()
				panicked := recovered(func() { send(t, g, e) })
				if left := before - g.Len(); panicked != (left > 0) {
					t.Errorf("%d streams have left, panic: %v", left, panicked)
				}
			}
		},
		"close": func(t *testing.T, g *Group, clients []*client) {
			testkit.WantEqual(t, "panic", recovered(g.Close), true)
			for _, c := range clients {
				c.wantEnd()
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			g, s, addr := group(t, &GroupConfig{OnLeave: func(Stream, error) { panic("of the test") }})
			var clients []*client
			for range 3 {
				clients = append(clients, open(t, addr))
			}
			testkit.Until(t, "the streams", func() bool { return g.Len() == 3 })
			end(t, g, clients)
			testkit.WantEqual(t, "streams", g.Len(), 0)
			testkit.Until(t, "no parked response", func() bool { return s.Parked() == 0 })
		})
	}
}
