// Package callback calls functions of the program, which may panic or end their goroutine.
package callback

// Each calls fn for all elements of s, also for those after one for which it panics or calls runtime.Goexit. The panic continues afterwards.
func Each[T any](s []T, fn func(T)) {
	i := 0
	defer func() {
		if i < len(s) {
			Each(s[i:], fn)
		}
	}()
	for i < len(s) {
		v := s[i]
		i++
		fn(v)
	}
}
