package event

// Asleep reports whether the loop sleeps and has not been woken. Any goroutine.
func Asleep(l *Loop) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.asleep
}
