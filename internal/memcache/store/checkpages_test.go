package store

import "fmt"

// checkPages checks the extents of the chunks that are divided into pages: each page is in one extent, free extents are in their lists, free buddies
// are joined, and the sums are right.
func (s *shard) checkPages() error {
	var paged, free, mine, gone, held int
	lent := map[extent]uint32{}
	for l := s.leases.oldest; l != nil; l = l.newer {
		for _, e := range l.exts {
			lent[e]++
		}
	}
	listed, err := s.checkIdle()
	if err != nil {
		return err
	}
	for c := range s.slots {
		if !s.slots[c].paged {
			continue
		}
		paged++
		if s.slots[c].free != 0 {
			return fmt.Errorf("chunk %d is divided into pages and has %d free units", c, s.slots[c].free)
		}
		for e := extent(c * chunkPages); e < extent((c+1)*chunkPages); e += 1 << s.table[e].order {
			t, n := &s.table[e], 1<<s.table[e].order
			if int(e)%n != 0 || t.order > wholeOrder || t.use == inner || t.use == idle && t.order == wholeOrder {
				return fmt.Errorf("extent %x, %v, has the order %d", e, t.use, t.order)
			}
			for i := e + 1; i < e+extent(n); i++ {
				if s.table[i].use != inner || s.table[i].lent != 0 {
					return fmt.Errorf("page %x is %v, in extent %x", i, s.table[i].use, e)
				}
			}
			if more := t.lent - lent[e]; more > 1 || more == 1 && (t.use != loose || lent[e] != 0) || t.lent > 0 && t.use == idle {
				return fmt.Errorf("extent %x, %v, is held %d times, there are %d leases of it", e, t.use, t.lent, lent[e])
			}
			if t.lent > 0 {
				held += n
			}
			switch t.use {
			case idle:
				free += n
				if b := s.table[e^extent(n)]; b.use == idle && b.order == t.order || !listed[e] {
					return fmt.Errorf("extent %x is free, and in no list, or so is its neighbour", e)
				}
			case owned:
				mine += n
			case loose:
				if t.lent == 0 {
					return fmt.Errorf("extent %x belongs to nothing", e)
				}
				if lent[e] > 0 {
					gone += n
				}
			}
		}
	}
	if paged != s.paged || free != s.pages.free || mine != s.mine || gone != s.gone || held != s.held || paged > s.chunks {
		return fmt.Errorf("%d chunks of pages: %d free, %d of items, %d of items that are gone, %d held; counted %d: %d, %d, %d, %d",
			paged, free, mine, gone, held, s.paged, s.pages.free, s.mine, s.gone, s.held)
	}
	return nil
}

// checkIdle checks the lists of free extents, and returns the extents that are in them.
func (s *shard) checkIdle() (map[extent]bool, error) {
	listed := map[extent]bool{}
	for order, e := range s.idle {
		for prev := extent(0); e != 0; prev, e = e, s.table[e].next {
			if t := s.table[e]; t.use != idle || int(t.order) != order || t.prev != prev || listed[e] {
				return nil, fmt.Errorf("extent %x, %v of order %d, is in list %d behind %x", e, t.use, t.order, order, prev)
			}
			listed[e] = true
		}
	}
	return listed, nil
}

// checkValues checks the extents of large values.
func (s *shard) checkValues(items map[ref]bool) error {
	mine := 0
	for r := range items {
		it := s.item(r)
		if it.state&large == 0 {
			if it.value >= largeMin {
				return fmt.Errorf("item %x has a value of %d bytes in its block", r, it.value)
			}
			continue
		}
		n, prev := 0, extent(0)
		for e := it.first(); e != 0; prev, e = e, s.table[e].next {
			t := &s.table[e]
			owner := ref(0)
			if prev == 0 {
				owner = r
			}
			if t.use != owned || t.prev != prev || t.owner != owner || n > it.paged() {
				return fmt.Errorf("extent %x of item %x is %v, behind %x, of %x", e, r, t.use, t.prev, t.owner)
			}
			n += 1 << t.order
		}
		if n != it.paged() {
			return fmt.Errorf("item %x has %d pages, its value %d", r, n, it.paged())
		}
		mine += n
	}
	if mine != s.mine {
		return fmt.Errorf("items have %d pages, counted %d", mine, s.mine)
	}
	return nil
}
