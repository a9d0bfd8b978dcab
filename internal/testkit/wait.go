package testkit

import (
	"context"
	"flag"
	"runtime"
	"strconv"
	"time"
)

// Patience is the time after which a test gives up on something that should happen at once. It measures no speed.
const Patience = 3 * time.Minute

// pollPause is the time between two looks at a condition that no channel announces.
const pollPause = 100 * time.Microsecond

// ParallelTests makes n tests that call t.Parallel run at the same time, instead of one for each processor. It is for packages in which those
// tests wait rather than compute. TestMain calls it before it runs the tests. The -parallel flag of go test prevails.
func ParallelTests(n int) {
	if err := flag.Set("test.parallel", strconv.Itoa(n)); err != nil {
		panic(err)
	}
}

// Await returns the next value of ch, or the zero value if ch is closed. It ends the test if neither happens within Patience. The
// test's goroutine only.
func Await[V any](t T, ch <-chan V, what string) (v V) {
	t.Helper()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case v = <-ch:
	case <-timeout.C:
		t.Fatalf("%s did not happen within %v", what, Patience)
	}
	return v
}

// Until waits for a condition that another goroutine or another process brings about. It ends the test if that does not happen
// within Patience. The test's goroutine only.
func Until(t T, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(Patience); !done(); time.Sleep(pollPause) {
		if time.Now().After(end) {
			t.Fatalf("%s did not happen within %v", what, Patience)
		}
	}
}

// Within calls fn on a goroutine of its own and waits for its end. If that does not happen within Patience, it ends the test and shows the
// stacks of all goroutines: the call has met a deadlock or a lost wake. The test's goroutine only.
func Within(t T, what string, fn func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		fn()
	}()
	timeout := time.NewTimer(Patience)
	defer timeout.Stop()
	select {
	case <-done:
	case <-timeout.C:
		stacks := make([]byte, 1<<20)
		t.Fatalf("%s did not end within %v\n%s", what, Patience, stacks[:runtime.Stack(stacks, true)])
	}
}

// Soon returns a context that ends after Patience.
func Soon() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), Patience)
}

// Canceled returns a context that has ended.
func Canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}
