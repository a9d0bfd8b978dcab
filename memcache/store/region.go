package store

import (
	"runtime"
	"unsafe"
)

// region is where the chunks of a shard lie: memory outside Go's heap, which the garbage collector neither reads nor counts. It is
// mapped in pieces, each when the first chunk of it is used. A piece is unmapped when nothing refers to it any more: a shard does,
// and a Lease or an Incoming to the shard.
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

// discard gives the memory of a slot back to the system.
func (g *region) discard(slot uint32) {
	n := int(slot-1) / pieceChunks
	if pieceChunks == 1 {
		g.pieces[n] = nil
		return
	}
	at := int(slot-1) % pieceChunks * chunkBytes
	discardMemory(g.pieces[n].memory[at : at+chunkBytes])
}
