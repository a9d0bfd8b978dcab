package msgqueue

import "math"

// Config says how New makes a queue. The zero value of each field is its default. New copies what it needs and does not change the
// Config.
type Config struct {
	// Bound is the largest number of messages in the queue: accepted, and their delivery has not begun. 0 means DefaultBound; a
	// negative value means no limit.
	Bound int
	// Budget is the largest number of messages that are delivered in one turn of the loop. The others are delivered in later turns,
	// after the loop has polled its descriptors. Fewer are delivered if something more urgent than the queue becomes active or the
	// loop's Budget.Time has passed; both are checked after each message. 0 means DefaultBudget; a negative value means no limit, and
	// then messages that the callback itself pushes still wait for a later turn.
	Budget int
	// Priority is the priority of the queue among its loop's events: 0, the most urgent, to Loop.Priorities()-1; other values are an
	// error. Nil means the middle priority, as for other events.
	Priority *int
}

const (
	// DefaultBound is the default of Config.Bound.
	DefaultBound = 1024
	// DefaultBudget is the default of Config.Budget.
	DefaultBudget = 256
	// Unlimited is a value for Config.Bound and Config.Budget: any negative value means no limit.
	Unlimited = -1
)

// resolve returns a copy of c in which each field has the value that the queue uses.
func (c *Config) resolve() Config {
	var r Config
	if c != nil {
		r = *c
	}
	r.Bound, r.Budget = limit(r.Bound, DefaultBound), limit(r.Budget, DefaultBudget)
	return r
}

// limit is the limit that a field with the value v stands for.
func limit(v, whenZero int) int {
	switch {
	case v < 0:
		return math.MaxInt
	case v == 0:
		return whenZero
	}
	return v
}
