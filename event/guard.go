package event

import (
	"reflect"
	"runtime"
	"runtime/debug"
)

// guarded reports whether the options ask for guard.
func (l *Loop) guarded() bool { return l.slow > 0 || l.onPanic != nil }

// call calls a user's function that is no event's.
func (l *Loop) call(fn func()) {
	if l.guarded() {
		l.guard(fn, func() string { return funcName(fn) })
	} else {
		fn()
	}
}

// guard calls fn with what the options ask for: its time taken, its panic caught. name is asked under l.mu, and only if it
// is needed.
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
			if !timed { // the Clock has panicked, which must not cost fn its call
				fn()
			}
		}()
		start := l.clock.Now()
		timed = true
		defer func() {
			took := l.clock.Now() - start
			who := ""
			l.mu.Lock()
			if took > l.slow || took > l.stats.LongestCallback {
				who = name()
			}
			if took > l.stats.LongestCallback {
				l.stats.LongestCallback, l.stats.LongestName = took, who
			}
			l.mu.Unlock()
			if took > l.slow {
				l.log.Warn("event: slow callback", "callback", who, "took", took, "threshold", l.slow)
			}
		}()
	}
	fn()
}

// callbackName is the name given by SetName, or that of the function. Under l.mu.
func (e *Event) callbackName() string {
	if e.name != nil && *e.name != "" {
		return *e.name
	}
	return funcName(e.fn)
}

// funcName names a function as stack traces do.
func funcName(fn any) string {
	if f := runtime.FuncForPC(reflect.ValueOf(fn).Pointer()); f != nil {
		return f.Name()
	}
	return "unknown"
}

// goroutineID reads the number that stack traces show ("goroutine 18 [running]"), into buf so that nothing is allocated. The
// runtime offers it nowhere else; net/http's own HTTP/2 checks read it in the same way. It takes about a microsecond, so only
// calls that run a loop or might wait ask for it.
func goroutineID(buf []byte) (id uint64) {
	const prefix = len("goroutine ")
	n := runtime.Stack(buf, false)
	for _, c := range buf[min(prefix, n):n] {
		if c < '0' || c > '9' {
			break
		}
		id = id*10 + uint64(c-'0')
	}
	if id == 0 {
		panic("event: no goroutine number in the stack trace: " + string(buf[:n]))
	}
	return id
}
