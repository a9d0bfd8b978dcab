package memcache_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
	"github.com/evmq/evmq/memcache"
)

// lockedBuffer is a buffer that loops may write to concurrently.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// TestVerbositySelectsWhatIsLogged: nothing, errors, or also requests and answers.
func TestVerbositySelectsWhatIsLogged(t *testing.T) {
	var log lockedBuffer
	r := start(t, memcache.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	c := r.connect(t)
	c.ask("get quiet", "END")
	testkit.Must(t, resetOf(c))
	c = r.connect(t)
	c.ask("verbosity 1|get silent", "OK|END")
	if s := log.String(); s != "" {
		t.Errorf("logged: %s", s)
	}
	testkit.Must(t, resetOf(c))
	testkit.Until(t, "the record of the closed connection", func() bool { return strings.Contains(log.String(), "connection closed") })
	c = r.connect(t)
	c.ask("verbosity 9|get loud", "OK|END")
	testkit.Until(t, "the record of the request", func() bool { return strings.Contains(log.String(), `line="get loud" answer=END`) })
}

// resetOf ends the connection by a reset.
func resetOf(c *client) error {
	type lingerer interface{ SetLinger(int) error }
	if err := c.Conn.(lingerer).SetLinger(0); err != nil {
		return err
	}
	return c.Close()
}
