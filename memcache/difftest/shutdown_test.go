package difftest_test

import (
	"testing"
	"time"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache/difftest"
)

// TestShutdownCommandEndsTheServer holds the exit status, where the command is enabled.
func TestShutdownCommandEndsTheServer(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"shutdown", "shutdown graceful"} {
		for _, d := range []*daemon{startMemcached(t, "-A"), startEvcached(t, "-A")} {
			_, err := difftest.Stream(d.addr, []byte(command+"\r\n"), len(command)+2)
			testkit.Must(t, err)
			select {
			case <-d.ended:
				if code := d.cmd.ProcessState.ExitCode(); code != 0 {
					t.Errorf("%s: %s: exit status %d", d.name, command, code)
				}
			case <-time.After(testTimeout):
				t.Errorf("%s: %s: it goes on", d.name, command)
			}
		}
	}
}
