package event

import (
	"reflect"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
)

// guard calls fn with what the options ask for: its time taken, its panic caught. name is asked only if it is needed.
func (l *Loop) guard(fn func(), name func() string) {
	if l.onPanic != nil {
		defer func() {
			if v := recover(); v != nil {
				l.onPanic(v, debug.Stack())
			}
		}()
	}
	if l.slow > 0 {
		start := l.clock.Now()
		defer func() {
			took := l.clock.Now() - start
			l.mu.Lock()
			longest := took > l.stats.LongestCallback
			if longest {
				l.stats.LongestCallback, l.stats.LongestName = took, name()
			}
			l.mu.Unlock()
			if took > l.slow {
				l.log.Warn("event: slow callback", "callback", name(), "took", took, "threshold", l.slow)
			}
		}()
	}
	fn()
}

// callbackName is the name given by SetName, or that of the function. It reads fields that are fixed while a callback runs.
func (e *Event) callbackName() string {
	if e.name != "" {
		return e.name
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

// goroutineID reads the number that stack traces show. The runtime offers it nowhere else; net/http's own HTTP/2 checks
// read it in the same way. It takes about a microsecond, so only calls that run a loop or might wait ask for it.
func goroutineID() uint64 {
	var buf [40]byte
	s := string(buf[:runtime.Stack(buf[:], false)])
	s, _, _ = strings.Cut(strings.TrimPrefix(s, "goroutine "), " ")
	id, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		panic("event: no goroutine number in the stack trace: " + s)
	}
	return id
}
