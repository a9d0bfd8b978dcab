//go:build (linux || darwin || freebsd) && !race

package store

import "golang.org/x/sys/unix"

// pieceChunks is how many chunks are mapped at once. The system gives memory to a page of them when it is first written.
const pieceChunks = 64

// mapMemory returns n bytes of memory that is not part of Go's heap.
func mapMemory(n int) ([]byte, error) {
	return unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|mapFlags)
}

// unmapMemory ends what mapMemory returned.
func unmapMemory(p []byte) { _ = unix.Munmap(p) } // it fails only for what is not mapped

// discardMemory gives the memory of p, whose contents are lost, back to the system. The addresses stay valid.
func discardMemory(p []byte) { _ = unix.Madvise(p, adviceToDiscard) } // if it fails, the memory stays resident
