package event

// Asleep reports whether the loop sleeps and has not been woken. Any goroutine.
func Asleep(l *Loop) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asleep
}

// DelWaits returns how many calls of DelWait wait for the callback that runs. Any goroutine.
func DelWaits(l *Loop) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.delWaits
}
