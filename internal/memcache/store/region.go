package store

import (
	"runtime"
	"unsafe"
)

// region is the memory of a shard's chunks. It is outside Go's heap, so the garbage collector neither reads nor counts it. It is mapped in pieces,
// each when its first chunk is used. A piece is unmapped when it is unreachable. The shard, leases and Incomings refer to the pieces.
type region struct {
	pieces []*piece
}

// piece is a mapping of pieceChunks chunks.
type piece struct {
	memory []byte
}

// chunk returns the memory of a slot, or nil if the system has none.
func (g *region) chunk(slot uint32) *chunk {
	n := int(slot-1) / pieceChunks
	for len(g.pieces) <= n {
		g.pieces = append(g.pieces, nil)
	}
	if g.pieces[n] == nil {
		memory, err := mapMemory(pieceChunks * chunkBytes)
		if err != nil {
			return nil
		}
		g.pieces[n] = &piece{memory: memory}
		runtime.AddCleanup(g.pieces[n], unmapMemory, memory)
	}
	return (*chunk)(unsafe.Pointer(&g.pieces[n].memory[int(slot-1)%pieceChunks*chunkBytes]))
}

// discard returns the memory of a slot to the system.
func (g *region) discard(slot uint32) {
	n := int(slot-1) / pieceChunks
	if pieceChunks == 1 {
		g.pieces[n] = nil
		return
	}
	at := int(slot-1) % pieceChunks * chunkBytes
	discardMemory(g.pieces[n].memory[at : at+chunkBytes])
}
