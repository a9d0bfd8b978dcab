//go:build linux || darwin || freebsd

package main

import (
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/evmq/evmq/internal/sock"
)

// Numbers of descriptors that are not connections: those of the program and its listeners, and those of each loop.
const (
	spareFiles    = 128
	filesOfALoop  = 8
	serversAtMost = 2
)

// raiseFiles raises the limit of descriptors to the number that the connections and the program need. It is an error only if there are not enough
// for the connections: a server without free descriptors refuses connections and continues.
func raiseFiles(conns, loops int) error {
	have, err := sock.OpenFiles()
	if err != nil {
		return system("%w", err)
	}
	want := uint64(conns) + spareFiles + uint64(loops)*filesOfALoop*serversAtMost
	if have >= want {
		return nil
	}
	var limit unix.Rlimit
	if err = unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err == nil {
		assign(&limit.Cur, want)
		if uint64(limit.Max) < want { //nolint:unconvert // it is an int64 on FreeBSD
			assign(&limit.Max, want)
		}
		err = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit)
	}
	if err != nil && have < uint64(conns) {
		return system("-c %d: the process may open %d files, and the limit cannot be raised: %w; start it as root, or choose fewer connections",
			conns, have, err)
	}
	return nil
}

// limitProcessors limits the process to as many processors as it has loops, the number of -t. GOMAXPROCS in the environment takes precedence.
func limitProcessors(loops int) {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(min(loops, runtime.GOMAXPROCS(0)))
	}
}

// assign bridges the type of a limit, which differs between systems.
func assign[T int64 | uint64](to *T, n uint64) { *to = T(n) }
