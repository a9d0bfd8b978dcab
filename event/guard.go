package event

import (
	"reflect"
	"runtime"
	"runtime/debug"
)

// guarded reports whether callbacks are called through guard.
func (l *Loop) guarded() bool { return l.slow > 0 || l.onPanic != nil }

// call calls a user's function that is not the callback of an event.
func (l *Loop) call(fn func()) {
	if l.guarded() {
		l.guard(fn, func() string { return funcName(fn) })
	} else {
		fn()
	}
}

// guard calls fn, measures its time and recovers its panic, as configured. name is called under l.mu, and only if it is
// needed.
func (l *Loop) guard(fn func(), name func() string) {
	if l.onPanic != nil {
		defer func() {
			if v := recover(); v != nil {
				l.onPanic(v, debug.Stack())
			}
		}()
	}
	if l.slow > 0 {
		timed := false
		defer func() {
			if !timed { // the Clock has panicked; fn is called nevertheless
				fn()
			}
		}()
		start := l.clock.Now()
		timed = true
		defer func() {
			took := l.clock.Now() - start
			callback := ""
			l.mu.Lock()
			if took > l.slow || took > l.stats.LongestCallback {
				callback = name()
			}
			if took > l.stats.LongestCallback {
				l.stats.LongestCallback, l.stats.LongestName = took, callback
			}
			l.mu.Unlock()
			if took > l.slow {
				l.log.Warn("event: slow callback", "callback", callback, "took", took, "threshold", l.slow)
			}
		}()
	}
	fn()
}

// callbackName returns the name given by SetName, or that of the function. Under l.mu.
func (e *Event) callbackName() string {
	if e.name != nil && *e.name != "" {
		return *e.name
	}
	return funcName(e.fn)
}

// funcName returns the name of a function as in stack traces.
func funcName(fn any) string {
	if f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()); f != nil {
		return f.Name()
	}
	return "unknown"
}
