package testkit

import (
	"errors"
	"os"
)

// T is the part of testing.TB that the functions of this package need. *rapid.T has it, too.
type T interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// Must ends the test if err is not nil. The test's goroutine only.
func Must(t T, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// WantErr ends the test unless err matches target by errors.Is. The test's goroutine only.
func WantErr(t T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

// CheckErr fails the test, which continues, unless err matches each of the targets by errors.Is. Without targets, err must be nil. what
// names the operation. Any goroutine.
func CheckErr(t T, what string, err error, targets ...error) {
	t.Helper()
	if len(targets) == 0 && err != nil {
		t.Errorf("%s: %v", what, err)
	}
	for _, target := range targets {
		if !errors.Is(err, target) {
			t.Errorf("%s: got error %v, want %v", what, err, target)
		}
	}
}

// WantEqual ends the test unless got is want. what names the value. The test's goroutine only.
func WantEqual[V comparable](t T, what string, got, want V) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: got %v, want %v", what, got, want)
	}
}

// Full reports whether EVMQ_FULL is set and not empty. Without it the tests hold every rule in a size that suits a developer: servers run
// in two configurations, and stress and soak tests are short. With it, as in .ci/run, servers run in every configuration and those tests
// have their full size.
func Full() bool { return os.Getenv("EVMQ_FULL") != "" }
