package difftest_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// TestGeneratedScripts runs the same random scripts on both servers. EVMQ_SEED repeats a run, and EVMQ_SCRIPTS is the number of scripts.
func TestGeneratedScripts(t *testing.T) {
	t.Parallel()
	compare(t, startMemcached(t), startEvcached(t), number(t, "EVMQ_SCRIPTS", 250))
}

// TestGeneratedScriptsAgainstItself checks that the answers of memcached are determined: two memcacheds agree.
func TestGeneratedScriptsAgainstItself(t *testing.T) {
	t.Parallel()
	compare(t, startMemcached(t), startMemcached(t), number(t, "EVMQ_SCRIPTS", 100))
}

// number returns the number in an environment variable, or otherwise.
func number(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text, ok := os.LookupEnv(name)
	if !ok {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	testkit.Must(t, err)
	return n
}

// compare runs n scripts on both servers.
func compare(t *testing.T, reference, other *daemon, n uint64) {
	t.Helper()
	seed := number(t, "EVMQ_SEED", rand.Uint64()>>32)
	if diff := firstDifference(t, reference, other, seed, n); diff != "" {
		t.Error(diff)
	}
}

// firstDifference describes the first difference between the servers, with the smallest script that shows it. It is empty if there is none.
func firstDifference(t *testing.T, reference, other *daemon, seed, n uint64) string {
	t.Helper()
	g := difftest.NewGenerator(seed)
	differ := func(script []difftest.Piece) error {
		flush(t, reference)
		flush(t, other)
		err := difftest.Compare(reference.addr, other.addr, script)
		if err != nil && !errors.Is(err, difftest.ErrDiffer) {
			t.Fatal(err)
		}
		return err
	}
	for i := range n {
		script := g.Script()
		err := differ(script)
		if err == nil {
			continue
		}
		if errors.Is(err, difftest.ErrSilent) { // may not happen again: what it is doing says more
			other.abort()
			return fmt.Sprintf("script %d of EVMQ_SEED=%d: %v\n%s", i+1, seed, err, difftest.Format(script))
		}
		script = difftest.Shrink(script, func(script []difftest.Piece) bool { return differ(script) != nil })
		if again := differ(script); again != nil {
			err = again
		}
		return fmt.Sprintf("script %d of EVMQ_SEED=%d: %v; the smallest one found:\n%s", i+1, seed, err, difftest.Format(script))
	}
	return ""
}
