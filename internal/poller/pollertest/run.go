//go:build linux || darwin || freebsd

package pollertest

import (
	"runtime"
	"testing"

	"github.com/evmq/evmq/internal/poller"
)

// Opener opens a poller of the backend under test.
type Opener = func(kind poller.WakerKind) (poller.Poller, error)

// rule is one case.
type rule struct {
	name  string
	says  string
	needs poller.Features // the case is skipped without them
	check func(c *check)
}

// Run checks the contract with the pollers that open makes: all rules with the default waker, those about waking with every
// waker of the platform.
func Run(t *testing.T, open Opener) {
	kinds := []poller.WakerKind{poller.WakerDefault, poller.WakerSocketpair}
	if runtime.GOOS == "linux" {
		kinds = append(kinds, poller.WakerEventfd)
	}
	for _, rules := range [][]rule{readyRules, hangupRules, errorRules, waitRules, concurrentRules, ownRules} {
		runAll(t, open, poller.WakerDefault, rules)
	}
	for _, kind := range kinds {
		name := string(kind)
		if kind == poller.WakerDefault {
			name = "default"
		}
		t.Run("Waker="+name, func(t *testing.T) { runAll(t, open, kind, wakeRules) })
	}
	t.Run("Waker=none", func(t *testing.T) { runAll(t, open, poller.WakerNone, noWakerRules) })
}

func runAll(t *testing.T, open Opener, kind poller.WakerKind, rules []rule) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			p, err := open(kind)
			if err != nil {
				t.Fatalf("open: %v", err)
			}
			c := &check{t: t, rule: r.says, open: open, kind: kind, p: p, owned: map[int]bool{}}
			t.Cleanup(c.cleanup)
			if !p.Features().Has(r.needs) {
				t.Skipf("%s has no %s", p.Name(), r.needs)
			}
			r.check(c)
		})
	}
}
