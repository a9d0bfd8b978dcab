package server_test

import (
	"fmt"
	"runtime/pprof"
	"strconv"
	"strings"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/server"
)

// labelled counts the goroutines of the program by their labels.
func labelled(t *testing.T) map[string]int {
	t.Helper()
	var text strings.Builder
	testkit.Must(t, pprof.Lookup("goroutine").WriteTo(&text, 1))
	counts, n := map[string]int{}, 0
	for line := range strings.Lines(text.String()) {
		if count, _, found := strings.Cut(line, " @"); found {
			n, _ = strconv.Atoi(count)
		} else if set, found := strings.CutPrefix(line, "# labels: "); found {
			counts[strings.TrimSpace(set)] += n
		}
	}
	return counts
}

// In profiles, the goroutine that runs a loop is labelled as its leader, and those of the pool as workers, also after another goroutine has
// become the leader. Goroutines that the server starts for other work are not labelled as leaders.
func TestGoroutinesHaveLabels(t *testing.T) {
	needsLeaders(t)
	const loops, workers = 2, 3
	worker := `{"evmq":"worker"}`
	leader := func(loop int) string { return fmt.Sprintf(`{"evmq":"leader", "loop":"%d"}`, loop) }
	check := func(when string) {
		t.Helper()
		var got map[string]int
		testkit.Until(t, "the labels "+when, func() bool {
			got = labelled(t)
			return got[worker] == workers && got[leader(0)] == 1 && got[leader(1)] == 1
		})
	}
	begun, release := make(chan struct{}), make(chan struct{})
	d := placed(server.OnLoop, func(w server.Reply, line string) string {
		w.Blocking()
		begun <- struct{}{}
		<-release
		return line
	})
	s := start(t, rig{"tcp", true, loops}, &server.Server{Workers: workers, Handler: d})
	check("at the beginning")
	silent := s.dialPlain(t) // its handshake has a goroutine
	send(t, silent, "\x16\x03\x01\x00\xff\x01\x00\x00\xfb")
	nc := s.dial(t)
	for range 2 * workers {
		send(t, nc, "hold\n")
		testkit.Await(t, begun, "the handler")
		release <- struct{}{}
		expect(t, nc, "hold\n")
	}
	check("after leaders have become workers")
	hangUp(nc, silent)
	testkit.Must(t, s.Close())
	testkit.Until(t, "the end of all", func() bool {
		got := labelled(t)
		return got[worker]+got[leader(0)]+got[leader(1)] == 0
	})
}
