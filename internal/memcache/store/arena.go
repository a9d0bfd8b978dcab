package store

import "unsafe"

const (
	unit       = 8  // bytes; blocks begin and end at multiples of it
	chunkBits  = 14 // so that a chunk's size in units fits into 16 bits
	chunkUnits = 1 << chunkBits
	chunkBytes = chunkUnits * unit

	// ChunkBytes is the unit of allocation from the system in bytes, and the most that an Incoming allocates at once.
	ChunkBytes = chunkBytes
)

// A ref identifies a block: the number of its chunk and its offset there in units. Zero is no block, because there is no chunk 0.
type ref uint32

func (r ref) chunk() uint32 { return uint32(r) >> chunkBits }
func (r ref) place() uint32 { return uint32(r) & (chunkUnits - 1) }

// A chunk is the arena's unit of allocation from its region. It holds blocks, or is divided into pages.
type chunk [chunkUnits]uint64

// tag begins every block. size and prev are the boundary tags: with them, both neighbours of a block can be found.
type tag struct {
	size  uint16 // units
	prev  uint16 // units of the block before it in the chunk; 0 for the first
	state state  // 0: free
	key   uint8  // length of an item's key
	bits  uint8  // Meta.Bits
	since uint8  // the tick of the item's class at which it entered its queue, modulo 256: see credit
}

// hole is a free block in a list. A free block too short for any item is in no list until it joins a neighbour.
type hole struct {
	tag
	next, prev ref
}

// slot is a place for a chunk.
type slot struct {
	data  *chunk
	free  uint16 // units in free blocks
	paged bool   // divided into pages
}

// arena is memory for items. It allocates by segregated fits: there are lists of free blocks by size and a bitmap of the lists that are not empty,
// and a block that is freed joins its free neighbours at once. Memory is not reserved for sizes.
type arena struct {
	slots  []slot // slots[0] stays empty
	chunks int    // number of chunks
	hint   uint32 // no slot before this one is empty; slot 0 aside
	free   int    // units in free blocks
	top    uint32 // no slot from here on has a chunk
	lists  freeLists
	pages
	region region
}

func (a *arena) tag(r ref) *tag   { return (*tag)(unsafe.Pointer(a.at(r))) }
func (a *arena) hole(r ref) *hole { return (*hole)(unsafe.Pointer(a.at(r))) }
func (a *arena) item(r ref) *item { return (*item)(unsafe.Pointer(a.at(r))) }
func (a *arena) at(r ref) *uint64 { return &a.slots[r.chunk()].data[r.place()] }

// words returns the first n units of the block r.
func (a *arena) words(r ref, n uint16) []uint64 {
	p := r.place()
	return a.slots[r.chunk()].data[p : p+uint32(n)]
}

// after returns the block after r, or 0 at the end of the chunk; before returns the one before it, or 0.
func (a *arena) after(r ref) ref {
	if next := r + ref(a.tag(r).size); next.chunk() == r.chunk() {
		return next
	}
	return 0
}

func (a *arena) before(r ref) ref {
	if p := a.tag(r).prev; p > 0 {
		return r - ref(p)
	}
	return 0
}

// resize sets the boundary tags of r to n units.
func (a *arena) resize(r ref, n uint16) {
	a.tag(r).size = n
	if next := a.after(r); next != 0 {
		a.tag(next).prev = n
	}
}

// take returns a block of n units whose state is used, or 0.
func (a *arena) take(n uint16) ref {
	r := a.find(n)
	if r == 0 {
		return 0
	}
	a.unlist(r)
	a.tag(r).state = used
	a.account(r, -int(a.tag(r).size))
	a.trim(r, n)
	return r
}

// trim frees the units of the block r beyond n.
func (a *arena) trim(r ref, n uint16) {
	left := a.tag(r).size - n
	if left == 0 {
		return
	}
	a.resize(r, n)
	rest := r + ref(n)
	*a.tag(rest) = tag{prev: n, state: used}
	a.resize(rest, left)
	a.release(rest)
}

// release frees the block r, and returns the free block that contains it then.
func (a *arena) release(r ref) ref {
	t := a.tag(r)
	a.account(r, int(t.size))
	t.state = 0
	size := t.size
	if next := a.after(r); next != 0 && a.tag(next).state == 0 {
		a.unlist(next)
		size += a.tag(next).size
	}
	if prev := a.before(r); prev != 0 && a.tag(prev).state == 0 {
		a.unlist(prev)
		size += a.tag(prev).size
		r = prev
	}
	a.resize(r, size)
	a.list(r)
	return r
}

// account adds n to the free units of the chunk of r.
func (a *arena) account(r ref, n int) {
	a.free += n
	s := &a.slots[r.chunk()]
	s.free = uint16(int(s.free) + n)
}

// capacity returns the number of slots for chunks.
func (a *arena) capacity() int { return len(a.slots) - 1 }

// setCapacity changes the capacity to n, or to the slot of the last chunk if that is higher.
func (a *arena) setCapacity(n int) {
	a.hint, a.top = max(1, a.hint), max(1, a.top)
	size := max(n+1, int(a.top))
	a.slots = append(make([]slot, 0, size), a.slots[:min(len(a.slots), size)]...)[:size]
	a.table = append(make([]page, 0, size*chunkPages), a.table[:min(len(a.table), size*chunkPages)]...)[:size*chunkPages]
	pieces := a.region.pieces
	a.region.pieces = append(make([]*piece, 0, max(len(pieces), size/pieceChunks+1)), pieces...)
}

// add adds a chunk, and reports whether the system had memory for it. There must be an empty slot.
func (a *arena) add() bool {
	for a.slots[a.hint].data != nil {
		a.hint++
	}
	r := ref(a.hint << chunkBits)
	data := a.region.chunk(a.hint)
	if data == nil {
		return false
	}
	a.slots[a.hint].data = data
	a.chunks++
	a.top = max(a.top, a.hint+1)
	*a.tag(r) = tag{size: chunkUnits}
	a.account(r, chunkUnits)
	a.list(r)
	return true
}

// drop returns the chunk of r, which is one block in use, to the system.
func (a *arena) drop(r ref) {
	a.slots[r.chunk()] = slot{}
	a.region.discard(r.chunk())
	a.chunks--
	a.hint = min(a.hint, r.chunk())
	for a.top > 1 && a.slots[a.top-1].data == nil {
		a.top--
	}
}

// freeAll empties the chunks of blocks and keeps them.
func (a *arena) freeAll() {
	a.lists = freeLists{}
	a.free = 0
	for i := range a.top {
		if a.slots[i].data == nil || a.slots[i].paged {
			continue
		}
		r := ref(i << chunkBits)
		a.slots[i].free = 0
		*a.tag(r) = tag{size: chunkUnits}
		a.account(r, chunkUnits)
		a.list(r)
	}
}
