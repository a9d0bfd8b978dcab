package goid

import (
	"reflect"
	"runtime"
)

// Frames is a set of functions that may be on the stack of a goroutine. To look for them takes a tenth of the time that finding out the
// goroutine's number takes, so it tells in advance whether that is necessary.
type Frames struct{ ranges []codeRange }

// A codeRange has the program counters of a function, which its calls of other functions have on the stack. A range is used, and not the program
// counter of a certain call, since the compiler may make more than one of a call, or inline it, if it knows from a profile what is called.
type codeRange struct{ begin, end uintptr }

// FramesOf returns the set of these functions. The compiler must not inline them into others: each has the directive go:noinline.
func FramesOf(fns ...any) Frames {
	var f Frames
	for _, fn := range fns {
		begin := reflect.ValueOf(fn).Pointer()
		end := begin + 1
		for in := runtime.FuncForPC(end); in != nil && in.Entry() == begin; in = runtime.FuncForPC(end) {
			end++
		}
		f.ranges = append(f.ranges, codeRange{begin, end})
	}
	return f
}

// OnStack reports whether one of the functions has called the calling goroutine's present function, directly or not.
func (f Frames) OnStack() bool {
	var pcs [64]uintptr
	for skip := 2; ; skip += len(pcs) { // without Callers and this function
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			if f.has(pc - 1) { // of the call; pc is where it returns to
				return true
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// has reports whether the program counter is one of the functions'.
func (f Frames) has(pc uintptr) bool {
	for _, r := range f.ranges {
		if pc >= r.begin && pc < r.end {
			return true
		}
	}
	return false
}
