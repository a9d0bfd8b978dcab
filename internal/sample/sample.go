// Package sample chooses the calls that an expensive check examines.
package sample

const (
	first = 1000 // calls that are all chosen
	// Afterwards one call of every is chosen. It is a prime, so that it does not always choose the same call of a loop that makes several.
	every = 61
)

// A Sampler chooses the first thousand calls and then one of 61, so that a check that takes microseconds does not dominate a
// program that makes millions of calls. The zero value is ready for use. It has no lock: where the calls must come from one goroutine,
// the race detector reports a call from another one that is not ordered with them, chosen or not.
type Sampler struct{ calls uint64 }

// Next counts a call and reports whether it is chosen. One goroutine at a time.
func (s *Sampler) Next() bool {
	s.calls++
	return s.calls <= first || s.calls%every == 0
}
