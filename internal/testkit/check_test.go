package testkit_test

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// A failures is a testkit.T that counts the failures of a test.
type failures int

func (*failures) Helper()                 {}
func (f *failures) Errorf(string, ...any) { *f++ }
func (f *failures) Fatalf(string, ...any) { *f++ }

// An error fails the test unless it matches all targets, and without targets unless it is nil.
func TestCheckErrComparesWithAllTargets(t *testing.T) {
	both := errors.Join(io.EOF, io.ErrClosedPipe)
	for _, row := range []struct {
		err     error
		targets []error
		fails   int
	}{
		{nil, nil, 0}, {io.EOF, nil, 1}, {nil, []error{nil}, 0}, {io.EOF, []error{nil}, 1}, {nil, []error{io.EOF}, 1},
		{fmt.Errorf("read: %w", io.EOF), []error{io.EOF}, 0}, {both, []error{io.EOF, io.ErrClosedPipe}, 0}, {io.EOF, []error{io.EOF, io.ErrClosedPipe}, 1},
	} {
		var f failures
		testkit.CheckErr(&f, "read", row.err, row.targets...)
		if int(f) != row.fails {
			t.Errorf("%v with the targets %v: %d failures, want %d", row.err, row.targets, f, row.fails)
		}
	}
}
