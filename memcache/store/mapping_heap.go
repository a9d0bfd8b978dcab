//go:build race || !(linux || darwin || freebsd)

package store

// Without a mapping, each chunk is an object of Go's heap. So it is with the race detector, which knows no other memory.
const pieceChunks = 1

func mapMemory(n int) ([]byte, error) { return make([]byte, n), nil }

func unmapMemory([]byte) {}

func discardMemory([]byte) {}
