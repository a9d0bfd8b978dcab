//go:build (linux || darwin || freebsd) && !race

package store

import "golang.org/x/sys/unix"

// pieceChunks is the number of chunks that are mapped at once. The system provides memory for a page when it is first written.
const pieceChunks = 64

// mapMemory returns n bytes of memory that is not part of Go's heap.
func mapMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapFlags)
}

// unmapMemory ends the mapping of p, which mapMemory returned.
func unmapMemory(p []byte) { _ = unix.Munmap(p) } // it fails only for what is not mapped

// discardMemory returns the memory of p to the system. Its contents are lost; the addresses stay valid.
func discardMemory(p []byte) { _ = unix.Madvise(p, adviceToDiscard) } // if it fails, the memory stays resident
