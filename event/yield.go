package event

import (
	"runtime"
	"time"
)

// maxBusy is the time after which a loop that always has work lets other goroutines run. The scheduler preempts a goroutine only after
// 10 ms, and a loop without a processor would wait as long. A yield takes about 0.2 µs if no goroutine waits.
const maxBusy = 200 * time.Microsecond

// yieldInLoop lets other goroutines run if the loop has not slept for maxBusy. On the loop, without l.mu.
func (l *Loop) yieldInLoop() {
	l.assertInLoop()
	if now := l.Now(); now-l.yieldedAt >= maxBusy {
		l.yieldedAt = now
		runtime.Gosched()
	}
}
