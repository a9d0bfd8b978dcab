package store

import (
	"math/bits"
	"unsafe"

	"github.com/evmq/evmq/internal/memcache/recycled"
)

const (
	pageBits   = 14
	pageBytes  = 1 << pageBits
	wholeOrder = chunkBits + 3 - pageBits // the order of an extent that is a whole chunk
	chunkPages = 1 << wholeOrder
)

// An extent identifies one, two, four or eight adjacent pages of a chunk, aligned to their number, by the number of the first page. The number of
// a page consists of the number of its chunk and its place there; zero is no page, since there is no chunk 0.
type extent uint32

func (e extent) chunk() uint32 { return uint32(e) / chunkPages }

// use is the use of the extent that begins with a page.
type use uint8

const (
	inner use = iota // no extent begins here
	idle             // free, and in a list
	owned            // a part of an item's value
	loose            // a part of no item: a lease or an Incoming has it
)

func (u use) String() string { return [...]string{"inner", "idle", "owned", "loose"}[u] }

// page is the entry of a page in the page table. All but use is for the first page of an extent.
type page struct {
	next, prev extent // in the value, or in the list of free extents
	owner      ref    // the item, at the first extent of its value
	lent       uint32 // number of holds: leases, and an Incoming
	use        use
	order      uint8 // the extent has 1<<order pages
}

const pageEntry = int64(unsafe.Sizeof(page{}))

// pages is the part of a shard's memory that is divided into pages by the buddy system: an extent that becomes free joins its free buddy
// of the same size, and a chunk that is entirely free can be used for blocks again.
type pages struct {
	table []page // chunkPages for each slot
	idle  [wholeOrder]extent
	free  int // pages in the lists
	paged int // chunks that are divided into pages
	held  int // pages held by leases and Incomings
	gone  int // pages held by leases, whose items have been removed
	mine  int // pages of items
}

// orderFor returns the order of the largest extent of at most n pages.
func orderFor(n int) int { return min(bits.Len(uint(n))-1, wholeOrder) }

// extent returns the memory of the extent e.
func (s *shard) extent(e extent) []byte {
	c := s.slots[e.chunk()].data
	at := int(e) % chunkPages * pageBytes
	return unsafe.Slice((*byte)(unsafe.Pointer(c)), chunkBytes)[at : at+pageBytes<<s.table[e].order : at+pageBytes<<s.table[e].order]
}

// listExtent puts a free extent into its list.
func (p *pages) listExtent(e extent, order uint8) {
	p.table[e] = page{use: idle, order: order, next: p.idle[order]}
	if next := p.idle[order]; next != 0 {
		p.table[next].prev = e
	}
	p.idle[order] = e
	p.free += 1 << order
}

// unlistExtent takes a free extent out of its list.
func (p *pages) unlistExtent(e extent) {
	t := p.table[e]
	if t.next != 0 {
		p.table[t.next].prev = t.prev
	}
	if t.prev != 0 {
		p.table[t.prev].next = t.next
	} else {
		p.idle[t.order] = t.next
	}
	p.free -= 1 << t.order
	p.table[e] = page{order: t.order}
}

// split reduces e to an extent of an order, and frees the rest.
func (p *pages) split(e extent, order int) extent {
	for p.table[e].order > uint8(order) {
		p.table[e].order--
		p.listExtent(e+1<<p.table[e].order, p.table[e].order)
	}
	return e
}

// takeListed takes an extent of exactly an order from the lists, or returns 0.
func (p *pages) takeListed(order int) extent {
	for o := order; o < wholeOrder; o++ {
		if e := p.idle[o]; e != 0 {
			p.unlistExtent(e)
			return p.split(e, order)
		}
	}
	return 0
}

// takeExtent takes an extent of an order, or else the largest smaller one, or returns 0. A whole chunk is divided before smaller extents are
// taken, so that a value has few pieces.
func (s *shard) takeExtent(order int) extent {
	if e := s.takeListed(order); e != 0 {
		return e
	}
	if e := s.divideChunk(); e != 0 {
		return s.split(e, order)
	}
	for order--; order >= 0; order-- {
		if e := s.takeListed(order); e != 0 {
			return e
		}
	}
	return 0
}

// divideChunk returns a chunk, empty or new, as one extent, or 0.
func (s *shard) divideChunk() extent {
	if s.paged >= s.mostPaged() {
		return 0
	}
	r := s.empty()
	if r == 0 && s.mayAdd() && s.add() {
		r = s.empty()
	}
	if r == 0 {
		return 0
	}
	return s.divide(r)
}

// divide makes the empty chunk r one extent, which is in no list.
func (s *shard) divide(r ref) extent {
	s.unlist(r)
	s.account(r, -chunkUnits)
	s.slots[r.chunk()].paged = true
	s.paged++
	e := extent(r.chunk() * chunkPages)
	s.table[e] = page{order: wholeOrder}
	return e
}

// mostPaged returns the number of chunks that may be divided into pages. A few are reserved for blocks, so that small items can be stored
// however many large values are held.
func (s *shard) mostPaged() int {
	chunks := min(s.capacity(), int((s.limit-shardBytes-s.tables())/chunkBytes))
	return chunks - 1 - chunks/128
}

// releaseExtent frees an extent.
func (s *shard) releaseExtent(e extent) {
	if recycled.Look != nil {
		recycled.Look(s.extent(e))
	}
	order := s.table[e].order
	for order < wholeOrder {
		buddy := e ^ 1<<order
		if t := &s.table[buddy]; t.use != idle || t.order != order {
			s.table[e] = page{}
			s.listExtent(e, order)
			return
		}
		s.unlistExtent(buddy)
		s.table[buddy], s.table[e] = page{}, page{}
		e = min(e, buddy)
		order++
	}
	s.table[e] = page{}
	s.undivide(e.chunk())
}

// undivide turns a chunk whose pages are all free, and in no list, into an empty chunk.
func (s *shard) undivide(c uint32) {
	s.slots[c].paged = false
	s.paged--
	r := ref(c << chunkBits)
	*s.tag(r) = tag{size: chunkUnits}
	s.account(r, chunkUnits)
	s.list(r)
}
