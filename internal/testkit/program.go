package testkit

import (
	"errors"
	"os"
	"os/exec"
)

// Foreign reports whether EVMQ_FOREIGN is 1, as in .ci/run: a test that needs another program fails if it is not installed, and is not
// skipped.
func Foreign() bool { return os.Getenv("EVMQ_FOREIGN") == "1" }

// Program returns the path of another program that a test needs. If it is not installed, the test is skipped, or fails if Foreign. The
// test's goroutine only.
func Program(t interface {
	T
	Skipf(format string, args ...any)
}, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if errors.Is(err, exec.ErrNotFound) && !Foreign() {
		t.Skipf("%v", err)
	}
	Must(t, err)
	return path
}
