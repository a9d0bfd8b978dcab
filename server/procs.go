package server

import (
	"os"
	"runtime"
)

// RaiseProcs raises GOMAXPROCS by n, for a program whose handlers burn processor time: a Go loop hears from the network only when
// a processor is free, or every 10 ms, so handlers that compute on all of them delay it. It helps when n is at least the
// number of goroutines that compute at once, and costs throughput when none does; see docs/measurements.md. An
// explicit GOMAXPROCS in the environment wins: then nothing is changed. It returns what GOMAXPROCS is now. Any goroutine.
func RaiseProcs(n int) int {
	if n > 0 && os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + n)
	}
	return runtime.GOMAXPROCS(0)
}
