//go:build race

package event

import "testing"

// In race builds a method whose name ends in InLoop panics on a goroutine that does not run the loop.
func TestInLoopMethodPanicsElsewhere(t *testing.T) {
	l, err := NewLoop(nil)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	panics := func(call func()) (v any) {
		defer func() { v = recover() }()
		call()
		return nil
	}
	if panics(l.expireInLoop) == nil {
		t.Error("no panic outside Run")
	}
	if err := l.Post(func() {
		other := make(chan any)
		go func() { other <- panics(l.yieldInLoop) }()
		if <-other == nil {
			t.Error("no panic on another goroutine than the one that runs the loop")
		}
		if v := panics(l.yieldInLoop); v != nil {
			t.Errorf("panic on the loop: %v", v)
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := l.RunNonblock(); err != nil {
		t.Fatal(err)
	}
}
