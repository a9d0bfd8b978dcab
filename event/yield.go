package event

import (
	"runtime"
	"time"
)

// maxBusy is the time after which a loop that always has work lets other goroutines run. The scheduler interrupts a goroutine only after 10 ms,
// and then every loop that has no processor waits as long. A call costs some 0.2 µs if no goroutine waits.
const maxBusy = 200 * time.Microsecond

// yield lets other goroutines run if the loop has not slept for maxBusy. On the loop, without l.mu.
func (l *Loop) yield() {
	if now := l.Now(); now-l.rested >= maxBusy {
		l.rested = now
		runtime.Gosched()
	}
}
