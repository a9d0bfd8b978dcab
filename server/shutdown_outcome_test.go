package server

import (
	"errors"
	"testing"

	"github.com/evmq/evmq/internal/testkit"
)

// Aborted connections are no error of Close; a descriptor that could not be closed is.
func TestCloseReturnsTheErrorsBesideAbortedConnections(t *testing.T) {
	late, system := &ShutdownError{Conns: 1}, errors.New("the system's")
	for _, test := range []struct{ outcome, want error }{{nil, nil}, {late, nil}, {errors.Join(late), nil}, {system, system}, {errors.Join(late, system), system}} {
		err := withoutShutdownError(test.outcome)
		testkit.CheckErr(t, "without the ShutdownError", err, test.want)
		if (err == nil) != (test.want == nil) || errors.As(err, new(*ShutdownError)) {
			t.Errorf("%v: %v is left", test.outcome, err)
		}
	}
}
