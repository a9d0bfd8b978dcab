//go:build unix && !linux

package event_test

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/testkit"
)

// reopenAs closes fd and opens f's file under its number, in one step.
func reopenAs(t testing.TB, fd int, f *os.File) {
	t.Helper()
	testkit.Must(t, unix.Dup2(fdOf(t, f), fd))
	unix.CloseOnExec(fd)
}
