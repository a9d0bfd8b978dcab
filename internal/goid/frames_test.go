package goid

import (
	"runtime"
	"testing"
)

//go:noinline
func outer(fn func() bool) bool { return fn() }

//go:noinline
func other(fn func() bool) bool { return fn() }

// deep calls fn below n calls of itself.
func deep(n int, fn func() bool) bool {
	if n == 0 {
		return fn()
	}
	return deep(n-1, fn) || n < 0 // not a tail call
}

type receiver struct{ called int }

//go:noinline
func (r *receiver) method(fn func() bool) bool {
	r.called++
	return fn()
}

func TestAFunctionIsFoundOnTheStackOfItsCallsAndOnNoOther(t *testing.T) {
	frames := FramesOf(outer, (*receiver).method)
	for _, depth := range []int{0, 1, 60, 61, 62, 63, 64, 65, 200} {
		look := func() bool { return deep(depth, frames.OnStack) }
		for name, c := range map[string]struct{ found, want bool }{
			"in the function":                {outer(look), true},
			"in the method":                  {new(receiver).method(look), true},
			"in the function, called by one": {other(func() bool { return outer(look) }), true},
			"in one that the function calls": {outer(func() bool { return other(look) }), true},
			"in another function":            {other(look), false},
			"after the function":             {outer(func() bool { return true }) && look(), false},
		} {
			if c.found != c.want {
				t.Errorf("%s, below %d calls: %v", name, depth, c.found)
			}
		}
		found := make(chan bool)
		outer(func() bool { go func() { found <- look() }(); return true })
		if <-found {
			t.Errorf("a goroutine that the function has started, below %d calls: the function is on its stack", depth)
		}
	}
}

func TestAFunctionIsFoundByItsDeferredFunctions(t *testing.T) {
	frames := FramesOf(outer)
	var after, exited bool
	func() {
		defer func() { _ = recover() }()
		outer(func() bool {
			defer func() { after = frames.OnStack() }()
			panic("as a callback may")
		})
	}()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		outer(func() bool {
			defer func() { exited = frames.OnStack() }()
			runtime.Goexit()
			return false
		})
	}()
	<-ended
	if !after || !exited {
		t.Errorf("after a panic: %v, after Goexit: %v", after, exited)
	}
}

func TestLookingForAFunctionDoesNotAllocate(t *testing.T) {
	frames := FramesOf(outer)
	if n := testing.AllocsPerRun(1000, func() { deep(100, frames.OnStack) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkOnStack is the search below 20 calls of which none is found; BenchmarkCurrent is what it saves.
func BenchmarkOnStack(b *testing.B) {
	frames := FramesOf(outer)
	deep(20, func() bool {
		for b.Loop() {
			frames.OnStack()
		}
		return true
	})
}

func BenchmarkCurrent(b *testing.B) {
	deep(20, func() bool {
		for b.Loop() {
			Current()
		}
		return true
	})
}
