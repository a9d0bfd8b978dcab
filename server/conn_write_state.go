package server

// writeState says what the output waits for. Loop only.
type writeState uint8

const (
	writeIdle      writeState = iota // nothing, or the loop's next turn
	writeBlocked                     // the kernel's buffer is full: the event waits for Write
	writeThrottled                   // the rate limit holds it until a later time
)

// String returns the state's name.
func (w writeState) String() string { return [...]string{"idle", "blocked", "throttled"}[w] }

// to returns next. Blocked output cannot become throttled, nor throttled output blocked, since neither is written.
func (w writeState) to(next writeState) writeState {
	if w != writeIdle && next != writeIdle && w != next {
		panic("server: writing: " + w.String() + " to " + next.String())
	}
	return next
}
